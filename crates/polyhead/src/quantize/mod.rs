//! A model in bytes that keeps its scores.
//!
//! ```text
//! training examples of each task -> scores of the model as it is, and with all linear layers in bytes
//!    more lost than is allowed, and than chance explains: how far does each layer alone move the logits?
//!    -> the layers that move them most are kept as they are, as few as it takes
//! validation examples -> both scores, for people: nothing is chosen on them
//! ```

mod data;
mod ranges;

use crate::encoders::{EncoderOverrides, Precision};
use crate::error::{Error, Result};
use crate::hub::model_folder;
use crate::infer::Session;
use crate::io::{INT8_WEIGHTS, write_folder_atomic};
use crate::metrics::bootstrap;
use crate::model::Model;
use crate::parameters::Int8;
use crate::tasks::{Logits, Score, TASKS};
use data::{Data, Measured, Sample};
pub use ranges::with_input_ranges;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// How far a layer moves the logits is measured on so many windows of each task.
const WINDOWS: usize = 64;

/// What is asked of a model in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// About so many training examples of each task choose the layers that are kept.
    pub examples: usize,
    /// The most that a task may lose on them, beyond what chance explains: points of the score that decides which epoch is best.
    pub max_loss: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { examples: 500, max_loss: 0.3 }
    }
}

/// What a task scores before and after.
#[derive(Debug, Clone, Serialize)]
pub struct Change {
    /// The task.
    pub task: String,
    /// The name of the score.
    pub measure: String,
    /// Scored examples.
    pub examples: usize,
    /// The score of the model as it was.
    pub before: f64,
    /// That of the model in bytes.
    pub after: f64,
    /// How far `after - before` may be off, since other examples might have been drawn: 95 % of paired bootstrap samples lie between.
    pub interval: [f64; 2],
}

impl Change {
    fn of(sample: &Sample, before: &Measured, after: &Measured) -> Self {
        let measure = before.score.headline.clone().into_owned();
        let [from, to] = [before, after].map(|measured| measured.score.headline_value());
        let differences = after.on_samples.iter().zip(&before.on_samples).map(|(after, before)| after - before);
        Self {
            task: sample.task.clone(),
            measure,
            examples: sample.examples.len,
            before: from,
            after: to,
            interval: bootstrap::interval(differences.collect()).unwrap_or([to - from; 2]),
        }
    }

    /// Points lost: less than 0 where the score is better now.
    pub fn lost(&self) -> f64 {
        if Score::more_is_better(&self.measure) { self.before - self.after } else { self.after - self.before }
    }

    /// The same, and not more than 0 where chance explains it.
    fn lost_beyond_chance(&self) -> f64 {
        let [low, high] = self.interval;
        if low <= 0.0 && high >= 0.0 { self.lost().min(0.0) } else { self.lost() }
    }
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Quantized {
    /// What the model as it was computed in.
    pub precision: &'static str,
    /// How many linear layers its encoder has.
    pub linear_layers: usize,
    /// Those of them that stay as they were.
    pub kept: BTreeSet<String>,
    /// Scores on the training examples that chose them.
    pub training: Vec<Change>,
    /// Scores on the validation examples, of tasks that have some.
    pub validation: Vec<Change>,
    /// The bytes of the weights before (in f32) and after.
    pub bytes: [u64; 2],
}

/// Writes the model of a folder (a run folder: its best) in bytes to the folder `to`, whole or not at all. The data are those of this recipe;
/// of that of the run, if none is given. `notify` hears of progress.
///
/// # Errors
/// There is no such model, recipe or data, the folder can't be written, or more is lost even where all layers are kept.
pub fn quantize(
    folder: &Path,
    recipe: Option<&Path>,
    to: &Path,
    settings: Settings,
    notify: &mut dyn FnMut(&str),
) -> Result<Quantized> {
    let folder = model_folder(folder);
    let exact = Session::open_in(&folder, TASKS, Precision::auto())?;
    let data = Data::of(&folder, recipe)?;
    let samples = data.samples(&exact.model, settings.examples, notify)?;
    let before = samples.iter().map(|sample| sample.score(&exact)).collect::<Result<Vec<_>>>()?;
    let mut layers = exact.model.linear_layers.clone();
    // A layer that comes several times is declared once for each.
    layers.sort();
    layers.dedup();
    write_folder_atomic(to, |building| {
        let mut by_harm = None;
        let chosen = fewest(layers.len(), &mut |count| {
            let kept = match count {
                0 => BTreeSet::new(),
                _ => {
                    let order = match &by_harm {
                        Some(order) => order,
                        None => by_harm.insert(most_harmful_first(&folder, &exact, &layers, &samples, notify)?),
                    };
                    order.iter().take(count).flatten().cloned().collect()
                }
            };
            exact.model.save_in_bytes(building, &kept)?;
            let session = Session::open(building)?;
            let change =
                |(sample, before): (&Sample, &Measured)| Ok(Change::of(sample, before, &sample.score(&session)?));
            let training = samples.iter().zip(&before).map(change).collect::<Result<Vec<_>>>()?;
            let candidate = Candidate { kept, training, session };
            let worst = |of: fn(&Change) -> f64| candidate.training.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
            let (lost, beyond_chance) = (worst(Change::lost), worst(Change::lost_beyond_chance));
            let explained = if lost > beyond_chance.max(0.0) { ", as many as by chance" } else { "" };
            notify(&format!("{}: {lost:.2} points lost on training examples{explained}", candidate.said()));
            Ok((beyond_chance <= settings.max_loss, candidate))
        })?;
        let Some(Candidate { kept, training, mut session }) = chosen else {
            let message =
                format!("more than {} points are lost even where no linear layer is in bytes", settings.max_loss);
            return Err(Error::data(message).hint("--max-loss allows more, --examples measures on more"));
        };
        // The last candidate that was tried need not be this one.
        exact.model.save_in_bytes(building, &kept)?;
        let mut validation = Vec::new();
        for sample in data.validation(&exact.model)? {
            notify(&format!("{}: scoring {} validation examples", sample.task, sample.examples.len));
            let [before, after] = [sample.score(&exact)?, sample.score(&session)?];
            validation.push(Change::of(&sample, &before, &after));
            session.model.about.scores.insert(sample.task, after.score.values);
        }
        session.model.describe_in_bytes(building, &kept)?;
        let parameters = exact.model.shapes().iter().map(|shape| 4 * shape.count() as u64).sum();
        let weights = building.join(INT8_WEIGHTS);
        let after = std::fs::metadata(&weights).map_err(|cause| Error::reading(&weights, cause))?.len();
        let linear_layers = layers.iter().map(Vec::len).sum();
        let precision = exact.products().name();
        Ok(Quantized { precision, linear_layers, kept, training, validation, bytes: [parameters, after] })
    })
}

/// A model in bytes that was tried.
struct Candidate {
    kept: BTreeSet<String>,
    training: Vec<Change>,
    session: Session,
}

impl Candidate {
    fn said(&self) -> String {
        match self.kept.len() {
            0 => "all linear layers in bytes".to_owned(),
            1 => "one linear layer kept".to_owned(),
            more => format!("{more} linear layers kept"),
        }
    }
}

/// What fits with the fewest of 0 to `most`; none where not even `most` does. More are taken to fit better.
fn fewest<T>(most: usize, attempt: &mut dyn FnMut(usize) -> Result<(bool, T)>) -> Result<Option<T>> {
    let (mut low, mut high) = (0, 0);
    let mut found = loop {
        match attempt(high)? {
            (true, found) => break found,
            (false, _) if high == most => return Ok(None),
            (false, _) => (low, high) = (high, (2 * high).max(1).min(most)),
        }
    };
    while high - low > 1 {
        let middle = low.midpoint(high);
        match attempt(middle)? {
            (true, better) => (high, found) = (middle, better),
            (false, _) => low = middle,
        }
    }
    Ok(Some(found))
}

/// Layers in the order of what each alone does to the logits: the squares of the differences over the squares of the logits, of all tasks.
fn most_harmful_first(
    folder: &Path,
    exact: &Session,
    layers: &[Vec<String>],
    samples: &[Sample],
    notify: &mut dyn FnMut(&str),
) -> Result<Vec<Vec<String>>> {
    let windows = samples.iter().map(|sample| sample.windows(&exact.model, WINDOWS)).collect::<Result<Vec<_>>>()?;
    let logits = |model: &Model| -> Result<Vec<Vec<Logits>>> {
        samples.iter().zip(&windows).map(|(sample, windows)| sample.logits(model, windows)).collect()
    };
    let want = logits(&exact.model)?;
    let mut harms = Vec::with_capacity(layers.len());
    for (number, layer) in layers.iter().enumerate() {
        notify(&format!("measuring linear layer {} of {}: {}", number + 1, layers.len(), layer.join(", ")));
        let others = layers.iter().flatten().filter(|name| !layer.contains(name)).cloned().collect();
        let adjust = EncoderOverrides { int8: Int8::AllBut(others), ..EncoderOverrides::default() };
        let precision = exact.model.encoder.precision();
        let found = logits(&Model::load_adjusted(folder, TASKS, &EncoderOverrides { precision, ..adjust })?)?;
        let harm: f64 = want.iter().zip(&found).map(|(want, found)| relative_error(want, found)).sum();
        harms.push((harm, layer.clone()));
    }
    harms.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    Ok(harms.into_iter().map(|(_, layer)| layer).collect())
}

/// `Σ (want - found)² / Σ want²`
fn relative_error(want: &[Logits], found: &[Logits]) -> f64 {
    let numbers = |logits: &[Logits]| logits.iter().flat_map(Logits::rows).flatten().map(|&x| f64::from(x)).collect();
    let (want, found): (Vec<f64>, Vec<f64>) = (numbers(want), numbers(found));
    let error: f64 = want.iter().zip(&found).map(|(want, found)| (want - found).powi(2)).sum();
    let size: f64 = want.iter().map(|want| want * want).sum();
    if size > 0.0 { error / size } else { 0.0 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loss_whose_interval_holds_zero_is_chance() {
        let change = |after: f64, interval, measure: &str| Change {
            task: String::new(),
            measure: measure.into(),
            examples: 500,
            before: 50.0,
            after,
            interval,
        };
        for (after, interval, measure, lost) in [
            (49.0, [-1.5, -0.5], "f1", 1.0),
            (49.0, [-2.5, 0.5], "f1", 0.0),
            (51.0, [-0.5, 2.5], "f1", -1.0),
            (51.0, [0.5, 1.5], "f1", -1.0),
            (51.0, [0.5, 1.5], "loss", 1.0),
            (51.0, [-0.5, 2.5], "loss", 0.0),
        ] {
            assert_eq!(change(after, interval, measure).lost_beyond_chance(), lost, "{after} {interval:?} {measure}");
        }
    }

    #[test]
    fn the_fewest_that_fit_are_found_in_few_attempts() {
        for most in [0, 1, 2, 7, 24, 72] {
            for needed in 0..=most {
                let mut attempts = 0;
                let found = fewest(most, &mut |count| {
                    attempts += 1;
                    Ok((count >= needed, count))
                });
                assert_eq!(found.unwrap(), Some(needed));
                assert!(attempts <= 14, "{attempts} attempts for {needed} of {most}");
            }
            assert_eq!(fewest(most, &mut |count| Ok((false, count))).unwrap(), None);
        }
    }
}
