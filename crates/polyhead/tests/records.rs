//! What a whole run leaves for other programs is what can be made again from its metrics.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::events::Record;
use polyhead::io::sha256_file;
use polyhead::parameters::Parameters;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::record::{Environment, TensorBoard, TrainerState};
use polyhead::train::{Event, Plan, Step, Trainer, prepare};
use serde_json::{Value, json};
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
    let lines = Record::read(run).unwrap().lines;
    let recipe = Recipe::read(&run.join("recipe.toml"), &[]).unwrap();
    let mut state = TrainerState::new(&recipe, &run.join("best"), parameters).unwrap();
    let mut made = TensorBoard::create(again.path(), lines[0].time.unwrap()).unwrap();
    for line in &lines {
        made.record(line).unwrap();
        state.record(&line.event);
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
fn every_event_of_a_run_is_read_back_equal() {
    for sample in ["train.sample=joint", "train.sample=round_robin"] {
        let folder = tempfile::tempdir().unwrap();
        let overrides = [sample, "train.diagnostics_every=5", "train.balance=uncertainty", "train.evaluate_every=4"];
        let mut trainer = small::trainer(small::recipe(folder.path(), &overrides));
        let run = trainer.folder().to_owned();
        let told: Vec<Event> = trainer.by_ref().map(Result::unwrap).filter(Event::is_recorded).collect();
        let record = Record::read(&run).unwrap();
        assert!(record.is_finished() && record.torn.is_none() && record.lines.iter().all(|line| line.time.is_some()));
        let mut read: Vec<Event> = record.lines.into_iter().map(|line| line.event).collect();
        // Its samples stand in its evaluation: they are not written twice.
        let Some(Event::Finished(end)) = read.last_mut() else { panic!("the end comes last") };
        let Some(Event::Finished(told_end)) = told.last() else { panic!("the end comes last") };
        assert!(end.samples.is_empty() && !told_end.samples.is_empty());
        end.samples.clone_from(&told_end.samples);
        assert_eq!(read, told, "{sample}");
        let weighed = |step: &Step| step.tasks.iter().any(|task| task.weight != 1.0);
        assert!(read.iter().any(|event| matches!(event, Event::Step(step) if weighed(step))), "{sample}");
        assert!(read.iter().any(|event| matches!(event, Event::Diagnosed(_))), "{sample}");
    }
}

#[test]
fn the_record_of_format_1_is_read_to_the_number_and_written_anew_it_is_the_same() {
    let run = small::fixture("formats/0.1.0/runs/kept");
    let record = Record::read(&run).unwrap();
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let raw: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(record.lines.len(), raw.len());
    for (line, mut raw) in record.lines.iter().zip(raw) {
        // What format 2 calls otherwise.
        match &line.event {
            Event::Planned(plan) => {
                assert_eq!(plan.format, 1);
                raw["format"] = json!(1);
            }
            Event::Step(_) => {
                let step = raw.as_object_mut().unwrap();
                let part =
                    ["task", "loss", "tokens", "examples"].map(|name| (name.to_owned(), step.remove(name).unwrap()));
                step.insert("tasks".to_owned(), json!([Value::Object(part.into_iter().collect())]));
            }
            _ => {}
        }
        assert_eq!(serde_json::to_value(line).unwrap(), raw);
    }
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
    let plan = Plan::new(&recipe, &prepared).unwrap();
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
