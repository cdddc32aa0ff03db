//! Tasks that train on the same windows share an encoder pass: the gradient is the sum of those of separate passes, in one file of
//! CoNLL-U (tags and trees) and of JSON Lines (entities and a label), with parts, gaps, balancers and resume.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::io::sha256_file;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Plan, Step, Trainer};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 24 sentences with parts of speech and trees.
fn conllu(folder: &Path) -> PathBuf {
    let lengths: Vec<usize> = (0..24).map(|at| 6 + at % 9).collect();
    let [tags, trees] = ["tag", "parse"].map(|kind| (small::kind(kind).data)(&lengths).file);
    let path = folder.join("both.conllu");
    let line = |(tag, tree): (&str, &str)| {
        let mut fields: Vec<&str> = tree.split('\t').collect();
        if let (Some(slot), Some(tag)) = (fields.get_mut(3), tag.split('\t').nth(3)) {
            *slot = tag;
        }
        fields.join("\t") + "\n"
    };
    fs::write(&path, tags.lines().zip(trees.lines()).map(line).collect::<String>()).unwrap();
    path
}

/// 24 texts with entities, most of them with a label.
fn jsonl(folder: &Path) -> PathBuf {
    let line = |at: usize| {
        let (name, kind) = [("ada", "PER"), ("london", "LOC"), ("mary", "PER"), ("paris", "LOC")][at % 4];
        let text = format!("the {} of {name}", ["queen", "river", "book", "company", "war"][at % 5]);
        let start = text.len() - name.len();
        let mut line = json!({ "text": text, "entities": [{ "type": kind, "start": start, "end": text.len() }] });
        if at % 4 != 3 {
            line["label"] = json!(["red", "blue"][at % 2]);
        }
        format!("{line}\n")
    };
    let path = folder.join("both.jsonl");
    fs::write(&path, (0..24).map(line).collect::<String>()).unwrap();
    path
}

/// A recipe of two tasks on one file, with dropout in the heads alone or nowhere.
fn recipe(folder: &Path, data: &Path, kinds: [&str; 2], dropout: f64, more: &str) -> Recipe {
    let mut text = format!(
        "name = 'run'\noutput = {:?}\nencoder = {{ checkpoint = {:?}, dropout = {dropout}, attention_dropout = {dropout} }}\n\
         train.epochs = 2\ntrain.learning_rate = 1e-3\ntrain.feature_cache = false\ntrain.precision = 'f32'\n{more}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    for kind in kinds {
        let mut config = (small::kind(kind).config)();
        (config["max_length"], config["dropout"]) = (json!(48), json!(dropout));
        for (key, value) in config.as_object().unwrap() {
            text += &format!("tasks.{kind}.{key} = {value}\n");
        }
        text += &format!("data.{kind}.train = {data:?}\n");
    }
    Recipe::parse(&text, Path::new("run.toml"), &[]).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn begin(recipe: Recipe) -> (Trainer, String) {
    let mut notes = String::new();
    let trainer = Trainer::new(recipe, &mut |note| notes += &format!("{note}\n")).unwrap();
    (trainer, notes)
}

fn events(recipe: Recipe) -> (Vec<Event>, String) {
    let (trainer, notes) = begin(recipe);
    (trainer.map(Result::unwrap).collect(), notes)
}

fn steps(events: &[Event]) -> Vec<&Step> {
    events.iter().filter_map(|event| if let Event::Step(step) = event { Some(step) } else { None }).collect()
}

fn plan(events: &[Event]) -> &Plan {
    if let Event::Planned(plan) = &events[0] { plan } else { panic!("the plan comes first") }
}

fn assert_close(found: f64, want: f64, what: &str) {
    assert!((found - want).abs() <= 2e-4 * want.abs().max(1e-3), "{what}: {found} for {want}");
}

/// The same losses and norms of the gradient, step for step: each step begins with the parameters that the steps before it made.
fn assert_same_course(found: &[Event], want: &[Event], what: &str) {
    assert_eq!(steps(found).len(), steps(want).len(), "{what}");
    for (found, want) in steps(found).into_iter().zip(steps(want)) {
        assert_eq!(found.tasks.len(), want.tasks.len(), "{what}");
        for part in &found.tasks {
            let want = want.of(&part.task).unwrap();
            assert_close(
                part.loss.unwrap(),
                want.loss.unwrap(),
                &format!("{what}: step {}: {}", found.step, part.task),
            );
            assert_eq!(part.tokens, want.tokens, "{what}");
        }
        assert_close(found.grad_norm.unwrap(), want.grad_norm.unwrap(), &format!("{what}: step {}", found.step));
        for ((group, found), (_, want)) in found.group_norms.0.iter().zip(&want.group_norms.0) {
            assert_close(*found, *want, &format!("{what}: {group}"));
        }
    }
}

const TREES: [&str; 2] = ["tag", "parse"];
const TEXTS: [&str; 2] = ["ner", "classify"];

fn files(folder: &Path) -> [(PathBuf, [&'static str; 2]); 2] {
    [(conllu(folder), TREES), (jsonl(folder), TEXTS)]
}

#[test]
fn a_shared_pass_has_the_gradient_of_separate_passes_on_the_same_batch_and_encodes_each_token_once() {
    let folder = tempfile::tempdir().unwrap();
    // All of the data in each batch: the joint steps have the same windows.
    let sizes = |kinds: [&str; 2]| kinds.map(|kind| format!("tasks.{kind}.batch_size = 24")).join("\n");
    for (data, kinds) in files(folder.path()) {
        let weights = format!("{}\ntasks.{}.loss_weight = 0.5", sizes(kinds), kinds[1]);
        let (apart, hint) =
            events(recipe(folder.path(), &data, kinds, 0.0, &format!("{weights}\ntrain.sample = 'joint'")));
        let (together, said) =
            events(recipe(folder.path(), &data, kinds, 0.0, &format!("{weights}\ntrain.shared_pass = true")));
        assert_same_course(&together, &apart, kinds[0]);
        let names = kinds.join(" and ");
        assert!(
            hint.contains(&format!("{names} have the same windows: train.shared_pass = true encodes them once")),
            "{hint}"
        );
        assert!(said.contains(&format!("{names} share their windows: one encoder pass for both")), "{said}");
        assert_eq!(said.contains("(18 of 24 have gold for each)"), kinds == TEXTS, "{said}");
        assert_eq!(
            (plan(&together).shared.as_slice(), plan(&apart).shared.len()),
            (&[kinds.map(str::to_owned).to_vec()][..], 0)
        );
        for (step, apart) in steps(&together).into_iter().zip(steps(&apart)) {
            let [first, second] = step.tasks.as_slice() else { panic!("two tasks") };
            assert_eq!((first.shared_tokens, second.shared_tokens), (0, second.tokens));
            assert_eq!((step.tokens(), apart.tokens()), (first.tokens, first.tokens + second.tokens));
        }
        // A balancer that needs each gradient by itself has it, and says what that costs.
        let more = format!("{weights}\ntrain.shared_pass = true\ntrain.sample = 'joint'\ntrain.balance = 'pcgrad'");
        let (balanced, said) = events(recipe(folder.path(), &data, kinds, 0.0, &more));
        assert!(said.contains("train.shared_pass: `pcgrad` needs the gradient of each task by itself"), "{said}");
        let [found, want] = [&balanced, &apart].map(|events| steps(events)[0]);
        assert_close(found.tasks[0].loss.unwrap(), want.tasks[0].loss.unwrap(), "pcgrad");
        assert!(found.tasks.iter().all(|part| part.shared_tokens == 0));
    }
}

#[test]
fn a_shared_pass_in_parts_has_the_gradient_of_one_batch_with_dropout_on() {
    let folder = tempfile::tempdir().unwrap();
    for (data, kinds) in files(folder.path()) {
        let of = |size: usize, accumulate: usize| {
            let sizes = kinds.map(|kind| format!("tasks.{kind}.batch_size = {size}")).join("\n");
            let more = format!("{sizes}\ntrain.accumulate = {accumulate}\ntrain.shared_pass = true");
            events(recipe(folder.path(), &data, kinds, 0.2, &more)).0
        };
        let (whole, parts) = (of(12, 1), of(4, 3));
        assert_same_course(&parts, &whole, kinds[0]);
    }
}

#[test]
fn every_window_of_every_task_comes_once_in_an_epoch_beside_a_task_that_shares_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for (data, kinds) in files(folder.path()) {
        for sample in ["round_robin", "proportional", "joint", "temperature"] {
            let kind = small::kind("relation");
            let alone = small::write_data(kind, "train", &[8; 16], folder.path());
            let more = format!(
                "train.shared_pass = true\ntrain.sample = '{sample}'\ntrain.diagnostics_every = 3\n{}\n\
                 tasks.relation = {{ batch_size = 8, max_length = 48, marker_tokens = ['$', '@'] }}\n\
                 data.relation.train = {alone:?}",
                kinds.map(|kind| format!("tasks.{kind}.batch_size = 8")).join("\n")
            );
            let (events, _) = events(recipe(folder.path(), &data, kinds, 0.1, &more));
            let plan = plan(&events);
            let batches: Vec<usize> = plan.tasks.iter().map(|task| task.batches).collect();
            assert_eq!(batches, [3, 3, 2], "{sample}");
            assert_eq!(plan.steps_per_epoch, if sample == "joint" { 3 } else { 5 });
            let Some(Event::Finished(end)) = events.last() else { panic!("the end comes last") };
            if sample != "temperature" && sample != "joint" {
                for task in &plan.tasks {
                    let counts = end.counts[&task.name];
                    assert_eq!((counts.windows, counts.unique), (2 * task.windows as u64, task.examples as u64));
                }
            }
            for step in steps(&events) {
                let names: Vec<&str> = step.tasks.iter().map(|part| part.task.as_str()).collect();
                assert!(names.contains(&"relation") || names.contains(&kinds[0]) || names.contains(&kinds[1]));
                let shared: usize = step.tasks.iter().map(|part| part.shared_tokens).sum();
                assert_eq!(shared > 0, names.contains(&kinds[0]) && names.contains(&kinds[1]), "{names:?}");
            }
        }
    }
}

/// The weights and moments at the end, and the metrics without what a clock says.
fn outcome(run: &Path, last: usize) -> (Vec<String>, Vec<Value>) {
    let files =
        ["model.safetensors", "optimizer.safetensors"].map(|name| run.join(format!("checkpoint-{last}")).join(name));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let line = |line: &str| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        let fields = event.as_object_mut().unwrap();
        ["time", "seconds", "balance_seconds", "folder", "model"].iter().for_each(|name| _ = fields.remove(*name));
        event
    };
    (files.map(|path| sha256_file(path).unwrap()).to_vec(), metrics.lines().map(line).collect())
}

fn stop_after(mut trainer: Trainer, steps: usize) -> PathBuf {
    let (run, flag) = (trainer.folder().to_owned(), Arc::new(AtomicBool::new(false)));
    trainer.stop_when(flag.clone());
    trainer.for_each(|event| {
        if let Event::Step(step) = event.unwrap() {
            flag.store(step.step == steps, Ordering::SeqCst);
        }
    });
    run
}

#[test]
fn a_run_with_a_shared_pass_resumes_to_the_same_bits() {
    for balance in ["equal", "uncertainty", "graddrop", "mgda_ub"] {
        let folder = tempfile::tempdir().unwrap();
        let (data, kinds) = (jsonl(folder.path()), TEXTS);
        let sizes = kinds.map(|kind| format!("tasks.{kind}.batch_size = 8")).join("\n");
        let more = format!(
            "{sizes}\ntrain.shared_pass = true\ntrain.keep_optimizer = true\ntrain.save_every = 1\ntrain.balance = '{balance}'"
        );
        let begin = |name: &str| {
            let mut recipe = recipe(folder.path(), &data, kinds, 0.1, &more);
            recipe.name = name.to_owned();
            small::trainer(recipe)
        };
        let mut whole = begin("whole");
        whole.by_ref().for_each(|event| drop(event.unwrap()));
        let whole = outcome(whole.folder(), 6);
        for steps in 1..6 {
            let run = stop_after(begin(&format!("cut{steps}")), steps);
            let resumed = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
            resumed.for_each(|event| drop(event.unwrap()));
            assert!(outcome(&run, 6) == whole, "{balance}: stopped after {steps} steps");
        }
        if ["graddrop", "mgda_ub"].contains(&balance) {
            continue;
        }
        // Turned off on the way: the epoch under way is said to have other batches, and the run comes to its end.
        let run = stop_after(begin("changed"), 1);
        let mut notes = String::new();
        let off = ["train.shared_pass=false".to_owned()];
        let resumed = Trainer::resume(&run, None, &off, TASKS, &mut |note| notes += note).unwrap();
        assert!(notes.contains("train.shared_pass changes the batches of the epoch under way"), "{notes}");
        let events: Vec<Event> = resumed.map(Result::unwrap).collect();
        assert!(matches!(events.last(), Some(Event::Finished(_))));
    }
}

#[test]
fn gradients_on_the_hidden_states_of_a_shared_batch_can_be_changed_on_their_way_back() {
    let folder = tempfile::tempdir().unwrap();
    for (data, kinds) in files(folder.path()) {
        let of = |balance: &str| {
            let sizes = kinds.map(|kind| format!("tasks.{kind}.batch_size = 24")).join("\n");
            let more = format!("{sizes}\ntrain.shared_pass = true\ntrain.balance = {balance}");
            events(recipe(folder.path(), &data, kinds, 0.0, &more)).0
        };
        let plain = of("'equal'");
        // What lets everything through changes nothing.
        assert_same_course(&of("{ name = 'graddrop', leak = 1 }"), &plain, "leak 1");
        for balance in ["'graddrop'", "'mgda_ub'"] {
            let changed = of(balance);
            let ([first, ..], [want, ..]) = (&steps(&changed)[..], &steps(&plain)[..]) else { panic!("steps") };
            for (found, want) in first.tasks.iter().zip(&want.tasks) {
                assert_close(found.loss.unwrap(), want.loss.unwrap(), balance);
            }
            let weights: Vec<f64> = first.tasks.iter().map(|part| part.weight).collect();
            if balance == "'mgda_ub'" {
                assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
            }
            assert!(weights.iter().all(|weight| (0.0..=1.0).contains(weight)), "{weights:?}");
            // The heads have the gradient of their own tasks, the encoder another than before.
            for ((group, found), (_, want)) in first.group_norms.0.iter().zip(&want.group_norms.0) {
                match group.starts_with("heads.") {
                    true => assert_close(*found, *want, group),
                    false => assert!((found - want).abs() > 1e-3 * want, "{balance}: {group}: {found}, {want}"),
                }
            }
        }
    }
}

#[test]
fn tasks_that_can_not_share_a_pass_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let data = conllu(folder.path());
    let refused = |recipe: Recipe| {
        let error = Trainer::new(recipe, &mut |_| {}).err().expect("a recipe that is refused");
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    };
    let of =
        |more: &str| refused(recipe(folder.path(), &data, TREES, 0.0, &format!("{more}\ntrain.shared_pass = true")));
    let message = of("tasks.tag.batch_size = 4");
    assert!(
        message
            .starts_with("run.toml:9:7: train.shared_pass: expected tasks with the same training windows, found none"),
        "{message}"
    );
    assert!(message.contains("tag and parse: batch_size is 4 and 16 hint: "), "{message}");
    // A third task that shares nothing has no part in one batch.
    let alone = small::write_data(small::kind("relation"), "train", &[8; 16], folder.path());
    let message = of(&format!(
        "train.balance = 'graddrop'\ntasks.relation = {{ max_length = 48, marker_tokens = ['$', '@'] }}\ndata.relation.train = {alone:?}"
    ));
    assert!(
        message
            .contains("`graddrop` expected one batch that feeds all tasks, found batches of relation; tag and parse"),
        "{message}"
    );
    let copy = folder.path().join("copy.conllu");
    fs::write(&copy, fs::read_to_string(&data).unwrap() + "\n").unwrap();
    let mut other = recipe(folder.path(), &data, TREES, 0.0, "train.shared_pass = true");
    other.data.get_mut("parse").unwrap().train = copy.to_str().unwrap().into();
    let message = refused(other);
    assert!(message.contains("no two train on the same files"), "{message}");
    let short = recipe(folder.path(), &data, TREES, 0.0, "train.shared_pass = true").to_toml().unwrap();
    let short = short.replacen("max_length = 48", "max_length = 8", 1).replacen("stride = 12", "stride = 2", 1);
    let message = refused(Recipe::parse(&short, Path::new("run.toml"), &[]).unwrap());
    assert!(message.contains("tag and parse: their windows of ") && message.contains(" differ"), "{message}");
}
