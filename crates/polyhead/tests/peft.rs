//! Folders of PEFT: those that it saved (`fixtures/peft_folders.py`) load here and answer alike, alone and together; what is written is what it would have
//! saved. `checks/peft_roundtrip.py` proves the other direction with PEFT itself.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::Tensor;
use common::{Tensors, error, fixture, load, logits, read, windows};
use polyhead::encoders::{ENCODERS, EncoderKind};
use polyhead::model::Model;
use polyhead::peft::{self, Base, Folder};
use polyhead::tasks::TASKS;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const TASK_NAMES: [&str; 3] = ["ner", "qa", "classify"];
/// With DoRA.
const DORA: &str = "dora";

fn with_folders() -> impl Iterator<Item = &'static EncoderKind> {
    ENCODERS.iter().filter(|kind| ["tiny-bert", "tiny-roberta"].contains(&kind.fixture))
}

fn folder(kind: &EncoderKind, task: &str) -> Folder {
    // The folder with DoRA is of entities, too.
    let is_ner = ["ner", DORA].contains(&task);
    let labels = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"].map(str::to_owned).to_vec();
    let path = fixture(kind.fixture).join("peft").join(task);
    Folder { path, task: Some(task.to_owned()), labels: is_ner.then_some(labels) }
}

fn imported(kind: &EncoderKind, tasks: &[&str]) -> Model {
    let folders: Vec<Folder> = tasks.iter().map(|task| folder(kind, task)).collect();
    peft::read(&fixture(kind.fixture), &folders, TASKS).unwrap()
}

fn answers_as_peft(model: &Model, task: &str, reference: &Tensors) {
    let want = &reference[&format!("{task}_logits")];
    let found = logits(model, task, &windows(reference)).concat();
    let found = Tensor::from_vec(found, want.shape(), want.device()).unwrap();
    let error = error(&found, want);
    assert!(error < 1e-5, "{task}: {error:e}");
}

#[test]
fn folders_that_peft_saved_answer_as_they_do_there_alone_and_together() {
    for kind in with_folders() {
        let reference = read(&fixture(kind.fixture).join("peft/logits.safetensors"));
        for task in TASK_NAMES {
            answers_as_peft(&imported(kind, &[task]), task, &reference);
        }
        let dora = imported(kind, &[DORA]);
        assert!(dora.private_lora.as_ref().unwrap().dora);
        answers_as_peft(&dora, DORA, &reference);
        // Ranks, scales and layers differ: one model has room for all.
        let together = imported(kind, &TASK_NAMES);
        TASK_NAMES.iter().for_each(|task| answers_as_peft(&together, task, &reference));
        let saved = tempfile::tempdir().unwrap();
        let saved = saved.path().join("model");
        together.save(&saved).unwrap();
        TASK_NAMES.iter().for_each(|task| answers_as_peft(&load(&saved), task, &reference));
    }
}

fn written(model: &Model, task: &str, to: &Path) {
    let base = Base { name: "somewhere/encoder".to_owned(), revision: Some("v1".to_owned()) };
    peft::write(model, model.task(task).unwrap(), &base, to).unwrap();
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join(peft::CONFIG)).unwrap()).unwrap()
}

#[test]
fn what_is_written_is_what_peft_saved() {
    let folder = tempfile::tempdir().unwrap();
    for kind in with_folders() {
        for task in ["ner", "qa", DORA] {
            let to = folder.path().join(kind.fixture).join(task);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            written(&imported(kind, &[task]), task, &to);
            let theirs = fixture(kind.fixture).join("peft").join(task);
            let [ours, saved] = [&to, &theirs].map(|folder| read(&folder.join(peft::TENSORS)));
            assert_eq!(ours.keys().collect::<Vec<_>>(), saved.keys().collect::<Vec<_>>(), "{task}");
            for (name, tensor) in &saved {
                assert_eq!(error(&ours[name], tensor), 0.0, "{task}: {name}");
            }
            let (ours, saved) = (config(&to), config(&theirs));
            for field in ["peft_type", "task_type", "r", "use_rslora", "use_dora", "bias"] {
                assert_eq!(ours[field], saved[field], "{task}: {field}");
            }
            assert_eq!(ours["lora_alpha"].as_f64(), saved["lora_alpha"].as_f64());
            assert_eq!(ours["base_model_name_or_path"], "somewhere/encoder");
            assert_eq!(peft::base_of(&to).unwrap(), "somewhere/encoder@v1");
            assert!(fs::read_to_string(to.join("README.md")).unwrap().contains("library_name: peft"));
        }
    }
}

#[test]
fn the_encoder_is_written_once_for_all_tasks() {
    let (folder, kind) = (tempfile::tempdir().unwrap(), with_folders().next().unwrap());
    let model = imported(kind, &["ner", "qa"]);
    let base = folder.path().join("base");
    peft::write_base(&model, &base).unwrap();
    let changed = || fs::metadata(base.join("model.safetensors")).unwrap().modified().unwrap();
    let first = changed();
    peft::write_base(&model, &base).unwrap();
    assert_eq!(changed(), first, "it is left as it is");
    let reference = read(&fixture(kind.fixture).join("peft/logits.safetensors"));
    for task in ["ner", "qa"] {
        let to = folder.path().join(task);
        written(&model, task, &to);
        let again = peft::read(&base, &[Folder { path: to, ..self::folder(kind, task) }], TASKS).unwrap();
        answers_as_peft(&again, task, &reference);
    }
    let other = imported(with_folders().nth(1).unwrap(), &["ner"]);
    let refused = peft::write_base(&other, &base).unwrap_err().to_string();
    assert!(refused.contains("found other weights"), "{refused}");
}

/// A copy of a folder of PEFT that can be changed.
fn copied(task: &str) -> (tempfile::TempDir, PathBuf) {
    let (scratch, kind) = (tempfile::tempdir().unwrap(), with_folders().next().unwrap());
    let to = scratch.path().join(task);
    fs::create_dir(&to).unwrap();
    for name in [peft::CONFIG, peft::TENSORS] {
        fs::copy(fixture(kind.fixture).join("peft").join(task).join(name), to.join(name)).unwrap();
    }
    (scratch, to)
}

fn refused(path: &Path, labels: Option<&[&str]>) -> String {
    let kind = with_folders().next().unwrap();
    let labels = labels.map(|labels| labels.iter().map(|&label| label.to_owned()).collect());
    let folder = Folder { path: path.to_owned(), task: Some("x".to_owned()), labels };
    let error = peft::read(&fixture(kind.fixture), &[folder], TASKS).err().expect("it is refused");
    error.to_string()
}

#[test]
fn what_is_computed_in_another_way_here_is_refused_by_its_field() {
    for (field, value, said) in [
        ("peft_type", json!("IA3"), "`peft_type`: expected LORA, found IA3"),
        ("use_dora", json!(true), "expected lengths of rows (DoRA) beside it"),
        ("fan_in_fan_out", json!(true), "`fan_in_fan_out`: expected false"),
        ("bias", json!("all"), "`bias`: expected none, found all"),
        ("alpha_pattern", json!({ "query": 3 }), "`alpha_pattern`"),
        ("task_type", json!("CAUSAL_LM"), "expected one of TOKEN_CLS"),
        ("task_type", Value::Null, "found none"),
        ("r", json!("eight"), "not a configuration of PEFT"),
    ] {
        let (_scratch, path) = copied("qa");
        let mut changed = config(&path);
        changed[field] = value;
        fs::write(path.join(peft::CONFIG), changed.to_string()).unwrap();
        let message = refused(&path, None);
        let place = if field == "use_dora" { "lora_magnitude_vector" } else { peft::CONFIG };
        assert!(message.contains(said) && message.contains(place), "{field}: {message}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let layer = "base_model.model.bert.encoder.layer.0.attention.self.query";
    let changed = |change: &dyn Fn(&mut Tensors)| {
        let (_scratch, path) = copied("qa");
        let mut tensors = read(&path.join(peft::TENSORS));
        change(&mut tensors);
        common::write(&path.join(peft::TENSORS), &tensors);
        refused(&path, None)
    };
    let [a, b] = ["A", "B"].map(|end| format!("{layer}.lora_{end}.weight"));
    let message = changed(&|tensors| _ = tensors.remove(&b));
    assert!(message.contains("expected B beside it"), "{message}");
    let message = changed(&|tensors| {
        let short = tensors[&a].narrow(1, 0, 8).unwrap().contiguous().unwrap();
        tensors.insert(a.clone(), short);
    });
    let said = "`encoder.layer.0.attention.self.query`: expected an addition to a layer [32, 32]";
    assert!(message.contains(said), "{message}");
    let message = changed(&|tensors| {
        let vector = tensors[&a].narrow(0, 0, 1).unwrap().contiguous().unwrap();
        tensors.insert(format!("{layer}.lora_magnitude_vector"), vector);
    });
    assert!(message.contains("expected none beside it, found some"), "{message}");
    let message = changed(&|tensors| {
        let vector = tensors[&a].narrow(0, 0, 1).unwrap().contiguous().unwrap();
        tensors.insert(format!("{layer}.lora_embedding_A"), vector);
    });
    assert!(message.contains("no part of LoRA"), "{message}");
    let message = changed(&|tensors| tensors.retain(|name, _| !name.contains("lora")));
    assert!(message.contains("found none"), "{message}");
    let message = changed(&|tensors| {
        for (from, end) in [(&a, "A"), (&b, "B")] {
            let tensor = tensors.remove(from).unwrap();
            tensors.insert(
                format!("base_model.model.bert.encoder.layer.7.attention.self.query.lora_{end}.weight"),
                tensor,
            );
        }
    });
    assert!(message.contains("expected a linear layer `encoder.layer.7.attention.self.query`"), "{message}");
    let (_scratch, path) = copied("ner");
    let message = refused(&path, Some(&["O", "B-LOC"]));
    assert!(message.contains("id2label"), "{message}");
}

#[test]
fn a_model_without_lora_is_not_written_for_peft() {
    let kind = with_folders().next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("ner");
    fs::create_dir(&source).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(fixture(kind.fixture).join("single-task/ner").join(name), source.join(name)).unwrap();
    }
    fs::copy(fixture(kind.fixture).join("tokenizer.json"), source.join("tokenizer.json")).unwrap();
    let model = load(&source);
    let base = Base { name: "x".to_owned(), revision: None };
    let error = peft::write(&model, model.task("ner").unwrap(), &base, &folder.path().join("to")).unwrap_err();
    assert!(error.to_string().contains("expected a model with LoRA"), "{error}");
    assert!(!folder.path().join("to").exists());
}

/// Model folders of the first encoder, each with these folders of PEFT as tasks of these names.
fn saved(scratch: &Path, name: &str, tasks: &[(&str, &str)]) -> PathBuf {
    let kind = with_folders().next().unwrap();
    let named = |(task, of): &(&str, &str)| Folder { task: Some((*task).to_owned()), ..folder(kind, of) };
    let to = scratch.join(name);
    let folders: Vec<Folder> = tasks.iter().map(named).collect();
    peft::read(&fixture(kind.fixture), &folders, TASKS).unwrap().save(&to).unwrap();
    to
}

fn answers(model: &Model, task: &str) -> Vec<f32> {
    let kind = with_folders().next().unwrap();
    let reference = read(&fixture(kind.fixture).join("peft/logits.safetensors"));
    logits(model, task, &windows(&reference)).concat()
}

fn far(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn tasks_are_added_and_left_out_and_the_others_answer_the_same() {
    let (scratch, kind) = (tempfile::tempdir().unwrap(), with_folders().next().unwrap());
    let one = saved(scratch.path(), "one", &[("ner", "ner")]);
    let before = answers(&load(&one), "ner");
    let named = |name: &str, of: &str| Folder { task: Some(name.to_owned()), ..folder(kind, of) };
    let two = peft::added(&one, &[named("people", "ner")], TASKS).unwrap();
    assert_eq!(answers(&two, "ner"), before);
    assert_eq!(answers(&two, "people"), before);
    // Room for more layers and a larger rank: sums have more zeros in them.
    let three = peft::added(&one, &[named("qa", "qa"), named("sentiment", "classify")], TASKS).unwrap();
    assert!(far(&answers(&three, "ner"), &before) < 1e-5);
    let to = scratch.path().join("two");
    two.save(&to).unwrap();
    let again = peft::without(&to, &["people".to_owned()], TASKS).unwrap();
    assert_eq!((answers(&again, "ner"), again.tasks.len()), (before, 1));
    for (tasks, said) in [(&["ner", "people"][..], "expected a task that stays"), (&["nobody"], "found `nobody`")] {
        let tasks: Vec<String> = tasks.iter().map(|&task| task.to_owned()).collect();
        let refused = peft::without(&to, &tasks, TASKS).err().unwrap().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let refused = peft::added(&one, &[named("ner", "ner")], TASKS).err().unwrap().to_string();
    assert!(refused.contains("ner"), "{refused}");
}

#[test]
fn additions_are_merged_negated_and_averaged_as_their_products_are() {
    let scratch = tempfile::tempdir().unwrap();
    let both = saved(scratch.path(), "both", &[("ner", "ner"), ("qa", "qa")]);
    let model = load(&both);
    for task in ["ner", "qa"] {
        let merged = peft::merged(&both, task, TASKS).unwrap();
        assert!(merged.parameters.iter().all(|parameter| !parameter.name.contains("lora")));
        assert!(far(&answers(&merged, task), &answers(&model, task)) < 1e-5, "{task}");
    }
    // Twice is not at all; once is W - s B A.
    let negated = peft::negated(&both, &["ner".to_owned()], TASKS).unwrap();
    assert_eq!(answers(&negated, "qa"), answers(&model, "qa"));
    assert!(far(&answers(&negated, "ner"), &answers(&model, "ner")) > 1e-2);
    let to = scratch.path().join("negated");
    negated.save(&to).unwrap();
    assert_eq!(answers(&peft::negated(&to, &["ner".to_owned()], TASKS).unwrap(), "ner"), answers(&model, "ner"));
    let weight = |model: &Path| {
        let merged = peft::merged(model, "ner", TASKS).unwrap();
        let query = merged.parameters.get("encoder.layer.0.attention.self.query.weight").unwrap();
        query.weight.tensor().unwrap().copy().unwrap()
    };
    let plain = load(&both).parameters.get("encoder.layer.0.attention.self.query.weight").unwrap().weight.clone();
    let twice = (plain.tensor().unwrap() * 2.0).unwrap();
    assert!(error(&(weight(&both) + weight(&to)).unwrap(), &twice) < 1e-6);
    // What was added and what was taken away come to nothing; the mean of three has the rank of all.
    let mean = peft::average(&[&both, &to, &both], TASKS).unwrap();
    let path = scratch.path().join("mean");
    mean.save(&path).unwrap();
    let third = ((weight(&both) * 2.0).unwrap() + weight(&to)).unwrap();
    assert!(error(&weight(&path), &(third / 3.0).unwrap()) < 1e-6);
    assert_eq!(mean.private_lora.as_ref().unwrap().rank, 9);
    assert!(far(&answers(&mean, "qa"), &answers(&model, "qa")) < 1e-5);
}

#[test]
fn models_that_have_no_mean_are_refused() {
    let scratch = tempfile::tempdir().unwrap();
    let one = saved(scratch.path(), "one", &[("ner", "ner")]);
    let other = saved(scratch.path(), "other", &[("qa", "qa")]);
    let refused = |models: &[&Path]| peft::average(models, TASKS).err().unwrap().to_string();
    assert!(refused(&[&one, &other]).contains("with the same tasks, found qa"));
    assert!(refused(&[&one]).contains("found one"));
    let tensors = one.join("model.safetensors");
    let changed = scratch.path().join("changed");
    fs::create_dir(&changed).unwrap();
    for file in fs::read_dir(&one).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, changed.join(file.file_name().unwrap())).unwrap();
    }
    let mut all = read(&tensors);
    let name = "encoder.layer.0.output.dense.bias";
    all.insert(name.to_owned(), (&all[name] + 1.0).unwrap());
    common::write(&changed.join("model.safetensors"), &all);
    assert!(refused(&[&one, &changed]).contains("another encoder"));
}
