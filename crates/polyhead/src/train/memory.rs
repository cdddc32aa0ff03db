//! Whether a run fits into memory, said before its first step.
//!
//! ```text
//! parameters            4 bytes each, and 12 more where it is trained: its gradient and two moments; 8 more where a step makes
//!                       several passes, which keep the weights as products read them, there and back
//! data, program         what the process holds before its first step, besides the weights
//! values of a batch     what a step of few tokens held at most, for each token, times the tokens of the largest batch
//! ```
//!
//! The step of few tokens is a real one, there and back; its gradients are thrown away. All that an encoder keeps grows with its tokens:
//! attention keeps no square of them. Runs that are far from the bound are not tried.

use super::record::environment::{Memory, memory};
use super::{Prepared, TaskData};
use crate::batch::Features;
use crate::error::{Error, Result};
use crate::model::{Model, NamedTask};
use crate::parameters::Parameters;
use crate::recipe::Recipe;
use crate::sample::StepOf;
use polyhead_kernels::rng::Key;
use polyhead_kernels::{Pass, most_held};

/// Tokens of the two trials: the difference tells what a token takes, whatever their number.
const FEW: usize = 64;
const MORE: usize = 192;
/// More bytes than a token takes for each of its numbers in each layer, of any encoder.
const PLENTY: usize = 160;
/// A run that takes less than this share of the memory, however it is reckoned, is not tried.
const NEAR: f64 = 0.5;
const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What a run takes, in bytes.
#[derive(Debug, Clone, PartialEq)]
struct Need {
    parameters: f64,
    batch: f64,
    /// What this process holds besides the weights: data, tokenizer, program.
    others: f64,
    /// What of all this it holds already.
    held: f64,
    /// Of the largest batch.
    task: String,
    windows: usize,
    tokens: usize,
}

/// Refuses a run that can't fit into memory, and says so of one that may not.
///
/// # Errors
/// The run takes more than the machine has.
pub(super) fn check(recipe: &Recipe, prepared: &Prepared, notify: &mut dyn FnMut(&str)) -> Result<()> {
    let Some(memory) = memory() else { return Ok(()) };
    let Some(need) = need(recipe, prepared, memory)? else { return Ok(()) };
    notify(&need.said(memory)?);
    Ok(())
}

impl Need {
    /// What there is to say of it on a machine with so much memory; an error where it can't fit.
    fn said(&self, memory: Memory) -> Result<String> {
        let gib = |bytes: f64| format!("{:.1} GiB", bytes / GIB);
        let (all, needed) = (memory.all as f64, self.parameters + self.batch + self.others);
        let text = format!(
            "training takes about {} of memory: {} for the parameters with their gradients and moments, {} for a batch of {} windows \
             with {} tokens of {}, {} for data and program",
            gib(needed),
            gib(self.parameters),
            gib(self.batch),
            self.windows,
            self.tokens,
            self.task,
            gib(self.others)
        );
        if needed > all {
            let half = (self.windows / 2).max(1);
            return Err(Error::usage(format!("{text}; this machine has {}", gib(all))).hint(format!(
                "batches half as large, two a step, give the same step: --set tasks.{}.batch_size={half} --set train.accumulate=2; \
                 --set train.recompute=true takes less memory and more time",
                self.task
            )));
        }
        Ok(match needed > memory.free as f64 + self.held {
            true => format!("{text}; {} of {} are free", gib(memory.free as f64), gib(all)),
            false => format!("{text}, of {}", gib(all)),
        })
    }
}

/// What the run takes, if it may be more than half of the memory.
fn need(recipe: &Recipe, Prepared { model, task_data, .. }: &Prepared, memory: Memory) -> Result<Option<Need>> {
    let (all, trained) = (Parameters::count(model.parameters.iter()), Parameters::count(model.parameters.trained()));
    let passes = recipe.train.accumulate > 1 || recipe.sampler()?.step_of() == StepOf::SeveralTasks;
    let parameters = (4 * all + if passes { 20 * trained } else { 12 * trained }) as f64;
    let largest = task_data.iter().map(|data| (largest_batch(data), data)).max_by_key(|(tokens, _)| *tokens);
    let Some((tokens, data)) = largest else { return Ok(None) };
    let encoder = &model.encoder;
    let bound = tokens * encoder.layers() * encoder.hidden_size() * PLENTY;
    if parameters + (bound as f64) < NEAR * memory.all as f64 {
        return Ok(None);
    }
    let Some(of_token) = bytes_of_a_token(recipe, model, model.task(&data.name)?, data)? else { return Ok(None) };
    let (task, windows) = (data.name.clone(), data.batch_size.min(data.windows.len()));
    let held = memory.held as f64;
    let others = (held - (4 * all) as f64).max(0.0);
    Ok(Some(Need { parameters, batch: of_token * tokens as f64, others, held, task, windows, tokens }))
}

/// The tokens of the longest windows that may share a batch.
fn largest_batch(data: &TaskData) -> usize {
    let mut lengths: Vec<usize> = data.windows.iter().map(|window| window.features.ids.len()).collect();
    lengths.sort_unstable_by_key(|length| std::cmp::Reverse(*length));
    lengths.iter().take(data.batch_size).sum()
}

/// The most bytes that a step holds for each of its tokens.
fn bytes_of_a_token(recipe: &Recipe, model: &Model, task: &NamedTask, data: &TaskData) -> Result<Option<f64>> {
    // As after an update: nothing that was made of the weights is kept.
    let renew = || model.parameters.trained().for_each(|parameter| parameter.weight.touch());
    let of = |least: usize| {
        let mut tokens = 0;
        let taken = |window: &&Features| {
            let is_enough = tokens >= least;
            tokens += window.ids.len();
            !is_enough
        };
        let windows: Vec<&Features> = data.windows.iter().map(|window| &window.features).take_while(taken).collect();
        let tokens: usize = windows.iter().map(|window| window.ids.len()).sum();
        renew();
        let (done, bytes) = most_held(|| -> Result<()> {
            let loss = model.loss(task, &windows, recipe.train.padding, Pass::train(Key::seed(recipe.seed)))?;
            model.parameters.backward(&loss.value)?;
            Ok(())
        });
        done.map(|()| (tokens, bytes))
    };
    // The first step makes what stays: the gradients, which the others add to. They are of the parameters and not of tokens.
    let tried = of(FEW).and_then(|_| Ok((of(FEW)?, of(MORE)?)));
    model.parameters.clear_gradients();
    renew();
    let ((few, held), (more, most)) = tried?;
    Ok((more > few).then(|| (most as f64 - held as f64).max(0.0) / (more - few) as f64))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_that_cant_fit_is_refused_with_what_it_takes_and_the_way_out() {
        let (others, held) = (0.5 * GIB, 1.75 * GIB);
        let (task, windows, tokens) = ("qa".to_owned(), 16, 6144);
        let need = Need { parameters: 5.0 * GIB, batch: 20.0 * GIB, others, held, task, windows, tokens };
        let memory = |all: f64, free: f64| Memory { all: (all * GIB) as u64, free: (free * GIB) as u64, held: 0 };
        let said = "training takes about 25.5 GiB of memory: 5.0 GiB for the parameters with their gradients and moments, 20.0 GiB for a \
                    batch of 16 windows with 6144 tokens of qa, 0.5 GiB for data and program";
        assert_eq!(need.said(memory(64.0, 60.0)).unwrap(), format!("{said}, of 64.0 GiB"));
        assert_eq!(need.said(memory(32.0, 20.0)).unwrap(), format!("{said}; 20.0 GiB of 32.0 GiB are free"));
        // Some of it is taken already.
        assert_eq!(need.said(memory(32.0, 24.0)).unwrap(), format!("{said}, of 32.0 GiB"));
        let error = need.said(memory(24.0, 24.0)).unwrap_err();
        let error = format!("{error} {}", error.hint_text().unwrap());
        for part in
            [said, "; this machine has 24.0 GiB", "tasks.qa.batch_size=8", "train.accumulate=2", "train.recompute=true"]
        {
            assert!(error.contains(part), "{error}");
        }
    }
}
