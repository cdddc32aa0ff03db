//! `polyhead train`: a run from a recipe, with its progress on standard error and what came of it on standard output.

use super::Format;
use crate::out::Out;
use crate::progress::{Show, Training, duration};
use crate::scores;
use crate::signals::Signals;
use crate::table::{Align, Table, count, counted, decimal};
use polyhead::model::{Model, arguments, shell_word};
use polyhead::recipe::Recipe;
use polyhead::suite;
use polyhead::tasks::TASKS;
use polyhead::train::{Checkpoint, Evaluated, Event, Finished, Lost, Plan, Trainer, Warning};
use polyhead::{Error, Result};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  polyhead train recipes/quickstart.toml
  polyhead train recipes/quickstart.toml --set train.epochs=1 --set data.ner.train=my.conll
  polyhead train recipes/report.toml --json --quiet > events.jsonl
  polyhead train --resume runs/report
  polyhead train --resume runs/report --set train.save_every=100

--set takes any key of the recipe, dotted; a value that is not TOML is a string.
--json prints one event a line: `planned`, then `step` for each update, `diagnosed` for some, `evaluated` for each evaluation, `saved` for each
checkpoint, `finished`; `resumed` and `stopped` where a run goes on or is asked to stop.
--resume goes on from the newest checkpoint that is whole, bit-identical to a run that never stopped; a run that has none yet
begins again in its folder. A recipe that differs from the run's, or was edited in its folder, is refused unless each changed key is
named with --set. A finished run can be made longer only if train.keep_optimizer was set.

Ctrl-C and SIGTERM finish the step, save a checkpoint and exit with 130 and 143; a second one exits at once.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The recipe (TOML)
    #[arg(required_unless_present = "resume")]
    recipe: Option<PathBuf>,
    /// Go on with this run
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// Override a value of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// No progress and no notes
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: Args, out: &mut Out) -> Result<()> {
    let show = if args.quiet { Show::Nothing } else { Show::Progress };
    let signals = Signals::listen(show)?;
    let mut notify = |note: &str| {
        // Warnings stand with the plan.
        if show == Show::Progress && !note.starts_with(Warning::PREFIX) {
            out.note(note);
        }
    };
    let mut trainer = match (&args.resume, &args.recipe) {
        (Some(run), file) => Trainer::resume(run, file.as_deref(), &args.set, TASKS, &mut notify)?,
        (None, Some(file)) => Trainer::new(Recipe::read(file, &args.set)?, &mut notify)?,
        (None, None) => return Err(Error::usage("expected a recipe, or --resume RUN")),
    };
    trainer.stop_when(signals.asked());
    let next = Next::of(trainer.model());
    let mut progress = Training::new(show);
    progress.say(|| out.note(format!("run folder: {}", trainer.folder().display())));
    let folder = trainer.folder().to_owned();
    let (mut patience, mut planned) = (None, 0);
    for event in trainer {
        let event = event.inspect_err(|_| progress.finish())?;
        if args.format.json {
            out.json(&event)?;
            out.flush()?;
        }
        match event {
            Event::Planned(plan) => {
                (patience, planned) = (plan.patience, plan.steps);
                progress.say(|| tell_plan(&plan, out));
                progress.plan(&plan, out);
            }
            Event::Step(step) => progress.step(&step, out),
            Event::Evaluated(evaluated) => {
                progress.say(|| tell_epoch(&evaluated, patience, out));
                progress.evaluated(&evaluated, out);
            }
            Event::Diagnosed(_) | Event::Saved(_) | Event::Unknown => {}
            Event::Resumed(Checkpoint { step, checkpoint }) => {
                progress.say(|| out.note(format!("resumed after step {step}, from {}", checkpoint.display())));
            }
            Event::Stopped(Checkpoint { step, checkpoint }) => {
                progress.finish();
                progress.say(|| {
                    out.note(format!("stopped after step {step}; saved in {}", checkpoint.display()));
                    out.note(format!("next:  polyhead train --resume {}", shell_word(&folder.display().to_string())));
                });
                out.exit_with(signals.exit_code());
            }
            Event::Finished(finished) => {
                progress.finish();
                progress.say(|| out.note(progress.summary(finished.steps)));
                if let (true, Some(patience)) = (finished.stopped_early, patience) {
                    progress.say(|| out.note(early(finished.steps, planned, patience)));
                }
                if !args.format.json {
                    results(&finished, out)?;
                    next.tell(&finished.model, out)?;
                }
            }
        }
    }
    Ok(())
}

/// The batches of each task and the steps in all.
fn tell_plan(plan: &Plan, out: &Out) {
    out.note_heading("\nPlan");
    out.note(plan_table(plan));
    out.note(steps(plan));
    plan.shared.iter().for_each(|tasks| out.note(format!("one encoder pass for {}", tasks.join(" and "))));
    lost(plan).iter().for_each(|line| out.note(line));
    plan.warnings.iter().for_each(|warning| out.note(warning));
    out.note("");
}

/// What truncation loses of each task that it costs anything: `qa: truncated: no window holds 12 tokens and 1 gold answer (see max_length)`.
pub fn lost(plan: &Plan) -> Vec<String> {
    let loses = plan.tasks.iter().filter(|task| task.lost != Lost::default());
    loses
        .map(|task| {
            let lost = [(task.lost.tokens, "token"), (task.lost.golds, "gold answer")].into_iter();
            let lost: Vec<String> = lost.filter(|(n, _)| *n > 0).map(|(n, what)| counted(n, what)).collect();
            format!("{}: truncated: no window holds {} (see max_length)", task.name, lost.join(" and "))
        })
        .collect()
}

/// What each task brings to an epoch.
pub fn plan_table(plan: &Plan) -> Table {
    let mut table = Table::new(&[
        ("task", Align::Left),
        ("examples", Align::Right),
        ("windows", Align::Right),
        ("tokens", Align::Right),
        ("batches", Align::Right),
        ("validation", Align::Right),
    ]);
    for task in &plan.tasks {
        let counts = [task.examples, task.windows, task.tokens, task.batches, task.validation];
        table.row(std::iter::once(task.name.clone()).chain(counts.map(count)));
    }
    table
}

/// `125 + 129 batches an epoch, 3 epochs: 762 steps, 76 of them warm-up`.
pub fn steps(plan: &Plan) -> String {
    let batches: Vec<String> = plan.tasks.iter().map(|task| count(task.batches)).collect();
    let early = plan.patience.map_or_else(String::new, |patience| {
        format!("; fewer if {} bring no gain (train.patience)", in_a_row(patience))
    });
    format!(
        "{} batches an epoch, {}: {}, {} of them warm-up{early}",
        batches.join(" + "),
        counted(plan.epochs, "epoch"),
        counted(plan.steps, "step"),
        count(plan.warmup_steps)
    )
}

/// `3 evaluations in a row`.
fn in_a_row(patience: usize) -> String {
    format!("{}{}", counted(patience, "evaluation"), if patience == 1 { "" } else { " in a row" })
}

/// Why a run has fewer steps than it planned.
fn early(steps: usize, planned: usize, patience: usize) -> String {
    let (steps, planned, evaluations) = (count(steps), counted(planned, "step"), in_a_row(patience));
    format!("ended early, after {steps} of {planned}: {evaluations} brought no gain (train.patience)")
}

fn tell_epoch(evaluated: &Evaluated, patience: Option<usize>, out: &Out) {
    let losses: Vec<String> = evaluated.losses.iter().map(|(task, loss)| format!("{task} {loss:.4}")).collect();
    out.note_heading(&format!("\nEpoch {} (step {})", evaluated.epoch, count(evaluated.step)));
    out.note(format!("mean training loss {}; evaluated in {}", losses.join(", "), duration(evaluated.seconds)));
    for (task, score) in &evaluated.scores {
        out.note(format!("\n{task}"));
        let tables: Vec<String> =
            scores::tables(score, &scores::Intervals::new()).iter().map(ToString::to_string).collect();
        out.note(tables.join("\n\n"));
    }
    if let Some(value) = evaluated.value {
        let kept = match (evaluated.improved, patience) {
            (true, _) => "the best so far: its model is kept".to_owned(),
            (false, None) => "not better: not kept".to_owned(),
            (false, Some(patience)) => {
                format!("not better: not kept; {} of {patience} in a row (train.patience)", evaluated.since_best)
            }
        };
        out.note(format!("\nvalue {} ({kept})", decimal(value)));
    }
    out.note("");
}

/// The end: scores, a few predictions, where the model is.
fn results(finished: &Finished, out: &mut Out) -> Result<()> {
    if !finished.scores.is_empty() {
        out.heading("Scores on the validation data")?;
        out.line(scores::summary(&finished.scores))?;
        out.line(format!(
            "\nbest epoch: {} (rule: {}; value {})",
            finished.best_epoch,
            finished.rule,
            decimal(finished.best_value)
        ))?;
    }
    if !finished.samples.is_empty() {
        out.heading("\nPredictions for the last validation examples")?;
    }
    for sample in &finished.samples {
        out.line(format!("{}: {}", sample.task, sample.text))?;
    }
    out.line(format!("\nmodel: {} (after {})", finished.model.display(), duration(finished.seconds)))
}

/// What to try next with a model: a text of its own data, the suite where that has cases for it, the page.
struct Next {
    request: Option<String>,
    suite: Option<String>,
}

impl Next {
    fn of(model: &Model) -> Self {
        let asked = model.tasks.iter().find_map(|task| Some((task, model.about.examples.get(&task.name)?)));
        let suited = suite::suited(model);
        let parts = [
            (suited.sentences.is_some() || suited.words.is_some() || suited.trees.is_some(), "sentences"),
            (suited.questions.is_some(), "questions"),
            (!suited.texts.is_empty() || suited.relations.is_some(), "texts"),
        ];
        let parts: Vec<&str> = parts.into_iter().filter_map(|(there, name)| there.then_some(name)).collect();
        let suite = match parts.as_slice() {
            [] => None,
            [one] => Some(format!("English {one}")),
            [first @ .., last] => Some(format!("English {} and {last}", first.join(", "))),
        };
        Self { request: asked.map(|(task, request)| arguments(task, Some(request))), suite }
    }

    fn tell(&self, model: &Path, out: &mut Out) -> Result<()> {
        let model = shell_word(&model.display().to_string());
        match &self.request {
            Some(request) => out.line(format!("next:  polyhead predict {model} {request}"))?,
            None => out.line(format!("next:  polyhead inspect {model}"))?,
        }
        match &self.suite {
            Some(of) => out.line(format!("       polyhead suite {model}    # {of}")),
            None => out.line(format!("       polyhead serve {model}")),
        }
    }
}
