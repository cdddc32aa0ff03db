//! Which tasks help a target: the runs of a selection, what becomes of one that was interrupted, and what it says.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::compare::{Opened, Seeds, Selection, SelectionReport, Series, Verdict};
use polyhead::recipe::Recipe;
use std::path::Path;

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[&["train.epochs=9"], more].concat())
}

fn open(folder: &Path, trainings: f64) -> Selection {
    Selection::open(recipe(folder, &[]), "ner", trainings, &mut |_| {}).unwrap()
}

/// Trains so many of the runs that are not finished; how many that were.
fn train(selection: &Selection, most: usize) -> usize {
    let mut trained = 0;
    for at in 0.. {
        let runs = selection.runs().unwrap();
        let Some(run) = runs.get(at).filter(|_| trained < most) else { break };
        if let Opened::Training(trainer) = selection.open_run(run, &mut |_| {}).unwrap() {
            trainer.for_each(|event| _ = event.unwrap());
            trained += 1;
        }
        assert!(selection.is_finished(run).unwrap());
        selection.tidy(run).unwrap();
    }
    trained
}

fn json(report: &SelectionReport) -> String {
    serde_json::to_string(report).unwrap()
}

#[test]
fn short_trainings_rank_the_tasks_and_whole_ones_with_other_seeds_say_whether_they_help() {
    let folder = tempfile::tempdir().unwrap();
    let selection = open(folder.path(), 9.0);
    let Seeds { probes, confirmations } = selection.seeds();
    assert!(probes >= 2 && confirmations >= 3, "{probes}, {confirmations}");
    let names = |selection: &Selection| -> Vec<String> {
        selection.runs().unwrap().iter().map(|run| selection.name(run)).collect()
    };
    // Whole trainings are known once the probes are done.
    assert_eq!(names(&selection).len(), 2 * probes);
    assert!(selection.conclude().unwrap_err().to_string().contains("expected the probes to be finished"));
    assert_eq!(train(&selection, usize::MAX), 2 * probes + 2 * confirmations);
    assert_eq!(names(&selection)[2 * probes], format!("confirm-alone-seed{}", 42 + probes));
    let report = selection.conclude().unwrap();
    let place = selection.folder().to_owned();
    drop(selection);
    let [probe_seeds, whole_seeds] = &report.seeds;
    assert!(probe_seeds.iter().all(|seed| !whole_seeds.contains(seed)));
    assert_eq!((report.ranked.len(), report.confirmed.len(), report.epochs), (1, 2, [3, 9]));
    let [auxiliary] = &report.ranked[..] else { panic!("one other task") };
    assert!(auxiliary.task == "qa" && auxiliary.cosine.is_some_and(|cosine| cosine.abs() <= 1.0));
    for (at, gain) in auxiliary.gain.values.iter().enumerate() {
        assert!((gain - (auxiliary.score.values[at] - report.alone.values[at])).abs() < 1e-9);
    }
    let helped = report.confirmed[1].verdict == Some(Verdict::Helped);
    assert_eq!(report.chosen, if helped { vec!["qa".to_owned()] } else { Vec::new() });
    // A recipe that trains, of the target and what helps.
    let selected = Recipe::read(&place.join("selected.toml"), &[]).unwrap();
    assert_eq!(selected.tasks.len(), 1 + report.chosen.len());
    assert!(selected.tasks.contains_key("ner") && selected.data["ner"].has_validation());
    let page = std::fs::read_to_string(place.join("selection.md")).unwrap();
    assert!(page.contains("cosine of the gradients") && page.contains(&report.answer()), "{page}");
    assert!(
        !place.join("probe-alone-seed42/best").exists() && place.join("probe-alone-seed42/metrics.jsonl").is_file()
    );
    // No run read the validation data or trained on what it was scored on.
    let run = Recipe::read(&place.join("probe-with-qa-seed42/recipe.toml"), &[]).unwrap();
    assert!(run.data["ner"].validation.is_none() && run.data["ner"].split == Some(0.2));
    assert!(!run.data["qa"].has_validation() && run.train.epochs == 3);
    // Interrupted anywhere, it comes to the same.
    let other = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        train(&open(other.path(), 9.0), 1 + probes);
    }
    let selection = open(other.path(), 9.0);
    train(&selection, usize::MAX);
    assert_eq!(json(&selection.conclude().unwrap()), json(&report));
}

#[test]
fn what_can_not_be_selected_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |recipe: Recipe, target: &str, trainings: f64| {
        Selection::open(recipe, target, trainings, &mut |_| {}).err().expect("refused").to_string()
    };
    let whole = || recipe(folder.path(), &[]);
    assert_eq!(refused(whole(), "pos", 9.0), "target: expected one of the tasks ner, qa, found `pos`");
    assert!(refused(whole(), "ner", 1.0).starts_with("trainings: expected at least "));
    let mut alone = whole();
    alone.tasks.remove("qa");
    assert!(refused(alone, "ner", 9.0).contains("expected some that could help `ner`"));
}
