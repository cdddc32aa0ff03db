//! What diagnostics say of real gradients: against the same sums over whole tensors.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::{Features, Padding};
use polyhead::encoders::Pass;
use polyhead::optim::{Optimizer, SquaredNorms};
use polyhead::parameters::{Gradients, Owner, Parameters};
use polyhead::tasks::TASKS;
use polyhead::train::diagnostics::{Groups, cosines};
use polyhead::train::{Prepared, prepare};
use polyhead_kernels::rng::Key;
use std::collections::BTreeMap;

/// tiny-bert with two heads, and the gradients of a batch of each task.
fn gradients() -> (Prepared, Vec<(String, Gradients)>) {
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(&small::recipe(folder.path(), &[]), TASKS, &mut |_| {}).unwrap();
    let of = |data: &polyhead::train::TaskData| {
        let windows: Vec<&Features> = data.windows.iter().take(8).map(|window| &window.features).collect();
        let task = prepared.model.task(&data.name).unwrap();
        let pass = Pass::train(Key::seed(1));
        let loss = prepared.model.loss(task, &windows, Padding::Packed, pass).unwrap();
        (data.name.clone(), prepared.model.parameters.gradients(&loss.value).unwrap())
    };
    let gradients = prepared.task_data.iter().map(of).collect();
    (prepared, gradients)
}

/// Every number of a gradient on the parameters that `takes` takes, in order; zeros where there is none.
fn whole(gradients: &Gradients, parameters: &Parameters, takes: impl Fn(&str, &Owner) -> bool) -> Vec<f64> {
    let mut all = Vec::new();
    for (parameter, gradient) in gradients.of(parameters) {
        if takes(&parameter.name, &parameter.owner) {
            let values = match gradient {
                Some(gradient) => {
                    let tensor = gradient.to_tensor(parameter.weight.dims()).unwrap();
                    tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()
                }
                None => vec![0.0; parameter.weight.count()],
            };
            all.extend(values.into_iter().map(f64::from));
        }
    }
    all
}

fn named(tasks: &[(String, Gradients)]) -> Vec<(&str, &Gradients)> {
    tasks.iter().map(|(task, gradients)| (task.as_str(), gradients)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn near(found: f64, want: f64, what: &str) {
    assert!((found - want).abs() <= 1e-6 * want.abs().max(1e-3), "{what}: {found}, expected {want}");
}

#[test]
fn norms_and_cosines_of_two_tasks_are_those_of_their_whole_gradients_on_the_encoder() {
    let (prepared, tasks) = gradients();
    let parameters = &prepared.model.parameters;
    let found = cosines(&named(&tasks), parameters);
    let [a, b] = [0, 1].map(|at: usize| whole(&tasks[at].1, parameters, |_, owner: &Owner| *owner == Owner::Encoder));
    let (norm_a, norm_b) = (dot(&a, &a).sqrt(), dot(&b, &b).sqrt());
    assert_eq!(found.norms.0.iter().map(|(task, _)| task.as_str()).collect::<Vec<_>>(), ["ner", "qa"]);
    near(found.norms.0[0].1, norm_a, "ner");
    near(found.norms.0[1].1, norm_b, "qa");
    assert_eq!(found.cosines.len(), 1);
    assert_eq!((found.cosines[0].a.as_str(), found.cosines[0].b.as_str()), ("ner", "qa"));
    let cosine = found.cosines[0].cosine.unwrap();
    near(cosine, dot(&a, &b) / (norm_a * norm_b), "cosine");
    assert!(cosine.abs() > 1e-6 && cosine.abs() < 0.999, "two tasks are neither one nor strangers: {cosine}");
}

#[test]
fn a_gradient_agrees_with_itself() {
    let (prepared, mut tasks) = gradients();
    let (_, mut again) = gradients();
    tasks.truncate(1);
    tasks.push(("same".into(), again.swap_remove(0).1));
    near(cosines(&named(&tasks), &prepared.model.parameters).cosines[0].cosine.unwrap(), 1.0, "cosine");
}

#[test]
fn the_norms_of_the_groups_make_up_the_global_norm_and_other_heads_have_none() {
    let (prepared, tasks) = gradients();
    let parameters = &prepared.model.parameters;
    let groups = Groups::new(parameters);
    for (task, gradients) in &tasks {
        let squares: SquaredNorms =
            Optimizer::new(Default::default(), 0.0, 0.0).step(parameters, gradients, 0.0).unwrap();
        let norms: BTreeMap<String, f64> = groups.norms(&squares).0.into_iter().collect();
        let names: Vec<&str> = norms.keys().map(String::as_str).collect();
        assert_eq!(names, ["embeddings", &format!("heads.{task}"), "layer.0", "layer.1", "layer.2"]);
        let layer = whole(gradients, parameters, |name, _| name.starts_with("encoder.layer.1."));
        near(norms["layer.1"], dot(&layer, &layer).sqrt(), "layer.1");
        let head = whole(gradients, parameters, |_, owner| *owner == Owner::Head(task.clone()));
        near(norms[&format!("heads.{task}")], dot(&head, &head).sqrt(), "head");
        let all = whole(gradients, parameters, |_, _| true);
        near(norms.values().map(|norm| norm * norm).sum::<f64>().sqrt(), dot(&all, &all).sqrt(), "all");
    }
}
