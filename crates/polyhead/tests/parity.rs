//! A small model of each encoder against PyTorch: every layer, logits, losses, every gradient and ten steps of training; and what must
//! not change a result: padding, neighbours, the size of a batch, the number of threads.
//!
//! The references are `fixtures/ENCODER/parity.safetensors`, made by `fixtures/encoder_parity.py`. Errors are `max |a - b| / max |b|`
//! over a tensor.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use candle_core::Tensor;
use common::{
    OPTIONS, TRAIN, Tensors, each_encoder, each_fixture, error, floats, gradients, largest, logits, loss, measure,
    targets, tiny_adjusted, tiny_in, windows,
};
use polyhead::batch::{Batch, Features, Padding};
use polyhead::encoders::{self, ENCODERS, EncoderOverrides, Precision, Reads};
use polyhead::model::Model;
use polyhead::parameters::Owner;
use polyhead_kernels::{Index, Ops, Rows, Value};

/// The largest error allowed.
const TOLERANCE: f64 = 1e-4;

/// Gradients that are zero in exact arithmetic, so that both sides hold nothing but rounding noise: a softmax does not
/// see what all its scores share. For attention that is the key's bias. For question answering it is what all tokens
/// of a sequence share: both biases of the head, and the last LayerNorm's bias.
///
/// They have no relative error. Both sides must stay below [`NOISE`] of the model's largest gradient instead.
///
/// Where scores know of positions, the key's bias is not: it meets vectors of distances, or is turned.
fn is_zero_in_theory(name: &str, fixture: &str) -> bool {
    let keys = [".self.key.bias", ".attention.key.bias", ".k_lin.bias", ".attn.k.bias", ".pos_key_proj.bias"];
    // The last LayerNorm before the head.
    let last = match fixture {
        "tiny-bert" => "encoder.layer.2.output.LayerNorm.bias",
        "tiny-distilbert" => "transformer.layer.1.output_layer_norm.bias",
        "tiny-albert" => "none: it is that of every layer",
        "tiny-albert-groups" => "encoder.albert_layer_groups.1.albert_layers.1.full_layer_layer_norm.bias, in part",
        name if name.starts_with("tiny-modernbert") => "final_norm.bias",
        _ => "encoder.layer.1.output.LayerNorm.bias",
    };
    // Of content to position alone, the only place where it meets anything but queries.
    let of_queries_alone = fixture == "tiny-deberta-v2-c2p" && name.ends_with(".self.key_proj.bias");
    of_queries_alone
        || keys.iter().any(|key| name.ends_with(key))
        || ["heads.qa.start.bias", "heads.qa.end.bias", last].iter().any(|zero| name == format!("grad.qa.{zero}"))
}

/// What rounding may leave of a gradient that is zero in theory, as a share of the largest gradient.
const NOISE: f64 = 1e-6;

#[test]
fn layers_logits_losses_gradients_and_ten_steps_of_training_are_those_of_pytorch() {
    for (fixture, model, reference) in each_fixture() {
        let layers = model.encoder.layers();
        let found = measure(&model, &reference);
        let mut worst: (f64, &str) = (0.0, "none");
        let mut compared = 0;
        for (name, want) in &reference {
            let is_input = ["ids", "type_ids", "lengths", "ner_labels", "qa_start", "qa_end"].contains(&name.as_str());
            if is_input || name.starts_with("heads.") {
                continue;
            }
            let got = found.get(name).unwrap_or_else(|| panic!("{fixture}: {name} was not computed"));
            assert_eq!(got.dims(), want.dims(), "{name}");
            compared += 1;
            if is_zero_in_theory(name, fixture) {
                let task = name.split('.').nth(1).unwrap();
                let noise = largest(got).max(largest(want)) / largest_gradient(&reference, task);
                assert!(
                    noise < NOISE,
                    "{fixture}: {name}: {noise:e} of the largest gradient, expected zero but for rounding"
                );
                continue;
            }
            let error = error(got, want);
            if error > worst.0 {
                worst = (error, name);
            }
            assert!(error <= TOLERANCE, "{fixture}: {name}: error {error:e}");
        }
        // Levels, 2 logits, 2 losses, the losses and norms of training; gradients of the encoder's tensors and a head's.
        let encoder = model.parameters.trained().filter(|parameter| parameter.owner == Owner::Encoder).count();
        assert_eq!(compared, (layers + 1) + 2 + 2 + 2 + (encoder + 2) + (encoder + 4));
        assert_eq!(found.len(), compared, "computed, but not in the reference");
        println!("{fixture}: worst error {:e}: {}", worst.0, worst.1);
    }
}

fn largest_gradient(tensors: &Tensors, task: &str) -> f64 {
    let of_task = tensors.iter().filter(|(name, _)| name.starts_with(&format!("grad.{task}.")));
    of_task.map(|(_, gradient)| largest(gradient)).fold(0.0, f64::max)
}

/// How far products in bf16, a number of 8 significant bits, may move layers, logits and losses; how far a gradient, as a share of the
/// largest; and how far ten steps of training.
const OF_BF16: (f64, f64, f64) = (0.02, 0.04, 0.002);

#[test]
fn products_in_bf16_stay_near_pytorch_in_f32_and_are_all_finite() {
    let names: Vec<&str> = each_fixture().map(|(name, ..)| name).collect();
    for fixture in names {
        let (model, reference) = common::tiny_in(fixture, polyhead::encoders::Precision::Bf16);
        let found = measure(&model, &reference);
        let (mut worst_value, mut worst_gradient) = (0.0_f64, 0.0_f64);
        for (name, got) in &found {
            let want = &reference[name];
            assert!(floats(got).iter().all(|value| value.is_finite()), "{fixture}: {name}");
            match name.strip_prefix("grad.") {
                None if name == "grad_norms" => {}
                None => worst_value = worst_value.max(error(got, want)),
                Some(rest) => {
                    let task = rest.split('.').next().unwrap();
                    let share = error(got, want) * largest(want) / largest_gradient(&reference, task);
                    worst_gradient = worst_gradient.max(share);
                }
            }
        }
        let losses = error(&found["losses"], &reference["losses"]);
        println!("{fixture}: values {worst_value:.4}, gradients {worst_gradient:.4}, losses {losses:.4}");
        assert!(worst_value <= OF_BF16.0, "{fixture}: {worst_value}");
        assert!(worst_gradient <= OF_BF16.1, "{fixture}: {worst_gradient}");
        assert!(losses <= OF_BF16.2, "{fixture}: {losses}");
    }
}

#[test]
fn a_batch_of_each_task_gives_every_trained_tensor_a_gradient() {
    for (kind, model, reference) in each_encoder() {
        let mut found = Tensors::new();
        for task in ["ner", "qa"] {
            let loss = loss(&model, task, &targets(&reference, task), Padding::Packed, TRAIN());
            for (name, gradient) in gradients(&model, task, &loss) {
                found.insert(name.trim_start_matches(&format!("grad.{task}.")).to_owned(), gradient);
            }
        }
        for parameter in model.parameters.trained() {
            let gradient = found.get(&parameter.name).unwrap_or_else(|| panic!("{} has no gradient", parameter.name));
            // What is zero in theory may be zero in fact.
            let may_be_zero = is_zero_in_theory(&format!("grad.qa.{}", parameter.name), kind.fixture);
            assert!(may_be_zero || largest(gradient) > 0.0, "{} has a gradient of zeros", parameter.name);
        }
        let untrained: Vec<&str> = model
            .parameters
            .iter()
            .map(|parameter| parameter.name.as_str())
            .filter(|name| !model.parameters.trained().any(|trained| trained.name == *name))
            .collect();
        assert!(untrained.iter().all(|name| name.starts_with("pooler.")), "{untrained:?}");
    }
}

/// Around the borders of tiles, windows and buckets, and beyond the longest distance that is told apart.
#[test]
fn sequences_of_any_length_are_those_of_pytorch_alone_and_together() {
    for (fixture, model, _) in each_fixture() {
        let file = common::fixture(fixture).join("lengths.safetensors");
        if ["tiny-bert", "tiny-roberta"].contains(&fixture) {
            assert!(!file.exists(), "older ones have sequences of up to 64 tokens alone");
            continue;
        }
        let known = common::read(&file);
        let (lengths, ids) = (common::integers(&known["lengths"]), common::integers(&known["ids"]));
        assert!(lengths.len() > 12 && lengths[..2] == [1, 2]);
        let mut start = 0;
        let windows: Vec<Features> = lengths
            .iter()
            .map(|&length| {
                let own: Vec<u32> = ids[start..start + length as usize].iter().map(|id| *id as u32).collect();
                start += length as usize;
                Features { types: vec![0; own.len()], ids: own, ..Features::default() }
            })
            .collect();
        let together = common::hidden_states(&model, &windows);
        for (at, (window, found)) in windows.iter().zip(&together).enumerate() {
            let alone = common::hidden_states(&model, std::slice::from_ref(window)).remove(0);
            let mean = found.mean(0).unwrap();
            let rows = [
                ("first", found.get(0).unwrap()),
                ("last", found.get(lengths[at] as usize - 1).unwrap()),
                ("mean", mean),
            ];
            for (name, row) in rows {
                let far = error(&row, &known[name].get(at).unwrap());
                assert!(far <= TOLERANCE, "{fixture}: {} tokens: {name}: {far:e}", lengths[at]);
            }
            assert!(error(found, &alone) <= 1e-5, "{fixture}: {} tokens alone", lengths[at]);
        }
    }
}

#[test]
fn padding_changes_neither_losses_nor_gradients() {
    for (fixture, model, reference) in each_fixture() {
        for task in ["ner", "qa"] {
            let windows = &targets(&reference, task)[..4]; // 1 to 33 tokens, so that both kinds of padding pad
            let run = |padding| {
                let loss = loss(&model, task, windows, padding, TRAIN());
                let mut found = gradients(&model, task, &loss);
                found.insert("loss".into(), loss.detach());
                found
            };
            let packed = run(Padding::Packed);
            for padding in [Padding::Longest, Padding::Max] {
                let padded = run(padding);
                let scale = largest_gradient(&packed, task);
                for (name, want) in &packed {
                    let far = error(&padded[name], want) * largest(want);
                    let allowed = if is_zero_in_theory(name, fixture) {
                        NOISE * scale
                    } else {
                        1e-5 * largest(want).max(1e-2 * scale)
                    };
                    assert!(far <= allowed, "{padding:?} {name}: {far:e}");
                }
            }
        }
    }
}

#[test]
fn padding_changes_no_logits() {
    use polyhead::batch::Batch;
    use polyhead::encoders::Pass;
    use polyhead::tasks::Logits;
    for (_, model, reference) in each_encoder() {
        for task in ["ner", "qa"] {
            let windows = &common::windows(&reference)[..4];
            let want = logits(&model, task, windows);
            let task = model.task(task).unwrap();
            for padding in [Padding::Longest, Padding::Max] {
                let batch = Batch::new(
                    &windows.iter().collect::<Vec<_>>(),
                    padding,
                    task.task.max_length(),
                    model.tokenizer.pad,
                );
                let padded = model.forward(&batch, &[task], Pass::Evaluate).unwrap().remove(0);
                for (window, want) in Logits::split(&padded).unwrap().iter().zip(&want) {
                    assert_close(&window.rows().flatten().copied().collect::<Vec<_>>(), want);
                }
            }
        }
    }
}

#[test]
fn neighbours_in_a_batch_change_nothing() {
    for (_, model, reference) in each_encoder() {
        let windows = common::windows(&reference);
        for task in ["ner", "qa"] {
            let together = logits(&model, task, &windows);
            let reversed: Vec<Features> = windows.iter().rev().cloned().collect();
            let mut backwards = logits(&model, task, &reversed);
            backwards.reverse();
            for ((window, want), other) in windows.iter().zip(&together).zip(&backwards) {
                assert_close(&logits(&model, task, std::slice::from_ref(window))[0], want);
                assert_close(other, want);
            }
        }
    }
}

#[test]
fn a_batch_of_one_is_a_batch_of_eight() {
    for (_, model, reference) in each_encoder() {
        for task in ["ner", "qa"] {
            for window in targets(&reference, task) {
                let eight = vec![window.clone(); 8];
                let one = [window];
                let losses = [&one[..], &eight]
                    .map(|windows| loss(&model, task, windows, Padding::Packed, TRAIN()).to_scalar::<f32>().unwrap());
                assert!((losses[0] - losses[1]).abs() <= 1e-5 * losses[0].abs().max(1.0), "{losses:?}");
                let want = &logits(&model, task, &one)[0];
                for got in logits(&model, task, &eight) {
                    assert_close(&got, want);
                }
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (_, model, reference) in each_encoder() {
        let run = |threads: usize, model: &Model| -> Vec<u32> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut bits = Vec::new();
                for task in ["ner", "qa"] {
                    // Enough rows (936) for every operator to split its work.
                    let windows = vec![targets(&reference, task); 8].concat();
                    let loss = loss(model, task, &windows, Padding::Packed, TRAIN());
                    let gradients = gradients(model, task, &loss);
                    bits.push(loss.to_scalar::<f32>().unwrap().to_bits());
                    bits.extend(gradients.values().flat_map(floats).map(f32::to_bits));
                }
                bits
            })
        };
        let one = run(1, &model);
        let encoder = model.parameters.trained().filter(|parameter| parameter.owner == Owner::Encoder);
        let numbers: usize = encoder.map(|parameter| parameter.weight.dims().iter().product::<usize>()).sum();
        assert!(numbers > 2_000 && one.len() > 2 * numbers, "all gradients of both tasks: {}", one.len());
        for threads in [2, 3, 8] {
            assert!(run(threads, &model) == one, "{threads} threads differ from one");
        }
    }
}

/// Data that are annotated for both tasks go through the encoder once.
#[test]
fn the_gradients_of_two_heads_on_one_batch_are_the_sum_of_those_of_two_passes() {
    for (_, model, reference) in each_encoder() {
        let [ner, qa] = ["ner", "qa"].map(|task| targets(&reference, task));
        let tasks =
            [("ner", &ner), ("qa", &qa)].map(|(task, windows)| (model.task(task).unwrap(), windows.iter().collect()));
        let losses = model.losses_together(&tasks, Padding::Packed, TRAIN()).unwrap();
        let apart =
            [("ner", &ner), ("qa", &qa)].map(|(task, windows)| loss(&model, task, windows, Padding::Packed, TRAIN()));
        for (together, apart) in losses.iter().zip(&apart) {
            assert_eq!(together.value.to_scalar::<f32>().unwrap(), apart.to_scalar::<f32>().unwrap());
        }
        let both = gradients(&model, "both", &(&losses[0].value + &losses[1].value).unwrap());
        let mut sum = Tensors::new();
        for gradient in ["ner", "qa"].into_iter().zip(&apart).flat_map(|(task, loss)| {
            let name = move |(name, gradient): (String, Tensor)| (name.replacen(task, "both", 1), gradient);
            gradients(&model, task, loss).into_iter().map(name)
        }) {
            let (name, gradient) = gradient;
            let gradient = match sum.get(&name) {
                Some(other) => (other + &gradient).unwrap(),
                None => gradient,
            };
            sum.insert(name, gradient);
        }
        assert_eq!(both.len(), sum.len());
        let scale = sum.values().map(largest).fold(0.0, f64::max);
        for (name, want) in &sum {
            let far = error(&both[name], want) * largest(want);
            assert!(far <= 1e-5 * largest(want).max(1e-2 * scale), "{name}: {far:e}");
        }
    }
}

/// What is not trained has no gradient, and the gradients of the rest are the same bits.
#[test]
fn what_is_read_of_first_tokens_alone_is_what_is_read_of_all() {
    for precision in [Precision::F32, Precision::Bf16] {
        for name in ENCODERS.iter().map(|kind| kind.fixture).chain(OPTIONS) {
            let (model, reference) = tiny_in(name, precision);
            let windows = windows(&reference);
            let windows: Vec<&Features> = windows.iter().collect();
            let batch = Batch::new(&windows, Padding::Packed, 0, 0);
            let of = |reads: Reads| {
                let first = |_: usize, hidden: &Value, ops: &mut dyn Ops| match hidden.rows_of() {
                    Rows::Sequences => Ok(hidden.clone()),
                    _ => Ok(ops.select_rows(hidden, Index::FirstTokens)?),
                };
                let output =
                    encoders::run(&*model.encoder, &batch, TRAIN(), reads, None, &first).unwrap().remove(0).logits;
                let (rows, columns) = output.dims2().unwrap();
                // Any direction that LayerNorm lets through.
                let direction: Vec<f32> = (0..rows * columns).map(|at| (at as f32 * 0.7).sin()).collect();
                let direction = Tensor::from_vec(direction, (rows, columns), output.device()).unwrap();
                let loss = output.mul(&direction).unwrap().sum_all().unwrap();
                (floats(&output), gradients(&model, "first", &loss))
            };
            let ((all, want), (first, got)) = (of(Reads::AllTokens), of(Reads::FirstTokens));
            let tolerance = if precision == Precision::F32 { 1e-5 } else { 0.02 };
            let near = |a: &[f32], b: &[f32], largest: f64| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| f64::from((a - b).abs()) <= tolerance * largest)
            };
            assert!(near(&first, &all, 1.0), "{name}");
            let largest = largest_gradient(&want, "first");
            assert_eq!(got.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>(), "{name}");
            for (parameter, want) in &want {
                assert!(near(&floats(&got[parameter]), &floats(want), largest), "{name}: {parameter}");
            }
        }
    }
}

#[test]
fn layers_that_are_computed_again_have_the_same_bits() {
    for precision in [Precision::F32, Precision::Bf16] {
        for name in ENCODERS.iter().map(|kind| kind.fixture).chain(OPTIONS) {
            let bits = |recompute: bool| {
                let (dropout, attention_dropout) = (Some(0.2), Some(0.2));
                let adjust =
                    EncoderOverrides { precision, dropout, attention_dropout, recompute, ..Default::default() };
                let (model, reference) = tiny_adjusted(name, &adjust);
                let loss = loss(&model, "ner", &targets(&reference, "ner"), Padding::Packed, TRAIN());
                let mut values = floats(&loss);
                gradients(&model, "ner", &loss).values().for_each(|gradient| values.extend(floats(gradient)));
                values.into_iter().map(f32::to_bits).collect::<Vec<_>>()
            };
            assert!(bits(true) == bits(false), "{name}, {precision:?}");
        }
    }
}

#[test]
fn frozen_layers_have_no_gradient_and_change_no_other() {
    for (_, model, reference) in each_encoder() {
        let windows = targets(&reference, "ner");
        let run = || gradients(&model, "ner", &loss(&model, "ner", &windows, Padding::Packed, TRAIN()));
        let all = run();
        let below =
            |name: &str| name.contains("embeddings.") || name.contains("layer.0.") || name.contains("self.value");
        model
            .parameters
            .iter()
            .filter(|parameter| below(&parameter.name))
            .for_each(|parameter| parameter.weight.freeze());
        let some = run();
        assert!(some.len() < all.len() && !some.is_empty());
        for (name, gradient) in &all {
            match some.get(name) {
                Some(found) => assert_eq!(floats(found), floats(gradient), "{name}"),
                None => assert!(below(name), "{name} has lost its gradient"),
            }
        }
        assert!(!some.keys().any(|name| below(name)));
    }
}

fn assert_close(got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len());
    let scale = want.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    for (got, want) in got.iter().zip(want) {
        assert!((got - want).abs() <= 1e-5 * scale, "{got} for {want}");
    }
}
