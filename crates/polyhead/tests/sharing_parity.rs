//! Ways of sharing against others' programs: logits, losses, gradients and training of two tasks, each with its own parts of the encoder. Bottleneck adapters are
//! those of the library `adapters` (`fixtures/adapters_parity.py`), layers that meet those of transformers with what stands between them in PyTorch
//! (`fixtures/meetings_parity.py`). LoRA: `lora.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{CLIP, DECAY, RATE, SCHEDULE, TRAIN, Tensors, error, fixture, floats, gradients, largest, loss, targets};
use polyhead::batch::Padding;
use polyhead::model::Model;
use polyhead::optim::Optimizer;
use polyhead_kernels::adamw::AdamW;
use serde_json::{Value, json};
use std::path::Path;

/// Of a tensor's largest element.
const TOLERANCE: f64 = 1e-4;

/// A file of fixtures, what its tensors of one way begin with, and that as a recipe has it.
fn ways() -> Vec<(&'static str, &'static str, Value)> {
    let adapters = |form| ("adapters", form, json!({ "name": "adapters", "form": form, "reduction": 4 }));
    vec![
        adapters("houlsby"),
        adapters("pfeiffer"),
        adapters("parallel"),
        ("meetings", "cross_stitch", json!({ "name": "cross_stitch", "layers": 2 })),
        ("meetings", "sluice", json!({ "name": "sluice", "layers": 2, "subspaces": 4 })),
        ("meetings", "cross_attention", json!({ "name": "cross_attention", "layers": 2 })),
    ]
}

/// A model folder of an encoder with its private parts, before training.
fn begun(encoder: &str, (file, way, sharing): &(&str, &str, Value), folder: &Path) -> (Model, Tensors, Tensors) {
    let fixtures = fixture(encoder);
    let [inputs, all] = ["parity", file].map(|name| common::read(&fixtures.join(name).with_extension("safetensors")));
    let of_way = all.into_iter().filter_map(|(name, tensor)| {
        let own = name.strip_prefix(way).and_then(|name| name.strip_prefix('.')).map(str::to_owned);
        Some((own.or(Some(name).filter(|name| name.starts_with("private.")))?, tensor))
    });
    let reference: Tensors = of_way.collect();
    common::write_model(&fixtures, &inputs, folder);
    let mut tensors = common::read(&folder.join("model.safetensors"));
    for (name, tensor) in reference.iter().filter(|(name, _)| name.starts_with("private.")) {
        // What each task has for itself is not there for all.
        tensors.remove(name.split_once('.').and_then(|(_, rest)| rest.split_once('.')).unwrap().1);
        tensors.insert(name.clone(), tensor.clone());
    }
    common::write(&folder.join("model.safetensors"), &tensors);
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["polyhead"]["sharing"] = sharing.clone();
    std::fs::write(&path, config.to_string()).unwrap();
    (common::load(folder), inputs, reference)
}

fn logits(model: &Model, inputs: &Tensors, task: &str, like: &candle_core::Tensor) -> candle_core::Tensor {
    let values = common::logits(model, task, &common::windows(inputs)).concat();
    candle_core::Tensor::from_vec(values, like.dims(), like.device()).unwrap()
}

#[test]
fn logits_losses_gradients_and_training_are_those_of_others() {
    for encoder in ["tiny-bert", "tiny-roberta"] {
        ways().iter().for_each(|way| as_theirs(encoder, way));
    }
}

fn as_theirs(encoder: &str, way: &(&str, &str, Value)) {
    let folder = tempfile::tempdir().unwrap();
    let (model, inputs, reference) = begun(encoder, way, folder.path());
    let close = |name: &str, got: &candle_core::Tensor, want: &candle_core::Tensor| {
        let error = error(got, want);
        assert!(error <= TOLERANCE, "{encoder}, {}, {name}: error {error:e}", way.1);
    };
    // Gradients of layers are there for one way.
    let frozen = way.0 == "adapters";
    let has_all = frozen || way.1 == "cross_attention";
    let mut compared = 0;
    for task in ["ner", "qa"] {
        let (name, windows) = (format!("{task}_logits"), targets(&inputs, task));
        close(&name, &logits(&model, &inputs, task, &reference[&name]), &reference[&name]);
        let loss = loss(&model, task, &windows, Padding::Packed, TRAIN());
        close("loss", &loss.detach().reshape(1).unwrap(), &reference[&format!("{task}_loss")]);
        let found = gradients(&model, task, &loss);
        let want: Vec<_> = reference.iter().filter(|(name, _)| name.starts_with(&format!("grad.{task}."))).collect();
        let compares = |name: &str| has_all || name.contains(".meeting.") || name.contains(".heads.");
        let compared_of = found.keys().filter(|name| compares(name)).count();
        assert_eq!(compared_of, want.len(), "{}: what is trained for the task has a gradient, and nothing else", way.1);
        let scale = want.iter().map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max);
        for (name, want) in want {
            let found = found.get(name).unwrap_or_else(|| panic!("{name} has no gradient"));
            compared += 1;
            // All tokens of a sequence share the biases of question answering: zero but for rounding.
            if largest(want) < 1e-6 * scale {
                assert!(largest(found) < 1e-6 * scale, "{name}");
            } else {
                close(name, found, want);
            }
        }
    }
    if frozen {
        let adapters = reference.keys().filter(|name| name.starts_with("private.")).count();
        assert_eq!(compared, adapters + 2 + 4);
    }
    let mut optimizer = Optimizer::new(AdamW::default(), DECAY, CLIP);
    let [losses, norms] = ["losses", "grad_norms"].map(|name| floats(&reference[name]));
    for (step, (want, norm)) in losses.into_iter().zip(norms).enumerate() {
        let task = ["ner", "qa"][step % 2];
        let loss = loss(&model, task, &targets(&inputs, task), Padding::Packed, TRAIN());
        let gradients = model.parameters.gradients(&loss).unwrap();
        let found = optimizer.step(&model.parameters, &gradients, RATE * SCHEDULE.factor(step)).unwrap().norm();
        let loss = loss.to_scalar::<f32>().unwrap();
        assert!((loss - want).abs() <= 1e-4 * want, "step {step}: loss {loss} for {want}");
        assert!((found - f64::from(norm)).abs() <= 1e-4 * f64::from(norm), "step {step}: norm {found} for {norm}");
    }
    // What all tokens share of the answers' logits is a bias with a gradient of rounding, which AdamW makes large.
    let centred = |logits: &candle_core::Tensor| logits.broadcast_sub(&logits.mean_keepdim(0).unwrap()).unwrap();
    let want = &reference["trained_ner_logits"];
    close("trained_ner_logits", &logits(&model, &inputs, "ner", want), want);
    let want = &reference["trained_qa_logits"];
    close("trained_qa_logits", &centred(&logits(&model, &inputs, "qa", want)), &centred(want));
}
