//! Models whose encoder multiplies bytes: logits near those of f32, the same bits whatever else is in the batch and at any number of
//! threads. `gemm/int8.rs` of the kernels tests the products themselves.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{OPTIONS, fixture, logits, tiny_adjusted, windows};
use polyhead::encoders::{ENCODERS, EncoderOverrides};
use polyhead::infer::{Products, Session};
use polyhead::parameters::Int8;
use polyhead::tasks::TASKS;

/// Every encoder, and those with odd options.
fn fixtures() -> impl Iterator<Item = &'static str> {
    ENCODERS.iter().map(|kind| kind.fixture).chain(OPTIONS)
}

#[test]
fn logits_are_near_those_of_f32_and_depend_on_nothing_else_in_the_batch() {
    let int8 = EncoderOverrides { int8: Int8::Yes, ..EncoderOverrides::default() };
    for name in fixtures() {
        let ((exact, reference), (model, _)) =
            (tiny_adjusted(name, &EncoderOverrides::default()), tiny_adjusted(name, &int8));
        let windows = windows(&reference);
        for task in ["ner", "qa"] {
            let (want, found) = (logits(&exact, task, &windows), logits(&model, task, &windows));
            let largest = want.iter().flatten().fold(0.0_f32, |largest, x| largest.max(x.abs()));
            let pairs = || want.iter().flatten().zip(found.iter().flatten());
            let far = pairs().fold(0.0_f32, |far, (want, found)| far.max((want - found).abs())) / largest;
            assert!(far > 0.0 && far < 0.1, "{name}, {task}: off by {far} of the largest");
            for (window, found) in windows.iter().zip(&found) {
                let alone = logits(&model, task, std::slice::from_ref(window));
                assert!(alone[0] == *found, "{name}, {task}: another result alone");
            }
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let int8 = EncoderOverrides { int8: Int8::Yes, ..EncoderOverrides::default() };
    let (model, reference) = tiny_adjusted("tiny-bert", &int8);
    let windows = windows(&reference);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| ["ner", "qa"].map(|task| logits(&model, task, &windows)))
    };
    let one = run(1);
    for threads in [2, 3, 8] {
        assert!(run(threads) == one, "{threads} threads differ from one");
    }
}

#[test]
fn a_session_in_int8_says_so() {
    assert_eq!([Products::Int8.name(), Products::Of(polyhead::encoders::Precision::F32).name()], ["int8", "f32"]);
    assert!(Session::open_in(fixture("nowhere"), TASKS, Products::Int8).is_err());
}
