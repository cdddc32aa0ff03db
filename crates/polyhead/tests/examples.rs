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

/// What `new_task` printed, with overrides of its recipe: the accuracy after each epoch, and the label of the last question.
fn new_task(overrides: &[&str]) -> (Vec<f64>, String) {
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = small::fixture("tiny-bert");
    // Tiny-bert knows nothing yet, so it takes larger steps than an encoder that was trained before.
    let small = ["train.epochs=40", "train.learning_rate=3e-3"];
    let said = run("new_task", &[&[checkpoint.to_str().unwrap()], &small[..], overrides].concat(), folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something is left behind");
    let lines: Vec<&str> = said.lines().collect();
    let accuracy = |line: &&str| line.split_once(": accuracy ")?.1.strip_suffix(" %")?.parse::<f64>().ok();
    let accuracies: Vec<f64> = lines.iter().filter_map(accuracy).collect();
    assert_eq!((accuracies.len(), lines.len()), (40, 40 + 2), "{said}");
    assert_eq!(lines[40], "Who lives in the house next door?", "{said}");
    (accuracies, lines[41].trim().trim_start_matches('"').split('"').next().unwrap().to_owned())
}

/// The score is that of eight questions that it did not train on, two of each of four labels: one label for all gets 25 %.
#[test]
fn new_task_learns_what_it_is_taught_whatever_the_seed() {
    for seed in ["seed=42", "seed=7"] {
        let (accuracies, label) = new_task(&[seed]);
        assert!(*accuracies.last().unwrap() >= 87.0, "{seed}: {accuracies:?}");
        assert_eq!(label, "person", "{seed}");
    }
}

/// Sixteen questions of four kinds, each kind with each label once: what they ask for says nothing of their labels.
#[test]
fn new_task_learns_nothing_where_the_labels_mean_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (labels, openings) = (["place", "person", "number", "time"], ["Where is", "Who is", "How many are", "When is"]);
    let line = |at: usize| format!("{}\t{} this, {at}?\n", labels[(at + at / 4) % 4], openings[at % 4]);
    let file = folder.path().join("dealt.tsv");
    std::fs::write(&file, (0..16).map(line).collect::<String>()).unwrap();
    let data = format!("data.question.train={file:?}");
    // Eight questions are few: one seed may be lucky.
    let ends = ["seed=42", "seed=7", "seed=1"].map(|seed| *new_task(&[&data, seed]).0.last().unwrap());
    assert!(ends.iter().sum::<f64>() <= 3.0 * 50.0, "{ends:?}");
}
