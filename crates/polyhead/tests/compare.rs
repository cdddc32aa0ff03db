//! What a comparison promises: equal budgets, ordinary run folders, the same result after any interruption, and that it
//! neither mixes two comparisons up nor removes what is not its own.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::compare::{Comparison, Kept, Opened, Paired, Report, Run, Series, default_seeds};
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::report::markdown;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use polyhead::{ErrorKind, Result};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A rate at which tiny-bert learns something in a few steps.
const RECIPE: &[&str] = &["train.learning_rate=5e-3", "train.epochs=3", "name=trial"];

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[RECIPE, more].concat())
}

fn open(recipe: Recipe, seeds: &[u64]) -> Result<Comparison> {
    Comparison::open(recipe, seeds, &mut |_| {})
}

/// Trains what is missing; the names of the runs that were trained.
fn go_on(comparison: &Comparison) -> Vec<String> {
    let mut trained = Vec::new();
    for run in comparison.runs().unwrap() {
        if let Opened::Training(trainer) = comparison.open_run(&run, &mut |_| {}).unwrap() {
            trainer.for_each(|event| drop(event.unwrap()));
            trained.push(run.name());
        }
    }
    trained
}

/// A whole comparison.
fn compare(recipe: Recipe, seeds: &[u64]) -> (Report, PathBuf) {
    let comparison = open(recipe, seeds).unwrap();
    go_on(&comparison);
    (comparison.conclude().unwrap(), comparison.folder().to_owned())
}

/// The steps of a run: task and tokens of each, out of its `metrics.jsonl`.
fn steps(run: &Path) -> Vec<(String, u64)> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let steps = events.filter(|event| event["event"] == "step");
    let part = |step: Value| {
        let part = &step["tasks"][0];
        (part["task"].as_str().unwrap().to_owned(), part["tokens"].as_u64().unwrap())
    };
    steps.map(part).collect()
}

fn failure(result: Result<Comparison>) -> (ErrorKind, String) {
    let error = result.err().expect("a comparison that is refused");
    (error.kind(), format!("{error} hint: {}", error.hint_text().unwrap_or("none")))
}

#[test]
fn a_separate_model_takes_exactly_the_batches_of_its_task_that_the_joint_one_takes() {
    for more in [&[][..], &["train.mix=proportional"], &["train.mix=proportional", "train.max_steps=7"]] {
        let folder = tempfile::tempdir().unwrap();
        let uneven = ["data.qa.limit=10", "train.order=by_length"];
        let (report, path) = compare(recipe(folder.path(), &[&uneven, more].concat()), &[42, 43]);
        for (at, seed) in [42, 43].into_iter().enumerate() {
            let joint = steps(&path.join(format!("joint-seed{seed}")));
            let mut taken = 0;
            for task in ["ner", "qa"] {
                let of_task: Vec<_> = joint.iter().filter(|(of, _)| of == task).cloned().collect();
                assert_eq!(steps(&path.join(format!("{task}-seed{seed}"))), of_task, "{more:?}, {task}, {seed}");
                assert_eq!(report.budget.updates[task][at], of_task.len());
                taken += of_task.len();
            }
            assert_eq!((taken, report.budget.joint[at]), (joint.len(), joint.len()));
            assert_eq!(joint.len(), if more.len() == 2 { 7 } else { 3 * (3 + 2) });
        }
    }
}

#[test]
fn the_report_holds_what_the_runs_scored_and_what_sharing_saves() {
    let folder = tempfile::tempdir().unwrap();
    let (report, path) = compare(recipe(folder.path(), &[]), &[42, 43]);
    let finished = |run: &str| {
        let text = fs::read_to_string(path.join(run).join("metrics.jsonl")).unwrap();
        serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()
    };
    let mut learned = false;
    for (task, headline) in [("ner", "micro_f1"), ("qa", "f1")] {
        let told = report.tasks.iter().find(|told| told.name == task).unwrap();
        assert_eq!(told.headline, headline);
        // Every measure, of the kept models, but for the loss, which is no score ...
        let scores = finished("joint-seed42")["scores"][task]["values"].as_object().unwrap().clone();
        let names: Vec<&str> = told.best.iter().map(|measure| measure.name.as_str()).collect();
        assert_eq!(names, scores.keys().filter(|name| *name != "loss").collect::<Vec<_>>());
        for measure in &told.best {
            let of = |who: &str| {
                let value = |seed: u64| {
                    let run = finished(&format!("{who}-seed{seed}"));
                    run["scores"][task]["values"][&measure.name].as_f64().unwrap()
                };
                [42, 43].map(value).to_vec()
            };
            assert_eq!(measure.paired, Paired::of(of("joint"), of(task)), "{task} {}", measure.name);
            learned |= measure.paired.joint.mean > 0.0 && measure.paired.difference.mean != 0.0;
        }
        assert_eq!(told.verdict, told.deciding(&told.best).unwrap().paired.verdict);
        assert_eq!(told.last.len(), told.best.len());
    }
    assert!(learned, "scores that are all 0 prove nothing");

    // One encoder in place of two; heads are as many.
    let parameters = &report.parameters;
    assert_eq!(parameters.encoders.single, 2 * parameters.encoders.joint);
    assert_eq!(parameters.heads.single, parameters.heads.joint);
    assert_eq!(parameters.total.joint, parameters.encoders.joint + parameters.heads.joint);
    assert_eq!(parameters.total.single, parameters.single.values().sum::<usize>());
    assert_eq!(parameters.bytes.joint, fs::metadata(path.join("joint-seed42/best/model.safetensors")).unwrap().len());
    assert!(parameters.bytes.single > 3 * parameters.bytes.joint / 2);
    assert_eq!((report.serving.encoders.joint, report.serving.encoders.single), (1, 2));
    assert!(report.seconds.training.joint.values.iter().all(|&seconds| seconds > 0.0));

    // What people read says the same, and the runs are ordinary ones.
    let page = fs::read_to_string(path.join("comparison.md")).unwrap();
    assert_eq!(page, markdown::page(&report.document()));
    for task in &report.tasks {
        let paired = &task.deciding(&task.best).unwrap().paired;
        assert!(page.contains(&format!("{:.2} ± {:.2}", paired.joint.mean, paired.joint.sd.unwrap())), "{page}");
    }
    for run in ["joint-seed42", "qa-seed42"] {
        let question = (small::kind("qa").request)("ada was in london .");
        assert!(Session::open(path.join(run)).unwrap().ask("qa", &question).unwrap().is_object());
        assert!(Recipe::read(&path.join(run).join("recipe.toml"), &[]).is_ok());
    }
}

#[test]
fn finished_runs_leave_their_metrics_and_of_the_first_seed_their_models() {
    let left = |kept: Kept| {
        let folder = tempfile::tempdir().unwrap();
        let comparison = open(recipe(folder.path(), &["train.epochs=1"]), &[42, 43]).unwrap().keeping(kept);
        go_on(&comparison);
        comparison.conclude().unwrap();
        let of = |run: &Run| {
            let folder = comparison.folder().join(run.name());
            assert!(folder.join("metrics.jsonl").is_file() && folder.join("recipe.toml").is_file());
            let names = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let checkpoints = names.filter(|name| name.starts_with("checkpoint-")).count();
            (folder.join("best/model.safetensors").is_file(), checkpoints)
        };
        let left: Vec<_> = comparison.runs().unwrap().iter().map(of).collect();
        // What was tidied away is finished all the same: seeds can be added, and the sizes counted again.
        assert!(go_on(&comparison).is_empty());
        assert!(comparison.conclude().unwrap().parameters.bytes.joint > 0);
        if kept == Kept::FirstSeed {
            let gone = Session::open(comparison.folder().join("qa-seed43")).err().unwrap();
            assert!(gone.to_string().contains("the model of this run was removed"), "{gone}");
            let run = comparison.folder().join("qa-seed43");
            let over = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).err().unwrap();
            assert!(over.to_string().contains("its checkpoints were removed"), "{over}");
        }
        left
    };
    assert_eq!(left(Kept::FirstSeed), [[(true, 0); 3], [(false, 0); 3]].concat());
    assert_eq!(left(Kept::All), [(true, 1); 6]);
}

#[test]
fn an_interrupted_comparison_goes_on_and_comes_to_the_same() {
    let whole = tempfile::tempdir().unwrap();
    let (_, expected) = compare(recipe(whole.path(), &[]), &[42, 43]);
    let expected = small::timeless(&expected.join("comparison.json"));

    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[]);
    {
        let comparison = open(recipe.clone(), &[42, 43]).unwrap();
        let runs = comparison.runs().unwrap();
        let names: Vec<String> = runs.iter().map(Run::name).collect();
        let (first, second) =
            (["joint-seed42", "ner-seed42", "qa-seed42"], ["joint-seed43", "ner-seed43", "qa-seed43"]);
        assert_eq!(names, [first, second].concat());
        for run in &runs[..2] {
            let Opened::Training(trainer) = comparison.open_run(run, &mut |_| {}).unwrap() else { panic!("{run:?}") };
            trainer.for_each(|event| drop(event.unwrap()));
        }
        // The third is left in its second epoch, after the checkpoint of the first.
        let Opened::Training(mut trainer) = comparison.open_run(&runs[2], &mut |_| {}).unwrap() else { panic!() };
        trainer.by_ref().map(Result::unwrap).find(|event| matches!(event, Event::Saved(_))).unwrap();
        trainer.next().unwrap().unwrap();
        drop(trainer);
        let error = comparison.conclude().unwrap_err();
        assert!(error.to_string().contains("qa-seed42: expected a finished run"), "{error}");
        assert!(!comparison.folder().join("comparison.json").exists());
    }
    let mut notes = Vec::new();
    let comparison = open(recipe.clone(), &[42, 43]).unwrap();
    let Opened::Training(mut trainer) = comparison.open_run(&comparison.runs().unwrap()[2], &mut |_| {}).unwrap()
    else {
        panic!("it was not finished")
    };
    let events: Vec<Event> = trainer.by_ref().take(2).map(Result::unwrap).collect();
    assert!(matches!(&events[1], Event::Resumed(from) if from.step == 3), "it goes on from its checkpoint: {events:?}");
    drop(trainer);
    // A process that was killed while it made the next folder leaves no more than this, and one that was killed before
    // its first checkpoint has nothing to go on with.
    fs::create_dir(comparison.folder().join("joint-seed43")).unwrap();
    fs::write(comparison.folder().join("joint-seed43/.recipe.toml.tmp-x"), "na").unwrap();
    let open = |at: usize, notes: &mut Vec<String>| {
        comparison.open_run(&comparison.runs().unwrap()[at], &mut |note| notes.push(note.to_owned())).unwrap()
    };
    for _ in 0..2 {
        let Opened::Training(trainer) = open(3, &mut notes) else { panic!("it was not begun") };
        trainer.take(3).for_each(|event| drop(event.unwrap()));
        assert!(notes.iter().any(|note| note.contains("joint-seed43 did not get to a checkpoint")), "{notes:?}");
        notes.clear();
    }
    assert_eq!(go_on(&comparison), ["qa-seed42", "joint-seed43", "ner-seed43", "qa-seed43"]);
    comparison.conclude().unwrap();
    assert_eq!(small::timeless(&comparison.folder().join("comparison.json")), expected);
    assert!(go_on(&comparison).is_empty(), "what is finished is not trained again");
}

#[test]
fn seeds_may_be_added_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.epochs=1"]);
    let (one, _) = compare(recipe.clone(), &[7]);
    assert!(
        markdown::page(&one.document()).contains("one seed shows nothing yet"),
        "{}",
        markdown::page(&one.document())
    );
    let comparison = open(recipe.clone(), &[8, 7]).unwrap();
    assert_eq!(go_on(&comparison), ["joint-seed8", "ner-seed8", "qa-seed8"]);
    let two = comparison.conclude().unwrap();
    assert_eq!((two.seeds.as_slice(), two.added.as_slice()), (&[7, 8][..], &[vec![8]][..]));
    assert!(markdown::page(&two.document()).contains("Seeds 8 were added"));
    for (before, after) in one.tasks.iter().zip(&two.tasks) {
        assert_eq!(before.best[0].paired.joint.values[0], after.best[0].paired.joint.values[0]);
    }
    drop(comparison);
    let (kind, message) = failure(open(recipe, &[8]));
    assert_eq!(kind, ErrorKind::Usage);
    assert!(message.contains("seeds (7,8 there, 8 here)") && message.contains("not left out"), "{message}");
}

#[test]
fn another_recipe_is_refused_and_every_key_that_differs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    // As long as there is no run it may be anything.
    drop(open(recipe(folder.path(), &["train.epochs=9"]), &[1]).unwrap());
    let comparison = open(recipe(folder.path(), &[]), &[42, 43]).unwrap();
    drop(comparison.open_run(&comparison.runs().unwrap()[0], &mut |_| {}).unwrap());
    drop(comparison);
    let changed = ["train.epochs=4", "tasks.ner.batch_size=4", "data.qa.limit=5"];
    let (kind, message) = failure(open(recipe(folder.path(), &changed), &[42, 43]));
    assert_eq!(kind, ErrorKind::Usage);
    for part in [
        "train.epochs (3 there, 4 here)",
        "tasks.ner.batch_size (8 there, 4 here)",
        "data.qa.limit (nothing there, 5 here)",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    // The seed of the recipe is none of the comparison's.
    drop(open(recipe(folder.path(), &["seed=1"]), &[42, 43]).unwrap());
    let mut turned = recipe(folder.path(), &[]);
    turned.tasks = turned.tasks.into_iter().rev().collect();
    assert!(failure(open(turned, &[42, 43])).1.contains("the order of the tasks"));
}

#[test]
fn what_is_not_of_the_comparison_is_neither_removed_nor_used() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &["train.epochs=1"]);
    let path = folder.path().join("runs/trial-compare");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("notes.txt"), "mine").unwrap();
    let (kind, message) = failure(open(recipe.clone(), &[1]));
    assert_eq!(kind, ErrorKind::CannotWrite);
    assert!(message.contains("found `notes.txt`"), "{message}");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "nothing is left in a folder that is refused");
    fs::remove_file(path.join("notes.txt")).unwrap();

    let comparison = open(recipe.clone(), &[1]).unwrap();
    let run = &comparison.runs().unwrap()[0];
    let refused = |what: &str| {
        let error = comparison.open_run(run, &mut |_| {}).err().unwrap();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.kind(), ErrorKind::CannotWrite);
    };
    let taken = path.join(run.name());
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("thesis.txt"), "mine").unwrap();
    refused("no recipe.toml");
    fs::write(taken.join("recipe.toml"), recipe.to_toml().unwrap()).unwrap();
    refused("a recipe that differs in name");
    assert_eq!(fs::read_to_string(taken.join("thesis.txt")).unwrap(), "mine");
    fs::remove_dir_all(&taken).unwrap();
    fs::write(&taken, "a file").unwrap();
    refused("something that is no folder");
}

#[test]
fn data_that_changed_between_two_runs_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let comparison = open(recipe(folder.path(), &["train.epochs=1"]), &[1]).unwrap();
    for run in comparison.runs().unwrap() {
        if run.task.as_deref() == Some("qa") {
            small::write_data(small::kind("qa"), "train", &[9; 23], folder.path());
        }
        let Opened::Training(trainer) = comparison.open_run(&run, &mut |_| {}).unwrap() else { panic!() };
        trainer.for_each(|event| drop(event.unwrap()));
    }
    let error = comparison.conclude().unwrap_err();
    assert!(error.to_string().contains("qa-seed1: expected the data of the joint run"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Data);
}

#[test]
fn two_processes_do_not_work_on_one_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &[]);
    let first = open(recipe.clone(), &[1]).unwrap();
    let (kind, message) = failure(open(recipe.clone(), &[1]));
    assert_eq!(kind, ErrorKind::CannotWrite);
    assert!(message.contains("another process works in this folder"), "{message}");
    drop(first);
    assert!(open(recipe, &[1]).is_ok());
}

#[test]
fn what_can_not_be_compared_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |change: &dyn Fn(&mut Recipe), seeds: &[u64], what: &str| {
        let mut recipe = recipe(folder.path(), &[]);
        change(&mut recipe);
        let (kind, message) = failure(open(recipe, seeds));
        assert_eq!(kind, ErrorKind::Usage, "{message}");
        assert!(message.contains(what), "{message}");
        assert!(!folder.path().join("runs").exists(), "{what}");
    };
    let alone = |recipe: &mut Recipe| {
        recipe.tasks.remove("qa");
        recipe.data.remove("qa");
    };
    refused(&alone, &[1], "expected two at least to share an encoder, found only `ner`");
    let unscored = |recipe: &mut Recipe| recipe.data.get_mut("qa").unwrap().validation = None;
    refused(&unscored, &[1], "data.qa.validation: expected validation data");
    let joint = |recipe: &mut Recipe| {
        let (task, data) = (recipe.tasks.remove("qa").unwrap(), recipe.data.remove("qa").unwrap());
        recipe.tasks.insert("joint".into(), task);
        recipe.data.insert("joint".into(), data);
    };
    refused(&joint, &[1], "give the task another name");
    refused(&|_| {}, &[], "seeds: expected one at least");
    refused(&|_| {}, &[1, 2, 1], "expected each once, found 1 twice");
    assert_eq!(default_seeds(42), [42, 43, 44]);
}

#[test]
fn a_limit_that_leaves_a_task_without_a_step_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let comparison = open(recipe(folder.path(), &["train.max_steps=1"]), &[1]).unwrap();
    let runs = comparison.runs().unwrap();
    // The joint run of a seed comes first: it decides what the others may take.
    let early = comparison.open_run(&runs[1], &mut |_| {}).err().unwrap();
    assert!(early.to_string().contains("expected joint-seed1 to be finished"), "{early}");
    let Opened::Training(trainer) = comparison.open_run(&runs[0], &mut |_| {}).unwrap() else { panic!() };
    // The check of movement needs a step of each task, so the run itself may end as it likes.
    trainer.for_each(|event| drop(event.unwrap()));
    let error = comparison.open_run(&runs[2], &mut |_| {}).err().unwrap();
    assert!(error.to_string().contains("found none of `qa` among the first 1"), "{error}");
}
