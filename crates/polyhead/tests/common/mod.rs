//! What the tests of whole models share: fixtures, model folders made of them, and the numbers of a model by name.
//!
//! The names are those of `fixtures/encoder_parity.py`: what PyTorch recorded and what polyhead computes compare one to
//! one. `examples/dump_parity.rs` uses this file too.

#![allow(dead_code, missing_docs, clippy::unwrap_used, clippy::expect_used)]

use candle_core::{DType, Device, Tensor};
use polyhead::batch::{Batch, Features, Padding, Targets};
use polyhead::encoders::{ENCODERS, Encoder, EncoderKind, EncoderOverrides, Pass, Precision, Reads};
use polyhead::model::Model;
use polyhead::optim::{Optimizer, Schedule};
use polyhead::parameters::write_tensors;
use polyhead::tasks::TASKS;
use polyhead_kernels::Tape;
use polyhead_kernels::adamw::AdamW;
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// A training pass of models whose dropout is 0: the key decides nothing.
pub const TRAIN: fn() -> Pass = || Pass::train(Key::seed(0));

/// The updates of the recorded training, of which two warm up; the rate, weight decay and norm of its optimiser.
pub const SCHEDULE: Schedule = Schedule { steps: 10, warmup: 2 };
pub const RATE: f64 = 1e-3;
pub const DECAY: f64 = 0.01;
pub const CLIP: f64 = 1.0;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

pub fn read(path: &Path) -> Tensors {
    candle_core::safetensors::load(path, &Device::Cpu).expect("a safetensors file").into_iter().collect()
}

pub fn write(path: &Path, tensors: &Tensors) {
    let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    write_tensors(path, &tensors).unwrap();
}

pub fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

pub fn integers(tensor: &Tensor) -> Vec<i64> {
    tensor.flatten_all().unwrap().to_dtype(DType::I64).unwrap().to_vec1().unwrap()
}

/// `max |a - b| / max |b|`: how far `a` is from the reference `b`.
pub fn error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.elem_count(), b.elem_count(), "{:?} for {:?}", a.dims(), b.dims());
    let far = floats(a).iter().zip(floats(b)).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    far / largest(b).max(f64::from(f32::MIN_POSITIVE))
}

/// The largest magnitude.
pub fn largest(tensor: &Tensor) -> f64 {
    floats(tensor).iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max)
}

/// Copies the tokenizer and configuration of an encoder's folder, with `polyhead` naming an NER and a QA task, no
/// dropout, and the heads of `reference` beside the encoder's tensors in `model.safetensors`.
pub fn write_model(encoder: &Path, reference: &Tensors, into: &Path) {
    let mut tensors = read(&encoder.join("model.safetensors"));
    let heads = reference.iter().filter(|(name, _)| name.starts_with("heads."));
    tensors.extend(heads.map(|(name, tensor)| (name.clone(), tensor.clone())));
    tensors.retain(|_, tensor| tensor.dtype() == DType::F32);
    write(&into.join("model.safetensors"), &tensors);
    let mut config: Value = serde_json::from_slice(&std::fs::read(encoder.join("config.json")).unwrap()).unwrap();
    let kind = EncoderKind::of(&encoder.join("config.json"), &config).unwrap();
    let length = kind.max_tokens(&config);
    let classes = reference["heads.ner.bias"].elem_count();
    let labels: Vec<String> =
        (0..classes).map(|class| if class == 0 { "O".into() } else { format!("B-{class}") }).collect();
    for name in DROPOUTS {
        if config.get(name).is_some() || name.ends_with("_prob") {
            config[name] = json!(0.0);
        }
    }
    config["polyhead"] = json!({
        "version": "0.1.0",
        "tasks": [
            { "name": "ner", "kind": "ner",
              "config": { "max_length": length, "stride": 8, "dropout": 0.0, "labels": labels } },
            { "name": "qa", "kind": "qa",
              "config": { "max_length": length, "stride": 8, "max_question_length": 16, "dropout": 0.0 } },
        ],
    });
    std::fs::write(into.join("config.json"), config.to_string()).unwrap();
    // A model of other options than those of its kind's fixture has the tokenizer of that.
    let own = encoder.join("tokenizer.json");
    let tokenizer = if own.exists() { own } else { fixture(kind.fixture).join("tokenizer.json") };
    std::fs::copy(tokenizer, into.join("tokenizer.json")).unwrap();
}

/// What configurations call the rates of their dropouts.
const DROPOUTS: [&str; 6] = [
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "dropout",
    "attention_dropout",
    "embedding_dropout",
    "mlp_dropout",
];

pub fn load(folder: &Path) -> Model {
    Model::load(folder, TASKS).unwrap()
}

/// The tiny model of an encoder, with heads, and its recorded reference.
pub fn tiny_of(kind: &EncoderKind) -> (Model, Tensors) {
    tiny_named(kind.fixture)
}

/// The tiny model of a fixture.
pub fn tiny_named(name: &str) -> (Model, Tensors) {
    tiny_in(name, Precision::F32)
}

/// The same with products in this precision.
pub fn tiny_in(name: &str, precision: Precision) -> (Model, Tensors) {
    tiny_adjusted(name, &EncoderOverrides { precision, ..EncoderOverrides::default() })
}

/// The same with what a recipe changes about it.
pub fn tiny_adjusted(name: &str, adjust: &EncoderOverrides) -> (Model, Tensors) {
    let folder = tempfile::tempdir().unwrap();
    let reference = read(&fixture(name).join("parity.safetensors"));
    write_model(&fixture(name), &reference, folder.path());
    (Model::load_adjusted(folder.path(), TASKS, adjust).unwrap(), reference)
}

/// That of the first encoder, BERT: for what has nothing to do with encoders.
pub fn tiny() -> (Model, Tensors) {
    tiny_of(&ENCODERS[0])
}

/// Fixtures with other options than those of their kind's own.
pub const OPTIONS: [&str; 6] = [
    "tiny-bert-relu",
    "tiny-electra-wide",
    "tiny-albert-groups",
    "tiny-deberta-v2-options",
    "tiny-deberta-v2-c2p",
    "tiny-modernbert-biases",
];

/// Those of all encoders, and with all options, by the names of their fixtures.
pub fn each_fixture() -> impl Iterator<Item = (&'static str, Model, Tensors)> {
    ENCODERS.iter().map(|kind| kind.fixture).chain(OPTIONS).map(|name| {
        let (model, reference) = tiny_named(name);
        (name, model, reference)
    })
}

/// Those of all encoders.
pub fn each_encoder() -> impl Iterator<Item = (&'static EncoderKind, Model, Tensors)> {
    ENCODERS.iter().map(|kind| {
        let (model, reference) = tiny_of(kind);
        (kind, model, reference)
    })
}

/// The windows of packed inputs (`ids`, `type_ids`, `lengths`), without targets; with `ranges` and `pairs` `[windows, count, 2]`, where these
/// are there.
pub fn windows(inputs: &Tensors) -> Vec<Features> {
    let (ids, types) = (integers(&inputs["ids"]), integers(&inputs["type_ids"]));
    let items = |name: &str, window: usize| -> Vec<(u32, u32)> {
        let Some(all) = inputs.get(name) else { return Vec::new() };
        let own = integers(&all.get(window).unwrap());
        own.chunks_exact(2).map(|ends| (ends[0] as u32, ends[1] as u32)).collect()
    };
    let mut at = 0;
    integers(&inputs["lengths"])
        .into_iter()
        .enumerate()
        .map(|(window, length)| {
            let range = at..at + length as usize;
            at = range.end;
            let part = |values: &[i64]| values[range.clone()].iter().map(|&value| value as u32).collect();
            let (ranges, pairs) = (items("ranges", window), items("pairs", window));
            Features { ids: part(&ids), types: part(&types), ranges, pairs, ..Features::default() }
        })
        .collect()
}

/// The windows with the targets of a task: `ner_labels`, or `qa_start` and `qa_end`.
pub fn targets(inputs: &Tensors, task: &str) -> Vec<Features> {
    let mut windows = windows(inputs);
    let (labels, starts, ends) = ("ner_labels", "qa_start", "qa_end");
    let [labels, starts, ends] = [labels, starts, ends].map(|name| integers(&inputs[name]));
    let mut at = 0;
    for (row, window) in windows.iter_mut().enumerate() {
        let range = at..at + window.ids.len();
        at = range.end;
        window.targets = match task {
            "ner" => Targets::Classes(labels[range].to_vec()),
            _ => Targets::Positions(vec![starts[row], ends[row]]),
        };
    }
    windows
}

pub fn loss(model: &Model, task: &str, windows: &[Features], padding: Padding, pass: Pass) -> Tensor {
    let windows: Vec<&Features> = windows.iter().collect();
    model.loss(model.task(task).unwrap(), &windows, padding, pass).unwrap().value
}

/// The logits of each window: row by row, `[tokens, outputs]`.
pub fn logits(model: &Model, task: &str, windows: &[Features]) -> Vec<Vec<f32>> {
    let windows: Vec<&Features> = windows.iter().collect();
    let logits = model.logits(model.task(task).unwrap(), &windows).unwrap();
    logits.iter().map(|window| window.rows().flatten().copied().collect()).collect()
}

/// The output of the embeddings and of every layer: `hidden.0`, `hidden.1` ..., each `[tokens, hidden]`.
pub fn hidden(encoder: &dyn Encoder, windows: &[Features]) -> Tensors {
    let windows: Vec<&Features> = windows.iter().collect();
    let batch = Batch::new(&windows, Padding::Packed, 0, 0);
    let mut levels = Tensors::new();
    let mut keep = |level: Tensor| {
        levels.insert(format!("hidden.{}", levels.len()), level);
    };
    let mut tape = Tape::new(encoder.precision(), Pass::Evaluate, batch.inputs);
    encoder.forward(&mut tape, Reads::AllTokens, Some(&mut keep)).unwrap();
    levels
}

/// The hidden states of each window behind the last layer, `[tokens, hidden]` each.
pub fn hidden_states(model: &Model, windows: &[Features]) -> Vec<Tensor> {
    let levels = hidden(&*model.encoder, windows);
    let last = &levels[&format!("hidden.{}", levels.len() - 1)];
    let mut start = 0;
    let mut part = |window: &Features| {
        start += window.ids.len();
        last.narrow(0, start - window.ids.len(), window.ids.len()).unwrap()
    };
    windows.iter().map(&mut part).collect()
}

/// The gradients of a loss for trained parameters, as `grad.{task}.{parameter}`.
pub fn gradients(model: &Model, task: &str, loss: &Tensor) -> Tensors {
    let gradients = model.parameters.gradients(loss).unwrap();
    let graded = gradients.of(&model.parameters).filter_map(|(parameter, gradient)| Some((parameter, gradient?)));
    let whole = graded.map(|(parameter, gradient)| (parameter, gradient.to_tensor(parameter.weight.dims()).unwrap()));
    whole.map(|(parameter, gradient)| (format!("grad.{task}.{}", parameter.name), gradient)).collect()
}

/// Everything that `encoder_parity.py` records, under its names. Training comes last: the model is another one after it.
pub fn measure(model: &Model, inputs: &Tensors) -> Tensors {
    let mut found = hidden(&*model.encoder, &windows(inputs));
    for task in ["ner", "qa"] {
        let windows = targets(inputs, task);
        let values = logits(model, task, &windows).concat();
        let tokens = windows.iter().map(|window| window.ids.len()).sum::<usize>();
        let shape = (tokens, values.len() / tokens);
        found.insert(format!("{task}_logits"), Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        let loss = loss(model, task, &windows, Padding::Packed, TRAIN());
        found.extend(gradients(model, task, &loss));
        found.insert(format!("{task}_loss"), loss.detach().reshape(1).unwrap());
    }
    let mut optimizer = Optimizer::new(AdamW::default(), DECAY, CLIP);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..SCHEDULE.steps {
        let task = ["ner", "qa"][step % 2];
        let loss = loss(model, task, &targets(inputs, task), Padding::Packed, TRAIN());
        losses.push(loss.to_scalar::<f32>().unwrap());
        let rate = RATE * SCHEDULE.factor(step);
        norms
            .push(optimizer.step(&model.parameters, &model.parameters.gradients(&loss).unwrap(), rate).unwrap().norm()
                as f32);
    }
    for (name, values) in [("losses", losses), ("grad_norms", norms)] {
        found.insert(name.into(), Tensor::new(values, &Device::Cpu).unwrap());
    }
    found
}
