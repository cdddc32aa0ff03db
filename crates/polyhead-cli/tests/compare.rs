//! `polyhead compare`, on a tiny encoder: what it prints, and that a killed process loses nothing.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{CONLL, QUESTIONS, command, file, polyhead, text, tiny_bert, without_seconds};
use tempfile::TempDir;

/// A folder with a recipe and its data; comparisons are made in it.
fn recipe() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let ner = file(&folder, "ner.conll", CONLL);
    let qa = file(&folder, "qa.jsonl", QUESTIONS);
    let text = format!(
        r#"
name = "trial"
seed = 5
output = {output:?}
encoder.checkpoint = {encoder:?}
train = {{ epochs = 2, learning_rate = 1e-2, feature_cache = false }}
tasks.ner = {{ batch_size = 2, max_length = 32, stride = 4 }}
tasks.qa = {{ batch_size = 2, max_length = 64, max_question_length = 16, stride = 8 }}
data.ner = {{ train = {ner:?}, validation = {ner:?} }}
data.qa = {{ train = {qa:?}, validation = {qa:?} }}
"#,
        output = text(folder.path()),
        encoder = text(&tiny_bert()),
    );
    let path = file(&folder, "recipe.toml", text);
    (folder, path)
}

fn report(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("trial-compare/comparison.json")).unwrap();
    without_seconds(serde_json::from_str(&text).unwrap())
}

#[test]
fn a_comparison_says_whether_sharing_helped_and_what_it_saved() {
    let (folder, recipe) = recipe();
    let ran = polyhead(&["compare", &recipe]);
    for part in
        ["folder of the runs: ", "run 1 of 9: joint-seed5", "run 9 of 9: qa-seed7", "step 1/", "epoch 2: ner micro F1"]
    {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let shown = ran.success();
    for part in [
        "trial: one joint model against 2 separate ones",
        "Did sharing help?",
        "95 % interval",
        "3 seeds",
        "After the last epoch",
        "Seed by seed",
        "Equal budgets",
        "What sharing saves",
        "trial-compare/recipe.toml --seeds 5,6,7",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("step 1/"), "progress is not data: {shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= 130), "{shown}");
    let runs = folder.path().join("trial-compare");
    assert!(runs.join("comparison.md").is_file());
    assert!(std::fs::read_to_string(runs.join("comparison.html")).unwrap().contains("<svg"));
    polyhead(&["inspect", text(&runs.join("ner-seed5"))]).success();

    assert!(!runs.join("ner-seed6/best").exists() && !runs.join("ner-seed5/checkpoint-4").exists());

    // Again: nothing is trained, and the answer is the same.
    let again = polyhead(&["compare", &recipe]);
    assert!(again.stderr.contains("run 9 of 9: qa-seed7, finished before"), "{}", again.stderr);
    assert_eq!(again.success(), shown);
    let json = polyhead(&["compare", &recipe, "--json", "--quiet", "--seeds", "5,6,7"]);
    assert_eq!(json.stderr, "");
    assert_eq!(without_seconds(json.json()), report(folder.path()));
    // The recipe beside it is the recipe.
    polyhead(&["compare", text(&runs.join("recipe.toml")), "--seeds", "5,6,7"]).success();
}

#[test]
fn a_killed_comparison_goes_on_and_comes_to_the_same() {
    let (whole, recipe_of_whole) = recipe();
    let arguments = ["--seeds", "1,2", "--set", "train.epochs=20", "--quiet"];
    polyhead(&[&["compare", &recipe_of_whole][..], &arguments].concat()).success();
    // Killed in the middle of each of these runs, as far as the moment can be met.
    let (folder, recipe) = recipe();
    for (run, signal) in
        [("joint-seed1", "-KILL"), ("ner-seed1", "-TERM"), ("joint-seed2", "-KILL"), ("qa-seed2", "-INT")]
    {
        let mut child = command(&[&["compare", &recipe][..], &arguments].concat());
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (begun, began) = (folder.path().join("trial-compare").join(run).join("metrics.jsonl"), Instant::now());
        while !begun.exists() {
            assert!(began.elapsed() < Duration::from_secs(120), "{run} does not begin");
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        let code = child.wait().unwrap().code();
        assert_eq!(
            code,
            [("-TERM", 143), ("-INT", 130)].into_iter().find(|(of, _)| *of == signal).map(|(_, code)| code)
        );
        assert!(!folder.path().join("trial-compare/comparison.json").exists(), "it was not killed before its end");
    }
    let ran = polyhead(&[&["compare", &recipe][..], &arguments[..4]].concat());
    assert!(ran.stderr.contains("finished before"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("resumed after step") || ran.stderr.contains("did not get to a checkpoint"),
        "{}",
        ran.stderr
    );
    ran.success();
    assert_eq!(report(folder.path()), report(whole.path()));
}

#[test]
fn a_call_that_can_not_be_compared_is_refused() {
    let (folder, recipe) = recipe();
    let refused = |more: &[&str], code: i32| polyhead(&[&["compare", &recipe][..], more].concat()).failure(code);
    assert!(refused(&["--seeds", "1,1"], 2).contains("found 1 twice"));
    assert!(!polyhead(&["compare", &recipe, "--seeds", "1,x"]).stderr.is_empty());
    assert!(refused(&["--set", "train.epoch=1"], 2).contains("did you mean `epochs`?"));
    polyhead(&["compare", "nowhere.toml"]).failure(66);
    assert!(!folder.path().join("trial-compare").exists());
    // A mistake in the data is told, leaves no half of a run, and does not stay.
    refused(&["--set", "data.qa.train=nowhere.json"], 66);
    assert!(!folder.path().join("trial-compare/joint-seed5").exists());
    polyhead(&["compare", &recipe, "--seeds", "5", "--set", "train.epochs=1"]).success();
    let changed = refused(&["--seeds", "5"], 2);
    assert!(changed.contains("train.epochs (1 there, 2 here)"), "{changed}");
}

#[test]
fn strategies_are_ranked_beside_the_plain_one() {
    let (folder, recipe) = recipe();
    let arguments = ["--balance", "gls", "--sample", "annealed", "--seeds", "1,2"];
    let ran = polyhead(&[&["compare", &recipe][..], &arguments].concat());
    for part in
        ["run 1 of 8: balance-equal-seed1", "run 8 of 8: sample-annealed-seed2", "trial-strategies/strategies.html"]
    {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let shown = ran.success();
    for part in ["trial: strategies for several tasks", "Balancers", "Samplers", "gls", "annealed", "Bonferroni"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let runs = folder.path().join("trial-strategies");
    assert!(std::fs::read_to_string(runs.join("strategies.html")).unwrap().contains("<svg"));
    let again = polyhead(&[&["compare", &recipe][..], &arguments, &["--json", "--quiet"]].concat());
    let json = again.json();
    assert_eq!(json["groups"][0]["entries"][1]["strategy"], "gls");
    // The command that the page ends with is the same comparison.
    let copy = runs.join("recipe.toml");
    let command = [
        "compare",
        text(&copy),
        "--balance",
        "equal,gls",
        "--sample",
        "round_robin,annealed",
        "--seeds",
        "1,2",
        "--json",
        "--quiet",
    ];
    assert_eq!(without_seconds(polyhead(&command).json()), without_seconds(json));
    let refused = polyhead(&["compare", &recipe, "--sample", "dga"]);
    assert!(refused.stderr.contains("`dga` needs a target"), "{}", refused.stderr);
    assert!(!folder.path().join("trial-compare").exists());
}

#[test]
fn ways_of_sharing_are_ranked_beside_hard_sharing_with_what_they_take() {
    let (folder, recipe) = recipe();
    let arguments =
        ["--sharing", "private_layers,lora", "--seeds", "1", "--set", "sharing={ name = 'lora', rank = 2 }"];
    let shown = polyhead(&[&["compare", &recipe][..], &arguments].concat()).success();
    for part in ["Ways of sharing", "What they take", "private_layers", "lora"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let json = polyhead(&[&["compare", &recipe][..], &arguments, &["--json", "--quiet"]].concat()).json();
    let entries = json["groups"][0]["entries"].as_array().unwrap();
    let ways: Vec<&Value> = entries.iter().map(|entry| &entry["strategy"]).collect();
    // With the options that the recipe has.
    assert_eq!(ways, [&json!("hard"), &json!("private_layers"), &json!({ "name": "lora", "rank": 2 })]);
    let config = folder.path().join("trial-strategies/sharing-lora-seed1/recipe.toml");
    assert!(std::fs::read_to_string(config).unwrap().contains("rank = 2"));
    let refused = polyhead(&["compare", &recipe, "--sharing", "nothing"]);
    assert!(refused.stderr.contains("sharing: expected all, or some of hard"), "{}", refused.stderr);
}
