//! `polyhead tune`, on a tiny encoder: what it prints and writes, and that a killed process loses nothing.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{command, file, polyhead, text, tiny_bert, without_seconds};
use tempfile::TempDir;

/// A folder with a recipe and its data; searches are made in it.
fn recipe() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let words = ["ada", "left", "london", "mary", "was", "born"];
    let sentence = |at: usize| {
        let word = |place: usize| words[(at * 5 + place * 7 + at * place) % words.len()];
        let tag = |word: &str| if ["ada", "mary"].contains(&word) { "B-PER" } else { "O" };
        (0..4).map(|place| format!("{} {}\n", word(place), tag(word(place)))).collect::<String>() + "\n"
    };
    let ner = file(&folder, "ner.conll", (0..60).map(sentence).collect::<String>());
    let text = format!(
        "name = 'trial'\noutput = {:?}\nencoder.checkpoint = {:?}\ntrain = {{ epochs = 1, feature_cache = false }}\n\
         tasks.ner = {{ batch_size = 4, max_length = 32, stride = 4 }}\ndata.ner.train = {ner:?}\n",
        text(folder.path()),
        text(&tiny_bert()),
    );
    let path = file(&folder, "recipe.toml", text);
    (folder, path)
}

fn found(folder: &Path) -> Value {
    without_seconds(serde_json::from_slice(&std::fs::read(folder.join("trial-tune/tune.json")).unwrap()).unwrap())
}

#[test]
fn a_search_shows_what_it_tries_and_writes_a_recipe_that_trains() {
    let (folder, recipe) = recipe();
    let call = ["tune", &recipe, "--trainings", "2"];
    let ran = polyhead(&call);
    for part in ["folder of the search: ", "rung0-trial00: train.learning_rate=5e-5", "rung2-trial", "best.toml"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let shown = ran.success();
    for part in ["trial: settings that train better", "Found", "What matters", "polyhead train"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let best = folder.path().join("trial-tune/best.toml");
    polyhead(&["train", text(&best), "--quiet"]).success();
    // What is done is not done again.
    let began = Instant::now();
    let again = polyhead(&[&call[..], &["--json", "--quiet"]].concat());
    assert!(again.stderr.is_empty(), "{}", again.stderr);
    let again = without_seconds(again.json());
    assert_eq!(again, found(folder.path()));
    assert!(began.elapsed() < Duration::from_secs(30));
    for (more, part) in [
        (&["--minutes", "0"][..], "--minutes"),
        (&["--trainings", "1"], "expected at least --trainings 2.00"),
        (&["--keys", "momentum"], "learning_rate"),
        (&["--keys", "loss_weight"], "keys: expected what to search"),
        (&["--steps", "3"], "expected at least --steps"),
        (&["--steps", "9", "--minutes", "1"], "--minutes"),
    ] {
        let call = [&["tune", &recipe, "--set", "name=other"][..], more].concat();
        assert!(polyhead(&call).failure(2).contains(part), "{more:?}");
    }
}

#[test]
fn a_search_that_was_killed_goes_on_to_the_same_end() {
    let [(whole, of_whole), (cut, of_cut)] = [recipe(), recipe()];
    let more = ["--steps", "60", "--set", "train.save_every=2", "--keys", "learning_rate,batch_size"];
    polyhead(&[&["tune", &of_whole][..], &more].concat()).success();
    let call = [&["tune", &of_cut][..], &more].concat();
    for after in [300, 700, 1500] {
        let mut child = command(&call).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(after));
        _ = child.kill();
        child.wait().unwrap();
    }
    polyhead(&call).success();
    assert_eq!(found(cut.path()), found(whole.path()));
}
