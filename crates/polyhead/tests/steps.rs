//! What a step is made of: batches in parts, batches of several tasks, and what balances them.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::batch::{Features, Padding};
use polyhead::encoders::{Offset, Pass};
use polyhead::model::Model;
use polyhead::parameters::Gradients;
use polyhead::recipe::Recipe;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Prepared, Step, prepare};
use polyhead_kernels::rng::Key;
use std::path::Path;

const DROPOUT: &[&str] = &["tasks.ner.dropout=0.2", "tasks.qa.dropout=0.2", "train.precision=f32"];

fn recipe(folder: &Path, more: &[&str]) -> Recipe {
    small::recipe(folder, &[DROPOUT, more].concat())
}

fn steps(overrides: &[&str]) -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    let events = small::train(recipe(folder.path(), overrides));
    events.into_iter().filter_map(|event| if let Event::Step(step) = event { Some(step) } else { None }).collect()
}

/// The largest difference of any gradient, as a share of the largest element of its parameter's gradient.
fn difference(a: &Gradients, b: &Gradients, model: &Model) -> f64 {
    let mut largest: f64 = 0.0;
    for ((parameter, a), (_, b)) in a.of(&model.parameters).zip(b.of(&model.parameters)) {
        let (Some(a), Some(b)) = (a, b) else {
            assert!(a.is_none() && b.is_none(), "{}", parameter.name);
            continue;
        };
        let [a, b] = [a, b].map(|gradient| {
            gradient.to_tensor(parameter.weight.dims()).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        });
        let scale = a.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let apart = a.iter().zip(&b).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        // The bias of keys has a gradient of zero but for rounding.
        if scale > 1e-6 {
            largest = largest.max(f64::from(apart / scale));
        }
    }
    largest
}

#[test]
fn a_batch_in_parts_has_the_gradients_of_one_batch_with_dropout_on() {
    let folder = tempfile::tempdir().unwrap();
    let Prepared { model, task_data, .. } = prepare(&recipe(folder.path(), &[]), TASKS, &mut |_| {}).unwrap();
    let key = Key::seed(5);
    for data in &task_data {
        let task = model.task(&data.name).unwrap();
        let windows: Vec<&Features> = data.windows.iter().take(12).map(|window| &window.features).collect();
        let count = windows.iter().map(|window| task.task.target_count(&window.targets)).sum();
        let whole = model.loss(task, &windows, Padding::Packed, Pass::train(key)).unwrap();
        let whole_loss = whole.value.to_scalar::<f32>().unwrap();
        let want = model.parameters.gradients(&whole.value).unwrap();
        for size in [1, 3, 4, 5, 6] {
            model.parameters.clear_gradients();
            let (mut begins, mut sum) = (Offset::default(), 0.0);
            for part in windows.chunks(size) {
                let pass = Pass::Train { key, begins };
                let loss = model.loss_of_part(task, part, Padding::Packed, pass, count).unwrap();
                sum += loss.value.to_scalar::<f32>().unwrap();
                model.parameters.backward(&loss.value).unwrap();
                begins = begins.after(&loss.inputs);
            }
            let found = model.parameters.take_gradients();
            assert!((sum - whole_loss).abs() <= 1e-6 * whole_loss.abs(), "{}: {sum} for {whole_loss}", data.name);
            let apart = difference(&found, &want, &model);
            assert!(apart <= 1e-6, "{}, parts of {size}: {apart}", data.name);
        }
        // Masks that did not know where a part begins would show.
        let Some((first, second)) = windows.split_at_checked(6) else { panic!("twelve windows") };
        model.parameters.clear_gradients();
        for part in [first, second] {
            let loss = model.loss_of_part(task, part, Padding::Packed, Pass::train(key), count).unwrap();
            model.parameters.backward(&loss.value).unwrap();
        }
        assert!(difference(&model.parameters.take_gradients(), &want, &model) > 1e-2, "{}", data.name);
    }
}

#[test]
fn accumulating_small_batches_trains_as_one_large_batch_does() {
    let large = steps(&["tasks.ner.batch_size=12", "tasks.qa.batch_size=10"]);
    let parts = steps(&["tasks.ner.batch_size=4", "tasks.qa.batch_size=5", "train.accumulate=3"]);
    let halves = steps(&["tasks.ner.batch_size=6", "tasks.qa.batch_size=5", "train.accumulate=2"]);
    assert_eq!(large.len(), halves.len());
    // 24 windows of NER in threes of 4, QA in threes of 5: fewer steps of QA.
    assert!(parts.len() < large.len());
    for (large, halves) in large.iter().zip(&halves) {
        let of = |step: &Step| {
            let part = &step.tasks[0];
            (part.task.clone(), part.tokens, part.examples.clone(), part.loss.unwrap(), step.grad_norm.unwrap())
        };
        let (large, halves) = (of(large), of(halves));
        assert_eq!((&large.0, large.1, &large.2), (&halves.0, halves.1, &halves.2));
        assert!(
            (large.3 - halves.3).abs() < 1e-4 * large.3 && (large.4 - halves.4).abs() < 1e-3 * large.4,
            "{large:?} {halves:?}"
        );
    }
}

#[test]
fn a_joint_step_takes_a_batch_of_every_task_and_shorter_tasks_begin_again() {
    let all = steps(&["train.sample=joint", "tasks.ner.batch_size=6", "tasks.qa.batch_size=12", "train.epochs=3"]);
    // 24 windows of each: four batches of NER, two of QA.
    assert_eq!(all.len(), 3 * 4);
    for epoch in all.chunks(4) {
        let examples = |task: &str| -> Vec<usize> {
            epoch.iter().flat_map(|step| step.of(task).unwrap().examples.clone()).collect()
        };
        let mut ner = examples("ner");
        ner.sort_unstable();
        assert_eq!(ner, (0..24).collect::<Vec<_>>());
        let (mut first, mut second) = (examples("qa"), Vec::new());
        second.extend(first.drain(24..));
        assert_ne!(first, second, "each pass in an order of its own");
        first.sort_unstable();
        second.sort_unstable();
        assert_eq!(first, second);
    }
    assert!(all.iter().all(|step| step.tasks.len() == 2 && step.tokens() > step.tasks[0].tokens));
}

#[test]
fn the_gradient_of_a_joint_step_is_the_sum_of_its_tasks() {
    // With a learning rate near zero every step sees the same parameters, but for little.
    let still = ["train.learning_rate=1e-7", "encoder.dropout=0", "encoder.attention_dropout=0", "train.epochs=1"];
    let dropped = ["tasks.ner.dropout=0", "tasks.qa.dropout=0", "tasks.ner.batch_size=24", "tasks.qa.batch_size=24"];
    let run = |more: &[&str]| steps(&[&still[..], &dropped[..], more].concat());
    let norm = |step: &Step, group: &str| {
        step.group_norms.0.iter().find(|(name, _)| name == group).map(|(_, norm)| *norm).unwrap_or_default()
    };
    let (apart, joint) = (run(&[]), run(&["train.sample=joint"]));
    assert_eq!((apart.len(), joint.len()), (2, 1));
    for (step, head) in apart.iter().zip(["heads.ner", "heads.qa"]) {
        let (one, both) = (norm(step, head), norm(&joint[0], head));
        assert!((one - both).abs() <= 1e-3 * one, "{head}: {one} {both}");
    }
    // |a + b|^2 lies between (|a| - |b|)^2 and (|a| + |b|)^2.
    let (a, b, sum) = (norm(&apart[0], "layer.1"), norm(&apart[1], "layer.1"), norm(&joint[0], "layer.1"));
    assert!(sum <= a + b + 1e-6 && sum >= (a - b).abs() - 1e-6, "{a} {b} {sum}");
    let balanced = run(&["train.sample=joint", "train.balance=pcgrad"]);
    let found: Vec<f64> = balanced[0].tasks.iter().map(|part| part.weight).collect();
    // Either the gradients conflict, and both weights exceed 1, or nothing changes.
    assert!(found.iter().all(|&weight| weight >= 1.0), "{found:?}");
    let sum = norm(&balanced[0], "heads.ner");
    assert!((sum - norm(&apart[0], "heads.ner")).abs() <= 1e-3 * sum, "heads are not balanced");
}

#[test]
fn learnt_weights_move_away_from_one_and_stand_in_every_step() {
    for sample in ["round_robin", "joint"] {
        let all =
            steps(&[&format!("train.sample={sample}"), "train.balance={ name = 'uncertainty', learning_rate = 0.1 }"]);
        let first = all.iter().flat_map(|step| &step.tasks).take(2);
        assert!(first.into_iter().all(|part| part.weight == 1.0), "{sample}");
        // Losses above 1/2 lower the weight.
        let last = all.last().unwrap().tasks.last().unwrap();
        assert!(last.weight < 0.9 && last.weight > 0.1, "{sample}: {}", last.weight);
    }
}

#[test]
fn weights_by_losses_are_those_of_a_recipe_that_sets_them() {
    let first = |more: &[&str]| steps(&[&["train.sample=joint", "train.max_steps=2"], more].concat()).remove(0);
    for balance in ["gls", "famo", "stch", "rlw"] {
        let found = first(&[&format!("train.balance={balance}")]);
        let set: Vec<String> =
            found.tasks.iter().map(|part| format!("tasks.{}.loss_weight={}", part.task, part.weight)).collect();
        let want = first(&set.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(found.tasks.iter().all(|part| part.weight != 1.0), "{balance}: {set:?}");
        for ((name, found), (_, want)) in found.group_norms.0.iter().zip(&want.group_norms.0) {
            assert!((found - want).abs() < 1e-5 * want, "{balance}, {name}: {found} for {want}");
        }
    }
}

#[test]
fn samplers_that_learn_draw_every_task() {
    for sample in [
        "exp3",
        "prediction_gain",
        "score_gap",
        "{ name = 'multidds', every = 2 }",
        "{ name = 'dga', target = 'qa', every = 2 }",
        "{ name = 'autosem', target = 'ner' }",
    ] {
        let all = steps(&[&format!("train.sample={sample}"), "train.epochs=6", "train.evaluate_every=1"]);
        assert_eq!(all.len(), 6 * 6, "{sample}");
        for task in ["ner", "qa"] {
            assert!(all.iter().any(|step| step.of(task).is_some()), "{sample}: {task}");
        }
    }
}

#[test]
fn a_target_that_is_no_task_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = ["train.sample={ name = 'dga', target = 'parse' }".to_owned()];
    let error = Recipe::parse(&small::recipe_text(folder.path()), &folder.path().join("x.toml"), &set).unwrap_err();
    let expected = "train.sample.target: expected one of the tasks ner, qa, found `parse`";
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn temperature_draws_every_task_and_begins_passes_anew() {
    let all = steps(&["train.sample={ name = 'temperature', temperature = 1.0 }", "train.epochs=6"]);
    assert_eq!(all.len(), 6 * 6);
    for task in ["ner", "qa"] {
        let mut times = vec![0; 24];
        all.iter().filter_map(|step| step.of(task)).flat_map(|part| &part.examples).for_each(|&at| times[at] += 1);
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(*least > 0 && most - least <= 1, "{task}: {times:?}");
    }
}

#[test]
fn one_task_alone_is_told_that_nothing_is_balanced() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = recipe(folder.path(), &["train.sample=joint", "train.balance=pcgrad"]);
    recipe.tasks.remove("qa");
    recipe.data.remove("qa");
    let mut notes = Vec::new();
    let trainer = polyhead::train::Trainer::new(recipe, &mut |note| notes.push(note.to_owned())).unwrap();
    assert!(notes.iter().any(|note| note.contains("`pcgrad` compares tasks and changes nothing")), "{notes:?}");
    assert!(trainer.map(Result::unwrap).all(|event| match event {
        Event::Step(step) => step.tasks.iter().all(|part| part.weight == 1.0),
        _ => true,
    }));
}

/// The tensors of a model by name, before and after a run.
fn before_and_after(more: &[&str]) -> Vec<(polyhead::parameters::Parameter, Vec<f32>, Vec<f32>)> {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = small::trainer(recipe(folder.path(), more));
    let values = |model: &Model| -> Vec<Vec<f32>> {
        let tensors = model.parameters.tensors().unwrap().into_iter();
        tensors.map(|(_, tensor)| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
    };
    let before = values(trainer.model());
    trainer.by_ref().for_each(|event| drop(event.unwrap()));
    let after = values(trainer.model());
    let parameters: Vec<_> = trainer.model().parameters.iter().cloned().collect();
    parameters
        .into_iter()
        .zip(before)
        .zip(after)
        .map(|((parameter, before), after)| (parameter, before, after))
        .collect()
}

#[test]
fn what_is_frozen_does_not_move_and_everything_else_does() {
    use polyhead::parameters::Group;
    for (freeze, is_frozen) in [
        ("embeddings", (|group| matches!(group, Group::Embeddings | Group::Pooler)) as fn(Group) -> bool),
        ("2", |group| matches!(group, Group::Embeddings | Group::Layer(0 | 1) | Group::Pooler)),
        ("3", |group| !matches!(group, Group::Head)),
    ] {
        for (parameter, before, after) in before_and_after(&[&format!("encoder.freeze={freeze}")]) {
            let frozen = is_frozen(parameter.group);
            assert_eq!(before == after, frozen, "{freeze}: {}", parameter.name);
            assert_eq!(!parameter.is_trained(), frozen, "{freeze}: {}", parameter.name);
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let refused =
        polyhead::train::Trainer::new(recipe(folder.path(), &["encoder.freeze=4"]), &mut |_| {}).err().unwrap();
    assert!(refused.to_string().contains("encoder.freeze: expected at most the 3 layers"), "{refused}");
}

#[test]
fn a_frozen_run_resumes_to_the_bits_of_one_that_was_not_stopped() {
    let run = |folder: &Path, stop: usize| {
        let overrides = ["encoder.freeze=1", "train.layer_decay=0.8", "train.head_rate=3", "train.save_every=1"];
        let mut trainer = small::trainer(recipe(folder, &overrides));
        if stop > 0 {
            // Goes away without a word.
            let steps = trainer.by_ref().filter(|event| matches!(event, Ok(Event::Step(_))));
            assert_eq!(steps.take(stop).count(), stop);
            drop(trainer);
            trainer =
                polyhead::train::Trainer::resume(&folder.join("runs/tiny"), None, &[], TASKS, &mut |_| {}).unwrap();
        }
        trainer.by_ref().for_each(|event| drop(event.unwrap()));
        polyhead::io::sha256_file(folder.join("runs/tiny/best/model.safetensors")).unwrap()
    };
    let [whole, resumed] = [0, 4].map(|stop| run(tempfile::tempdir().unwrap().path(), stop));
    assert_eq!(whole, resumed);
}

#[test]
fn rates_by_layer_move_lower_layers_less_and_heads_more() {
    use polyhead::parameters::Group;
    let moved = |more: &[&str], wanted: fn(Group) -> bool| -> f64 {
        let all = before_and_after(more).into_iter().filter(|(parameter, ..)| wanted(parameter.group));
        all.flat_map(|(_, before, after)| before.into_iter().zip(after)).map(|(a, b)| f64::from((a - b).abs())).sum()
    };
    let (one, decayed) = (&["train.epochs=1"][..], &["train.epochs=1", "train.layer_decay=0.5"][..]);
    // 0.5^4 for the first of three layers, but for what AdamW makes of other gradients.
    let share = moved(decayed, |group| group == Group::Layer(0)) / moved(one, |group| group == Group::Layer(0));
    assert!((share - 0.0625).abs() < 0.02, "{share}");
    let faster = ["train.epochs=1", "train.head_rate=4"];
    let share = moved(&faster, |group| group == Group::Head) / moved(one, |group| group == Group::Head);
    assert!(share > 2.5 && share < 4.5, "{share}");
}
