//! Progress on standard error: bars on a terminal, now and then a plain line elsewhere, nothing when asked to be quiet.

use crate::out::{Out, printable};
use crate::table::{count, counted};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use polyhead::hub::HubEvent;
use polyhead::train::{Plan, Step};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, a line at most so often ...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ... and at least after this share of the steps (one in twenty).
const LINES: usize = 20;

/// A counter of things without a known end. It is on the terminal only.
pub fn counter(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style(&format!("{{spinner}} {{human_pos}} {what} {{elapsed}}")));
    bar
}

/// Tells what the Hub tells: a bar for each file on a terminal, a line elsewhere.
pub fn downloads(out: &Out) -> impl FnMut(HubEvent) + '_ {
    let mut bar = ProgressBar::hidden();
    move |event| match event {
        HubEvent::Note(note) => bar.suspend(|| out.note(note)),
        HubEvent::Started { file, bytes, .. } => {
            bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
            bar.set_style(style("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"));
            bar.set_message(printable(&file));
            if !std::io::stderr().is_terminal() {
                out.note(format!("downloading {file}"));
            }
        }
        HubEvent::Progress { done, .. } => bar.set_position(done),
        HubEvent::Finished { .. } => bar.finish_and_clear(),
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file, and one that does not parse would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether progress is shown at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// It is.
    Progress,
    /// It is not.
    Nothing,
}

/// The progress of a training run: epoch, step, the loss of each task, tokens a second, the time that is left.
pub struct Training {
    bar: ProgressBar,
    show: Show,
    epochs: usize,
    /// The loss of each task, smoothed over about its last ten steps.
    losses: BTreeMap<String, f64>,
    tokens: usize,
    /// Seconds spent in steps.
    seconds: f64,
    said: Instant,
    said_step: usize,
}

impl Training {
    /// Before the first step.
    pub fn new(show: Show) -> Self {
        Self {
            bar: ProgressBar::hidden(),
            show,
            epochs: 0,
            losses: BTreeMap::new(),
            tokens: 0,
            seconds: 0.0,
            said: Instant::now(),
            said_step: 0,
        }
    }

    /// What will be done: the bar begins.
    pub fn plan(&mut self, plan: &Plan) {
        self.epochs = plan.epochs;
        if self.show == Show::Progress {
            self.bar = ProgressBar::with_draw_target(Some(plan.steps as u64), ProgressDrawTarget::stderr());
            self.bar.set_style(style("{bar:10} {pos}/{len} {wide_msg}"));
        }
    }

    /// A step was taken.
    pub fn step(&mut self, step: &Step, out: &Out) {
        self.tokens += step.tokens;
        self.seconds += step.seconds;
        let smooth = self.losses.entry(step.task.clone()).or_insert(step.loss);
        *smooth += 0.2 * (step.loss - *smooth);
        self.bar.set_position(step.step as u64);
        if self.show == Show::Nothing {
            return;
        }
        let told = self.told(step);
        self.bar.set_message(told.clone());
        let due = self.said.elapsed() >= LINE_EVERY || step.step - self.said_step >= step.steps.div_ceil(LINES);
        if self.bar.is_hidden() && (due || step.step == 1 || step.step == step.steps) {
            out.note(format!("step {}/{}, {told}", step.step, step.steps));
            (self.said, self.said_step) = (Instant::now(), step.step);
        }
    }

    fn told(&self, step: &Step) -> String {
        let losses: Vec<String> = self.losses.iter().map(|(task, loss)| format!("{task} {loss:.2}")).collect();
        let rate = self.tokens as f64 / self.seconds.max(1e-9);
        let left = self.seconds / step.step.max(1) as f64 * step.steps.saturating_sub(step.step) as f64;
        format!(
            "epoch {}/{}, loss {}, {} tokens/s, ETA {}",
            step.epoch,
            self.epochs,
            losses.join(" "),
            count(rate as usize),
            duration(left),
        )
    }

    /// Says something without disturbing the bar.
    pub fn say(&self, f: impl FnOnce()) {
        if self.show == Show::Progress {
            self.bar.suspend(f);
        }
    }

    /// The end.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    /// What was done, for the last line.
    pub fn summary(&self, steps: usize) -> String {
        let rate = self.tokens as f64 / self.seconds.max(1e-9);
        format!(
            "{} and {} in {} of training: {} tokens/s",
            counted(steps, "step"),
            counted(self.tokens, "token"),
            duration(self.seconds),
            count(rate as usize)
        )
    }
}

/// A duration for people: `7 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { 0 };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in [(0.2, "0 s"), (59.4, "59 s"), (125.0, "2 min 05 s"), (3720.0, "1 h 02 min")] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::NAN), "0 s");
    }
}
