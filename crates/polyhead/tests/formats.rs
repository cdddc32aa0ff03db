//! What earlier versions wrote still loads: a run folder that was stopped within its second epoch goes on to its end, and the
//! model folder in it (`best/`) answers as it did.
//!
//! `fixtures/formats/VERSION/` holds the data, the run and the answers of its best model (`answers.json`), as the version of
//! that name wrote them. `cargo test --release --test formats -- --ignored` writes those of this version.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use candle_core::{Device, safetensors};
use polyhead::encoders::Precision;
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The versions whose folders are kept, the oldest first.
const VERSIONS: &[&str] = &["0.1.0"];

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a model folder answers to a request of each task.
fn answers(model: &Path) -> Value {
    let session = Session::open_in(model, TASKS, Precision::F32).unwrap();
    json!({
        "ner": session.ask("ner", &json!({ "text": "queen ada lovelace was in london and paris" })).unwrap(),
        "qa": session
            .ask("qa", &json!({ "question": "who was mary ?", "context": "the queen of london was mary" }))
            .unwrap(),
    })
}

/// Numbers to within what another processor may round differently.
fn assert_alike(found: &Value, want: &Value) {
    match (found, want) {
        (Value::Object(found), Value::Object(want)) => {
            assert!(found.keys().eq(want.keys()), "{found:?} for {want:?}");
            found.values().zip(want.values()).for_each(|(found, want)| assert_alike(found, want));
        }
        (Value::Array(found), Value::Array(want)) => {
            assert_eq!(found.len(), want.len(), "{found:?} for {want:?}");
            found.iter().zip(want).for_each(|(found, want)| assert_alike(found, want));
        }
        (Value::Number(found), Value::Number(want)) => {
            let (found, want) = (found.as_f64().unwrap(), want.as_f64().unwrap());
            assert!((found - want).abs() <= 1e-3 * want.abs().max(1.0), "{found} for {want}");
        }
        _ => assert_eq!(found, want),
    }
}

#[test]
fn run_folders_and_model_folders_of_earlier_versions_load_and_resume() {
    for version in VERSIONS {
        let folder = tempfile::tempdir().unwrap();
        copy(&small::fixture("formats").join(version), folder.path());
        let run = folder.path().join("runs/kept");
        let want: Value = serde_json::from_slice(&fs::read(folder.path().join("answers.json")).unwrap()).unwrap();
        assert_alike(&answers(&run.join("best")), &want);
        fs::write(run.join("origin.json"), json!({ "folder": folder.path() }).to_string()).unwrap();
        let trainer = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
        let events: Vec<Event> = trainer.map(Result::unwrap).collect();
        let steps: Vec<usize> =
            events.iter().filter_map(|e| if let Event::Step(step) = e { Some(step.step) } else { None }).collect();
        assert_eq!(steps, [9, 10, 11, 12], "{version}");
        let Some(Event::Finished(end)) = events.last() else { panic!("{version}: {:?}", events.last()) };
        assert_eq!((end.steps, end.scores.len()), (12, 2), "{version}");
        let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
        assert_eq!(metrics.lines().filter(|line| line.contains(r#""event":"step""#)).count(), 12, "{version}");
    }
}

/// A checkpoint of the first layer of tiny-bert: the folders stay small.
fn one_layer(folder: &Path) {
    let source = small::fixture("tiny-bert");
    copy(&source, folder);
    let mut config: Value = serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    config["num_hidden_layers"] = json!(1);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors = safetensors::load(source.join("model.safetensors"), &Device::Cpu).unwrap();
    tensors.retain(|name, _| !name.contains("layer.1.") && !name.contains("layer.2.") && !name.contains("pooler"));
    safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
}

#[test]
#[ignore = "writes the fixtures of this version"]
fn write_the_folders_of_this_version() {
    let folder: PathBuf = small::fixture("formats").join(env!("CARGO_PKG_VERSION"));
    fs::create_dir_all(&folder).unwrap();
    one_layer(&folder.join("encoder"));
    let path = folder.join("recipe.toml");
    // Paths as a person writes them: the folder is copied to where it is tested.
    let text = small::recipe_text(&folder).replace(&format!("{}/", folder.display()), "");
    let text = text.replace(&format!("{:?}", small::fixture("tiny-bert")), "\"encoder\"").replace("'tiny'", "'kept'");
    fs::write(
        &path,
        text.replace("feature_cache = false", "feature_cache = false, keep_checkpoints = 1, precision = 'f32'"),
    )
    .unwrap();
    std::env::set_current_dir(&folder).unwrap();
    let mut trainer = Trainer::new(Recipe::read(Path::new("recipe.toml"), &[]).unwrap(), &mut |_| {}).unwrap();
    let flag = Arc::new(AtomicBool::new(false));
    trainer.stop_when(flag.clone());
    for event in trainer.by_ref() {
        if let Event::Step(step) = event.unwrap() {
            flag.store(step.step == 8, Ordering::SeqCst);
        }
    }
    // What tells of the machine, and what a resumed run does not read.
    let run = folder.join("runs/kept");
    for name in ["origin.json", "environment.json", ".lock"] {
        fs::remove_file(run.join(name)).unwrap();
    }
    for entry in fs::read_dir(&run).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("events.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    fs::remove_dir_all(folder.join("encoder")).unwrap();
    fs::write(folder.join("answers.json"), format!("{:#}\n", answers(&run.join("best")))).unwrap();
}
