//! Vectors that each task has for itself around linear layers: DoRA and IA³ against PEFT (`fixtures/vectors_parity.py`), BitFit against the gradients of biases that
//! PyTorch has (`fixtures/encoder_parity.py`).

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::Tensor;
use common::{TRAIN, Tensors, error, fixture, gradients, largest, loss, targets};
use polyhead::batch::{Features, Padding};
use polyhead::encoders::{ENCODERS, EncoderKind};
use polyhead::export;
use polyhead::model::Model;
use serde_json::{Value, json};
use std::path::Path;

/// Of a tensor's largest element.
const TOLERANCE: f64 = 1e-4;

fn with_fixtures() -> impl Iterator<Item = &'static EncoderKind> {
    ENCODERS.iter().filter(|kind| ["tiny-bert", "tiny-roberta"].contains(&kind.fixture))
}

/// A model folder of an encoder in which both tasks have these tensors for themselves.
fn model(kind: &EncoderKind, sharing: Value, own: &Tensors, inputs: &Tensors, folder: &Path) -> Model {
    common::write_model(&fixture(kind.fixture), inputs, folder);
    let mut tensors = common::read(&folder.join("model.safetensors"));
    for task in ["ner", "qa"] {
        tensors.extend(own.iter().map(|(name, tensor)| (format!("private.{task}.{name}"), tensor.clone())));
    }
    common::write(&folder.join("model.safetensors"), &tensors);
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["polyhead"]["sharing"] = sharing;
    std::fs::write(path, config.to_string()).unwrap();
    common::load(folder)
}

fn logits(model: &Model, inputs: &Tensors, task: &str, like: &Tensor) -> Tensor {
    let values = common::logits(model, task, &common::windows(inputs)).concat();
    Tensor::from_vec(values, like.dims(), like.device()).unwrap()
}

/// It answers as the reference alone, in a batch of both tasks and as a plain model, and has the reference's gradients.
fn is_the_reference(
    kind: &EncoderKind,
    model: &Model,
    folder: &Path,
    inputs: &Tensors,
    reference: &Tensors,
    theirs: &dyn Fn(&str) -> String,
) {
    let windows = common::windows(inputs);
    let both: Vec<(usize, &Features)> = windows.iter().flat_map(|one| [(0, one), (1, one)]).collect();
    let both = model.logits_together(&both).unwrap();
    for (number, task) in ["ner", "qa"].into_iter().enumerate() {
        let want = &reference[&format!("{task}_logits")];
        let close = |found: &Tensor, what: &str| {
            let error = error(found, want);
            assert!(error <= TOLERANCE, "{}, {task}, {what}: error {error:e}", kind.fixture);
        };
        close(&logits(model, inputs, task, want), "alone");
        let of_both =
            both.iter().skip(number).step_by(2).flat_map(|one| one.rows().flatten().copied().collect::<Vec<_>>());
        close(&Tensor::from_vec(of_both.collect(), want.dims(), want.device()).unwrap(), "beside the other");
        let single = folder.join(task);
        export::single_task(model, model.task(task).unwrap(), &single).unwrap();
        close(&logits(&common::load(&single), inputs, task, want), "exported");
        let loss = loss(model, task, &targets(inputs, task), Padding::Packed, TRAIN());
        let found = gradients(model, task, &loss);
        let prefix = format!("grad.{task}.private.{task}.");
        let own: Vec<(&String, &Tensor)> = found.iter().filter(|(name, _)| name.contains(".private.")).collect();
        assert_eq!(
            own.len(),
            model.parameters.iter().filter(|one| one.name.starts_with(&format!("private.{task}."))).count()
        );
        let scale = own.iter().map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
        for (name, found) in own {
            let name = name.strip_prefix(&prefix).unwrap_or_else(|| panic!("{name} is of the other task"));
            let want = &reference[&format!("grad.{task}.{}", theirs(name))];
            // What a softmax takes no notice of has a gradient of zero but for rounding.
            if largest(want) < 1e-6 * scale {
                assert!(largest(found) < 1e-5 * scale, "{task}: {name}");
            } else {
                let error = error(found, want);
                assert!(error <= TOLERANCE, "{}, {task}, {name}: {error:e}", kind.fixture);
            }
        }
    }
}

#[test]
fn dora_and_ia3_of_each_task_are_those_of_peft() {
    let targets = ["query", "value", "output.dense"];
    for (file, sharing) in [
        ("dora", json!({ "name": "lora", "rank": 3, "alpha": 5.0, "dora": true, "targets": targets })),
        ("ia3", json!("ia3")),
    ] {
        for kind in with_fixtures() {
            let folder = tempfile::tempdir().unwrap();
            let [inputs, reference] = ["parity", file]
                .map(|name| common::read(&fixture(kind.fixture).join(name).with_extension("safetensors")));
            let own = reference.iter().filter(|(name, _)| name.starts_with("encoder."));
            let own: Tensors = own.map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
            let model = model(kind, sharing.clone(), &own, &inputs, folder.path());
            is_the_reference(kind, &model, folder.path(), &inputs, &reference, &|name| name.to_owned());
            // What is written for transformers is what PEFT merges.
            let prefix = kind.naming.prefix;
            let single = common::read(&folder.path().join("ner/model.safetensors"));
            let merged: Vec<&String> = reference.keys().filter(|name| name.starts_with("merged.")).collect();
            assert!(merged.len() > 3);
            for name in merged {
                let found = &single[&format!("{prefix}{}", name.trim_start_matches("merged."))];
                assert!(error(found, &reference[name]) <= 1e-5, "{file}, {}: {name}", kind.fixture);
            }
        }
    }
}

#[test]
fn bitfit_has_the_gradients_of_biases() {
    for kind in with_fixtures() {
        let folder = tempfile::tempdir().unwrap();
        let inputs = common::read(&fixture(kind.fixture).join("parity.safetensors"));
        let biases = inputs.iter().filter(|(name, _)| name.starts_with("grad.ner.encoder.") && name.ends_with(".bias"));
        let named = |name: &String| name.trim_start_matches("grad.ner.").trim_end_matches(".bias").to_owned();
        let own: Tensors = biases
            .map(|(name, gradient)| (format!("{}.bias_shift", named(name)), gradient.zeros_like().unwrap()))
            .collect();
        assert!(own.len() >= 16);
        let model = model(kind, json!("bitfit"), &own, &inputs, folder.path());
        is_the_reference(kind, &model, folder.path(), &inputs, &inputs, &|name| name.replace(".bias_shift", ".bias"));
    }
}
