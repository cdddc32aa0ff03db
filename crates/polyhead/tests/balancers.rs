//! Balancers combine gradients as LibMTL does, over steps in which they learn (`fixtures/balancers.py`), and where that differs from the papers, as
//! these say for two tasks.

#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use polyhead::balance::{BALANCERS, Balancer, Needs, StepTasks};
use polyhead::parameters::{Gradients, Heads, KeptGradients, Naming, Parameters, Role, Weights, write_numbers};
use polyhead::strategy::find;
use polyhead_kernels::rng::Key;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Case {
    balancer: String,
    options: Value,
    rate: Option<f64>,
    steps: Vec<Step>,
}

#[derive(Clone, Deserialize)]
struct Step {
    epoch: usize,
    losses: Vec<f64>,
    after: Option<Vec<f64>>,
    independent: Option<Vec<Vec<f64>>>,
    gradients: Vec<Vec<f64>>,
    #[serde(default)]
    combined: Vec<f64>,
}

const NAMING: Naming = Naming { prefix: "", parts: &["shared"], ignored: &[], pretraining: &[] };

/// A model whose encoder is one vector.
fn parameters(count: usize) -> Parameters {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.safetensors");
    write_numbers(&path, vec![("shared".to_owned(), &[count], &vec![1.0; count])]).unwrap();
    let mut weights = Weights::read(&path, NAMING, Heads::Stored, &Device::Cpu).unwrap();
    weights.get("shared", &[count], Role::Weight).unwrap();
    weights.finish().unwrap()
}

impl Step {
    /// These gradients, by way of losses that have them.
    fn gradients(&self, parameters: &Parameters) -> Vec<Gradients> {
        let shared = parameters.get("shared").unwrap().weight.var().unwrap();
        let of = |gradient: &Vec<f64>| {
            let gradient: Vec<f32> = gradient.iter().map(|&value| value as f32).collect();
            let gradient = Tensor::new(gradient, &Device::Cpu).unwrap();
            parameters.gradients(&(shared.as_tensor() * gradient).unwrap().sum_all().unwrap()).unwrap()
        };
        self.gradients.iter().map(of).collect()
    }

    /// What a balancer makes of it.
    fn run(&self, balancer: &mut dyn Balancer, parameters: &Parameters) -> Vec<f64> {
        let tasks: Vec<usize> = (0..self.losses.len()).collect();
        let gradients = self.gradients(parameters);
        let of = |a: &Gradients| gradients.iter().map(|b| a.dot_on_encoder(b, parameters)).collect();
        let products: Vec<Vec<f64>> = gradients.iter().map(of).collect();
        let step = StepTasks {
            losses: Some(&self.losses),
            after: self.after.as_deref(),
            products: Some(&products),
            independent: self.independent.as_deref(),
            ..StepTasks::new(&tasks, tasks.len(), self.epoch, Key::seed(1))
        };
        let combined = match balancer.needs() {
            // Its weights multiply losses: the trainer never has the gradients apart.
            Needs::Nothing | Needs::Losses => {
                let weights = balancer.weigh(&step).unwrap();
                Gradients::weighted_sum(gradients, &weights, parameters).unwrap()
            }
            _ => balancer.combine(&step, gradients, parameters).unwrap().0,
        };
        balancer.observe(&step, 1.0);
        let combined = combined.of(parameters).find_map(|(_, gradient)| gradient).unwrap();
        combined.values().iter().map(|&value| f64::from(value)).collect()
    }
}

fn open(name: &str, options: &Value) -> Box<dyn Balancer> {
    let options: toml::Table = serde_json::from_value(options.clone()).unwrap();
    (find(BALANCERS, name).unwrap().open)(&options).unwrap()
}

fn cases() -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/balancers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The options of a case, and the rate at which its weights were learnt.
fn opened(case: &Case) -> Box<dyn Balancer> {
    let mut options = case.options.clone();
    if let (Some(rate), true) = (case.rate, ["gradnorm", "uncertainty"].contains(&case.balancer.as_str())) {
        options["learning_rate"] = rate.into();
    }
    open(&case.balancer, &options)
}

#[track_caller]
fn assert_near(found: &[f64], want: &[f64], what: &str) {
    let size = want.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    let far = found.iter().zip(want).any(|(found, want)| (found - want).abs() > 1e-5 * size.max(1e-6));
    assert!(!far && found.len() == want.len(), "{what}: {found:?} for {want:?}");
}

#[test]
fn gradients_come_together_as_in_libmtl_step_by_step() {
    let cases = cases();
    assert!(cases.len() >= 20);
    for case in &cases {
        let (mut balancer, parameters) = (opened(case), parameters(case.steps[0].gradients[0].len()));
        assert!(case.steps.len() >= 10);
        for (at, step) in case.steps.iter().enumerate() {
            let what = format!("{} {}, step {at}", case.balancer, case.options);
            assert_near(&step.run(&mut *balancer, &parameters), &step.combined, &what);
        }
    }
}

#[test]
fn what_is_kept_from_step_to_step_comes_back_from_a_file() {
    let folder = TempDir::new().unwrap();
    for case in cases() {
        let parameters = parameters(case.steps[0].gradients[0].len());
        let (mut once, mut first, mut second) = (opened(&case), opened(&case), opened(&case));
        let all: Vec<Vec<f64>> = case.steps.iter().map(|step| step.run(&mut *once, &parameters)).collect();
        case.steps[..5].iter().for_each(|step| _ = step.run(&mut *first, &parameters));
        second.restore(&serde_json::from_str(&first.state().to_string()).unwrap()).unwrap();
        if let Some(kept) = first.kept() {
            let path = folder.path().join("balancer.safetensors");
            kept.save(&path, &parameters).unwrap();
            second.restore_kept(KeptGradients::restore(&path, &parameters).unwrap());
        }
        for (step, want) in case.steps.iter().zip(&all).skip(5) {
            assert_eq!(step.run(&mut *second, &parameters), *want, "{}", case.balancer);
        }
    }
}

fn two(losses: [f64; 2], gradients: [[f64; 2]; 2]) -> Step {
    Step {
        epoch: 0,
        losses: losses.to_vec(),
        after: None,
        independent: None,
        gradients: gradients.map(|g| g.to_vec()).to_vec(),
        combined: Vec::new(),
    }
}

#[test]
fn of_two_tasks_mgda_takes_the_shortest_mixture_also_where_that_is_one_of_them() {
    for (gradients, want) in [
        ([[1.0, 0.0], [0.0, 1.0]], [0.5, 0.5]),
        ([[2.0, 0.0], [0.0, 1.0]], [0.4, 0.8]),
        // The second is shorter than any mixture.
        ([[3.0, 0.0], [1.0, 1.0]], [1.0, 1.0]),
        ([[1.0, 0.0], [-1.0, 0.0]], [0.0, 0.0]),
    ] {
        let found =
            two([1.0, 1.0], gradients).run(&mut *open("mgda", &Value::Object(Default::default())), &parameters(2));
        assert!(found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-6), "{found:?} for {want:?}");
    }
}

/// G w = 1 / w: of orthogonal gradients w_i = 1 / |g_i|, each gains the same share of its length.
#[test]
fn of_two_tasks_nash_solves_the_equation_of_the_paper() {
    for gradients in [[[3.0, 0.0], [0.0, 0.5]], [[1.0, 0.2], [-0.5, 2.0]], [[1.0, 1.0], [2.0, 2.5]]] {
        let found =
            two([1.0, 1.0], gradients).run(&mut *open("nash", &Value::Object(Default::default())), &parameters(2));
        let product = |a: [f64; 2], b: [f64; 2]| a[0] * b[0] + a[1] * b[1];
        let [a, b] = gradients;
        let (aa, ab, bb) = (product(a, a), product(a, b), product(b, b));
        // The closed form: w_1 sqrt(aa) = w_2 sqrt(bb) = 1 / sqrt(1 + cosine), times the root of the norm that the products are divided by.
        let norm = (aa * aa + 2.0 * ab * ab + bb * bb).sqrt();
        let share = norm.sqrt() / (1.0 + ab / (aa * bb).sqrt()).sqrt();
        let want = [0, 1].map(|at| share * (a[at] / aa.sqrt() + b[at] / bb.sqrt()));
        assert!(found.iter().zip(want).all(|(found, want)| (found - want).abs() < 1e-5), "{found:?} for {want:?}");
    }
}

/// Where `sum of e^s L - s` is least, each scaled loss is 1: the weights are `1 / L`.
#[test]
fn imtl_l_learns_the_scales_that_bring_all_losses_to_one() {
    let (losses, gradients) = ([4.0, 0.25], [[1.0, 0.0], [0.0, 1.0]]);
    let (mut balancer, parameters) = (open("imtl_l", &serde_json::json!({ "learning_rate": 0.01 })), parameters(2));
    let first = two(losses, gradients).run(&mut *balancer, &parameters);
    assert_eq!(first, [1.0, 1.0]);
    // The first step of Adam is the rate in the direction of 1 - e^s L.
    let second = two(losses, gradients).run(&mut *balancer, &parameters);
    for (found, want) in second.iter().zip([-0.01_f64, 0.01].map(f64::exp)) {
        assert!((found - want).abs() < 1e-6, "{second:?}");
    }
    let last = (0..2000).map(|_| two(losses, gradients).run(&mut *balancer, &parameters)).last().unwrap();
    assert!((last[0] - 0.25).abs() < 1e-2 && (last[1] - 4.0).abs() < 4e-2, "{last:?}");
}
