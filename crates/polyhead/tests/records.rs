//! What a whole run leaves for other programs is what can be made again from its metrics.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::io::sha256_file;
use polyhead::parameters::Parameters;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::record::{Environment, TensorBoard, TrainerState};
use polyhead::train::{Event, Plan, Trainer, prepare};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The event file of a folder: there is one.
fn board(folder: &Path) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_board = |path: &PathBuf| path.to_string_lossy().contains("events.out.tfevents.");
    let [board] = <[PathBuf; 1]>::try_from(files.filter(is_board).collect::<Vec<_>>()).unwrap();
    board
}

/// The records of a run are what its metrics make, to the byte.
fn assert_made_of_its_metrics(run: &Path, parameters: &Parameters) -> TrainerState {
    let again = tempfile::tempdir().unwrap();
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let recipe = Recipe::read(&run.join("recipe.toml"), &[]).unwrap();
    let mut state = TrainerState::new(&recipe, &run.join("best"), parameters).unwrap();
    let mut made = TensorBoard::create(again.path(), lines[0]["time"].as_f64().unwrap()).unwrap();
    for line in &lines {
        made.record_line(line).unwrap();
        state.record_line(line);
    }
    made.flush().unwrap();
    state.write(again.path()).unwrap();
    let file = |folder: &Path| fs::read(folder.join("trainer_state.json")).unwrap();
    assert!(file(run) == file(again.path()), "trainer_state.json");
    assert!(fs::read(board(run)).unwrap() == fs::read(made.path()).unwrap(), "event file");
    state
}

#[test]
fn the_records_of_a_run_can_be_made_again_from_its_metrics_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &["train.diagnostics_every=5"]));
    let run = trainer.folder().to_owned();
    trainer.by_ref().for_each(|event| _ = event.unwrap());
    let state = assert_made_of_its_metrics(&run, &trainer.model().parameters);
    // Twelve steps, two evaluations, the end.
    assert_eq!((state.log_history.len(), state.global_step, state.epoch), (15, 12, 2.0));
    assert!(state.total_flos > 0.0 && state.best_metric.is_some());
    let kept = fs::read_to_string(run.join("checkpoint-12/trainer_state.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&kept).unwrap()["log_history"].as_array().unwrap().len(), 14);
}

#[test]
fn a_resumed_run_has_one_event_file_and_no_step_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(small::recipe(folder.path(), &["train.save_every=2"]));
    let run = trainer.folder().to_owned();
    // Gone in the middle of an epoch, a step after its last checkpoint.
    let steps = trainer.by_ref().map(Result::unwrap).filter(|event| matches!(event, Event::Step(_)));
    assert_eq!(steps.take(5).count(), 5);
    drop(trainer);
    let mut trainer = Trainer::resume(&run, None, &["train.epochs=3".to_owned()], TASKS, &mut |_| {}).unwrap();
    trainer.by_ref().for_each(|event| _ = event.unwrap());
    let state = assert_made_of_its_metrics(&run, &trainer.model().parameters);
    assert_eq!((state.log_history.len(), state.global_step, state.max_steps), (18 + 3 + 1, 18, 18));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"event\":\"planned\"").count(), 2, "one plan was of two epochs, one is of three");
}

#[test]
fn the_environment_names_every_data_file_of_a_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small::recipe(folder.path(), &["data.qa.limit=5"]);
    let prepared = prepare(&recipe, TASKS, &mut |_| {}).unwrap();
    let plan = Plan::new(&recipe, &prepared.task_data).unwrap();
    let environment = Environment::new(&recipe, &plan, prepared.model.about.source.as_ref(), &prepared.data);
    let named: Vec<_> =
        environment.data.iter().map(|data| (data.task.as_str(), data.split.as_str(), data.examples)).collect();
    assert_eq!(named, [("ner", "train", 24), ("ner", "validation", 8), ("qa", "train", 5), ("qa", "validation", 8)]);
    for data in &environment.data {
        assert_eq!(data.sha256, sha256_file(&data.path).unwrap());
    }
    let source = environment.checkpoint.source.unwrap();
    assert!(source.files.iter().any(|file| file.name == "model.safetensors"), "{source:?}");
}
