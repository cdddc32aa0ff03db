//! Class sampling: what a run draws in each pass, for tasks whose examples have one class.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::io::sha256_file;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Trainer};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// 36 examples with the label A, 9 with B, 3 with C: in 48, half as many batches of 8 as there are steps of two passes.
const CLASSES: [(char, usize); 3] = [('A', 36), ('B', 9), ('C', 3)];

fn label(example: usize) -> char {
    match example % 16 {
        3 => 'C',
        1 | 7 | 12 => 'B',
        _ => 'A',
    }
}

fn recipe(folder: &Path, settings: &str) -> Recipe {
    let path = folder.join("train.tsv");
    let names = ["ada", "london", "mary", "paris", "john smith"];
    let line = |at: usize| format!("{} the {} {}\n", label(at), ["queen", "river"][at % 2], names[at % names.len()]);
    let rows = (0..48).map(line).map(|line| line.replacen(' ', "\t", 1)).collect::<String>();
    fs::write(&path, format!("label\ttext\n{rows}")).unwrap();
    let text = format!(
        "name = 'run'\noutput = {:?}\nencoder.checkpoint = {:?}\n\
         train = {{ epochs = 2, learning_rate = 1e-3, feature_cache = false, save_every = 1, keep_optimizer = true }}\n\
         tasks.classify = {{ batch_size = 8, max_length = 32, stride = 8, {settings} }}\n\
         data.classify.train = {path:?}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    Recipe::parse(&text, Path::new("run.toml"), &[]).unwrap()
}

/// How often each came, by epoch.
type Times<T> = Vec<BTreeMap<T, usize>>;

/// How often each label came in each epoch, and each example.
fn drawn(events: &[Event]) -> (Times<char>, Times<usize>) {
    let (mut labels, mut examples) = (vec![BTreeMap::new(); 2], vec![BTreeMap::new(); 2]);
    for event in events {
        let Event::Step(step) = event else { continue };
        for &example in &step.tasks[0].examples {
            *labels[step.epoch - 1].entry(label(example)).or_default() += 1;
            *examples[step.epoch - 1].entry(example).or_default() += 1;
        }
    }
    (labels, examples)
}

#[test]
fn labels_come_as_often_as_the_formula_says_and_as_training_announces() {
    // 48 windows: n^0 makes 16 of each; the square roots 6, 3 and sqrt(3) make 26.8, 13.4 and 7.7.
    let sum = 9.0 + 3.0_f64.sqrt();
    let roots = [6.0, 3.0, 3.0_f64.sqrt()].map(|root| 48.0 * root / sum);
    for (settings, want, said) in [
        ("", CLASSES.map(|(_, count)| count as f64), None),
        ("class_sampling = 'balanced'", [16.0; 3], Some("16.0 of A (of 36), 16.0 of B (of 9), 16.0 of C (of 3)")),
        ("class_sampling = 'square_root'", roots, Some("26.8 of A (of 36), 13.4 of B (of 9), 7.7 of C (of 3)")),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut notes = String::new();
        let trainer = Trainer::new(recipe(folder.path(), settings), &mut |note| notes += &format!("{note}\n")).unwrap();
        let events: Vec<Event> = trainer.map(Result::unwrap).collect();
        let (labels, examples) = drawn(&events);
        for epoch in &labels {
            for ((class, _), want) in CLASSES.iter().zip(want) {
                let found = epoch[class] as f64;
                assert!((found - want).abs() < 1.0, "{settings}: {found} of {class} for {want}");
            }
        }
        match said {
            Some(said) => {
                assert!(notes.contains(&format!(": a pass of 48 windows has {said}\n")), "{notes}");
                assert_ne!(examples[0], examples[1], "each pass draws others");
            }
            None => assert!(!notes.contains("class_sampling") && examples[0].values().all(|&times| times == 1)),
        }
        let Some(Event::Finished(end)) = events.last() else { panic!("the end comes last") };
        assert_eq!((end.steps, end.counts["classify"].windows), (12, 96));
    }
}

/// The weights and moments at the end, and which examples came.
fn outcome(run: &Path) -> (Vec<String>, String) {
    let files = ["model.safetensors", "optimizer.safetensors"].map(|name| run.join("checkpoint-12").join(name));
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let steps = metrics.lines().filter(|line| line.contains("\"event\":\"step\""));
    let steps = steps.filter_map(|line| line.split_once("\"examples\":")?.1.split(']').next());
    (files.map(|path| sha256_file(path).unwrap()).to_vec(), steps.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_run_that_draws_by_class_resumes_to_the_same_bits() {
    for settings in ["class_sampling = 'balanced'", "class_sampling = 'square_root'"] {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = small::trainer(recipe(folder.path(), settings));
        trainer.by_ref().for_each(|event| drop(event.unwrap()));
        let whole = outcome(trainer.folder());
        for steps in [1, 5, 6, 7, 11] {
            let folder = tempfile::tempdir().unwrap();
            let mut trainer = small::trainer(recipe(folder.path(), settings));
            let run: PathBuf = trainer.folder().to_owned();
            let flag = Arc::new(AtomicBool::new(false));
            trainer.stop_when(flag.clone());
            trainer.for_each(|event| {
                if let Event::Step(step) = event.unwrap() {
                    flag.store(step.step == steps, Ordering::SeqCst);
                }
            });
            let resumed = Trainer::resume(&run, None, &[], TASKS, &mut |_| {}).unwrap();
            resumed.for_each(|event| drop(event.unwrap()));
            assert!(outcome(&run) == whole, "{settings}: stopped after {steps} steps");
        }
    }
}

#[test]
fn relations_are_drawn_by_their_label_too() {
    let folder = tempfile::tempdir().unwrap();
    let kind = small::kind("relation");
    let train = small::write_data(kind, "train", &[8; 24], folder.path());
    // One label of three becomes rare.
    let text = fs::read_to_string(&train).unwrap().replacen("Lives-In(e2,e1)", "Other", 6);
    fs::write(&train, text).unwrap();
    let recipe = format!(
        "name = 'run'\noutput = {:?}\nencoder.checkpoint = {:?}\ntrain = {{ epochs = 1, feature_cache = false }}\n\
         tasks.relation = {{ batch_size = 8, max_length = 48, marker_tokens = ['$', '@'], class_sampling = 'balanced' }}\n\
         data.relation.train = {train:?}\n",
        folder.path().join("runs"),
        small::fixture("tiny-bert"),
    );
    let recipe = Recipe::parse(&recipe, Path::new("run.toml"), &[]).unwrap();
    let mut notes = String::new();
    let trainer = Trainer::new(recipe, &mut |note| notes += &format!("{note}\n")).unwrap();
    let said = "8.0 of Lives-In(e1,e2) (of 8), 8.0 of Lives-In(e2,e1) (of 2), 8.0 of Other (of 14)";
    assert!(notes.contains(said), "{notes}");
    let mut times = BTreeMap::new();
    for event in trainer {
        if let Event::Step(step) = event.unwrap() {
            step.tasks[0].examples.iter().for_each(|&example| *times.entry(example).or_insert(0) += 1);
        }
    }
    let mut most: Vec<usize> = times.values().copied().collect();
    most.sort_unstable();
    assert_eq!(most.split_off(most.len() - 2), [4, 4], "the two rare ones come four times each");
}

#[test]
fn what_has_no_one_class_is_not_drawn_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |recipe: Recipe| {
        let error = Trainer::new(recipe, &mut |_| {}).err().expect("a recipe that is refused");
        format!("{error} hint: {}", error.hint_text().unwrap_or("none"))
    };
    for problem in ["multi_label", "regression"] {
        let message = refused(recipe(folder.path(), &format!("problem = '{problem}', class_sampling = 'balanced'")));
        assert!(
            message.contains("tasks.classify.class_sampling: expected none where an example has not one label"),
            "{message}"
        );
        assert!(message.contains("`problem = \"single_label\"`"), "{message}");
    }
    let message = refused(recipe(folder.path(), "class_sampling = 'rare'"));
    assert!(
        message.contains("tasks.classify.class_sampling: expected balanced or square_root, found \"rare\""),
        "{message}"
    );
    let message = refused(small::recipe(folder.path(), &["tasks.ner.class_sampling=balanced"]));
    assert!(message.contains("unknown key `class_sampling` in [tasks.ner]"), "{message}");
    let message = refused(recipe(folder.path(), "oversampling = true"));
    assert!(message.contains("called `tasks.classify.class_sampling` here"), "{message}");
}
