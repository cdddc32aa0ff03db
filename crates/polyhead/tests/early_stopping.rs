//! Early stopping: a run ends where its evaluations say, keeps the best model, and comes to the same end stopped and resumed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::ErrorKind;
use polyhead::infer::Session;
use polyhead::io::sha256_file;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Evaluated, Event, Finished, Trainer};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 36 steps in six epochs, and 18 evaluations.
const LONG: &[&str] = &["train.epochs=6", "train.evaluate_every=2", "train.save_every=1", "train.keep_checkpoints=99"];

fn train(folder: &Path, more: &[&str]) -> (PathBuf, Vec<Event>) {
    let mut trainer = small::trainer(small::recipe(folder, &[LONG, more].concat()));
    let run = trainer.folder().to_owned();
    (run, trainer.by_ref().map(Result::unwrap).collect())
}

fn evaluations(events: &[Event]) -> Vec<&Evaluated> {
    events.iter().filter_map(|event| if let Event::Evaluated(of) = event { Some(of) } else { None }).collect()
}

fn end(events: &[Event]) -> &Finished {
    if let Some(Event::Finished(end)) = events.last() { end } else { panic!("the end comes last") }
}

/// The lines of the metrics without what a clock says and where the run lies.
fn metrics(run: &Path) -> Vec<Value> {
    let folder = run.parent().unwrap().parent().unwrap().display().to_string();
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap().replace(&folder, "FOLDER");
    let line = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let fields = event.as_object_mut().unwrap();
        ["time", "seconds", "balance_seconds", "folder", "model"].iter().for_each(|name| _ = fields.remove(*name));
        event
    };
    text.lines().map(line).collect()
}

/// Where the rule ends a run whose evaluations came to these values: the step, and that of the best. Written down as
/// `EarlyStoppingCallback` of transformers counts.
fn expected(evaluations: &[&Evaluated], patience: usize) -> Option<(usize, usize)> {
    let (mut best, mut best_step, mut counter) = (f64::NEG_INFINITY, 0, 0);
    for of in evaluations {
        if of.value.unwrap() > best {
            (best, best_step, counter) = (of.value.unwrap(), of.step, 0);
        } else {
            counter += 1;
        }
        if counter >= patience {
            return Some((of.step, best_step));
        }
    }
    None
}

#[test]
fn a_run_ends_when_as_many_evaluations_as_it_has_patience_bring_no_gain_and_is_the_longer_run_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let (whole_run, whole) = train(folder.path(), &[]);
    let whole_evaluations = evaluations(&whole);
    assert_eq!((end(&whole).steps, end(&whole).stopped_early), (36, false));
    let mut ends = Vec::new();
    for patience in [1, 2, 3] {
        let Some((last, best)) = expected(&whole_evaluations, patience) else { continue };
        let folder = tempfile::tempdir().unwrap();
        let (run, events) = train(folder.path(), &[&format!("train.patience={patience}"), "train.keep_optimizer=true"]);
        let finished = end(&events);
        assert_eq!((finished.steps, finished.stopped_early), (last, last < 36), "patience {patience}");
        // The same losses, rates and scores as of the run that goes on: the rate spans the planned steps.
        let [mut found, mut of_whole] = [metrics(&run), metrics(&whole_run)];
        assert_eq!(found[0]["patience"], json!(patience));
        assert_eq!(
            (&found[0]["steps"], &found[0]["warmup_steps"]),
            (&of_whole[0]["steps"], &of_whole[0]["warmup_steps"])
        );
        assert_eq!(found.pop().unwrap()["stopped_early"], json!(true));
        assert!(of_whole.len() > found.len());
        for (found, whole) in found.drain(1..).zip(of_whole.drain(1..)) {
            assert_eq!(found, whole, "patience {patience}");
        }
        // The best model is kept: bit for bit that of the checkpoint of its step, and what a run folder answers with.
        let weights = |folder: PathBuf| sha256_file(folder.join("model.safetensors")).unwrap();
        assert_eq!(weights(run.join("best")), weights(run.join(format!("checkpoint-{best}"))));
        assert_ne!(weights(run.join("best")), weights(run.join(format!("checkpoint-{last}"))));
        let session = Session::open(&run).unwrap();
        let of_best = whole_evaluations.iter().find(|of| of.step == best).unwrap();
        assert_eq!(session.model.about.epoch, Some(of_best.epoch));
        assert_eq!((finished.best_epoch, &finished.scores), (of_best.epoch, &of_best.scores));
        // The record in Hugging Face's form, and the report.
        let state: Value = serde_json::from_slice(&fs::read(run.join("trainer_state.json")).unwrap()).unwrap();
        let callback = &state["stateful_callbacks"]["EarlyStoppingCallback"];
        assert_eq!(callback["attributes"]["early_stopping_patience_counter"], json!(patience));
        assert_eq!((&state["best_global_step"], &state["max_steps"]), (&json!(best), &json!(36)));
        let report = report(&run);
        assert!(report.contains(&format!("Training ended early, after {last} of 36 steps: ")), "{report}");
        assert!(report.contains(&format!("(train.patience = {patience})")), "{report}");
        ends.push(last);
    }
    assert!(ends.len() > 1 && ends.iter().any(|&last| last < 36), "the data of this test stop early: {ends:?}");
    assert!(!report(&whole_run).contains("ended early"));
}

fn report(run: &Path) -> String {
    let depth = polyhead::report::Depth::Records;
    let document = polyhead::report::report(&[run.to_owned()], TASKS, depth, &mut |_| {}).unwrap();
    polyhead::report::markdown::page(&document)
}

/// Takes so many steps and stops as a signal would.
fn stop_after(mut trainer: Trainer, steps: usize) {
    let flag = Arc::new(AtomicBool::new(steps == 0));
    trainer.stop_when(flag.clone());
    let mut taken = 0;
    for event in trainer.by_ref() {
        taken += usize::from(matches!(event.unwrap(), Event::Step(_)));
        flag.store(taken >= steps, Ordering::SeqCst);
    }
}

fn resume(run: &Path, overrides: &[&str]) -> polyhead::Result<Trainer> {
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    Trainer::resume(run, None, &overrides, TASKS, &mut |_| {})
}

/// All that must be the same.
fn outcome(run: &Path, last: usize) -> (Vec<String>, Vec<Value>) {
    let last = format!("checkpoint-{last}");
    let files = [last.as_str(), &last, "best"].into_iter().zip(["model", "optimizer", "model"]);
    let digest = |(folder, file): (&str, &str)| sha256_file(run.join(folder).join(file.to_owned() + ".safetensors"));
    (files.map(|of| digest(of).unwrap()).collect(), metrics(run))
}

#[test]
fn a_run_that_was_stopped_after_any_step_ends_early_at_the_same_step_with_the_same_bits() {
    let more = ["train.patience=2", "train.keep_optimizer=true"];
    let folder = tempfile::tempdir().unwrap();
    let (run, events) = train(folder.path(), &more);
    let last = end(&events).steps;
    assert!(end(&events).stopped_early);
    let whole = outcome(&run, last);
    for steps in 0..=last {
        let folder = tempfile::tempdir().unwrap();
        let trainer = small::trainer(small::recipe(folder.path(), &[LONG, &more].concat()));
        let run = trainer.folder().to_owned();
        stop_after(trainer, steps);
        let events: Vec<Event> = resume(&run, &[]).unwrap().map(Result::unwrap).collect();
        assert_eq!((end(&events).steps, end(&events).stopped_early), (last, true));
        assert_eq!(outcome(&run, last), whole, "stopped after {steps} of {last} steps");
    }
    // What has ended early only says so again.
    let events: Vec<Event> = resume(&run, &[]).unwrap().map(Result::unwrap).collect();
    assert!(end(&events).stopped_early && !events.iter().any(|event| matches!(event, Event::Step(_))));
    assert_eq!(outcome(&run, last), whole);
}

#[test]
fn more_patience_makes_a_run_longer_that_kept_its_optimiser_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let (run, events) = train(folder.path(), &["train.patience=1", "train.keep_optimizer=true"]);
    assert!(end(&events).stopped_early);
    let longer: Vec<Event> = resume(&run, &["train.patience=5"]).unwrap().map(Result::unwrap).collect();
    assert!(end(&longer).steps > end(&events).steps);
    let other = tempfile::tempdir().unwrap();
    let (patient, events) = train(other.path(), &["train.patience=5", "train.keep_optimizer=true"]);
    assert_eq!(end(&longer).steps, end(&events).steps);
    assert_eq!(outcome(&run, end(&events).steps).0, outcome(&patient, end(&events).steps).0);

    let (run, _) = train(other.path(), &["train.patience=1"]);
    let error = resume(&run, &["train.patience=5"]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("can't go on to train.patience = 5: its optimiser's state"), "{error}");
}

#[test]
fn patience_without_scores_to_judge_by_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = small::recipe_text(folder.path());
    let refused = |text: &str, overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        let error = Recipe::parse(text, Path::new("x.toml"), &overrides).unwrap_err();
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    };
    let message = refused(&text, &["train.patience=0"]);
    assert!(message.contains("train.patience: expected at least 1, found 0"), "{message}");
    let message = refused(&text, &["train.patience=2.5"]);
    assert!(message.contains("train.patience: expected a whole number"), "{message}");
    let without = "name = 'x'\nencoder.checkpoint = 'x'\ntasks.ner = {}\ndata.ner.train = 'x'\n[train]\npatience = 2\n";
    let message = refused(without, &[]);
    assert!(message.contains("x.toml:6:1: train.patience: expected validation data"), "{message}");
    assert!(message.contains("add data.NAME.validation or data.NAME.split"), "{message}");
}
