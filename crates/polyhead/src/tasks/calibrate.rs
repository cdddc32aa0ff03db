//! Temperature scaling of a task: `held-back examples -> (answers at each temperature) -> the temperature of its logits`.
//!
//! The temperature goes into the layer of the head that makes the logits, so that whatever runs or exports the model has it.

use super::any::Bound;
use super::{Examples, LogitsFn, Task, Window};
use crate::error::Result;
use crate::metrics::calibration::{Calibration, Confidence, best_temperature, expected_error};

impl<T: Task> Bound<T> {
    /// The temperature that fits these examples best. None where the task says nothing of its answers, or there is none.
    pub(super) fn calibration(&self, examples: &Examples, runner: &LogitsFn) -> Result<Option<Calibration>> {
        let Some(calibrate) = T::FACES.calibrate else { return Ok(None) };
        let mut kept: Vec<(&T::Example, Vec<Window>)> = Vec::with_capacity(examples.len);
        self.each_prediction(self.items(examples)?, runner, &mut |example, _, windows| {
            kept.push((example, windows.to_vec()));
            Ok(())
        })?;
        let mut at = |temperature: f64| -> Vec<Confidence> {
            let scaled = (calibrate.at_temperature)(&self.task, temperature);
            let task = scaled.as_ref().unwrap_or(&self.task);
            let of = |(example, windows): &(&T::Example, Vec<Window>)| {
                let scaled: Vec<Window> = windows.iter().map(|window| window.divided_by(temperature)).collect();
                (calibrate.confidences)(task, example, &task.decode(example, &scaled))
            };
            kept.iter().flat_map(of).collect()
        };
        let before = at(1.0);
        let Some(error_before) = expected_error(&before) else { return Ok(None) };
        let temperature = best_temperature(&mut at);
        let error = expected_error(&at(temperature)).unwrap_or_default();
        let answers = before.len();
        Ok(Some(Calibration { temperature, answers, error_before: 100.0 * error_before, error: 100.0 * error }))
    }
}
