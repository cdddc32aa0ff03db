//! Text classification from a recipe to answers, by the command line alone: pairs of texts, whose second one has no flag of its
//! own.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use support::{file, polyhead, text, tiny_bert};

#[test]
fn pairs_are_trained_scored_and_answered() {
    let folder = tempfile::tempdir().unwrap();
    let row = |at: usize| {
        let (name, other) = [("ada", "mary"), ("london", "paris")][at % 2];
        let label = if at.is_multiple_of(3) { "other" } else { "same" };
        format!("{at},\"{name}, was here\",{} was here,{label}\n", if label == "same" { name } else { other })
    };
    let table = |rows: usize| format!("id,one,two,verdict\n{}", (0..rows).map(row).collect::<String>());
    let (train, validation) = (file(&folder, "train.csv", table(24)), file(&folder, "validation.csv", table(8)));
    let columns = "{ text = \"one\", text_pair = \"two\", label = \"verdict\" }";
    let recipe = format!(
        "name = \"pairs\"\noutput = {:?}\n[encoder]\ncheckpoint = {:?}\n[train]\nepochs = 1\nfeature_cache = false\n\
         [tasks.same]\nkind = \"classify\"\nmax_length = 32\nstride = 4\npooler = true\n\
         [data.same]\ntrain = {train:?}\nvalidation = {validation:?}\ncolumns = {columns}\n",
        text(folder.path()),
        text(&tiny_bert()),
    );
    let recipe = file(&folder, "pairs.toml", recipe);
    let shown = polyhead(&["train", &recipe, "--quiet"]).success();
    assert!(shown.contains("accuracy") && shown.contains("mcc"), "{shown}");
    assert!(
        shown.contains("--task same 'ada, was here' --field text_pair='mary was here'"),
        "what to try next: {shown}"
    );

    let model = text(&folder.path().join("pairs")).to_owned();
    let ask = |more: &[&str]| polyhead(&[&["predict", &model, "ada, was here"], more].concat());
    let answer = ask(&["--field", "text_pair=mary was here", "--json"]).json();
    let labels: Vec<&str> =
        answer["labels"].as_array().unwrap().iter().map(|one| one["label"].as_str().unwrap()).collect();
    assert_eq!((labels.len(), Some(labels[0])), (2, answer["label"].as_str()));
    let sum: f64 = answer["labels"].as_array().unwrap().iter().map(|one| one["score"].as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-9, "{answer}");
    let rows = ask(&["--field", "text_pair=mary was here", "--format", "tsv"]).success();
    assert_eq!(rows.lines().next(), Some("id\tlabel\tscore"));
    assert!(rows.lines().nth(1).unwrap().starts_with(&format!("1\t{}\t0.", labels[0])), "{rows}");
    let shown = ask(&["--field", "text_pair=mary was here"]).success();
    assert!(shown.starts_with("label  score\n") && shown.lines().count() == 3, "{shown}");

    let refused = ask(&[]).failure(2);
    assert!(
        refused.contains("the task `same` expects a text, and --field text_pair=TEXT; or --input FILE"),
        "{refused}"
    );
    assert!(ask(&["--field", "text_pair"]).failure(2).contains("--field: expected NAME=TEXT, found `text_pair`"));
    assert!(ask(&["--field", "text=x"]).failure(2).contains("--field: `text` is given twice"));

    // It has the pooler of transformers, so that it can go there.
    let exported = folder.path().join("exported");
    polyhead(&["export", &model, "--task", "same", "--to", text(&exported)]).success();
    let request = file(&folder, "request.jsonl", "{\"text\": \"ada, was here\", \"text_pair\": \"mary was here\"}\n");
    let again = polyhead(&["predict", text(&exported), "--input", &request, "--json"]).json();
    assert_eq!((&again["label"], &again["labels"]), (&answer["label"], &answer["labels"]));

    let call = ["eval", &model, "--data", &validation, "--columns", "text=one,text_pair=3,label=verdict", "--json"];
    let scores: Value = polyhead(&call).json();
    let names = ["accuracy", "macro_f1", "weighted_f1", "mcc"];
    assert!(names.iter().all(|name| scores.to_string().contains(&format!("\"{name}\":"))), "{scores}");
    let refused = polyhead(&["eval", &model, "--data", &validation]).failure(65);
    assert!(
        refused.contains("validation.csv:1: expected a first line with the name of the text's column"),
        "{refused}"
    );
}
