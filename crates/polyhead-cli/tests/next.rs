//! What `train` offers next fits the model that it made: a text of the model's own data, and the suite only where it has cases.
#![cfg(unix)]
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::json;
use support::{Ran, file, polyhead, text, tiny_bert};
use tempfile::TempDir;

/// A run on sentences of one's own, with types of one's own, in a folder whose name a shell would split.
fn trained(sentence: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("my runs");
    let lines: Vec<String> = sentence
        .split(' ')
        .enumerate()
        .map(|(at, word)| format!("{word} {}", if at == 1 { "B-ORT" } else { "O" }))
        .collect();
    let data = file(&folder, "train.conll", format!("{}\n\n", lines.join("\n")).repeat(8));
    let recipe = format!(
        "name = 'eigen'\noutput = {output:?}\nencoder.checkpoint = {:?}\ntrain.max_steps = 2\ntrain.feature_cache = false\n\
         tasks.ner = {{ max_length = 48, stride = 8, batch_size = 4 }}\n\
         data.ner = {{ train = {data:?}, validation = {data:?} }}\n",
        tiny_bert()
    );
    let recipe = file(&folder, "recipe.toml", recipe);
    let said = polyhead(&["train", &recipe, "--quiet"]).success();
    (folder, said)
}

/// The command after `next:`, in a real shell, with the binary in its path.
fn pasted(said: &str) -> Ran {
    let command = said.lines().find_map(|line| line.strip_prefix("next:  ")).unwrap();
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_polyhead")).parent().unwrap();
    let path = format!("{}:{}", text(binary), std::env::var("PATH").unwrap_or_default());
    std::process::Command::new("sh")
        .args(["-c", &format!("{command} --json")])
        .env("PATH", path)
        .output()
        .unwrap()
        .into()
}

#[test]
fn a_model_of_ones_own_is_offered_a_sentence_of_its_own_data_that_any_shell_takes() {
    for sentence in ["In Köln steht's heute schön", "Über $HOME und `id` lacht \"Ada\" \\ & mehr"] {
        let (_folder, said) = trained(sentence);
        assert!(!said.contains("Ada Lovelace") && !said.contains("polyhead suite"), "{said}");
        let answer = pasted(&said).json();
        assert_eq!(answer["text"], sentence);
    }
}

#[test]
fn a_sentence_that_looks_like_a_flag_or_is_long_is_not_offered() {
    let long = "wort ".repeat(60);
    for sentence in ["--help ist kein Wort", long.trim()] {
        let (_folder, said) = trained(sentence);
        assert!(said.contains("next:  polyhead inspect "), "{said}");
        pasted(&said).success();
    }
}

#[test]
fn a_quantised_model_is_told_with_its_scores_and_replaced_only_when_asked() {
    let (folder, _) = trained("In Köln steht's heute schön");
    let [run, to] = ["my runs/eigen", "int8"].map(|name| text(&folder.path().join(name)).to_owned());
    let call = ["quantize", &run, &to, "--examples", "4", "--max-loss", "100"];
    let told = polyhead(&call).success();
    for part in ["Training examples", "Validation data", "18 of 18 linear layers in bytes", "MB in f32"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(polyhead(&call).failure(73).contains("--overwrite"));
    let told = polyhead(&[&call[..], &["--overwrite", "--json"]].concat()).json();
    assert_eq!((&told["kept"], &told["linear_layers"]), (&json!([]), &json!(18)), "{told}");
    assert_eq!(told["validation"][0]["task"], "ner");
    assert!(polyhead(&["inspect", &to]).success().contains("18 of 18 linear layers"));
    assert_eq!(polyhead(&["inspect", &to, "--json"]).json()["int8"]["kept"], json!([]));
    let data = text(&folder.path().join("train.conll")).to_owned();
    for (precision, name) in [("auto", "int8"), ("int8", "int8"), ("f32", "f32")] {
        let scored = polyhead(&["eval", &to, "--data", &data, "--json", "--precision", precision]).json();
        assert_eq!(scored["precision"], name);
    }
    assert!(polyhead(&["quantize", &to, &run, "--max-loss", "-1"]).failure(2).contains("0 or more"));
}
