//! The report of one run: its sections, in the order in which a reader asks.

use super::kept::{self, Had};
use super::parameters::{self, Sharing};
use super::run::Run;
use super::scores::{self, headline};
use super::{Depth, combined, curves, examples, reproduce, timing};
use crate::document::number::{count, counted, decimal, duration, fine, percent, short};
use crate::document::{Block, Document, Figure, Section, Series, Table};
use crate::events::{self, Begins, Diagnosed, Step};
use crate::infer::Session;
use crate::model::{shares, without_path};
use crate::recipe::Recipe;
use crate::tasks::{Score, TaskKind};

/// The whole report.
pub fn document(run: &Run, kinds: &[TaskKind], depth: Depth, notify: &mut dyn FnMut(&str)) -> Document {
    let session = kept::session(run, kinds, depth, notify);
    let shares = session.as_ref().ok().map(|session| shares(&session.model.shapes()));
    let sharing = shares.as_deref().map(Sharing::of);
    let section = |title: &str, blocks: Vec<Block>| Section { title: title.to_owned(), blocks };
    let missing = |what: &str, session: &Had<Session>| {
        let why = session.as_ref().err().map_or("", String::as_str);
        vec![Block::Missing(format!("{what} {why}"))]
    };
    let mut sections = vec![section("Summary", summary(run, sharing.as_ref()))];
    sections.push(section(
        "Parameters",
        shares.as_deref().map_or_else(|| missing("The parameters can't be counted.", &session), parameters::blocks),
    ));
    sections.push(section("Scores", all_scores(run)));
    sections.push(section("Losses", losses(run)));
    sections.push(section("Learning rate and gradients", optimisation(run)));
    let combined = combined::blocks(run);
    if !combined.is_empty() {
        sections.push(section("How the tasks were combined", combined));
    }
    notify(&format!("{}: describing the data", run.name));
    sections.push(section("Data", examples::data(run, &session)));
    match &session {
        Ok(open) => {
            for task in &open.model.tasks {
                let blocks = examples::predictions(run, open, task, notify);
                sections.push(section(&format!("Predictions: {}", task.name), blocks));
            }
            sections.push(section("Demonstration suite", examples::demonstration(open)));
        }
        Err(_) => {
            sections.push(section("Predictions", missing("No predictions could be made.", &session)));
            sections.push(section("Demonstration suite", missing("The suite needs the model.", &session)));
        }
    }
    sections.push(section("Time", timing::blocks(run)));
    sections.push(section("How to reproduce it", reproduce::blocks(run)));
    Document { title: format!("Run {}", run.name), subtitle: subtitle(run), sections }
}

/// The encoder by its name: where it lies on this machine says nothing to a reader.
pub fn encoder(recipe: &Recipe) -> String {
    format!("encoder {}", without_path(recipe.encoder.checkpoint.trim_end_matches('/')))
}

/// Encoder, seed, precision.
pub fn subtitle(run: &Run) -> String {
    let mut parts = Vec::new();
    if let Some(recipe) = &run.recipe {
        parts.push(encoder(recipe));
        parts.push(format!("seed {}", recipe.seed));
    }
    if let Some(precision) = run.plan.as_ref().map(|plan| &plan.precision).filter(|precision| !precision.is_empty()) {
        parts.push(format!("products in {precision}"));
    }
    parts.join(" · ")
}

/// `a, b and c`.
fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn summary(run: &Run, sharing: Option<&Sharing>) -> Vec<Block> {
    let tasks = run.tasks();
    let work = timing::Work::of(run.steps.iter());
    let time = timing::total(run);
    let epochs = run.steps.last().map_or(0, |step| step.epoch);
    let mut sentence = format!(
        "One encoder with {} ({}) was trained for {} over {} and {} tokens in {}",
        counted(tasks.len(), "head"),
        listed(&tasks),
        counted(run.steps.len(), "step"),
        counted(epochs, "epoch"),
        short(work.tokens),
        duration(time),
    );
    let best = run.best().filter(|best| !best.scores.is_empty());
    if let Some(best) = best {
        let reached: Vec<String> = best
            .scores
            .iter()
            .filter_map(|(task, score)| {
                Some(format!("{} {} %", headline(task, score), decimal(score.get(&score.headline)?)))
            })
            .collect();
        sentence +=
            &format!("; its best model, of epoch {}, reaches {} on the validation data", best.epoch, listed(&reached));
    }
    if let Some(sharing) = sharing.filter(|sharing| sharing.tasks > 1) {
        sentence += &format!(
            ", with {} parameters instead of the {} of separate models ({} % fewer)",
            short(sharing.total),
            short(sharing.separate),
            decimal(sharing.saving())
        );
    }
    sentence.push('.');
    let mut figures = Vec::new();
    let mut figure = |name: String, value: String, detail: String| figures.push(Figure { name, value, detail });
    for (task, score) in best.iter().flat_map(|best| &best.scores) {
        let value = score.get(&score.headline).map_or("–".into(), decimal);
        figure(headline(task, score), format!("{value} %"), "on the validation data".into());
    }
    if let Some(sharing) = sharing {
        let detail =
            format!("{} % of them shared", decimal(100.0 * sharing.shared as f64 / sharing.total.max(1) as f64));
        figure("parameters".into(), short(sharing.total), detail);
    }
    figure("time".into(), duration(time), "evaluation included".into());
    figure(
        "throughput".into(),
        format!("{}/s", short(work.rate().round() as usize)),
        "real tokens, while training".into(),
    );
    let mut blocks = vec![Block::Text(sentence), Block::Figures(figures)];
    blocks.extend(early(run).map(Block::text));
    match (&run.finished, &run.plan) {
        (Some(end), _) if !end.rule.is_empty() => {
            blocks.push(Block::text(format!(
                "The kept model is that of epoch {}: {}.",
                end.best_epoch,
                end.rule.replace('_', " ").replace(" f1", " F1")
            )));
        }
        (None, Some(plan)) => blocks.push(Block::Missing(format!(
            "The run did not come to its end: {} of {} steps are recorded.",
            count(run.steps.len()),
            count(plan.steps)
        ))),
        _ => {}
    }
    let no_number = |step: &&Step| step.tasks.iter().any(|part| part.loss.is_none_or(|loss| !loss.is_finite()));
    let broken = run.steps.iter().filter(no_number).count();
    if broken > 0 {
        blocks.push(Block::Missing(format!("The loss of {} was no number.", counted(broken, "step"))));
    }
    blocks.extend(run.notes.iter().cloned().map(Block::Missing));
    blocks.extend(began(run));
    blocks
}

/// What the heads began with, where the encoder came with some.
fn began(run: &Run) -> Vec<Block> {
    let heads = run.plan.as_ref().map_or(&[][..], |plan| &plan.heads);
    if heads.is_empty() {
        return Vec::new();
    }
    let mut table = Table::of_text(
        "The encoder came from a model that had heads. A row of a head is one label's.",
        &["head", "began", "labels kept", "new", "dropped"],
    );
    for head in heads {
        let began = match (head.begins, &head.of) {
            (Begins::Kept, None) => "with that of the model".to_owned(),
            (Begins::ByLabel, None) => "with that of the model, label by label".to_owned(),
            (Begins::Kept, Some(of)) => format!("with {of} of the model"),
            (Begins::ByLabel, Some(of)) => format!("with {of} of the model, label by label"),
            (Begins::New, _) => format!("new: {}", head.why),
            (Begins::Untrained, _) => "as in the model, and stays untrained".to_owned(),
            (Begins::Dropped, _) => format!("not here: {}", head.why),
            (Begins::Other, _) => head.why.clone(),
        };
        table.row([head.head.clone(), began, labels(&head.kept), labels(&head.new), labels(&head.dropped)]);
    }
    vec![Block::heading("What the heads began with"), Block::Table(table)]
}

/// `3: A, B, C`.
fn labels(labels: &[String]) -> String {
    if labels.is_empty() { "–".to_owned() } else { format!("{}: {}", labels.len(), events::listed(labels)) }
}

/// Why a run has fewer steps than it planned, if `train.patience` ended it.
fn early(run: &Run) -> Option<String> {
    let (end, plan) = (run.finished.as_ref().filter(|end| end.stopped_early)?, run.plan.as_ref()?);
    let why = plan.patience.map_or_else(String::new, |patience| {
        let in_a_row = if patience == 1 { "" } else { " in a row" };
        format!(": {}{in_a_row} brought no gain (train.patience = {patience})", counted(patience, "evaluation"))
    });
    Some(format!("Training ended early, after {} of {}{why}.", count(end.steps), counted(plan.steps, "step")))
}

fn all_scores(run: &Run) -> Vec<Block> {
    let Some(best) = run.best() else {
        return vec![Block::Missing("No epoch was evaluated.".into())];
    };
    if best.scores.is_empty() {
        return vec![Block::Missing("There is no validation data, and so no score.".into())];
    }
    let mut blocks = vec![Block::text(format!(
        "Those of the kept model, of epoch {}, on the validation data; then those of every epoch.",
        best.epoch
    ))];
    blocks.extend(scores::whole(best));
    blocks.push(Block::heading("By epoch"));
    blocks.extend(scores::by_epoch(run));
    blocks
}

fn losses(run: &Run) -> Vec<Block> {
    if run.steps.is_empty() {
        return vec![Block::Missing("No step is recorded.".into())];
    }
    let table = curves::loss_reduction(run).map(Block::Table);
    table.into_iter().chain(curves::loss_charts(run).into_iter().map(Block::Chart)).collect()
}

fn optimisation(run: &Run) -> Vec<Block> {
    if run.steps.is_empty() {
        return vec![Block::Missing("No step is recorded.".into())];
    }
    let mut blocks = Vec::new();
    if let Some(counts) = run.plan.as_ref().and_then(|plan| plan.parameters) {
        let share = decimal(percent(counts.trained, counts.all));
        let (trained, all) = (count(counts.trained), count(counts.all));
        blocks.push(Block::text(format!("{trained} of {all} parameters were trained ({share} %).")));
    }
    let early = run.finished.as_ref().is_some_and(|end| end.stopped_early);
    let warmup = run.plan.as_ref().map_or(String::new(), |plan| {
        let planned = if early { ", which it would have reached after all planned steps" } else { "" };
        format!("It rises over the first {} and then falls to 0{planned}.", counted(plan.warmup_steps, "step"))
    });
    blocks.push(curves::by_step(
        "Learning rate",
        "learning rate",
        vec![curves::learning_rate(run, "learning rate")],
        &warmup,
    ));
    let norms = curves::gradient_norms(run);
    if norms.is_empty() {
        blocks.push(Block::Missing("The run recorded no gradient norms.".into()));
    } else {
        let note = curves::clipped(run).map_or("Before clipping; smoothed.".to_owned(), |(clipped, all, limit)| {
            let share = decimal(100.0 * clipped as f64 / all as f64);
            format!("Before clipping; smoothed. {share} % of the steps were clipped to a norm of {limit}.")
        });
        blocks.push(curves::by_step("Norm of the gradient", "norm", norms, &note));
    }
    blocks.extend(curves::group_norms(run).map(Block::Table));
    match run.diagnoses.as_slice() {
        [] => blocks.push(Block::text(
            "The gradients of the tasks were not compared in this run, so that there is no cosine between them to show.",
        )),
        diagnoses => blocks.extend(conflict(diagnoses)),
    }
    blocks
}

/// The gradients of the tasks on the shared encoder, side by side.
fn conflict(diagnoses: &[Diagnosed]) -> Vec<Block> {
    let mut pairs: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    let mut norms: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    let add = |lines: &mut Vec<(String, Vec<(f64, f64)>)>, name: String, point: (f64, Option<f64>)| {
        let Some(value) = point.1 else { return };
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push((point.0, value)),
            None => lines.push((name, vec![(point.0, value)])),
        }
    };
    for diagnosed in diagnoses {
        let at = diagnosed.step as f64;
        for pair in &diagnosed.diagnosis.cosines {
            add(&mut pairs, format!("{} and {}", pair.a, pair.b), (at, pair.cosine));
        }
        for (task, norm) in &diagnosed.diagnosis.norms.0 {
            add(&mut norms, task.clone(), (at, Some(*norm)));
        }
    }
    let mut table = Table::new(
        "Below 0 the tasks pull the encoder in opposite directions: they are in conflict.",
        &["gradients of", "samples", "mean cosine", "lowest", "highest", "below 0, %"],
    );
    for (name, points) in &pairs {
        let values: Vec<f64> = points.iter().map(|point| point.1).collect();
        let below = values.iter().filter(|value| **value < 0.0).count();
        table.row([
            name.clone(),
            count(values.len()),
            fine(values.iter().sum::<f64>() / values.len() as f64),
            fine(values.iter().copied().fold(f64::INFINITY, f64::min)),
            fine(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            decimal(100.0 * below as f64 / values.len() as f64),
        ]);
    }
    let series = |lines: Vec<(String, Vec<(f64, f64)>)>| {
        lines.into_iter().map(|(name, points)| Series::new(name, curves::thinned(&points, 240))).collect()
    };
    vec![
        Block::heading("The tasks' gradients on the shared encoder"),
        Block::Table(table),
        curves::by_step(
            "Cosine between the tasks' gradients",
            "cosine",
            series(pairs),
            "On the shared encoder, at sampled steps.",
        ),
        curves::by_step(
            "Norm of each task's gradient",
            "norm",
            series(norms),
            "On the shared encoder, at sampled steps.",
        ),
    ]
}

/// The score of the kept model on a task.
pub fn best_score<'a>(run: &'a Run, task: &str) -> Option<&'a Score> {
    run.best()?.scores.get(task)
}
