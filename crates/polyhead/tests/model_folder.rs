//! Model folders that are damaged, foreign or not models at all: each is refused by an error that names the place, and
//! none makes the library panic; and what is saved comes back.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::{Device, Tensor};
use common::{Tensors, fixture, logits, read, windows, write, write_model};
use polyhead::batch::Features;
use polyhead::encoders::EncoderOverrides;
use polyhead::error::{Error, ErrorKind};
use polyhead::model::{Model, Provenance};
use polyhead::tasks::TASKS;
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

fn folder() -> (TempDir, Tensors) {
    let folder = tempfile::tempdir().unwrap();
    let reference = read(&fixture("tiny-bert/parity.safetensors"));
    write_model(&fixture("tiny-bert"), &reference, folder.path());
    (folder, reference)
}

fn refused(folder: &Path) -> Error {
    let Err(error) = Model::load(folder, TASKS) else { panic!("a damaged folder was loaded") };
    error
}

/// Checks that loading fails, that the message holds all of `parts`, and that there is a hint.
fn assert_refused(folder: &Path, kind: ErrorKind, parts: &[&str]) {
    let error = refused(folder);
    for part in parts {
        assert!(error.to_string().contains(part), "no {part:?} in: {error}");
    }
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.hint_text().is_some(), "no hint: {error}");
}

fn change_tensors(folder: &Path, change: impl FnOnce(&mut Tensors)) {
    let path = folder.join("model.safetensors");
    let mut tensors = read(&path);
    change(&mut tensors);
    write(&path, &tensors);
}

fn change_config(folder: &Path, change: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

#[test]
fn every_missing_tensor_is_named() {
    let (folder, reference) = folder();
    let names: Vec<String> = read(&folder.path().join("model.safetensors")).into_keys().collect();
    for name in names.iter().filter(|name| !name.starts_with("pooler.")) {
        write_model(&fixture("tiny-bert"), &reference, folder.path());
        change_tensors(folder.path(), |tensors| drop(tensors.remove(name)));
        assert_refused(
            folder.path(),
            ErrorKind::Data,
            &[&format!("model.safetensors: tensor `{name}`: expected a tensor ["), "found none"],
        );
    }
}

#[test]
fn extra_and_misshapen_tensors_are_named_all_at_once() {
    let (folder, _) = folder();
    change_tensors(folder.path(), |tensors| {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert("heads.ner.weight".into(), zeros(&[9, 31]));
        tensors.insert("encoder.layer.1.output.dense.bias".into(), zeros(&[2, 16]));
        tensors.insert("encoder.layer.3.output.dense.bias".into(), zeros(&[32]));
        tensors.insert("heads.qa.middle.bias".into(), zeros(&[1]));
    });
    assert_refused(
        folder.path(),
        ErrorKind::Data,
        &[
            "tensor `heads.ner.weight`: expected the shape [9, 32], found [9, 31]",
            "tensor `encoder.layer.1.output.dense.bias`: expected the shape [32], found [2, 16]",
            "tensor `encoder.layer.3.output.dense.bias`: unknown",
            "tensor `heads.qa.middle.bias`: unknown",
            "and 3 more",
        ],
    );
}

#[test]
fn tensors_that_are_no_finite_numbers_or_there_twice_are_named() {
    for (value, fine) in [(f32::NAN, false), (f32::NEG_INFINITY, false), (f32::MAX, true)] {
        let (folder, _) = folder();
        change_tensors(folder.path(), |tensors| {
            tensors.insert("heads.ner.bias".into(), Tensor::full(value, 9, &Device::Cpu).unwrap());
        });
        match Model::load(folder.path(), TASKS) {
            Ok(_) => assert!(fine),
            Err(error) => assert!(!fine && error.to_string().contains("`heads.ner.bias`: expected finite"), "{error}"),
        }
    }
    let (folder, _) = folder();
    change_tensors(folder.path(), |tensors| {
        let norm = tensors["embeddings.LayerNorm.weight"].clone();
        tensors.insert("bert.embeddings.LayerNorm.gamma".into(), norm);
    });
    assert!(refused(folder.path()).to_string().contains("two tensors for `embeddings.LayerNorm.weight`"));
}

#[test]
fn integers_in_place_of_weights_are_named() {
    let (folder, _) = folder();
    let path = folder.path().join("model.safetensors");
    let mut tensors = read(&path);
    let positions = Tensor::arange(0_i64, 64, &Device::Cpu).unwrap();
    tensors.insert("embeddings.position_ids".into(), positions.clone()); // older checkpoints carry them
    let save = |tensors: Tensors| candle_core::safetensors::save(&tensors.into_iter().collect(), &path).unwrap();
    save(tensors.clone());
    Model::load(folder.path(), TASKS).unwrap();
    tensors.insert("heads.ner.bias".into(), positions);
    save(tensors);
    assert!(refused(folder.path()).to_string().contains("tensor `heads.ner.bias`: expected floating point"));
}

#[test]
fn configurations_that_fit_no_weights_are_refused_before_anything_is_allocated() {
    let cases: &[(&str, Value, &str)] = &[
        ("hidden_size", json!(1_000_000_000), "`hidden_size`: expected a number from 1"),
        ("hidden_size", json!(16_777_216), "expected the shape [211, 16777216], found [211, 32]"),
        ("hidden_size", json!(30), "`hidden_size`: expected a multiple of num_attention_heads = 4"),
        ("hidden_size", json!(-1), "not the configuration of a model of the type `bert`"),
        ("hidden_size", json!("32"), "not the configuration of a model of the type `bert`"),
        ("hidden_size", Value::Null, "not the configuration of a model of the type `bert`"),
        ("vocab_size", json!(0), "`vocab_size`"),
        ("vocab_size", json!(18_446_744_073_709_551_615_u64), "`vocab_size`"),
        ("num_hidden_layers", json!(16_777_216), "`num_hidden_layers`"),
        ("num_hidden_layers", json!(1024), "encoder.layer.3.attention.self.query.weight"),
        ("num_hidden_layers", json!(2), "`encoder.layer.2.attention.output.LayerNorm.bias`: unknown"),
        ("num_attention_heads", json!(0), "`num_attention_heads`"),
        ("hidden_act", json!("mish"), "`hidden_act`: expected one of gelu, gelu_python, gelu_new"),
        ("position_embedding_type", json!("relative_key"), "`position_embedding_type`: expected `absolute`"),
        ("hidden_dropout_prob", json!(1.5), "`hidden_dropout_prob`"),
        ("layer_norm_eps", json!(-1e-12), "`layer_norm_eps`"),
        ("is_decoder", json!(true), "is_decoder"),
        ("max_position_embeddings", json!(32), "embeddings.position_embeddings.weight"),
        (
            "model_type",
            json!("gpt2"),
            "model_type: expected one of bert, roberta, xlm-roberta, camembert, distilbert, electra, albert, mpnet, deberta-v2, modernbert, found `gpt2`",
        ),
        ("model_type", json!(7), "model_type: expected one of bert, roberta"),
    ];
    for (field, value, message) in cases {
        let (folder, _) = folder();
        change_config(folder.path(), |config| config[*field] = value.clone());
        let start = Instant::now();
        let error = refused(folder.path()).to_string();
        assert!(error.contains(message), "{field} = {value}: {error}");
        assert!(start.elapsed() < Duration::from_secs(2), "{field} = {value} took {:?}", start.elapsed());
    }
}

#[test]
fn a_new_head_is_not_made_for_an_encoder_of_claimed_size() {
    let (folder, _) = folder();
    change_config(folder.path(), |config| {
        config["hidden_size"] = json!(16_777_216);
        config["intermediate_size"] = json!(16_777_216);
    });
    let labels: Vec<String> = (0..100_000).map(|n| format!("B-{n}")).collect();
    let task = (TASKS[0].open)(json!({ "labels": labels, "max_length": 64 })).unwrap();
    let tasks = vec![polyhead::model::NamedTask { name: "other".into(), task }];
    // Six terabytes, if it were.
    let made =
        Model::pretrained(folder.path(), Provenance::default(), tasks, &EncoderOverrides::default(), Key::seed(1));
    assert!(made.err().unwrap().to_string().contains("found [211, 32]"));
}

#[test]
fn fields_of_our_own_that_are_not_ours_are_refused() {
    let cases: &[(&str, Value, &str)] = &[
        ("/polyhead", json!(7), "config.json: polyhead: not what this version writes"),
        ("/polyhead/tasks/0/kind", json!("guess"), "the task `ner` is of the unknown kind `guess`"),
        ("/polyhead/tasks/0/config", json!({ "colour": 1 }), "unknown field `colour`"),
        ("/polyhead/tasks/0/config/max_length", json!(65), "the encoder takes at most 64 tokens, found 65"),
        ("/polyhead/tasks/0/config/max_length", json!(0), "max_length: expected at least 3"),
        ("/polyhead/tasks/0/config/stride", json!(u64::MAX), "stride"),
        ("/polyhead/tasks/1/config/stride", json!(u64::MAX), "max_length: expected at least"),
        ("/polyhead/tasks/1/config/max_question_length", json!(u64::MAX), "max_length: expected at least"),
        ("/polyhead/tasks/0/config/labels", json!([]), "`heads.ner.weight`: expected the shape [0, 32]"),
        ("/polyhead/tasks/0/name", json!("other"), "`heads.other.weight`: expected a tensor [9, 32]"),
        ("/polyhead/tasks/1/name", json!("ner"), "two tasks of the name `ner`"),
        ("/polyhead/tasks/1/name", json!("../x"), "tasks: expected a name of lower-case letters"),
        ("/polyhead/tasks/1/name", json!("qa.start"), "tasks: expected a name of lower-case letters"),
    ];
    for (field, value, message) in cases {
        let (folder, _) = folder();
        change_config(folder.path(), |config| *config.pointer_mut(field).unwrap() = value.clone());
        let error = refused(folder.path()).to_string();
        assert!(error.contains(message), "{field} = {value}: {error}");
    }
}

#[test]
fn files_that_are_missing_cut_short_or_of_another_kind_are_named() {
    let (folder, reference) = folder();
    let path = |name: &str| folder.path().join(name);
    let anew = || write_model(&fixture("tiny-bert"), &reference, folder.path());

    let bytes = fs::read(path("model.safetensors")).unwrap();
    fs::write(path("model.safetensors"), &bytes[..bytes.len() - 1]).unwrap();
    assert_refused(folder.path(), ErrorKind::Data, &["model.safetensors: not a safetensors file"]);

    fs::remove_file(path("model.safetensors")).unwrap();
    assert_refused(folder.path(), ErrorKind::MissingInput, &["model.safetensors: no such file"]);
    fs::write(path("pytorch_model.bin"), "pickle").unwrap();
    assert_refused(folder.path(), ErrorKind::MissingInput, &["model.safetensors: no such file"]);
    assert!(refused(folder.path()).hint_text().unwrap().contains("`pytorch_model.bin` is there, but"));

    fs::create_dir(path("model.safetensors")).unwrap();
    assert!(refused(folder.path()).to_string().contains("model.safetensors: expected a file, found a directory"));
    fs::remove_dir(path("model.safetensors")).unwrap();

    anew();
    fs::write(path("config.json"), "{\n  \"model_type\": bert\n}").unwrap();
    assert!(refused(folder.path()).to_string().contains("config.json:2:"));
    fs::write(path("config.json"), "[]").unwrap();
    refused(folder.path());
    fs::remove_file(path("config.json")).unwrap();
    refused(folder.path());
    fs::create_dir(path("config.json")).unwrap();
    assert!(refused(folder.path()).to_string().contains("config.json: expected a file, found a directory"));
    fs::remove_dir(path("config.json")).unwrap();

    anew();
    fs::write(path("tokenizer.json"), "{}").unwrap();
    assert_refused(folder.path(), ErrorKind::Data, &["tokenizer.json: not a usable tokenizer"]);
    fs::remove_file(path("tokenizer.json")).unwrap();
    assert_refused(folder.path(), ErrorKind::MissingInput, &["tokenizer.json is missing"]);

    let error = refused(&path("nowhere"));
    assert_eq!(error.kind(), ErrorKind::MissingInput);
    assert!(error.hint_text().is_some());
}

#[test]
fn a_tokenizer_with_ids_beyond_the_embeddings_is_refused() {
    let (folder, _) = folder();
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["zebra"] = json!(211);
    fs::write(&path, tokenizer.to_string()).unwrap();
    assert_refused(
        folder.path(),
        ErrorKind::Data,
        &["tokenizer.json: expected ids below the encoder's vocabulary of 211, found ids up to 211"],
    );
}

#[test]
fn a_bare_encoder_is_no_model_to_ask() {
    assert_refused(&fixture("tiny-bert"), ErrorKind::Data, &["config.json: architectures", "found `BertModel`"]);
}

#[test]
fn saving_and_loading_changes_no_bit_of_the_logits() {
    let (folder, reference) = folder();
    let model = common::load(folder.path());
    let saved = folder.path().join("saved");
    model.save(&saved).unwrap();
    let again = common::load(&saved);
    for task in ["ner", "qa"] {
        let bits = |model: &Model| -> Vec<u32> {
            logits(model, task, &windows(&reference)).concat().into_iter().map(f32::to_bits).collect()
        };
        assert!(bits(&model) == bits(&again), "{task}");
    }
    let bytes = fs::read(saved.join("model.safetensors")).unwrap();
    again.save(&saved).unwrap();
    assert!(bytes == fs::read(saved.join("model.safetensors")).unwrap(), "saving again gives the same file");
}

#[test]
fn a_model_trained_from_half_precision_weights_says_that_it_is_saved_in_single() {
    let (folder, _) = folder();
    change_config(folder.path(), |config| config["dtype"] = json!("float16"));
    let saved = folder.path().join("saved");
    common::load(folder.path()).save(&saved).unwrap();
    let config: Value = serde_json::from_slice(&fs::read(saved.join("config.json")).unwrap()).unwrap();
    assert_eq!(config["dtype"], "float32");
}

/// Loads and, where that succeeds, computes: neither may panic. Errors are fine.
fn try_out(folder: &Path, windows: &[Features]) -> bool {
    let Ok(model) = Model::load(folder, TASKS) else { return false };
    let windows: Vec<&Features> = windows.iter().collect();
    for task in &model.tasks {
        let _ = model.logits(task, &windows);
        let _ = model.tokenizer.text("Ada Lovelace was born in London (1815).");
    }
    true
}

#[test]
fn no_file_cut_short_anywhere_is_loaded_or_panics() {
    let (folder, reference) = folder();
    let windows = windows(&reference);
    for (name, cuts) in [("config.json", 400), ("tokenizer.json", 150), ("model.safetensors", 150)] {
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        for cut in 0..cuts {
            // The header of the weights is cut finely, their numbers coarsely.
            let end = if cut % 2 == 0 { cut * bytes.len() / cuts } else { cut.min(bytes.len() - 1) };
            fs::write(&path, &bytes[..end]).unwrap();
            assert!(!try_out(folder.path(), &windows), "{name} of {end} bytes was loaded");
        }
        fs::write(&path, &bytes).unwrap();
        assert!(try_out(folder.path(), &windows));
    }
}

#[test]
fn no_changed_byte_makes_loading_or_computing_panic() {
    let (folder, reference) = folder();
    let windows = windows(&reference);
    for (name, changes) in [("config.json", 600), ("tokenizer.json", 300), ("model.safetensors", 300)] {
        let path = folder.path().join(name);
        let bytes = fs::read(&path).unwrap();
        let key = Key::seed(20_240_613).purpose(name);
        for change in 0..changes {
            let draw = |part: u64| (key.with(part).bits(change) >> 8) as usize;
            // Every other change of the weights hits their header.
            let within = if name == "model.safetensors" && change % 2 == 0 { 4096 } else { bytes.len() };
            let mut changed = bytes.clone();
            changed[draw(1) % within] = match draw(2) % 3 {
                0 => b"{}[]\",:0123456789-e"[draw(3) % 19],
                1 => draw(3) as u8,
                _ => changed[draw(1) % within] ^ (1 << (draw(3) % 8)),
            };
            fs::write(&path, &changed).unwrap();
            try_out(folder.path(), &windows);
        }
        fs::write(&path, &bytes).unwrap();
    }
}

/// The tensors of a model in two files, with the index that save_pretrained writes.
#[test]
fn weights_in_several_files_are_the_same_model() {
    let (folder, reference) = folder();
    let windows = windows(&reference);
    let whole = logits(&Model::load(folder.path(), TASKS).unwrap(), "ner", &windows);
    let path = folder.path().join("model.safetensors");
    let (mut first, mut second) = (Tensors::new(), Tensors::new());
    for (at, (name, tensor)) in read(&path).into_iter().enumerate() {
        if at % 2 == 0 { &mut first } else { &mut second }.insert(name, tensor);
    }
    let files = [("model-00001-of-00002.safetensors", &first), ("model-00002-of-00002.safetensors", &second)];
    let index = |lacking: &str| {
        let listed = files.iter().flat_map(|(file, tensors)| tensors.keys().map(move |name| (name.clone(), *file)));
        let mut map: serde_json::Map<String, Value> = listed.map(|(name, file)| (name, json!(file))).collect();
        if !lacking.is_empty() {
            map.insert(lacking.into(), json!(files[0].0));
        }
        let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
        fs::write(folder.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    };
    for (file, tensors) in files {
        write(&folder.path().join(file), tensors);
    }
    index("");
    fs::remove_file(&path).unwrap();
    assert_eq!(logits(&Model::load(folder.path(), TASKS).unwrap(), "ner", &windows), whole);
    index("encoder.layer.7.output.dense.weight");
    let parts = ["encoder.layer.7.output.dense.weight", "expected this tensor in model-00001-of-00002.safetensors"];
    assert_refused(folder.path(), ErrorKind::Data, &parts);
    index("");
    fs::remove_file(folder.path().join(files[1].0)).unwrap();
    assert_refused(folder.path(), ErrorKind::MissingInput, &[files[1].0]);
}
