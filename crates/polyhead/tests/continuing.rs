//! Continuing from a model of ours with other tasks: for every kind of task the head is taken label by label, under its own name or
//! another, or begins new, and all of it is said and recorded.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::Features;
use polyhead::encoders::EncoderOverrides;
use polyhead::events::{Begins, HeadStart, Record};
use polyhead::model::{CaseEmbeddings, KeepHeads, Model, NamedTask, Provenance, Start};
use polyhead::recipe::Recipe;
use polyhead::tasks::{Logits, TASKS};
use polyhead::train::{Event, Trainer, prepare};
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A recipe of one task for each of these: `(name, kind, configuration)`.
fn recipe(folder: &Path, checkpoint: &Path, tasks: &[(&str, &str, Value)], more: &str) -> Recipe {
    let mut text = format!(
        "name = 'run'\noutput = {:?}\nencoder.checkpoint = {checkpoint:?}\n{more}\n\
         train = {{ epochs = 1, learning_rate = 1e-3, feature_cache = false, precision = 'f32' }}\n",
        folder.join("runs")
    );
    for (name, kind, settings) in tasks {
        let of = small::kind(kind);
        let train = small::write_data(of, "train", &(0..24).map(|at| 6 + at % 9).collect::<Vec<_>>(), folder);
        let validation = small::write_data(of, "validation", &[7; 4], folder);
        let mut config = (of.config)();
        config["kind"] = json!(kind);
        config["batch_size"] = json!(8);
        for (key, value) in settings.as_object().into_iter().flatten() {
            config[key.as_str()] = value.clone();
        }
        text += &format!("tasks.{name} = {}\n", toml::Value::try_from(config).unwrap());
        text += &format!("data.{name} = {{ train = {train:?}, validation = {validation:?} }}\n");
    }
    Recipe::parse(&text, Path::new("run.toml"), &[]).unwrap()
}

fn begin(recipe: Recipe) -> (Trainer, String) {
    let mut notes = String::new();
    let trainer = Trainer::new(recipe, &mut |note| notes += &format!("{note}\n")).unwrap();
    (trainer, notes)
}

fn refused(recipe: Recipe) -> String {
    let error = Trainer::new(recipe, &mut |_| {}).err().expect("a recipe that is refused");
    format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
}

/// A run of every kind that there is, and what its tasks read.
fn every_kind(folder: &Path) -> (PathBuf, Model, BTreeMap<String, Vec<Features>>) {
    let tasks: Vec<(&str, &str, Value)> = small::KINDS
        .iter()
        .map(|kind| (kind.kind, kind.kind, if kind.kind == "classify" { json!({ "pooler": true }) } else { json!({}) }))
        .collect();
    let recipe = recipe(folder, &small::fixture("tiny-bert"), &tasks, "");
    let data = prepare(&recipe, TASKS, &mut |_| {}).unwrap().task_data;
    let windows = |data: polyhead::train::TaskData| {
        (data.name, data.windows.into_iter().take(6).map(|window| window.features).collect())
    };
    let windows = data.into_iter().map(windows).collect();
    let Some(Event::Finished(end)) = small::train(recipe).pop() else { panic!("the end comes last") };
    (end.folder.clone(), Model::load(&end.model, TASKS).unwrap(), windows)
}

/// Of each row of logits what stands before the labels, and the value of each label.
fn by_label(logits: &[Logits], labels: &[String]) -> Vec<(Vec<f32>, BTreeMap<String, f32>)> {
    let rows = logits.iter().flat_map(|logits| logits.rows().map(<[f32]>::to_vec));
    let split = |row: Vec<f32>| {
        let (before, of_labels) = row.split_at(row.len() - labels.len());
        (before.to_vec(), labels.iter().cloned().zip(of_labels.iter().copied()).collect())
    };
    rows.map(split).collect()
}

fn assert_close(found: f32, want: f32, what: &str) {
    assert!((found - want).abs() <= 1e-5 * want.abs().max(1.0), "{what}: {found} for {want}");
}

#[test]
fn a_head_of_any_kind_answers_as_before_for_the_labels_that_both_have() {
    let folder = tempfile::tempdir().unwrap();
    let (run, old, windows) = every_kind(folder.path());
    for kind in small::KINDS {
        let name = kind.kind;
        let before = old.task(name).unwrap();
        let labels = before.task.labels().to_vec();
        let mut config = before.task.config();
        // Another order, one that is gone (not the one that a kind needs), one that is new.
        let needed = ["O", "Other", "root"];
        let mut changed: Vec<String> = labels.iter().rev().cloned().collect();
        let gone = changed.iter().position(|label| !needed.contains(&label.as_str()));
        let gone = gone.map(|at| changed.remove(at));
        if !labels.is_empty() {
            changed.insert(1, if name == "ner" { "B-NEW".into() } else { "NEW".into() });
            config["labels"] = json!(changed);
        }
        let open = TASKS.iter().find(|known| known.kind == name).unwrap().open;
        let task = NamedTask { name: name.to_owned(), task: open(config).unwrap() };
        let adjust = EncoderOverrides { precision: polyhead::encoders::Precision::F32, ..Default::default() };
        let start = Start {
            about: Provenance::default(),
            tasks: vec![task],
            adjust: &adjust,
            key: Key::seed(1),
            kinds: TASKS,
            drop_layers: 0,
            case_embeddings: CaseEmbeddings::No,
            keep: &KeepHeads::None,
            rename: &BTreeMap::new(),
        };
        let now = Model::begin(&run.join("best"), start, &mut |_| {}).unwrap();
        let after = now.task(name).unwrap();
        let windows: Vec<&Features> = windows[name].iter().collect();
        let want = by_label(&old.logits(before, &windows).unwrap(), &labels);
        let found = by_label(&now.logits(after, &windows).unwrap(), after.task.labels());
        assert_eq!(found.len(), want.len());
        let mut compared = 0;
        for ((before, found), (rest, want)) in found.iter().zip(&want) {
            before.iter().zip(rest).for_each(|(found, want)| assert_close(*found, *want, name));
            for (label, value) in found.iter().filter(|(label, _)| want.contains_key(*label)) {
                assert_close(*value, want[label], &format!("{name}: {label}"));
                compared += 1;
            }
        }
        assert_eq!(compared, want.len() * labels.len().saturating_sub(1), "{name}");
        let start = now.about.heads.iter().find(|start| start.head == name).unwrap();
        if labels.is_empty() {
            assert_eq!(start.begins, Begins::Kept);
        } else {
            assert_eq!(start.begins, Begins::ByLabel);
            assert_eq!((start.new.len(), start.dropped.first()), (1, gone.as_ref()), "{start:?}");
        }
    }
}

#[test]
fn a_head_whose_settings_give_it_other_tensors_is_new_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let (run, ..) = every_kind(folder.path());
    let numbers = folder.path().join("numbers.tsv");
    fs::write(&numbers, "text\tlabel\n".to_owned() + &"ada\t1.5\nlondon\t2\n".repeat(12)).unwrap();
    let with = |name: &str, settings: Value, why: &str| {
        let mut recipe = recipe(folder.path(), &run, &[(name, name, settings.clone())], "");
        if settings.get("problem").is_some() {
            let data = recipe.data.get_mut(name).unwrap();
            (data.train, data.validation) = (numbers.to_str().unwrap().into(), None);
        }
        let (mut trainer, notes) = begin(recipe);
        assert!(notes.contains(&format!("tasks.{name}: the head is new: {why}")), "{notes}");
        assert_eq!(trainer.model().about.heads[0].begins, Begins::New);
        trainer.by_ref().for_each(|event| drop(event.unwrap()));
    };
    with("parse", json!({ "arc_size": 20 }), "the checkpoint's has another shape (heads.parse.arc_dependent.weight, ");
    with("classify", json!({ "pooler": false }), "the checkpoint's has heads.classify.pooler.weight, ");
    with(
        "classify",
        json!({ "problem": "regression", "pooler": true }),
        "the checkpoint's has another shape (heads.classify.weight, heads.classify.bias), and is dropped",
    );
}

#[test]
fn a_task_of_another_name_begins_with_the_head_that_the_recipe_names() {
    let folder = tempfile::tempdir().unwrap();
    let (run, old, windows) = every_kind(folder.path());
    let tasks = [
        ("entities", "ner", json!({})),
        ("classify", "tag", json!({})),
        ("tag", "classify", json!({ "pooler": true })),
    ];
    let plain = begin(recipe(folder.path(), &run, &tasks[..1], "")).1;
    assert!(
        plain.contains("tasks.entities: the head is new: the checkpoint has none of this name (it has ner, qa, classify, tag, relation, parse; encoder.rename_heads = { ner = \"entities\" } begins with that head)"),
        "{plain}"
    );
    // Two heads change their names.
    let names = "encoder.rename_heads = { ner = 'entities', tag = 'classify', classify = 'tag' }";
    let (trainer, notes) = begin(recipe(folder.path(), &run, &tasks, names));
    for (now, was) in [("entities", "ner"), ("classify", "tag"), ("tag", "classify")] {
        assert!(notes.contains(&format!("tasks.{now}: the head `{was}` of the checkpoint is kept")), "{notes}");
        let windows: Vec<&Features> = windows[was].iter().collect();
        let [want, found] = [(&old, was), (trainer.model(), now)]
            .map(|(model, name)| model.logits(model.task(name).unwrap(), &windows).unwrap());
        for (found, want) in found.iter().zip(&want) {
            found
                .rows()
                .flatten()
                .zip(want.rows().flatten())
                .for_each(|(found, want)| assert_close(*found, *want, now));
        }
    }
    for (names, expected) in [
        (
            "{ pos = 'entities' }",
            "expected names of heads of the checkpoint (ner, qa, classify, tag, relation, parse), found `pos`",
        ),
        (
            "{ ner = 'names' }",
            "ner: expected a task of the recipe (entities), found `names` hint: it is { head = \"task\" }",
        ),
        ("{ qa = 'entities' }", "qa: the head is of the kind qa, the task `entities` of the kind ner hint: "),
    ] {
        let message = refused(recipe(folder.path(), &run, &tasks[..1], &format!("encoder.rename_heads = {names}")));
        assert!(message.contains(": encoder.rename_heads: ") && message.contains(expected), "{message}");
    }
    let both = [("ner", "ner", json!({})), ("entities", "ner", json!({}))];
    let message = refused(recipe(
        folder.path(),
        &small::fixture("tiny-bert"),
        &both,
        "encoder.rename_heads = { ner = 'entities' }",
    ));
    assert!(message.contains("expected names of heads of the checkpoint (none), found `ner`"), "{message}");
    let mut second = recipe(folder.path(), &run, &both, "encoder.rename_heads = { ner = 'entities' }");
    second.name = "both".into();
    let Some(Event::Finished(end)) = small::train(second).pop() else { panic!("the end comes last") };
    let message = refused(recipe(folder.path(), &end.folder, &both, "encoder.rename_heads = { ner = 'entities' }"));
    assert!(
        message.contains("ner: the checkpoint has a head `entities` of its own hint: leave `ner` out"),
        "{message}"
    );
}

#[test]
fn what_heads_began_with_stands_in_the_record_the_model_and_the_report_and_a_resumed_run_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let (run, ..) = every_kind(folder.path());
    let tasks = [("entities", "ner", json!({})), ("topics", "classify", json!({ "pooler": true }))];
    let more = "encoder.rename_heads = { ner = 'entities' }\nencoder.keep_heads = ['qa']";
    let (mut trainer, notes) = begin(recipe(folder.path(), &run, &tasks, more));
    let second = trainer.folder().to_owned();
    while !matches!(trainer.next().unwrap().unwrap(), Event::Step(_)) {}
    trainer.stop_when(std::sync::Arc::new(true.into()));
    trainer.for_each(|event| drop(event.unwrap()));
    let resumed = Trainer::resume(&second, None, &[], TASKS, &mut |_| {}).unwrap();
    let events: Vec<Event> = resumed.map(Result::unwrap).collect();
    let Some(Event::Finished(end)) = events.last() else { panic!("the end comes last") };
    let lines = Record::read(&second).unwrap().lines;
    let plans: Vec<_> = lines
        .iter()
        .filter_map(|line| if let Event::Planned(plan) = &line.event { Some(plan) } else { None })
        .collect();
    assert_eq!(plans.len(), 1, "the resumed run has the same plan");
    let begins = |starts: &[HeadStart]| -> Vec<(String, Begins)> {
        starts.iter().map(|start| (start.head.clone(), start.begins)).collect()
    };
    let expected = [
        ("entities", Begins::Kept),
        ("topics", Begins::New),
        ("qa", Begins::Untrained),
        ("classify", Begins::Dropped),
        ("tag", Begins::Dropped),
        ("relation", Begins::Dropped),
        ("parse", Begins::Dropped),
    ]
    .map(|(head, begins)| (head.to_owned(), begins));
    assert_eq!(begins(&plans[0].heads), expected);
    assert_eq!(begins(&Model::load(&end.model, TASKS).unwrap().about.heads), expected);
    assert!(plans[0].heads.iter().all(|head| notes.contains(&head.line())), "{notes}");
    let depth = polyhead::report::Depth::Records;
    let report = polyhead::report::report(&[second], TASKS, depth, &mut |_| {}).unwrap();
    let report = polyhead::report::markdown::page(&report);
    assert!(report.contains("What the heads began with") && report.contains("with ner of the model"), "{report}");
    assert!(report.contains("as in the model, and stays untrained"), "{report}");
    // A bare encoder has nothing to tell.
    let first = Record::read(&run).unwrap().lines;
    assert!(matches!(&first[0].event, Event::Planned(plan) if plan.heads.is_empty()));
}
