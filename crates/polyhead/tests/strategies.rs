//! Strategies against each other: their runs, what comes of a second call, and what is said of them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::compare::{Group, Opened, Series, StrategyComparison, StrategyReport, Verdict, entries};
use polyhead::recipe::Recipe;
use std::path::Path;

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

fn recipe(folder: &Path) -> Recipe {
    small::recipe(folder, &["train.epochs=1", "train.diagnostics_every=3"])
}

/// Trains what is not finished; how many runs that were, and what came of all.
fn compare(folder: &Path, balance: &[&str], sample: &[&str], seeds: &[u64]) -> (usize, StrategyReport) {
    let recipe = recipe(folder);
    let entries =
        entries(&recipe, &[(Group::Balance, &names(balance)), (Group::Sample, &names(sample))], None, &mut |_| {})
            .unwrap();
    let comparison = StrategyComparison::open(recipe, entries, seeds, &mut |_| {}).unwrap();
    let mut trained = 0;
    for run in comparison.runs().unwrap() {
        if let Opened::Training(trainer) = comparison.open_run(&run, &mut |_| {}).unwrap() {
            trainer.for_each(|event| _ = event.unwrap());
            trained += 1;
        }
        assert!(comparison.is_finished(&run).unwrap());
        comparison.tidy(&run).unwrap();
    }
    (trained, comparison.conclude().unwrap())
}

#[test]
fn each_strategy_stands_beside_the_plain_one_and_what_is_finished_is_not_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let (trained, report) = compare(folder.path(), &["gls", "pcgrad"], &["annealed"], &[1, 2]);
    assert_eq!(trained, 2 * (3 + 2));
    let [balance, sample] = report.groups.as_slice() else { panic!("two groups") };
    let of = |group: &polyhead::compare::GroupReport| {
        group.entries.iter().map(|entry| entry.strategy.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!((of(balance), of(sample)), (names(&["equal", "gls", "pcgrad"]), names(&["round_robin", "annealed"])));
    // Two strategies, two tasks and their mean.
    assert_eq!((balance.intervals, sample.intervals), (6, 3));
    for group in &report.groups {
        let (plain, others) = group.entries.split_first().unwrap();
        assert!(plain.mean.difference.is_none() && plain.mean.verdict.is_none());
        for entry in others {
            let difference = entry.mean.difference.as_ref().unwrap();
            for (seed, value) in difference.values.iter().enumerate() {
                let tasks = |entry: &polyhead::compare::EntryReport| {
                    entry.tasks.iter().map(|task| task.score.values[seed]).sum::<f64>() / 2.0
                };
                assert!((value - (tasks(entry) - tasks(plain))).abs() < 1e-9);
            }
            assert_ne!(entry.mean.verdict, Some(Verdict::OneSeed));
            assert!(entry.step_seconds.mean > 0.0);
        }
    }
    // In joint steps both tasks have a batch in each.
    assert!(balance.entries.iter().all(|entry| entry.updates["ner"] == entry.updates["qa"]));
    let name = &recipe(folder.path()).name;
    let place = recipe(folder.path()).output.join(format!("{name}-strategies"));
    assert!(!place.join("balance-gls-seed1/best").exists() && place.join("balance-gls-seed1/metrics.jsonl").is_file());
    let page = std::fs::read_to_string(place.join("strategies.md")).unwrap();
    assert!(page.contains("| gls |") && page.contains("Bonferroni"), "{page}");
    // Curves of the weights that moved and of the batches that were drawn; the angles between the gradients.
    let curves: Vec<usize> = balance.entries.iter().map(|entry| entry.curves.len()).collect();
    assert_eq!(curves, [0, 2, 2]);
    assert!(sample.entries.iter().all(|entry| entry.curves.len() == 2));
    let [pair] = &balance.cosines[..] else { panic!("one pair of tasks") };
    assert!((pair.a.as_str(), pair.b.as_str()) == ("ner", "qa") && pair.mean.values.len() == 2);
    assert!(page.contains("How the weights moved") && page.contains("| ner and qa |"), "{page}");
    // The same again does nothing; a seed and a strategy more train what is new.
    let (trained, again) = compare(folder.path(), &["gls", "pcgrad"], &["annealed"], &[1, 2]);
    assert_eq!(trained, 0);
    assert_eq!(serde_json::to_string(&again).unwrap(), serde_json::to_string(&report).unwrap());
    let (trained, more) = compare(folder.path(), &["gls", "nash"], &[], &[1, 2, 3]);
    assert_eq!((trained, more.groups.len()), (2 + 3, 1));
}

#[test]
fn names_that_are_none_and_targets_that_are_missing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path());
    let mut left_out = Vec::new();
    let mut whole = |target| {
        let mut note = |note: &str| left_out.push(note.to_owned());
        entries(&recipe, &[(Group::Balance, &names(&["all"])), (Group::Sample, &names(&["all"]))], target, &mut note)
            .unwrap()
    };
    // Two samplers and a balancer can do nothing without a target.
    let without = whole(None).len();
    assert_eq!(whole(Some("qa")).len(), without + 3);
    // Nor two balancers without one batch for all tasks.
    for name in ["mgda_ub", "graddrop"] {
        let told = |note: &String| note.starts_with(&format!("`{name}` is left out: ")) && note.contains("one batch");
        assert!(left_out.iter().any(told), "{left_out:?}");
    }
    for (balance, sample, expected) in [
        (&["gsl"][..], &[][..], "train.balance: expected all, or some of equal, uncertainty"),
        (&[], &["dga"], "train.sample: `dga` needs a target, found none"),
        (&["graddrop"], &[], "train.balance: `graddrop` expected one batch that feeds all tasks"),
    ] {
        let error =
            entries(&recipe, &[(Group::Balance, &names(balance)), (Group::Sample, &names(sample))], None, &mut |_| {})
                .unwrap_err()
                .to_string();
        assert!(error.contains(expected), "{error}");
    }
    let named = entries(&recipe, &[(Group::Balance, &names(&["gls"]))], None, &mut |_| {}).unwrap();
    let mut alone = recipe;
    alone.tasks.remove("qa");
    let error = StrategyComparison::open(alone, named, &[1], &mut |_| {}).err().unwrap().to_string();
    assert!(error.contains("tasks: expected two at least"), "{error}");
}

#[test]
fn ways_of_sharing_stand_beside_hard_sharing_with_what_they_train() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = small::recipe(folder.path(), &["train.epochs=1", "train.learning_rate=auto"]);
    let named = names(&["lora", "private_layers"]);
    let entries = entries(&recipe, &[(Group::Sharing, &named)], None, &mut |_| {}).unwrap();
    let comparison = StrategyComparison::open(recipe, entries, &[1], &mut |_| {}).unwrap();
    let mut rates = Vec::new();
    for run in comparison.runs().unwrap() {
        if let Opened::Training(trainer) = comparison.open_run(&run, &mut |_| {}).unwrap() {
            trainer.for_each(|event| _ = event.unwrap());
        }
        // The run keeps the number that `auto` came to.
        let recipe = comparison.folder().join(comparison.name(&run)).join("recipe.toml");
        if let Ok(recipe) = Recipe::read(&recipe, &[]) {
            rates.push(recipe.train.learning_rate.fixed().unwrap());
        }
    }
    let report = comparison.conclude().unwrap();
    let [group] = report.groups.as_slice() else { panic!("one group") };
    let of = |entry: &polyhead::compare::EntryReport| (entry.strategy.name.clone(), entry.parameters.unwrap());
    let [(hard, plain), (lora, few), (layers, more)] = [0, 1, 2].map(|at| of(&group.entries[at]));
    assert_eq!([hard, lora, layers], ["hard", "lora", "private_layers"]);
    assert!(few.trained < plain.trained / 4 && few.all > plain.all, "{few:?}, {plain:?}");
    assert!(more.trained > plain.trained, "{more:?}, {plain:?}");
    // What is new in a frozen encoder takes a higher rate.
    assert_eq!(rates, [5e-4, 2e-3, 5e-4]);
    let page = std::fs::read_to_string(comparison.folder().join("strategies.md")).unwrap();
    assert!(page.contains("What they take") && page.contains("| lora |"), "{page}");
}
