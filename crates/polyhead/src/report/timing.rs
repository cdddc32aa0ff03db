//! Where the time went, and how fast it was. Times of steps are the trainer's own: forward, backward and update.

use super::curves::{is_joint, is_of, over_steps, smoothed, thinned};
use super::run::Run;
use crate::document::number::{count, duration};
use crate::document::{Block, Chart, Plot, Series, Table};
use crate::events::Step;

/// Sums over some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// How many.
    pub steps: usize,
    /// Real tokens.
    pub tokens: usize,
    /// Seconds.
    pub seconds: f64,
}

impl Work {
    /// Of these steps.
    pub fn of<'a>(steps: impl Iterator<Item = &'a Step>) -> Self {
        steps.fold(Self::default(), |sum, step| Self {
            steps: sum.steps + 1,
            tokens: sum.tokens + step.tokens(),
            seconds: sum.seconds + step.seconds,
        })
    }

    /// Tokens a second.
    pub fn rate(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens as f64 / self.seconds } else { 0.0 }
    }
}

/// The whole time of a run: its own account, or the sum of what it recorded.
pub fn total(run: &Run) -> f64 {
    let recorded = Work::of(run.steps.iter()).seconds + evaluation(run);
    run.finished.as_ref().map_or(recorded, |end| end.seconds)
}

/// The time of all evaluations, saving included.
pub fn evaluation(run: &Run) -> f64 {
    run.evaluations.iter().map(|evaluated| evaluated.seconds).sum()
}

/// Tables and a chart.
pub fn blocks(run: &Run) -> Vec<Block> {
    let all = Work::of(run.steps.iter());
    let diagnosis: f64 = run.diagnoses.iter().map(|diagnosed| diagnosed.seconds).sum();
    let mut table = Table::new("Steps by task.", &["task", "steps", "tokens", "time", "ms a step", "tokens a second"]);
    let row = |name: &str, work: Work| {
        let each = 1e3 * work.seconds / work.steps.max(1) as f64;
        let rate = count(work.rate().round() as usize);
        [name.to_owned(), count(work.steps), count(work.tokens), duration(work.seconds), format!("{each:.0}"), rate]
    };
    for task in run.tasks() {
        let work = Work::of(run.steps.iter().filter(|step| is_of(step, &task)));
        if work.steps > 0 {
            table.row(row(&task, work));
        }
    }
    let joint = Work::of(run.steps.iter().filter(|step| is_joint(step)));
    if joint.steps > 0 {
        table.row(row("several tasks", joint));
    }
    table.strong(row("all", all));
    let mut whole = Table::new("", &["part of the run", "time", "share, %"]);
    let total = total(run);
    let rest = (total - all.seconds - evaluation(run) - diagnosis).max(0.0);
    let share = |seconds: f64| format!("{:.1}", 100.0 * seconds / total.max(1e-9));
    let mut parts = vec![("steps", all.seconds), ("evaluation and saving", evaluation(run))];
    if diagnosis > 0.0 {
        parts.push(("gradients of the tasks, side by side", diagnosis));
    }
    parts.push(("the rest", rest));
    for (name, seconds) in parts {
        whole.row([name.to_owned(), duration(seconds), share(seconds)]);
    }
    whole.strong(["all".to_owned(), duration(total), share(total)]);
    let rate = |step: &Step| (step.seconds > 0.0).then(|| step.tokens() as f64 / step.seconds);
    let rates = |name: &str, wanted: &dyn Fn(&Step) -> bool| {
        let points = over_steps(run, |step| rate(step).filter(|_| wanted(step)));
        (!points.is_empty()).then(|| Series::new(name, thinned(&smoothed(&points), 240)))
    };
    let tasks = run.tasks();
    let of_tasks = tasks.iter().filter_map(|task| rates(task, &|step| is_of(step, task)));
    let lines: Vec<Series> = of_tasks.chain(rates("several tasks", &is_joint)).collect();
    let mut blocks = vec![Block::Table(table), Block::Table(whole)];
    if !run.resumed.is_empty() {
        let steps: Vec<String> = run.resumed.iter().map(|step| count(*step)).collect();
        blocks.push(Block::text(format!("The run was resumed after step {}.", steps.join(", "))));
    }
    if all.steps > 1 {
        blocks.push(Block::Chart(Chart {
            title: "Throughput by step".into(),
            x: "step".into(),
            y: "tokens a second".into(),
            plot: Plot::Lines(lines),
            note: "Real tokens, no padding; the mean over a twentieth of the steps around each.".into(),
        }));
    }
    blocks
}
