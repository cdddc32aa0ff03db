//! How the tasks of a run were combined: the balancer's weights and the sampler's batches, over the steps. `Run -> [Block]`

use super::curves::{by_step, clock, over_steps, smoothed, thinned};
use super::run::Run;
use crate::document::{Block, Series};

/// The most points of a curve.
const POINTS: usize = 120;

/// Of several tasks: which strategies, and the curves of what they did. Of one there is nothing to combine.
pub fn blocks(run: &Run) -> Vec<Block> {
    let tasks = run.tasks();
    if tasks.len() < 2 || run.steps.is_empty() {
        return Vec::new();
    }
    let named = run.recipe.as_ref().map_or_else(String::new, |recipe| {
        let (sample, balance) = (&recipe.train.sample.name, &recipe.train.balance.name);
        format!("train.sample = \"{sample}\", train.balance = \"{balance}\". ")
    });
    let weights = weights(run);
    let same = "Every loss counted as the recipe says: the balancer left all weights at 1.";
    let text = if weights.is_empty() { format!("{named}{same}") } else { named };
    let mut blocks = vec![Block::text(text.trim().to_owned())];
    if !weights.is_empty() {
        let note = "What multiplied the loss of each task, or its gradient on the encoder; smoothed.";
        blocks.push(by_step("Weights of the tasks", "weight", weights, note));
    }
    let note = "How many batches each task has had. Straight lines: its share stayed the same.";
    blocks.push(by_step("Batches of each task", "batches", batches(run), note));
    blocks
}

/// The balancer's weight of each task, if any moved.
pub fn weights(run: &Run) -> Vec<Series> {
    if run.steps.iter().flat_map(|step| &step.tasks).all(|part| part.weight == 1.0) {
        return Vec::new();
    }
    let of = |task: &String| {
        let points = over_steps(run, |step| Some(step.of(task)?.weight));
        Series::new(task, thinned(&smoothed(&points), POINTS)).timed(clock(run))
    };
    run.tasks().iter().map(of).collect()
}

/// How many batches each task has had after each step.
pub fn batches(run: &Run) -> Vec<Series> {
    let of = |task: &String| {
        let mut had = 0.0;
        let points = over_steps(run, |step| Some(f64::from(u8::from(step.of(task).is_some()))));
        let sums: Vec<(f64, f64)> = points
            .iter()
            .map(|(step, batch)| {
                had += batch;
                (*step, had)
            })
            .collect();
        // Points where they are, not means: the last one is the count.
        let every = sums.len().div_ceil(POINTS).max(1);
        let last = sums.len().saturating_sub(1);
        let kept = sums.iter().enumerate().filter(|(at, _)| at.is_multiple_of(every) || *at == last);
        Series::new(task, kept.map(|(_, point)| *point).collect()).timed(clock(run))
    };
    run.tasks().iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::fmt::Write;

    #[test]
    fn weights_that_moved_and_batches_that_were_had_are_curves() {
        let folder = tempfile::tempdir().unwrap();
        let run = |weight: f64| {
            let mut text = String::new();
            for step in 1..=40 {
                let task = if step % 4 == 0 { "b" } else { "a" };
                let weight = if task == "b" { weight } else { 1.0 };
                writeln!(
                    text,
                    "{{\"event\":\"step\",\"step\":{step},\"epoch\":1,\"lr\":0.1,\"seconds\":0.1,\"tasks\":\
                     [{{\"task\":\"{task}\",\"loss\":1.0,\"weight\":{weight},\"tokens\":3}}]}}"
                )
                .unwrap();
            }
            std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
            Run::read(folder.path()).unwrap()
        };
        assert!(weights(&run(1.0)).is_empty());
        let moved = run(0.25);
        let [a, b] = &weights(&moved)[..] else { panic!("two curves") };
        assert!(a.points.iter().all(|point| point.1 == 1.0) && b.points.iter().all(|point| point.1 == 0.25));
        let had = batches(&moved);
        assert_eq!(
            had.iter().map(|series| *series.points.last().unwrap()).collect::<Vec<_>>(),
            [(40.0, 30.0), (40.0, 10.0)]
        );
        assert_eq!(blocks(&run(1.0)).len(), 2);
        assert_eq!(blocks(&moved).len(), 3);
    }
}
