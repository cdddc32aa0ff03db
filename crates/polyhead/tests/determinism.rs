//! The same recipe and seed give the same bits: in two processes, with any number of threads, with or without
//! validation; and what may not matter (how batches are padded) does not.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::io::sha256_file;
use polyhead::model::Model;
use polyhead::parameters::write_tensors;
use polyhead::recipe::Recipe;
use polyhead::train::Event;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set for a child process: the recipe that it trains.
const RECIPE: &str = "POLYHEAD_TEST_RECIPE";

/// With dropout in the encoder (tiny-bert's own) and in both heads, and batches that several threads share.
const WITH_DROPOUT: &[&str] = &["tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1"];

#[test]
#[ignore = "no test: what the child processes of the other tests run"]
fn child() {
    if let Some(path) = std::env::var_os(RECIPE) {
        small::train(Recipe::read(Path::new(&path), &[]).unwrap());
    }
}

/// Trains in a process of its own; the sha256 of the weights that it wrote.
fn digest_of_a_process(folder: &Path, name: &str, threads: usize, overrides: &[&str]) -> String {
    let output = format!("output={}", folder.join(name).display());
    let overrides: Vec<&str> =
        WITH_DROPOUT.iter().copied().chain([output.as_str()]).chain(overrides.iter().copied()).collect();
    let path = folder.join(format!("{name}.toml"));
    std::fs::write(&path, small::recipe(folder, &overrides).to_toml().unwrap()).unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env(RECIPE, &path)
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    sha256_file(weights(&folder.join(name))).unwrap()
}

fn weights(output: &Path) -> PathBuf {
    output.join("tiny/best/model.safetensors")
}

#[test]
fn two_processes_and_any_number_of_threads_write_the_same_bits_and_another_seed_writes_others() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, threads, overrides: &[&str]| digest_of_a_process(folder.path(), name, threads, overrides);
    for precision in ["f32", "bf16"] {
        let train = format!("train.precision={precision}");
        let run = |name: &str, threads, seed: &[&str]| {
            run(&format!("{precision}-{name}"), threads, &[&[train.as_str()], seed].concat())
        };
        let first = run("first", 1, &[]);
        assert_eq!(first, run("again", 1, &[]), "{precision}");
        for threads in [2, 3, 8] {
            assert_eq!(first, run(&format!("threads-{threads}"), threads, &[]), "{precision}, {threads} threads");
        }
        assert_ne!(first, run("seed", 2, &["seed=43"]), "{precision}");
    }
}

/// The sha256 of a model's tensors.
fn digest(model: &Model) -> String {
    let (folder, tensors) = (tempfile::tempdir().unwrap(), model.parameters.tensors().unwrap());
    let tensors: Vec<_> = tensors.into_iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
    write_tensors(&folder.path().join("model.safetensors"), &tensors).unwrap();
    sha256_file(folder.path().join("model.safetensors")).unwrap()
}

/// The losses of all steps, and the digest of the model after the last.
fn run(overrides: &[&str], change: fn(&mut Recipe)) -> (Vec<f64>, String) {
    let folder = tempfile::tempdir().unwrap();
    let mut recipe = small::recipe(folder.path(), overrides);
    change(&mut recipe);
    let mut trainer = small::trainer(recipe);
    let mut losses = Vec::new();
    for event in trainer.by_ref() {
        if let Event::Step(step) = event.unwrap() {
            losses.push(step.tasks[0].loss.unwrap());
        }
    }
    (losses, digest(trainer.model()))
}

/// Of the weights of a tiny run with dropout: the sha256 with equal loss weights, and with `tasks.qa.loss_weight=0.5`, as
/// they were before a step could hold several tasks. Every instruction set rounds alike but AMX, which was not at hand.
const F32: [&str; 2] = [
    "684449a6d5dcc193fa128fa56abe671e76ec3543ef868b0bfee611e9cff1175e",
    "55bdac3d5ce58ba309cf2a43acd976809184119d2e73416a2120c5e07c2eea1f",
];
const BF16: [&str; 2] = [
    "179cf624262ed63fc3cdc46f6db071a7411b128024ab50d0748e3eb759d23c7c",
    "a895b343e1b8244e0026fe9f2e089361e951ec6c7fa5db2749342f7e34fb9935",
];
const KNOWN: &[(&str, Option<[[&str; 2]; 2]>)] = &[
    ("amx_bf16", None),
    ("avx512_bf16", Some([F32, BF16])),
    ("avx512", None),
    ("avx2", Some([F32, BF16])),
    ("portable", if cfg!(target_arch = "x86_64") { Some([F32, BF16]) } else { None }),
];

#[test]
fn a_recipe_of_one_task_a_step_gives_the_bits_that_it_always_gave() {
    let here = polyhead_kernels::instructions();
    for (instructions, known) in KNOWN {
        let Some(known) = known.filter(|_| *instructions == here) else {
            println!("not run: {instructions}; this processor has {here}");
            continue;
        };
        for (precision, known) in ["f32", "bf16"].into_iter().zip(known) {
            let train = format!("train.precision={precision}");
            let found = ["1.0", "0.5"].map(|weight| {
                let weight = format!("tasks.qa.loss_weight={weight}");
                run(&[WITH_DROPOUT, &[&train, &weight]].concat(), |_| {}).1
            });
            assert_eq!(found, known, "{instructions}, {precision}");
        }
    }
}

#[test]
fn evaluation_and_validation_data_do_not_change_the_weights() {
    let with = run(WITH_DROPOUT, |_| {});
    let without = run(WITH_DROPOUT, |recipe| recipe.data.values_mut().for_each(|data| data.validation = None));
    let half = run(WITH_DROPOUT, |recipe| recipe.data.get_mut("qa").unwrap().validation = None);
    let less = run(&["data.ner.validation_limit=2", "tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1"], |_| {});
    let other_rule = run(&["train.best=worst", "tasks.ner.dropout=0.1", "tasks.qa.dropout=0.1"], |_| {});
    for other in [without, half, less, other_rule] {
        assert_eq!(with, other);
    }
}

#[test]
fn dropout_depends_on_the_seed_and_is_on() {
    let still = ["encoder.dropout=0.0", "encoder.attention_dropout=0.0"];
    let first_loss = |overrides: &[&str]| run(overrides, |recipe| recipe.train.max_steps = Some(2)).0[0];
    assert_ne!(first_loss(&[]), first_loss(&still));
    assert_ne!(first_loss(&still), first_loss(&[&still[..], &["tasks.ner.dropout=0.5"]].concat()));
}

#[test]
fn packed_and_padded_batches_have_the_same_losses() {
    let losses = |padding: &str| {
        let padding = format!("train.padding={padding}");
        let precise = ["train.precision=f32", "encoder.dropout=0.0", "encoder.attention_dropout=0.0"];
        run(&[&precise[..], &[&padding]].concat(), |_| {}).0
    };
    let packed = losses("packed");
    assert_eq!(packed.len(), 12);
    for padding in ["longest", "max"] {
        for (step, (one, other)) in losses(padding).into_iter().zip(&packed).enumerate() {
            assert!((one - other).abs() <= 1e-5 * other.max(1.0), "{padding}, step {}: {one} and {other}", step + 1);
        }
    }
}

#[test]
fn every_epoch_takes_every_example_once_in_an_order_of_its_own() {
    // Every example has a length of its own, and a batch is one example: the tokens of a step say which it was. Each
    // ends in two names, so that all labels of the validation data occur.
    let folder = tempfile::tempdir().unwrap();
    let lengths: Vec<usize> = (2..=41).collect();
    let sentences: String =
        lengths.iter().map(|&length| "the O\n".repeat(length - 2) + "ada B-PER\nparis B-LOC\n\n").collect();
    let path = folder.path().join("lengths.conll");
    std::fs::write(&path, sentences).unwrap();
    let overrides =
        [format!("data.ner.train={}", path.display()), "tasks.ner.batch_size=1".into(), "train.epochs=3".into()];
    let orders = |order: &str, seed: u64| {
        let (order, seed) = (format!("train.order={order}"), format!("seed={seed}"));
        let overrides: Vec<&str> = overrides.iter().map(String::as_str).chain([order.as_str(), &seed]).collect();
        let mut epochs: Vec<Vec<usize>> = vec![Vec::new(); 3];
        for event in small::train(small::recipe(folder.path(), &overrides)) {
            if let Event::Step(step) = event
                && step.of("ner").is_some()
            {
                epochs[step.epoch - 1].push(step.tokens() - 2);
            }
        }
        epochs
    };
    for order in ["random", "by_length"] {
        let epochs = orders(order, 42);
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, lengths);
            assert_ne!(&sorted, epoch, "the order of the file");
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2] && epochs[0] != epochs[2]);
        assert_ne!(epochs, orders(order, 43));
    }
}
