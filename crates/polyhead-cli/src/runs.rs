//! One run of several, shown while it trains, and all of a series: what `compare`, `select` and `tune` have in common.

use crate::out::Out;
use crate::progress::{Show, Training, duration};
use crate::scores::words;
use crate::signals::Signals;
use crate::table::decimal;
use polyhead::compare::{Opened, Series};
use polyhead::train::{Checkpoint, Evaluated, Event, Trainer};
use polyhead::{Error, Place, Result};
use std::collections::BTreeSet;

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

/// Says what every run says again once.
pub fn once(out: &Out, show: Show) -> impl FnMut(&str) {
    let mut said = BTreeSet::new();
    move |text: &str| {
        if show == Show::Progress && said.insert(text.to_owned()) {
            out.note(text);
        }
    }
}

/// Says where the report of a series is.
pub fn written(series: &impl Series, name: &str, show: Show, out: &Out) {
    if show == Show::Progress {
        out.note(format!("\nwritten: {}/{name}.html, {name}.md and {name}.json", series.folder().display()));
    }
}

/// Trains all runs of a series that are not finished.
pub fn train_all(series: &impl Series, signals: &Signals, show: Show, out: &mut Out) -> Result<Ending> {
    let mut stopped = false;
    {
        let mut note = once(out, show);
        note(&format!("folder of the runs: {}", series.folder().display()));
        // What has finished may add more.
        for at in 0.. {
            let runs = series.runs()?;
            let Some(run) = runs.get(at) else { break };
            let name = series.name(run);
            let place = format!("run {} of {}: {name}", at + 1, runs.len());
            let named = |error: Error| error.at_least(Place::file(&name));
            if series.is_finished(run).map_err(named)? {
                note(&format!("{place}, finished before"));
                continue;
            }
            if show == Show::Progress {
                out.note_heading(&format!("\n{place}"));
            }
            if let Opened::Training(mut trainer) = series.open_run(run, &mut note).map_err(named)?
                && train(&mut trainer, signals, show, out)? == Ending::Stopped
            {
                note("the same command goes on with the others");
                stopped = true;
                break;
            }
            series.tidy(run).map_err(named)?;
        }
    }
    if stopped {
        out.exit_with(signals.exit_code());
        return Ok(Ending::Stopped);
    }
    Ok(Ending::Finished)
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
