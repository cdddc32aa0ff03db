//! The programs in `examples/` do what they say: `cargo test` builds them, and these tests run them with tiny-bert.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use std::path::Path;
use std::process::Command;

/// Runs a compiled example; what it printed. Its temporary files go to `folder`.
fn run(name: &str, args: &[&str], folder: &Path) -> String {
    // target/release/deps/examples-0123 -> target/release/examples/train
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "{} is missing: `cargo test` without `--test` builds it", program.display());
    let output = Command::new(program).args(args).env("TMPDIR", folder).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn train_draws_its_own_progress_and_predict_answers_with_what_it_made() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("tiny.toml");
    std::fs::write(&recipe, small::recipe_text(folder.path())).unwrap();
    let said = run("train", &[recipe.to_str().unwrap(), "train.epochs=2"], folder.path());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "12 steps in 2 epochs");
    for expected in ["   10/12 qa   loss ", "   12/12 qa   loss ", "epoch 1 ner: micro_f1 ", "epoch 2 qa: f1 "] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected:?} in {said}");
    }
    let model = lines.last().unwrap().split_once("best model in ").unwrap().1;
    assert_eq!(Path::new(model), folder.path().join("runs/tiny/best"));

    for path in [model, folder.path().join("runs/tiny").to_str().unwrap()] {
        let said = run("predict", &[path], folder.path());
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines[0], "Ada Lovelace worked with Charles Babbage in London.");
        assert_eq!(lines[lines.len() - 2], "Who worked with Babbage?");
        assert!(lines.last().unwrap().contains("(score "), "{said}");
    }
}

#[test]
fn new_task_trains_a_task_of_its_own_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let said = run("new_task", &[small::fixture("tiny-bert").to_str().unwrap()], folder.path());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 8 + 2, "{said}");
    assert!(lines[7].starts_with("epoch 8: accuracy ") && lines[7].ends_with(" %"), "{said}");
    assert_eq!(lines[8], "Who lives in the house next door?");
    let labels = ["number", "person", "place", "time"];
    assert!(labels.iter().any(|label| lines[9].trim().trim_start_matches('"').starts_with(label)), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
