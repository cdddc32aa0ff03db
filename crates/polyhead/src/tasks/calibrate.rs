//! Calibration of a task: `held-back examples -> (answers at each temperature) -> the temperature of its logits -> the least score`.
//!
//! The temperature goes into the layer of the head that makes the logits, so that whatever runs or exports the model has it. The score from
//! which on answers are given is found after it, and is a part of the task's configuration.

use super::any::Bound;
use super::{Examples, LogitsFn, Task, Window};
use crate::error::Result;
use crate::metrics::calibration::{Calibration, Confidence, best_temperature, expected_error, least_score};
use std::sync::Arc;

impl<T: Task> Bound<T> {
    /// The temperature that fits these examples best. None where the task says nothing of its answers, or there is none.
    pub(super) fn calibration(&self, examples: &Examples, runner: &LogitsFn) -> Result<Option<Calibration>> {
        let Some(calibrate) = T::FACES.calibrate else { return Ok(None) };
        let mut kept: Vec<(&T::Example, Vec<Window>)> = Vec::with_capacity(examples.len);
        self.each_prediction(self.items(examples)?, runner, &mut |example, _, windows| {
            kept.push((example, windows.to_vec()));
            Ok(())
        })?;
        // All answers, whatever is given of them in the end.
        let all = (calibrate.with_min_score)(&self.task, Some(0.0));
        let all = all.as_ref().unwrap_or(&self.task);
        let mut at = |temperature: f64| -> Vec<Confidence> {
            let scaled = (calibrate.at_temperature)(all, temperature);
            let task = scaled.as_ref().unwrap_or(all);
            let of = |(example, windows): &(&T::Example, Vec<Window>)| {
                let scaled: Vec<Window> = windows.iter().map(|window| window.divided_by(temperature)).collect();
                (calibrate.confidences)(task, example, &task.decode(example, &scaled))
            };
            kept.iter().flat_map(of).collect()
        };
        let before = at(1.0);
        let Some(error_before) = expected_error(&before) else { return Ok(None) };
        let temperature = best_temperature(&mut at);
        let found = at(temperature);
        let error = expected_error(&found).unwrap_or_default();
        let wanted = (calibrate.min_score)(&self.task).precision();
        Ok(Some(Calibration {
            temperature,
            answers: before.len(),
            error_before: 100.0 * error_before,
            error: 100.0 * error,
            least_score: wanted.and_then(|precision| least_score(&found, precision)),
        }))
    }

    /// The same task with what calibration found, or as it is without it.
    pub(super) fn calibrated(&mut self, calibration: Option<&Calibration>) {
        let Some(calibrate) = T::FACES.calibrate else { return };
        if let Some(task) = (calibrate.at_temperature)(&self.task, calibration.map_or(1.0, |found| found.temperature)) {
            self.task = Arc::new(task);
        }
        let score = calibration.and_then(|found| found.least_score).map(|found| found.score);
        if let Some(task) = (calibrate.with_min_score)(&self.task, score) {
            self.task = Arc::new(task);
        }
    }
}
