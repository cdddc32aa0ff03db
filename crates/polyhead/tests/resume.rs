//! A run that was stopped anywhere and resumed ends with the bits of the run that was never stopped: weights, moments,
//! metrics. What is torn or altered is never loaded, what can't be written loses nothing.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cut;
mod small;

use polyhead::infer::Session;
use polyhead::io::{fault, sha256_file};
use polyhead::recipe::{LearningRate, Recipe};
use polyhead::tasks::{TASKS, TaskKind};
use polyhead::train::{Event, Trainer};
use polyhead::{Error, ErrorKind, Result};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Faults are of a whole process: while one test asks for them, no other may write.
static DISK: Mutex<()> = Mutex::new(());

const OVERRIDES: &[&str] =
    &["tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1", "train.save_every=2", "train.diagnostics_every=3", KEPT];

/// The moments of the end are compared too.
const KEPT: &str = "train.keep_optimizer=true";

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[OVERRIDES, more].concat())
}

fn run_folder(folder: &Path) -> PathBuf {
    folder.join("runs/tiny")
}

fn resume(run: &Path, overrides: &[&str]) -> Result<Trainer> {
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    Trainer::resume(run, None, &overrides, TASKS, &mut |_| {})
}

/// Trains to the end, or to the first error.
fn finish(trainer: Trainer) -> Result<Vec<Event>> {
    trainer.collect()
}

/// Takes so many steps and stops as a signal would.
fn stop_after(mut trainer: Trainer, steps: usize) {
    let flag = Arc::new(AtomicBool::new(steps == 0));
    trainer.stop_when(flag.clone());
    let mut taken = 0;
    let mut last = None;
    for event in trainer.by_ref() {
        let event = event.unwrap();
        taken += usize::from(matches!(event, Event::Step(_)));
        if taken >= steps {
            flag.store(true, Ordering::SeqCst);
        }
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Stopped(_) | Event::Finished(_))), "{last:?}");
}

/// Takes so many steps and goes away without a word, as a killed process does.
fn leave_after(trainer: Trainer, steps: usize) {
    let mut left = steps;
    for event in trainer {
        left -= usize::from(matches!(event.unwrap(), Event::Step(_)));
        if left == 0 {
            return;
        }
    }
}

/// The metrics without what a clock says.
fn metrics(run: &Path) -> Vec<Value> {
    // What stands in a temporary folder has its name in it.
    let folder = run.parent().unwrap().parent().unwrap().display().to_string();
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap().replace(&folder, "FOLDER");
    text.lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            let fields = event.as_object_mut().unwrap();
            ["time", "seconds", "balance_seconds", "folder", "model"].iter().for_each(|name| _ = fields.remove(*name));
            event
        })
        .collect()
}

type Outcome = (BTreeMap<String, String>, Vec<Value>);

/// All that must be the same: the digests of weights and moments of the last checkpoint and of the best model, the metrics.
fn outcome(run: &Path) -> Outcome {
    let last = checkpoints(run).pop().unwrap();
    let files = ["model.safetensors", "optimizer.safetensors"].map(|name| last.join(name));
    let name = |path: &Path| path.strip_prefix(run).unwrap().display().to_string();
    let digest = |path: &PathBuf| (name(path), sha256_file(path).unwrap());
    (files.iter().chain([&run.join("best/model.safetensors")]).map(digest).collect(), metrics(run))
}

/// From the oldest to the newest.
fn checkpoints(run: &Path) -> Vec<PathBuf> {
    let number = |path: &PathBuf| path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse::<usize>().ok();
    let mut all: Vec<PathBuf> = fs::read_dir(run).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| number(path).is_some());
    all.sort_by_key(number);
    all
}

fn litter(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().contains(".tmp-") {
            found.push(entry.path());
        } else if entry.path().is_dir() {
            found.extend(litter(&entry.path()));
        }
    }
    found
}

fn assert_same(found: &Outcome, whole: &Outcome, what: &str) {
    assert_eq!(found.0, whole.0, "{what}");
    for (found, whole) in found.1.iter().zip(&whole.1) {
        assert_eq!(found, whole, "{what}");
    }
    assert_eq!(found.1.len(), whole.1.len(), "{what}");
}

/// A run that was never stopped.
fn unbroken() -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    finish(small::trainer(recipe(folder.path(), &[]))).unwrap();
    outcome(&run_folder(folder.path()))
}

#[test]
fn a_run_that_was_stopped_or_left_after_any_step_ends_with_the_bits_of_one_that_was_not() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = unbroken();
    // A process that only went away has to leave a checkpoint first.
    for (way, interrupt, from) in [("stopped", stop_after as fn(Trainer, usize), 0), ("left", leave_after, 3)] {
        for steps in from..=11 {
            let folder = tempfile::tempdir().unwrap();
            let run = run_folder(folder.path());
            interrupt(small::trainer(recipe(folder.path(), &[])), steps);
            finish(resume(&run, &[]).unwrap()).unwrap();
            assert_same(&outcome(&run), &whole, &format!("{way} after {steps} steps"));
        }
    }
    // Stopped again and again.
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 1);
    for _ in 0..11 {
        stop_after(resume(&run, &[]).unwrap(), 1);
    }
    finish(resume(&run, &[]).unwrap()).unwrap();
    assert_same(&outcome(&run), &whole, "stopped after every step");
    // One that has ended only says so again.
    let events = finish(resume(&run, &[]).unwrap()).unwrap();
    assert!(matches!(events.last(), Some(Event::Finished(_))) && !events.iter().any(|e| matches!(e, Event::Step(_))));
    assert_same(&outcome(&run), &whole, "ended");
}

/// Ways to make up a step and to bring its tasks together.
const MODES: &[&[&str]] = &[
    &["train.sample=joint"],
    &["train.sample=joint", "train.balance=pcgrad", "train.accumulate=2", "tasks.qa.batch_size=4"],
    &["train.sample=joint", "train.balance=uncertainty", "tasks.ner.loss_weight=0.5"],
    &["train.balance={ name = 'uncertainty', form = 'liebel', learning_rate = 0.1 }"],
    &["train.sample={ name = 'temperature', temperature = 1.5 }", "tasks.qa.batch_size=3"],
    &["train.sample=proportional", "train.accumulate=2", "train.order=by_length"],
    &["train.epochs=6", "train.evaluate_every=2", "train.patience=2"],
];

/// Strategies that learn: what they know, and what they keep of gradients, comes from the checkpoint.
const LEARNING: &[&[&str]] = &[
    &["train.balance=dwa", "train.sample=annealed", "train.epochs=4"],
    &["train.balance=imtl_l"],
    &["train.sample=exp3"],
    &["train.sample=prediction_gain"],
    &["train.sample=score_gap", "train.evaluate_every=2"],
    &["train.sample={ name = 'autosem', target = 'qa' }", "train.evaluate_every=2"],
    &["train.sample={ name = 'dga', target = 'ner', every = 2 }"],
    &["train.sample={ name = 'multidds', every = 3 }"],
    &["train.sample=joint", "train.balance=gradnorm", "train.epochs=3"],
    &["train.sample=joint", "train.balance=gradvac"],
    &["train.sample=joint", "train.balance=stch", "train.epochs=3"],
    &["train.sample=joint", "train.balance=famo"],
    &["train.sample=joint", "train.balance=sdmgrad"],
    &["train.sample=joint", "train.balance={ name = 'gradient_similarity', target = 'qa' }"],
    &["train.sample=joint", "train.balance=db_mtl"],
    &["train.sample=joint", "train.balance=moco"],
    &["train.sample=joint", "train.balance=excess"],
];

#[test]
fn every_way_to_make_up_a_step_resumes_to_the_bits_of_a_run_that_was_not_stopped() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    for (mode, learns) in MODES.iter().map(|mode| (mode, false)).chain(LEARNING.iter().map(|mode| (mode, true))) {
        let folder = tempfile::tempdir().unwrap();
        finish(small::trainer(recipe(folder.path(), mode))).unwrap();
        let whole = outcome(&run_folder(folder.path()));
        let last = whole.1.iter().filter(|event| event["event"] == "step").count();
        let all = [(last / 2, leave_after as fn(Trainer, usize)), (1, stop_after), (last - 1, stop_after)];
        for (at, interrupt) in all.into_iter().take(if learns { 1 } else { 3 }) {
            let folder = tempfile::tempdir().unwrap();
            let run = run_folder(folder.path());
            interrupt(small::trainer(recipe(folder.path(), mode)), at);
            finish(resume(&run, &[]).unwrap()).unwrap();
            assert_same(&outcome(&run), &whole, &format!("{mode:?}, after {at} of {last} steps"));
        }
    }
}

#[test]
fn how_often_a_run_is_saved_and_evaluated_changes_no_bit_of_its_weights() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let weights = |more: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        finish(small::trainer(recipe(folder.path(), more))).unwrap();
        let last = checkpoints(&run_folder(folder.path())).pop().unwrap();
        ["model.safetensors", "optimizer.safetensors"].map(|name| sha256_file(last.join(name)).unwrap())
    };
    let plain = weights(&[]);
    for more in [
        ["train.save_every=1"],
        ["train.save_every=5"],
        ["train.evaluate_every=1"],
        ["train.evaluate_every=4"],
        ["train.diagnostics_every=1"],
        ["train.diagnostics_every=0"],
    ] {
        assert_eq!(weights(&more), plain, "{more:?}");
    }
}

#[test]
fn no_example_repeats_within_an_epoch_and_none_is_skipped() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    leave_after(small::trainer(recipe(folder.path(), &[])), 4);
    stop_after(resume(&run, &[]).unwrap(), 3);
    finish(resume(&run, &[]).unwrap()).unwrap();
    let mut seen: BTreeMap<(u64, String), Vec<u64>> = BTreeMap::new();
    for event in metrics(&run).iter().filter(|event| event["event"] == "step") {
        let part = &event["tasks"][0];
        let examples = part["examples"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap());
        let task = part["task"].as_str().unwrap().to_owned();
        seen.entry((event["epoch"].as_u64().unwrap(), task)).or_default().extend(examples);
    }
    assert_eq!(seen.len(), 4);
    for (of, mut examples) in seen {
        examples.sort_unstable();
        // Every window of every example once; the data of this test have one window each.
        assert_eq!(examples, (0..24).collect::<Vec<u64>>(), "{of:?}");
    }
}

#[test]
fn a_torn_or_altered_checkpoint_is_never_loaded_and_the_one_before_is() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 6);
    let [before, newest] = checkpoints(&run).try_into().unwrap();
    let from = |overrides: &[&str]| -> (PathBuf, String) {
        let mut notes = String::new();
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        let trainer = Trainer::resume(&run, None, &overrides, TASKS, &mut |note| notes += note).unwrap();
        let resumed = trainer.filter_map(|event| match event.unwrap() {
            Event::Resumed(from) => Some(from.checkpoint),
            _ => None,
        });
        (resumed.take(1).next().unwrap(), notes)
    };
    assert_eq!(from(&[]).0, newest);
    let names: Vec<PathBuf> = fs::read_dir(&newest).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_taken = |what: &str| {
        let (found, notes) = from(&[]);
        assert_eq!(found, before, "{what}");
        assert!(notes.contains("not whole"), "{what}: {notes}");
    };
    for path in &names {
        let bytes = fs::read(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // A checkpoint is refused before anything is made of it, so a whole resume need not be tried each time: the check
        // alone is, hundreds of times, by a truncation every 4 kB and flipped bits all over the file.
        let check = |altered: &[u8], what: &str, whole: bool| {
            fs::write(path, altered).unwrap();
            if whole {
                is_taken(what);
            } else {
                assert!(Trainer::check(&newest).is_err(), "{what}");
            }
        };
        let cuts: Vec<usize> = (0..bytes.len()).step_by(4096).collect();
        for (index, &cut) in cuts.iter().enumerate() {
            check(&bytes[..cut], &format!("{name} cut at {cut}"), index == 0);
        }
        for at in (0..64).map(|n| n * bytes.len() / 64 + n % 3).filter(|&at| at < bytes.len()) {
            let mut altered = bytes.clone();
            altered[at] ^= 1 << (at % 8);
            check(&altered, &format!("{name}, bit {} of byte {at}", at % 8), false);
        }
        fs::remove_file(path).unwrap();
        is_taken(&format!("{name} gone"));
        fs::write(path, &bytes).unwrap();
    }
    assert_eq!(from(&[]).0, newest);
    // With none whole the run says so.
    for checkpoint in checkpoints(&run) {
        fs::write(checkpoint.join("state.json"), "{}").unwrap();
    }
    let error = resume(&run, &[]).err().unwrap();
    assert!(error.kind() == ErrorKind::MissingInput && error.hint_text().is_some(), "{error}");
}

#[test]
fn metrics_that_were_altered_are_kept_aside_and_the_run_goes_on() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = unbroken();
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 5);
    fs::write(run.join("metrics.jsonl"), "{}\n").unwrap();
    finish(resume(&run, &[]).unwrap()).unwrap();
    assert_eq!(outcome(&run).0, whole.0);
    assert_eq!(fs::read_to_string(run.join("metrics.jsonl.1")).unwrap(), "{}\n");
}

#[test]
fn two_trainers_on_one_run_are_one_too_many() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    let mut first = small::trainer(recipe(folder.path(), &[]));
    first.by_ref().take(4).for_each(|event| _ = event.unwrap());
    let error = resume(&run, &[]).err().unwrap();
    assert!(error.to_string().contains("another process") && error.hint_text().is_some(), "{error}");
    drop(first);
    finish(resume(&run, &[]).unwrap()).unwrap();
}

#[test]
fn a_learning_rate_that_the_encoder_decides_is_kept_as_a_number() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let auto = || recipe(folder.path(), &["train.learning_rate=auto"]);
    let run = run_folder(folder.path());
    stop_after(small::trainer(auto()), 3);
    let kept = Recipe::read(&run.join("recipe.toml"), &[]).unwrap();
    // Of the narrow encoder of the tests, the most that there is.
    assert_eq!(kept.train.learning_rate, LearningRate::Fixed(5e-4));
    let file = folder.path().join("auto.toml");
    fs::write(&file, auto().to_toml().unwrap()).unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("learning_rate = \"auto\""));
    let events = finish(Trainer::resume(&run, Some(&file), &[], TASKS, &mut |_| {}).unwrap()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let whole = finish(small::trainer(recipe(other.path(), &["train.learning_rate=5e-4"]))).unwrap();
    assert_eq!(rates(&events), rates(&whole)[3..]);
}

#[test]
fn a_change_of_the_recipe_or_of_the_data_is_refused_unless_it_is_named() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 3);
    let file = folder.path().join("changed.toml");
    fs::write(&file, recipe(folder.path(), &["train.epochs=3", "train.learning_rate=1e-4"]).to_toml().unwrap())
        .unwrap();
    let with = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        Trainer::resume(&run, Some(&file), &overrides, TASKS, &mut |_| {})
    };
    let refused = with(&["train.epochs=3"]).err().unwrap();
    assert!(refused.to_string().contains("train.learning_rate: the run has 0.001, the recipe 0.0001"), "{refused}");
    assert!(!refused.to_string().contains("train.epochs"), "{refused}");
    let events = finish(with(&["train.epochs=3", "train.learning_rate=1e-4"]).unwrap()).unwrap();
    let Some(Event::Finished(end)) = events.last() else { panic!("not finished") };
    assert_eq!(end.steps, 18);

    let data = folder.path().join("ner-train.conll");
    let text = fs::read_to_string(&data).unwrap();
    fs::write(&data, text.replacen("O\n", "O\n\n", 1)).unwrap();
    let refused = resume(&run, &[]).err().unwrap();
    assert!(refused.to_string().contains("data.ner.train"), "{refused}");
}

/// Resumes, and what it had to say.
fn resume_with_notes(run: &Path, overrides: &[&str]) -> Result<(Trainer, String)> {
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    let mut notes = String::new();
    let trainer = Trainer::resume(run, None, &overrides, TASKS, &mut |note| notes += &format!("{note}\n"))?;
    Ok((trainer, notes))
}

/// The learning rate of each step.
fn rates(events: &[Event]) -> Vec<f64> {
    events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step.lr) } else { None }).collect()
}

#[test]
fn a_run_that_is_made_longer_has_the_rates_of_the_changed_recipe_and_says_where_they_jump() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    for longer in ["train.epochs=4", "train.max_steps=20"] {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        // Twelve steps: to the end of the second epoch, or of the limit.
        let begun = if longer.contains("epochs") { "train.epochs=2" } else { "train.max_steps=12" };
        let more: &[&str] = if longer.contains("epochs") { &[] } else { &["train.epochs=9"] };
        finish(small::trainer(recipe(folder.path(), &[more, &[begun]].concat()))).unwrap();
        let (trainer, notes) = resume_with_notes(&run, &[longer]).unwrap();
        let found = rates(&finish(trainer).unwrap());
        let whole = tempfile::tempdir().unwrap();
        let expected = rates(&finish(small::trainer(recipe(whole.path(), &[more, &[longer]].concat()))).unwrap());
        assert_eq!(found, expected[12..], "{longer}");
        assert!(notes.contains(&format!("step 13 is {:.3e}", expected[12])), "{notes}");
        assert!(notes.contains("it would have been 0.000e0 (12 steps, 1 of them warm-up)"), "{notes}");
    }
}

#[test]
fn what_a_change_does_to_the_rate_and_to_the_epoch_under_way_is_told_and_nothing_where_nothing_changed() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 3);
    let notes = |overrides: &[&str]| resume_with_notes(&run, overrides).unwrap().1;
    let (rate, deals) = ("the learning rate follows the changed recipe", "until it ends some examples may come twice");
    let plain = notes(&[]);
    assert!(!plain.contains(rate) && !plain.contains(deals), "{plain}");
    // `recipe.toml` is written when a run is opened: it is put back as the run has it.
    let kept = fs::read_to_string(run.join("recipe.toml")).unwrap();
    for (change, told) in [
        ("train.learning_rate=5e-4", vec![rate]),
        ("train.warmup=0.5", vec![rate]),
        ("train.epochs=3", vec![rate]),
        ("tasks.ner.batch_size=4", vec![rate, deals, "tasks.ner.batch_size changes the batches"]),
        ("seed=7", vec![deals]),
        ("tasks.qa.loss_weight=2.0", vec![]),
        ("train.evaluate_every=5", vec![]),
    ] {
        let notes = notes(&[change]);
        for part in [rate, deals] {
            assert_eq!(notes.contains(part), told.contains(&part), "{change}: {notes}");
        }
        assert!(told.iter().all(|part| notes.contains(part)), "{change}: {notes}");
        fs::write(run.join("recipe.toml"), &kept).unwrap();
    }
}

#[test]
fn a_finished_run_keeps_its_models_and_no_optimiser_and_says_why_it_can_not_be_made_longer() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    finish(small::trainer(recipe(folder.path(), &["train.keep_optimizer=false"]))).unwrap();
    let [last] = checkpoints(&run).try_into().unwrap();
    assert!(last.ends_with("checkpoint-12") && !last.join("optimizer.safetensors").exists());
    Trainer::check(&last).unwrap();
    for model in [&last, &run.join("best")] {
        assert!(Session::open(model).is_ok());
    }
    let weights = sha256_file(last.join("model.safetensors")).unwrap();
    let whole = unbroken();
    assert_eq!(Some(&weights), whole.0.get("checkpoint-12/model.safetensors"));
    // Its end can be told again, and nothing more.
    let events = finish(resume(&run, &[]).unwrap()).unwrap();
    assert!(matches!(events.last(), Some(Event::Finished(_))) && rates(&events).is_empty());
    let error = resume(&run, &["train.epochs=3"]).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("finished after 12 steps and can't go on to train.epochs = 3"), "{error}");
    let hint = error.hint_text().unwrap();
    assert!(hint.contains("train.keep_optimizer=true") && hint.contains("checkpoint-12"), "{hint}");
    // A checkpoint of a run that has not ended is torn without it.
    let other = tempfile::tempdir().unwrap();
    stop_after(small::trainer(recipe(other.path(), &[])), 3);
    let newest = checkpoints(&run_folder(other.path())).pop().unwrap();
    let manifest = fs::read_to_string(newest.join("MANIFEST.json")).unwrap();
    let (before, rest) = manifest.split_once("    \"optimizer.safetensors\": {").unwrap();
    let (_, after) = rest.split_once("},\n").unwrap();
    fs::write(newest.join("MANIFEST.json"), format!("{before}{after}")).unwrap();
    assert!(Trainer::check(&newest).unwrap_err().to_string().contains("optimizer.safetensors"));
}

#[test]
fn a_recipe_that_was_edited_in_the_run_folder_is_noticed() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    stop_after(small::trainer(recipe(folder.path(), &[])), 3);
    let file = run.join("recipe.toml");
    let kept = fs::read_to_string(&file).unwrap();
    fs::write(&file, kept.replacen("epochs = 2", "epochs = 3", 1)).unwrap();
    let error = resume(&run, &[]).err().unwrap();
    assert!(error.to_string().contains("was edited: train.epochs: the run has 2, the recipe 3"), "{error}");
    assert!(error.hint_text().unwrap().contains("--set train.epochs=3"), "{:?}", error.hint_text());
    assert!(fs::read_to_string(&file).unwrap().contains("epochs = 3"), "the edit is not written over");
    let events = finish(resume(&run, &["train.epochs=3"]).unwrap()).unwrap();
    assert!(matches!(events.last(), Some(Event::Finished(end)) if end.steps == 18));
    fs::write(&file, "name = ").unwrap();
    assert!(resume(&run, &[]).err().unwrap().to_string().contains("recipe.toml:1"));
    fs::remove_file(&file).unwrap();
    finish(resume(&run, &[]).unwrap()).unwrap();
    assert!(file.is_file(), "what is missing is written again");
}

#[test]
fn a_run_that_was_killed_before_its_first_checkpoint_begins_again_in_its_folder_with_the_same_bits() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = unbroken();
    for steps in [1, 5] {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        // The second is killed after an evaluation, whose model is there.
        let sparse = ["train.save_every=6", "train.evaluate_every=4"];
        leave_after(small::trainer(recipe(folder.path(), if steps == 1 { &[] } else { &sparse })), steps);
        assert!(checkpoints(&run).is_empty());
        if steps == 1 {
            let none = Session::open(&run).err().unwrap();
            assert_eq!(none.kind(), ErrorKind::MissingInput);
            assert!(none.to_string().contains("this run has no model yet"), "{none}");
            assert!(none.hint_text().unwrap().contains("train --resume"), "{:?}", none.hint_text());
            let changed = Trainer::resume(&run, Some(&run.join("recipe.toml")), &["seed=7".into()], TASKS, &mut |_| {});
            drop(changed.unwrap());
            fs::write(run.join("recipe.toml"), recipe(folder.path(), &[]).to_toml().unwrap()).unwrap();
        }
        let (trainer, notes) = resume_with_notes(&run, &[]).unwrap();
        assert!(notes.contains("it begins again in its folder"), "{notes}");
        assert_eq!(trainer.folder(), run);
        finish(trainer).unwrap();
        if steps == 1 {
            assert_same(&outcome(&run), &whole, "killed after a step");
            assert!(!run.join("metrics.jsonl.1").exists());
        } else {
            let fresh = tempfile::tempdir().unwrap();
            finish(small::trainer(recipe(fresh.path(), &sparse))).unwrap();
            assert_same(&outcome(&run), &outcome(&run_folder(fresh.path())), "killed after an evaluation");
            assert!(fs::read_to_string(run.join("metrics.jsonl.1")).unwrap().contains("evaluated"));
        }
        assert_eq!(fs::read_dir(run.parent().unwrap()).unwrap().count(), 1, "no second folder is made");
        assert!(litter(&run).is_empty());
    }
    // A folder of something else is none of a run.
    let other = tempfile::tempdir().unwrap();
    let error = resume(other.path(), &[]).err().unwrap();
    assert!(error.to_string().contains("expected a run folder, found no recipe.toml"), "{error}");
}

#[test]
fn a_stop_during_an_evaluation_leaves_it_and_the_run_comes_to_the_same_bits_and_metrics() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let kinds = [TaskKind::of::<cut::Stopping>()];
    let recipe = |folder: &Path| {
        let [train, validation] = [("train", 24), ("validation", 800)]
            .map(|(name, examples)| small::write_data(small::kind("ner"), name, &vec![9; examples], folder));
        let text = format!(
            "name = 'tiny'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
             train = {{ epochs = 2, learning_rate = 1e-3, feature_cache = false, evaluate_every = 2, keep_optimizer = true }}\n\
             tasks.cut = {{ max_length = 48, stride = 8, batch_size = 8 }}\n\
             data.cut = {{ train = {train:?}, validation = {validation:?} }}\n",
            folder.join("runs"),
            small::fixture("tiny-bert"),
        );
        Recipe::parse(&text, Path::new("cut.toml"), &[]).unwrap()
    };
    let whole = tempfile::tempdir().unwrap();
    finish(Trainer::with_tasks(recipe(whole.path()), &kinds, &mut |_| {}).unwrap()).unwrap();
    let whole = outcome(&run_folder(whole.path()));
    // Evaluations after 2, 3, 4 and 6 of 6 steps, of 800 answers each in several packs; the flag is set in the first pack.
    for evaluation in 0..4 {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        cut::STOP.store(false, Ordering::SeqCst);
        cut::STOP_AFTER.store(evaluation * 800 + 1, Ordering::SeqCst);
        let mut trainer = Trainer::with_tasks(recipe(folder.path()), &kinds, &mut |_| {}).unwrap();
        trainer.stop_when(cut::STOP.clone());
        let events = finish(trainer).unwrap();
        assert!(matches!(events.last(), Some(Event::Stopped(_))), "{:?}", events.last());
        finish(Trainer::resume(&run, None, &[], &kinds, &mut |_| {}).unwrap()).unwrap();
        assert_same(&outcome(&run), &whole, &format!("stopped in evaluation {evaluation}"));
    }
}

#[test]
fn a_disk_that_fails_at_any_write_loses_nothing_and_leaves_nothing_half_written() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let whole = unbroken();
    let mut failures = 0;
    for others in 0.. {
        let folder = tempfile::tempdir().unwrap();
        let run = run_folder(folder.path());
        let recipe = recipe(folder.path(), &["train.save_every=5"]);
        fault::fail_after(Some(others));
        let ended: Result<()> = Trainer::new(recipe, &mut |_| {}).and_then(|trainer| finish(trainer).map(|_| ()));
        fault::fail_after(None);
        let Err(error) = ended else { break };
        failures += 1;
        assert_eq!(error.kind(), ErrorKind::CannotWrite, "{error}");
        assert!(error.place().is_some(), "{error}");
        assert!(!run.exists() || litter(&run).is_empty(), "write {others}: {:?}", litter(&run));
        if !run.exists() || checkpoints(&run).is_empty() {
            continue;
        }
        for checkpoint in checkpoints(&run) {
            Trainer::check(&checkpoint).unwrap();
        }
        // With room again the run goes on to the same end.
        if others % 9 == 0 {
            finish(resume(&run, &[]).unwrap()).unwrap();
            assert_same(&outcome(&run), &whole, &format!("write {others}"));
        }
    }
    assert!(failures > 60, "only {failures} writes were tried");
}

#[test]
fn a_loss_that_is_not_finite_stops_before_the_update_and_keeps_the_last_good_checkpoint() {
    let _disk = DISK.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path());
    let trainer = small::trainer(recipe(folder.path(), &["train.learning_rate=1e30", "train.max_grad_norm=0.0"]));
    let error: Error = finish(trainer).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("not finite") && told.contains("-train."), "{told}");
    checkpoints(&run).iter().for_each(|checkpoint| Trainer::check(checkpoint).unwrap());
}
