//! Bottleneck adapters against the library `adapters` (`fixtures/adapters_parity.py`): logits, losses, gradients and training of two tasks, each with its own.

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

/// A model folder of an encoder with the adapters of a form, before training.
fn begun(encoder: &str, form: &str, folder: &Path) -> (Model, Tensors, Tensors) {
    let fixtures = fixture(encoder);
    let [inputs, all] =
        ["parity", "adapters"].map(|name| common::read(&fixtures.join(name).with_extension("safetensors")));
    let of_form = all
        .into_iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix(form)?.strip_prefix('.')?.to_owned(), tensor)));
    let reference: Tensors = of_form.collect();
    common::write_model(&fixtures, &inputs, folder);
    let mut tensors = common::read(&folder.join("model.safetensors"));
    let private = reference.iter().filter(|(name, _)| name.starts_with("private."));
    tensors.extend(private.map(|(name, tensor)| (name.clone(), tensor.clone())));
    common::write(&folder.join("model.safetensors"), &tensors);
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["polyhead"]["sharing"] = json!({ "name": "adapters", "form": form, "reduction": 4 });
    std::fs::write(&path, config.to_string()).unwrap();
    (common::load(folder), inputs, reference)
}

fn logits(model: &Model, inputs: &Tensors, task: &str, like: &candle_core::Tensor) -> candle_core::Tensor {
    let values = common::logits(model, task, &common::windows(inputs)).concat();
    candle_core::Tensor::from_vec(values, like.dims(), like.device()).unwrap()
}

#[test]
fn logits_losses_gradients_and_training_are_those_of_adapters() {
    for encoder in ["tiny-bert", "tiny-roberta"] {
        for form in ["houlsby", "pfeiffer", "parallel"] {
            as_adapters(encoder, form);
        }
    }
}

fn as_adapters(encoder: &str, form: &str) {
    let folder = tempfile::tempdir().unwrap();
    let (model, inputs, reference) = begun(encoder, form, folder.path());
    let close = |name: &str, got: &candle_core::Tensor, want: &candle_core::Tensor| {
        let error = error(got, want);
        assert!(error <= TOLERANCE, "{encoder}, {form}, {name}: error {error:e}");
    };
    let mut compared = 0;
    for task in ["ner", "qa"] {
        let (name, windows) = (format!("{task}_logits"), targets(&inputs, task));
        close(&name, &logits(&model, &inputs, task, &reference[&name]), &reference[&name]);
        let loss = loss(&model, task, &windows, Padding::Packed, TRAIN());
        close("loss", &loss.detach().reshape(1).unwrap(), &reference[&format!("{task}_loss")]);
        let found = gradients(&model, task, &loss);
        let want: Vec<_> = reference.iter().filter(|(name, _)| name.starts_with(&format!("grad.{task}."))).collect();
        assert_eq!(found.len(), want.len(), "what is trained for the task has a gradient, and nothing else");
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
    let adapters = reference.keys().filter(|name| name.starts_with("private.")).count();
    assert_eq!(compared, adapters + 2 + 4);
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
