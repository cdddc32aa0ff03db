//! The losses of heads are those of PyTorch, value and gradient (`fixtures/losses.py`), also where a batch comes in parts.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor, Var};
use polyhead_kernels::Segments;
use polyhead_kernels::binary_cross_entropy::binary_cross_entropy;
use polyhead_kernels::cross_entropy::{token_cross_entropy, weighted_cross_entropy};
use polyhead_kernels::span_cross_entropy::{Spans, span_cross_entropy, span_loss};
use polyhead_kernels::squared_error::squared_error;
use serde_json::Value;
use std::path::Path;

struct Case {
    loss: String,
    outputs: usize,
    logits: Vec<f32>,
    targets: Vec<f64>,
    weights: Option<Vec<f64>>,
    value: f64,
    gradient: Vec<f64>,
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}

fn cases() -> Vec<Case> {
    let text = fixture("losses.jsonl");
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        let numbers = |name: &str| -> Option<Vec<f64>> {
            Some(case[name].as_array()?.iter().map(|one| one.as_f64().unwrap()).collect())
        };
        Case {
            loss: case["loss"].as_str().unwrap().to_owned(),
            outputs: case["outputs"].as_u64().unwrap() as usize,
            logits: numbers("logits").unwrap().into_iter().map(|logit| logit as f32).collect(),
            targets: numbers("targets").unwrap(),
            weights: numbers("weights"),
            value: case["value"].as_f64().unwrap(),
            gradient: numbers("gradient").unwrap(),
        }
    };
    text.lines().map(case).collect()
}

impl Case {
    fn rows(&self) -> usize {
        self.logits.len() / self.outputs
    }

    /// What the sum is divided by, as PyTorch's mean does.
    fn count(&self) -> f64 {
        match (self.loss.as_str(), &self.weights) {
            ("cross_entropy", Some(weights)) => self.targets.iter().map(|target| weights[*target as usize]).sum(),
            _ => self.targets.len() as f64,
        }
    }

    /// The loss of some rows, over the count of all, and its gradient.
    fn of_rows(&self, from: usize, to: usize) -> (f64, Vec<f64>) {
        let logits = self.logits[from * self.outputs..to * self.outputs].to_vec();
        let logits = Tensor::from_vec(logits, (to - from, self.outputs), &Device::Cpu).unwrap();
        let logits = Var::from_tensor(&logits).unwrap();
        let width = self.targets.len() / self.rows();
        let targets = &self.targets[from * width..to * width];
        let (count, weights) = (self.count(), self.weights.as_deref());
        let loss = match self.loss.as_str() {
            "cross_entropy" => {
                let classes: Vec<i64> = targets.iter().map(|target| *target as i64).collect();
                match weights {
                    Some(weights) => weighted_cross_entropy(&logits, &classes, weights, count),
                    None => token_cross_entropy(&logits, &classes, count),
                }
            }
            "binary_cross_entropy" => {
                let holds: Vec<bool> = targets.iter().map(|target| *target > 0.0).collect();
                binary_cross_entropy(&logits, &holds, weights, count)
            }
            _ => squared_error(&logits, &targets.iter().map(|target| *target as f32).collect::<Vec<_>>(), count),
        };
        let loss = loss.unwrap();
        let gradients = loss.backward().unwrap();
        let gradient = gradients.get(&logits).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (loss.to_scalar::<f32>().unwrap().into(), gradient.into_iter().map(f64::from).collect())
    }
}

#[test]
fn values_and_gradients_are_those_of_pytorch_in_one_batch_and_in_parts() {
    let cases = cases();
    assert!(cases.len() >= 8);
    for case in &cases {
        let near = |found: f64, want: f64, what: &str| {
            let bound = 1e-6 * want.abs().max(1e-2);
            assert!((found - want).abs() <= bound, "{} {what}: {found}, PyTorch {want}", case.loss);
        };
        for size in [case.rows(), 2, 1] {
            let parts: Vec<(f64, Vec<f64>)> =
                (0..case.rows()).step_by(size).map(|from| case.of_rows(from, (from + size).min(case.rows()))).collect();
            near(parts.iter().map(|part| part.0).sum(), case.value, "value");
            let gradient: Vec<f64> = parts.into_iter().flat_map(|part| part.1).collect();
            assert_eq!(gradient.len(), case.gradient.len());
            gradient.iter().zip(&case.gradient).for_each(|(found, want)| near(*found, *want, "gradient"));
        }
    }
}

#[test]
fn the_joint_loss_of_spans_is_that_of_pytorch_over_all_pairs_in_one_batch_and_window_by_window() {
    let text = fixture("span_losses.jsonl");
    assert!(text.lines().count() >= 5);
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let numbers =
            |value: &Value| -> Vec<f64> { value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap()).collect() };
        let whole = |value: &Value| -> Vec<usize> { numbers(value).into_iter().map(|one| one as usize).collect() };
        let longest = case["longest"].as_u64().unwrap() as usize;
        let windows = case["windows"].as_array().unwrap();
        let spans = |window: &Value| {
            let (text, target) = (whole(&window["text"]), whole(&window["target"]));
            Spans { text: text[0]..text[1], barred: whole(&window["barred"]), target: (target[0], target[1]) }
        };
        let tokens: Vec<usize> = windows.iter().map(|window| window["tokens"].as_u64().unwrap() as usize).collect();
        let all: Vec<Spans> = windows.iter().map(spans).collect();
        let logits: Vec<f32> = numbers(&case["logits"]).into_iter().map(|logit| logit as f32).collect();
        let count = windows.len() as f64;
        // The loss of some windows over the count of all, and its gradient.
        let of = |from: usize, to: usize| {
            let rows = tokens[..from].iter().sum::<usize>()..tokens[..to].iter().sum();
            let z = Tensor::from_slice(&logits[2 * rows.start..2 * rows.end], (rows.len(), 2), &Device::Cpu).unwrap();
            let z = Var::from_tensor(&z).unwrap();
            let segments = Segments::packed(&tokens[from..to]);
            let loss = span_cross_entropy(&z, &segments, &all[from..to], longest, count).unwrap();
            let gradients = loss.backward().unwrap();
            let gradient = gradients.get(&z).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            (f64::from(loss.to_scalar::<f32>().unwrap()), gradient)
        };
        let near = |found: f64, want: f64, what: &str| {
            assert!((found - want).abs() <= 1e-6 * want.abs().max(1.0), "{what}: {found}, PyTorch {want}");
        };
        for size in [windows.len(), 1] {
            let parts: Vec<_> = (0..windows.len()).step_by(size).map(|from| of(from, from + size)).collect();
            near(parts.iter().map(|part| part.0).sum(), case["value"].as_f64().unwrap(), "value");
            let found: Vec<f64> = parts.into_iter().flat_map(|part| part.1).map(f64::from).collect();
            let want = numbers(&case["gradient"]);
            assert_eq!(found.len(), want.len());
            found.iter().zip(&want).for_each(|(found, want)| near(*found, *want, "gradient"));
        }
        let mut at = 0;
        let of_each = tokens.iter().zip(&all).map(|(tokens, spans)| {
            let of = 2 * at..2 * (at + tokens);
            at += tokens;
            span_loss(&logits[of], spans, longest).unwrap()
        });
        near(of_each.sum::<f64>() / count, case["value"].as_f64().unwrap(), "on the host");
    }
}
