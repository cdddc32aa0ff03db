//! One run of several, shown while it trains: what `compare` and `tune` have in common.

use crate::out::Out;
use crate::progress::{Show, Training, duration};
use crate::scores::words;
use crate::signals::Signals;
use crate::table::decimal;
use polyhead::train::{Checkpoint, Evaluated, Event, Trainer};
use polyhead::{Error, Place, Result};

/// How training ended.
#[derive(PartialEq, Eq)]
pub enum Ending {
    /// At its end.
    Finished,
    /// By a signal.
    Stopped,
}

/// Trains one run to its end, or until a signal comes.
pub fn train(trainer: &mut Trainer, signals: &Signals, show: Show, out: &Out) -> Result<Ending> {
    trainer.stop_when(signals.asked());
    let folder = trainer.folder().to_owned();
    let mut progress = Training::new(show);
    for event in trainer {
        match event.inspect_err(|_| progress.finish())? {
            Event::Planned(plan) => progress.plan(&plan, out),
            Event::Step(step) => progress.step(&step, out),
            Event::Evaluated(evaluated) => {
                progress.say(|| out.note(epoch(&evaluated)));
                progress.evaluated(&evaluated, out);
            }
            Event::Resumed(Checkpoint { step, .. }) => progress.say(|| out.note(format!("resumed after step {step}"))),
            Event::Diagnosed(_) | Event::Saved(_) | Event::Unknown => {}
            Event::Stopped(Checkpoint { step, checkpoint }) => {
                progress.finish();
                progress.say(|| out.note(format!("stopped after step {step}; saved in {}", checkpoint.display())));
                return Ok(Ending::Stopped);
            }
            Event::Finished(end) => {
                progress.finish();
                progress.say(|| out.note(progress.summary(end.steps)));
                return Ok(Ending::Finished);
            }
        }
    }
    progress.finish();
    Err(Error::internal("the run stopped before its end")
        .at(Place::file(folder))
        .hint("the same command goes on with it"))
}

/// `epoch 1: ner micro F1 80.12, qa f1 44.10; evaluated in 4 s`
fn epoch(evaluated: &Evaluated) -> String {
    let scores: Vec<String> = evaluated
        .scores
        .iter()
        .map(|(task, score)| format!("{task} {} {}", words(&score.headline), decimal(score.headline_value())))
        .collect();
    format!("epoch {}: {}; evaluated in {}", evaluated.epoch, scores.join(", "), duration(evaluated.seconds))
}
