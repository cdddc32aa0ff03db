//! The files of a split (several, folders, patterns) and the examples that are held out, in whole runs of tiny-bert.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod small;

use polyhead::Result;
use polyhead::data::Layout;
use polyhead::hub::HubOptions;
use polyhead::recipe::Recipe;
use polyhead::tasks::{Examples, TASKS, TaskKind};
use polyhead::train::{DataSource, Event, Origin, Trainer, prepare};
use polyhead_kernels::rng::Key;
use small::{KINDS, fixture, kind, write_data};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A recipe of one task with tiny-bert, its data as TOML.
fn recipe(folder: &Path, of: &str, data: &str, overrides: &[&str]) -> Result<Recipe> {
    let mut config = (kind(of).config)();
    config["batch_size"] = 8.into();
    let text = format!(
        "name = 'tiny'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
         train = {{ epochs = 2, learning_rate = 1e-3, feature_cache = false }}\ntasks.{of} = {}\n{}\n",
        folder.join("runs"),
        fixture("tiny-bert"),
        toml::Value::try_from(config).unwrap(),
        data.replace("FOLDER", folder.to_str().unwrap()),
    );
    let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
    Recipe::parse(&text, &folder.join("tiny.toml"), &overrides)
}

fn places(of: &str, examples: &Examples) -> Vec<String> {
    let task = opened(of);
    (0..examples.len).map(|index| task.place(examples, index).unwrap().to_string()).collect()
}

fn entry(of: &str) -> &'static TaskKind {
    TASKS.iter().find(|known| known.kind == of).unwrap()
}

fn opened(of: &str) -> Box<dyn polyhead::tasks::AnyTask> {
    (entry(of).open)((kind(of).config)()).unwrap()
}

#[test]
fn several_files_are_one_list_of_examples_and_a_folder_or_a_pattern_means_those_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let train = folder.path().join("train");
    fs::create_dir(&train).unwrap();
    let lengths: Vec<usize> = (0..12).map(|at| 6 + at % 9).collect();
    for name in ["b", "a"] {
        write_data(kind("ner"), name, &lengths, &train);
    }
    fs::write(train.join("README.md"), "no data").unwrap();
    let of = |named: &str| -> Result<(Vec<String>, Vec<usize>)> {
        let data = format!("data.ner = {{ train = {named} }}");
        let prepared = prepare(&recipe(folder.path(), "ner", &data, &[])?, TASKS, &mut |_| ())?;
        let counts: Vec<usize> = prepared.data.iter().map(|file| file.examples).collect();
        Ok((places("ner", &prepared.task_data[0].train), counts))
    };
    let (in_order, counts) = of("['FOLDER/train/ner-a.conll', 'FOLDER/train/ner-b.conll']").unwrap();
    assert_eq!((in_order.len(), counts), (24, vec![12, 12]));
    assert!(in_order[..12].iter().all(|place| place.contains("ner-a.conll:")), "{in_order:?}");
    assert_eq!(of("'FOLDER/train'").unwrap().0, in_order);
    assert_eq!(of("'FOLDER/train/*.conll'").unwrap().0, in_order);
    let (turned, _) = of("['FOLDER/train/ner-b.conll', 'FOLDER/train/ner-a.conll']").unwrap();
    assert_eq!(turned, [&in_order[12..], &in_order[..12]].concat());
    let (first, counts) = of("'FOLDER/train', limit = 15").unwrap();
    assert_eq!((first.as_slice(), counts), (&in_order[..15], vec![12, 3]));
    let (first, counts) = of("'FOLDER/train', limit = 12").unwrap();
    assert_eq!((first.as_slice(), counts), (&in_order[..12], vec![12]), "a file beyond the limit is not read");
    for (named, what) in [
        ("'FOLDER/train/*.jsonl'", "expected files that match"),
        ("['FOLDER/train', 'FOLDER/none.conll']", "none.conll: no such file"),
        ("'FOLDER/runs-of-others'", "no such file"),
    ] {
        let error = of(named).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn a_run_over_a_folder_goes_on_only_with_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let train = folder.path().join("train");
    fs::create_dir(&train).unwrap();
    for name in ["a", "b"] {
        write_data(kind("ner"), name, &[7; 12], &train);
    }
    let data = "data.ner = { train = 'FOLDER/train', split = 0.25 }";
    let mut trainer = Trainer::new(recipe(folder.path(), "ner", data, &[]).unwrap(), &mut |_| ()).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    trainer.stop_when(stop.clone());
    for event in trainer.by_ref() {
        if let Event::Step(_) = event.unwrap() {
            stop.store(true, Ordering::SeqCst);
        }
    }
    drop(trainer);
    let run = folder.path().join("runs/tiny");
    let resume = || Trainer::resume(&run, None, &[], TASKS, &mut |_| ()).map(|_| ()).map_err(|error| error.to_string());
    resume().unwrap();
    write_data(kind("ner"), "c", &[7; 3], &train);
    assert!(resume().unwrap_err().contains("not trained on this file, which is new"), "{:?}", resume());
    fs::rename(train.join("ner-c.conll"), train.join("ner-b.conll")).unwrap();
    assert!(resume().unwrap_err().contains("not what the run was trained on: it had"), "{:?}", resume());
    fs::remove_file(train.join("ner-b.conll")).unwrap();
    assert!(resume().unwrap_err().contains("not among its files any more"), "{:?}", resume());
}

#[test]
fn every_kind_of_task_holds_a_share_out_and_no_text_stands_on_both_sides() {
    for kind in KINDS {
        let folder = tempfile::tempdir().unwrap();
        let lengths: Vec<usize> = (0..60).map(|at| 5 + at % 17).collect();
        let path = write_data(kind, "train", &lengths, folder.path());
        let task = opened(kind.kind);
        let read = || task.read(&path, None, &Layout::default()).unwrap();
        let texts = |examples: &Examples| -> BTreeSet<String> {
            (0..examples.len).map(|index| task.outline(examples, index).unwrap().text.to_owned()).collect()
        };
        let all = read();
        let (train, held) = task.hold_out(read(), 0.2, Key::seed(5)).unwrap();
        assert_eq!(train.len + held.len, all.len, "{}", kind.kind);
        assert!((3..=24).contains(&held.len), "{}: {} of 60", kind.kind, held.len);
        assert!(texts(&train).is_disjoint(&texts(&held)), "{}", kind.kind);
        assert_eq!(&texts(&train) | &texts(&held), texts(&all));
        let again = task.hold_out(read(), 0.2, Key::seed(5)).unwrap().1;
        assert_eq!(places(kind.kind, &again), places(kind.kind, &held));
        assert_ne!(texts(&task.hold_out(read(), 0.2, Key::seed(6)).unwrap().1), texts(&held), "{}", kind.kind);
    }
}

#[test]
fn questions_about_a_passage_stay_together_and_so_do_sentences_of_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let questions: String = (0..90)
        .map(|at| {
            let (passage, word) = (at / 3, ["river", "queen", "north"][at % 3]);
            format!(
                "{{\"id\": \"{at}\", \"question\": \"which {word} ?\", \"context\": \"river queen north {passage}\", \
                 \"answers\": [{{\"text\": \"{passage}\", \"answer_start\": 18}}]}}\n"
            )
        })
        .collect();
    let path = folder.path().join("train.jsonl");
    fs::write(&path, questions).unwrap();
    let task = opened("qa");
    let (train, held) = task.hold_out(task.read(&path, None, &Layout::default()).unwrap(), 0.3, Key::seed(1)).unwrap();
    assert_eq!((train.len % 3, held.len % 3, train.len + held.len), (0, 0, 90));
    assert!(held.len > 0 && train.len > 0);

    let documents: String = (0..30)
        .map(|at| format!("-DOCSTART- O\n\nada{at} B-PER\nwas O\n\nin O\nlondon B-LOC\n\nthe O\nend{at} O\n\n"))
        .collect();
    let path = folder.path().join("train.conll");
    fs::write(&path, documents).unwrap();
    let task = opened("ner");
    let (train, held) = task.hold_out(task.read(&path, None, &Layout::default()).unwrap(), 0.3, Key::seed(1)).unwrap();
    assert_eq!((train.len % 3, held.len % 3, train.len + held.len), (0, 0, 90), "the same sentence in each is no bond");
    assert!(held.len > 0 && train.len > 0);
}

#[test]
fn a_run_that_holds_examples_out_scores_these_says_so_and_its_reports_find_them_again() {
    let folder = tempfile::tempdir().unwrap();
    write_data(kind("qa"), "train", &[7; 40], folder.path());
    let data = "data.qa = { train = 'FOLDER/qa-train.json', split = 0.25 }";
    let recipe = recipe(folder.path(), "qa", data, &[]).unwrap();
    let mut said = String::new();
    let trainer = Trainer::new(recipe.clone(), &mut |note| said += &format!("{note}\n")).unwrap();
    let events: Vec<Event> = trainer.map(Result::unwrap).collect();
    let planned =
        events.iter().find_map(|event| if let Event::Planned(plan) = event { Some(plan) } else { None }).unwrap();
    let (train, held) = (planned.tasks[0].examples, planned.tasks[0].validation);
    assert!(train + held == 40 && held > 0, "{train} {held}");
    assert!(said.contains(&format!("data.qa: {held} of 40 examples (")) && said.contains("(seed 42)"), "{said}");
    assert!(
        planned.warnings.iter().all(|warning| !warning.message.contains("that of training")),
        "{:?}",
        planned.warnings
    );
    let evaluated = events.iter().any(|event| matches!(event, Event::Evaluated(_)));
    assert!(evaluated, "what is held out is scored");
    let (origin, options) = (Origin::default(), HubOptions::from_lookup(&|_| None));
    let mut source = DataSource { origin: &origin, options: &options, notify: &mut |_| () };
    let (task, data) = (opened("qa"), &recipe.data["qa"]);
    let again =
        [source.training(&recipe, data, &*task).unwrap(), source.validation(&recipe, data, &*task).unwrap().unwrap()];
    assert_eq!(again.each_ref().map(|examples| examples.len), [train, held]);
}

#[test]
fn a_share_that_is_none_or_stands_beside_a_file_is_refused_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    for (pair, what) in [
        ("split = 0.0", "data.ner.split: expected a share above 0 and below 1, found 0"),
        ("split = 10", "data.ner.split: expected a share above 0 and below 1, found 10"),
        ("split = 0.1, validation = 'x'", "data.ner.split: expected none beside data.ner.validation"),
        ("split = 0.1, validation_limit = 3", "data.ner.validation_limit: expected none beside data.ner.split"),
        ("validation_split = 0.1", "unknown key `validation_split` in [data.ner]"),
    ] {
        let error = recipe(folder.path(), "ner", &format!("data.ner = {{ train = 'x', {pair} }}"), &[]).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.to_string().contains("tiny.toml:6:") && error.hint_text().is_some(), "{error}");
    }
    let same = "ada B-PER\nleft O\n\n".repeat(5);
    fs::write(folder.path().join("same.conll"), same).unwrap();
    let data = "data.ner = { train = 'FOLDER/same.conll', split = 0.1 }";
    let error = prepare(&recipe(folder.path(), "ner", data, &[]).unwrap(), TASKS, &mut |_| ()).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("examples of two different texts at least"), "{error}");
    assert!(error.to_string().contains("tiny.toml:6:"), "{error}");
}
