//! What a search promises: within its budget, on training data alone, the same result after any interruption and by however many
//! processes, and a recipe that trains.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::recipe::{LearningRate, Recipe};
use polyhead::train::{Event, Trainer};
use polyhead::tune::{Budget, Next, Report, SearchedKey, Settings, Tuning};
use polyhead::{ErrorKind, Result};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Enough examples for a fifth of a quarter of them; and validation data that are not there.
const RECIPE: &[&str] =
    &["name=found", "train.epochs=2", "data.ner.validation=nowhere.conll", "data.qa.validation=nowhere.json"];

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[RECIPE, more].concat())
}

fn settings(budget: Budget) -> Settings {
    Settings { budget, ..Settings::default() }
}

fn open(recipe: Recipe, settings: Settings) -> Result<Tuning> {
    Tuning::open(recipe, settings, &mut |_| {})
}

/// Trains what there is to train; the names of the trials.
fn go_on(tuning: &Tuning) -> Vec<String> {
    let mut trained = Vec::new();
    loop {
        match tuning.next(&mut |_| {}).unwrap() {
            Next::Train(mut training) => {
                let failed = training.trainer.by_ref().find_map(Result::err);
                tuning.end(&training.trial, failed).unwrap();
                trained.push(training.trial.name());
            }
            Next::Wait => std::thread::sleep(Duration::from_millis(5)),
            Next::Done => return trained,
        }
    }
}

fn search(recipe: Recipe, budget: Budget) -> (Report, Tuning) {
    let tuning = open(recipe, settings(budget)).unwrap();
    go_on(&tuning);
    (tuning.conclude().unwrap(), tuning)
}

#[test]
fn a_search_trains_rung_by_rung_and_the_recipe_that_it_finds_trains() {
    let folder = tempfile::tempdir().unwrap();
    // 6 quarters, 2 halves, 1 whole one.
    let tuning = open(recipe(folder.path(), &[]), settings(Budget::Trainings(3.5))).unwrap();
    let trained = go_on(&tuning);
    let rung = |number: usize| trained.iter().filter(|name| name.starts_with(&format!("rung{number}-"))).count();
    assert_eq!([rung(0), rung(1), rung(2)], [6, 2, 1]);
    let report = tuning.conclude().unwrap();
    assert!(report.is_complete && report.best.trial.rung == 2, "{report:?}");
    assert_eq!(report.trials.len(), 9);
    assert_eq!(report.importance.len(), 4);

    // A trial is an ordinary run, on its share of the examples, of which a part is held out; nothing large of it stays.
    let run = tuning.folder().join("trials/rung0-trial03/run");
    let own = Recipe::read(&run.join("recipe.toml"), &[]).unwrap();
    let whole = recipe(folder.path(), &[]);
    let examples = |recipe: &Recipe, name: &str| recipe.data[name].limit;
    assert_eq!(
        (examples(&own, "ner"), own.data["ner"].split, &own.data["ner"].validation),
        (Some(6), Some(0.2), &None)
    );
    assert_eq!(examples(&whole, "ner"), None);
    assert!(run.join("metrics.jsonl").is_file() && !run.join("best").exists());
    assert!(
        fs::read_dir(&run).unwrap().all(|entry| !entry
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with("checkpoint"))
    );

    // What was found is a recipe with the settings of the best trial, and the rest as it was.
    let found = Recipe::read(&tuning.folder().join("best.toml"), &[]).unwrap();
    let rate = report.best.settings[0].strip_prefix("train.learning_rate=").unwrap().parse().unwrap();
    assert_eq!((found.train.learning_rate, found.name.as_str()), (LearningRate::Fixed(rate), "found-tuned"));
    assert_eq!((found.train.epochs, &found.data["ner"].validation), (2, &whole.data["ner"].validation));
    let mut trains = found;
    trains.data.values_mut().for_each(|data| data.validation = None);
    let events: Result<Vec<Event>> = Trainer::new(trains, &mut |_| {}).unwrap().collect();
    assert!(matches!(events.unwrap().last(), Some(Event::Finished(_))));

    for page in ["tune.html", "tune.md"] {
        let text = fs::read_to_string(tuning.folder().join(page)).unwrap();
        for part in ["What matters", "rung2-trial", "train.learning_rate", "polyhead train"] {
            assert!(text.contains(part), "{page}: {part}");
        }
    }
}

#[test]
fn a_search_that_was_stopped_anywhere_comes_to_the_same_end() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, cut] = [&folders[0], &folders[1]].map(|folder| recipe(folder.path(), &["train.save_every=1"]));
    let (_, whole) = search(whole, Budget::Trainings(2.0));
    let mut cuts = 0;
    let tuning = loop {
        // Each time a new process, which is stopped after two steps.
        let tuning = open(cut.clone(), settings(Budget::Trainings(2.0))).unwrap();
        let Next::Train(mut training) = tuning.next(&mut |_| {}).unwrap() else { break tuning };
        let stop = Arc::new(AtomicBool::new(false));
        training.trainer.stop_when(stop.clone());
        let mut last = None;
        for (at, event) in training
            .trainer
            .by_ref()
            .filter(|event| matches!(event, Ok(Event::Step(_) | Event::Finished(_) | Event::Stopped(_))))
            .enumerate()
        {
            stop.store(at >= 1, Ordering::SeqCst);
            last = Some(event.unwrap());
        }
        match last {
            Some(Event::Finished(_)) => tuning.end(&training.trial, None).unwrap(),
            _ => cuts += 1,
        }
    };
    tuning.conclude().unwrap();
    assert!(cuts > 4, "{cuts}");
    assert_eq!(small::timeless(&tuning.folder().join("tune.json")), small::timeless(&whole.folder().join("tune.json")));
}

#[test]
fn several_processes_share_the_trials_and_find_what_one_finds() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (_, alone) = search(recipe(folders[0].path(), &[]), Budget::Trainings(3.5));
    let recipe = recipe(folders[1].path(), &[]);
    let trained: Vec<Vec<String>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| go_on(&open(recipe.clone(), settings(Budget::Trainings(3.5))).unwrap())))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let all: Vec<String> = trained.concat();
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "no trial twice: {trained:?}");
    let together = open(recipe, settings(Budget::Trainings(3.5))).unwrap();
    assert!(go_on(&together).is_empty());
    together.conclude().unwrap();
    assert_eq!(
        small::timeless(&together.folder().join("tune.json")),
        small::timeless(&alone.folder().join("tune.json"))
    );
}

#[test]
fn settings_that_do_not_train_lose_and_the_search_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (report, _) = search(recipe(folder.path(), &["train.learning_rate=1e30"]), Budget::Trainings(2.0));
    let first = &report.trials[0];
    assert!(first.value.is_none() && first.failed.as_ref().unwrap().contains("finite"), "{first:?}");
    assert!(report.best.trial.number == 1 && report.best.value.is_some());
}

#[test]
fn a_budget_of_steps_or_minutes_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let steps = |name: &str, budget| {
        let tuning = open(recipe(folder.path(), &[&format!("name={name}")]), settings(budget)).unwrap();
        (go_on(&tuning).len(), tuning)
    };
    let whole = {
        let mut recipe = recipe(folder.path(), &["name=whole"]);
        recipe.data.values_mut().for_each(|data| data.validation = None);
        let events: Vec<Event> = Trainer::new(recipe, &mut |_| {}).unwrap().map(Result::unwrap).collect();
        events.iter().filter(|event| matches!(event, Event::Step(_))).count()
    };
    assert_eq!(steps("two", Budget::Steps(2 * whole)).0, 4);
    assert_eq!(steps("more", Budget::Steps(7 * whole / 2)).0, 9);
    // A tenth of a second buys few of these, if any beyond the first; an hour the most that there are, of which some are enough.
    let tuning = open(recipe(folder.path(), &["name=short"]), settings(Budget::Minutes(1e-6))).unwrap();
    let Next::Train(mut training) = tuning.next(&mut |_| {}).unwrap() else { panic!("no trial") };
    training.trainer.by_ref().for_each(|event| drop(event.unwrap()));
    tuning.end(&training.trial, None).unwrap();
    let error = tuning.next(&mut |_| {}).err().expect("too short for two trials");
    assert!(error.to_string().contains("expected at least --minutes"), "{error}");
    let refused = open(recipe(folder.path(), &["name=few"]), settings(Budget::Trainings(1.0))).err().unwrap();
    assert!(refused.to_string().contains("budget: expected at least --trainings 2.00, found 1"), "{refused}");
}

#[test]
fn another_search_in_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let open = |more: &[&str], settings| open(recipe(folder.path(), more), settings);
    // As long as nothing is trained, another search may take its place.
    open(&["train.epochs=4"], settings(Budget::Trainings(2.0))).unwrap();
    let tuning = open(&[], settings(Budget::Trainings(2.0))).unwrap();
    drop(tuning.next(&mut |_| {}).unwrap());
    open(&[], settings(Budget::Trainings(2.0))).unwrap();
    let other_keys = Settings { keys: vec![SearchedKey::Epochs], ..settings(Budget::Trainings(2.0)) };
    for (refused, part) in [
        (open(&["train.epochs=3"], settings(Budget::Trainings(2.0))), "train.epochs (2 there, 3 here)"),
        (open(&[], settings(Budget::Trainings(3.0))), "the budget or the keys"),
        (open(&[], other_keys), "the budget or the keys"),
    ] {
        let error = refused.err().expect("another search");
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(part), "{error}");
    }
    fs::create_dir_all(folder.path().join("runs/other-tune/thesis")).unwrap();
    let error = open(&["name=other"], Settings::default()).err().expect("something else");
    assert!(error.to_string().contains("expected a search here or nothing, found `thesis`"), "{error}");
}
