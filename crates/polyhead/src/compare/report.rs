//! What a comparison found, as data: `comparison.json`. Scores are in per cent, their differences in points.

use super::folder::Folder;
use super::statistics::{CONFIDENCE, Paired, Sample, Verdict};
use super::{Run, runs, runs_of};
use crate::error::{Error, Place, Result};
use crate::events::Outcome;
use crate::model::{Model, shares};
use crate::parameters::Owner;
use crate::recipe::Recipe;
use crate::tasks::{Score, TaskKind};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a comparison found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of polyhead that compared.
    pub polyhead: &'static str,
    /// The name of the recipe.
    pub name: String,
    /// The folder of the comparison, in which `runs` are. Not in the JSON, which is the same wherever it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// All seeds, in order.
    pub seeds: Vec<u64>,
    /// The seeds that were added later, round by round.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<Vec<u64>>,
    /// How sure the intervals are.
    pub confidence: f64,
    /// What matrix products were computed in: one or, if the machine changed, several.
    pub precision: Vec<String>,
    /// What each model was allowed.
    pub budget: Budget,
    /// What sharing did to each task, in the order of the recipe.
    pub tasks: Vec<TaskReport>,
    /// The sizes of the models.
    pub parameters: Parameters,
    /// What training and evaluation took.
    pub seconds: Seconds,
    /// What it takes to answer.
    pub serving: Serving,
    /// The runs, in order.
    pub runs: Vec<RunReport>,
}

/// What each model was allowed: the separate models together as many updates as the joint one.
#[derive(Debug, Clone, Serialize)]
pub struct Budget {
    /// The updates of each task, seed by seed: those of the joint run, and of the run of that task alone.
    pub updates: BTreeMap<String, Vec<usize>>,
    /// The updates of the joint run, seed by seed.
    pub joint: Vec<usize>,
    /// Passes over the data.
    pub epochs: usize,
}

/// What sharing did to a task.
#[derive(Debug, Clone, Serialize)]
pub struct TaskReport {
    /// Its name.
    pub name: String,
    /// The measure that decides.
    pub headline: String,
    /// What its interval says.
    pub verdict: Verdict,
    /// All measures of the models that were kept, each of its best epoch by its rule.
    pub best: Vec<Measure>,
    /// All measures after the last epoch, where no model had a choice.
    pub last: Vec<Measure>,
}

/// One measure of a task, over the seeds.
#[derive(Debug, Clone, Serialize)]
pub struct Measure {
    /// Its name.
    pub name: String,
    /// Its values and what they show.
    #[serde(flatten)]
    pub paired: Paired,
}

impl TaskReport {
    /// The measure that decides, out of one of its two lists.
    pub fn deciding<'a>(&self, measures: &'a [Measure]) -> Option<&'a Measure> {
        measures.iter().find(|measure| measure.name == self.headline)
    }
}

/// Something that costs, with the joint model and with the separate ones together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost<T> {
    /// Of the joint model.
    pub joint: T,
    /// Of the separate models together.
    pub single: T,
}

/// The sizes of the models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameters {
    /// Parameters in all.
    pub total: Cost<usize>,
    /// Those of encoders: one, or one a task.
    pub encoders: Cost<usize>,
    /// Those of heads.
    pub heads: Cost<usize>,
    /// The separate models one by one.
    pub single: BTreeMap<String, usize>,
    /// Bytes of `model.safetensors`.
    pub bytes: Cost<u64>,
}

/// What the runs took. Wall-clock time, so that whatever else the machine did is in it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seconds {
    /// Updates, seed by seed.
    pub training: Cost<Sample>,
    /// Joint in per cent of separate, seed by seed.
    pub training_percent: Sample,
    /// Evaluation after each epoch, saving included.
    pub evaluation: Cost<Sample>,
    /// Joint in per cent of separate, seed by seed.
    pub evaluation_percent: Sample,
}

/// What it takes to answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Serving {
    /// Encoders that must be in memory to answer all tasks.
    pub encoders: Cost<usize>,
    /// Passes of an encoder for one request of each task: each request has its own, because its tokens are its own.
    pub encoder_passes: Cost<usize>,
}

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunReport {
    /// Its folder, inside the comparison's.
    pub folder: String,
    /// Its seed.
    pub seed: u64,
    /// The task that it trains alone; all of them if none.
    pub task: Option<String>,
    /// Its updates.
    pub updates: usize,
    /// Real tokens trained on.
    pub tokens: usize,
    /// The epoch whose model was kept, from 1.
    pub best_epoch: usize,
    /// What its updates and its evaluations took.
    pub seconds: [f64; 2],
}

impl Report {
    pub(super) fn new(
        recipe: &Recipe,
        folder: &Folder,
        tasks: &[String],
        outcomes: &[(Run, Outcome)],
        kinds: &[TaskKind],
    ) -> Result<Self> {
        let found = Outcomes { folder: &folder.path, tasks, all: outcomes };
        let seeds = folder.rounds.concat();
        let rows: Vec<Row> = seeds.iter().map(|&seed| found.row(seed)).collect::<Result<_>>()?;
        let precision = runs::precisions(outcomes.iter().map(|(_, outcome)| outcome));
        Ok(Self {
            polyhead: env!("CARGO_PKG_VERSION"),
            name: recipe.name.clone(),
            path: folder.path.clone(),
            added: folder.rounds.iter().skip(1).cloned().collect(),
            confidence: CONFIDENCE,
            precision,
            budget: budget(tasks, &rows),
            tasks: tasks.iter().enumerate().map(|(at, task)| found.task(at, task, &rows)).collect::<Result<_>>()?,
            parameters: found.parameters(seeds.first().copied().unwrap_or_default(), kinds)?,
            seconds: seconds(&rows),
            serving: Serving {
                encoders: Cost { joint: 1, single: tasks.len() },
                encoder_passes: Cost { joint: tasks.len(), single: tasks.len() },
            },
            runs: outcomes.iter().map(run_report).collect(),
            seeds,
        })
    }
}

/// The outcomes of one seed: of the joint run, and of each task alone, in order.
struct Row<'a> {
    joint: &'a Outcome,
    single: Vec<&'a Outcome>,
}

struct Outcomes<'a> {
    folder: &'a Path,
    tasks: &'a [String],
    all: &'a [(Run, Outcome)],
}

impl<'a> Outcomes<'a> {
    fn row(&self, seed: u64) -> Result<Row<'a>> {
        let mut found = Vec::new();
        for run in runs_of(seed, self.tasks) {
            let outcome = self.all.iter().find(|(other, _)| *other == run).map(|(_, outcome)| outcome);
            found.push(outcome.ok_or_else(|| Error::internal(format!("no outcome of {}", run.name())))?);
        }
        let mut found = found.into_iter();
        let joint = found.next().ok_or_else(|| Error::internal("a seed without runs"))?;
        let row = Row { joint, single: found.collect() };
        self.check(seed, &row)?;
        Ok(row)
    }

    /// Equal budgets are the point of the comparison: they are counted, not assumed.
    fn check(&self, seed: u64, row: &Row) -> Result<()> {
        for (task, single) in self.tasks.iter().zip(&row.single) {
            let fault = |what: &str, joint: String, single: String| {
                let run = Run { seed, task: Some(task.clone()) };
                Err(Error::data(format!("expected {what} of the joint run, {joint}, found {single}"))
                    .at(Place::file(self.folder.join(run.name())))
                    .hint("were the data changed in between? Remove the folder of the run, and compare again"))
            };
            let data = |outcome: &Outcome| outcome.tasks.iter().find(|data| data.name == *task).cloned();
            if data(row.joint) != data(single) {
                return fault("the data", format!("{:?}", data(row.joint)), format!("{:?}", data(single)));
            }
            let updates = |outcome: &Outcome| outcome.updates.get(task).copied().unwrap_or(0);
            if updates(row.joint) != updates(single) {
                return fault("the updates", updates(row.joint).to_string(), updates(single).to_string());
            }
        }
        Ok(())
    }

    fn task(&self, at: usize, task: &str, rows: &[Row]) -> Result<TaskReport> {
        let of = |pick: fn(&Outcome) -> &BTreeMap<String, Score>| -> Result<(String, Vec<Measure>)> {
            let mut pairs = Vec::new();
            for row in rows {
                let joint = pick(row.joint).get(task);
                let single = row.single.get(at).and_then(|outcome| pick(outcome).get(task));
                pairs.push(joint.zip(single).ok_or_else(|| {
                    Error::data(format!("expected scores of `{task}` in every run, found none"))
                        .at(Place::file(self.folder))
                })?);
            }
            let first = pairs.first().map(|(joint, _)| *joint);
            let first = first.ok_or_else(|| Error::internal("a comparison without seeds"))?;
            let measure = |name: &String| {
                let values = |score: &Score| score.get(name);
                let joint: Option<Vec<f64>> = pairs.iter().map(|(joint, _)| values(joint)).collect();
                let single: Option<Vec<f64>> = pairs.iter().map(|(_, single)| values(single)).collect();
                Some(Measure { name: name.clone(), paired: Paired::of(joint?, single?) })
            };
            // Of a loss less is better: it is no score, and would be read as one.
            let scores = first.values.keys().filter(|name| Score::more_is_better(name));
            Ok((first.headline.to_string(), scores.filter_map(measure).collect()))
        };
        let (headline, best) = of(|outcome| &outcome.best)?;
        let (_, last) = of(|outcome| &outcome.last)?;
        let mut report = TaskReport { name: task.to_owned(), headline, verdict: Verdict::OneSeed, best, last };
        report.verdict = report.deciding(&report.best).map(|measure| measure.paired.verdict).ok_or_else(|| {
            Error::data(format!("expected `{}` among the scores of `{task}`, found none", report.headline))
                .at(Place::file(self.folder))
        })?;
        Ok(report)
    }

    /// Counted in the models of one seed: they have the same form in all of them.
    fn parameters(&self, seed: u64, kinds: &[TaskKind]) -> Result<Parameters> {
        let size = |run: &Run| {
            let best = self.folder.join(run.name()).join("best");
            let shares = shares(&Model::load(&best, kinds)?.shapes());
            let encoder: usize =
                shares.iter().filter(|share| share.owner == Owner::Encoder).map(|share| share.total).sum();
            let total: usize = shares.iter().map(|share| share.total).sum();
            let weights = best.join("model.safetensors");
            let bytes = std::fs::metadata(&weights).map_err(|cause| Error::reading(&weights, cause))?.len();
            Ok::<_, Error>((encoder, total, bytes))
        };
        let joint = size(&Run { seed, task: None })?;
        let mut together = (0, 0, 0);
        let mut single = BTreeMap::new();
        for task in self.tasks {
            let (encoder, total, bytes) = size(&Run { seed, task: Some(task.clone()) })?;
            together = (together.0 + encoder, together.1 + total, together.2 + bytes);
            single.insert(task.clone(), total);
        }
        Ok(Parameters {
            total: Cost { joint: joint.1, single: together.1 },
            encoders: Cost { joint: joint.0, single: together.0 },
            heads: Cost { joint: joint.1 - joint.0, single: together.1 - together.0 },
            single,
            bytes: Cost { joint: joint.2, single: together.2 },
        })
    }
}

fn budget(tasks: &[String], rows: &[Row]) -> Budget {
    let of = |task: &String| rows.iter().map(|row| row.joint.updates.get(task).copied().unwrap_or(0)).collect();
    Budget {
        updates: tasks.iter().map(|task| (task.clone(), of(task))).collect(),
        joint: rows.iter().map(|row| row.joint.updates.values().sum()).collect(),
        epochs: rows.first().map_or(0, |row| row.joint.epochs),
    }
}

fn seconds(rows: &[Row]) -> Seconds {
    let cost = |of: fn(&Outcome) -> f64| {
        let joint: Vec<f64> = rows.iter().map(|row| of(row.joint)).collect();
        let single: Vec<f64> = rows.iter().map(|row| row.single.iter().map(|outcome| of(outcome)).sum()).collect();
        let percent = joint.iter().zip(&single).map(|(joint, single)| 100.0 * joint / f64::max(*single, 1e-9));
        let percent = Sample::of(percent.collect());
        (Cost { joint: Sample::of(joint), single: Sample::of(single) }, percent)
    };
    let (training, training_percent) = cost(|outcome| outcome.training_seconds);
    let (evaluation, evaluation_percent) = cost(|outcome| outcome.evaluation_seconds);
    Seconds { training, training_percent, evaluation, evaluation_percent }
}

fn run_report((run, outcome): &(Run, Outcome)) -> RunReport {
    RunReport {
        folder: run.name(),
        seed: run.seed,
        task: run.task.clone(),
        updates: outcome.updates.values().sum(),
        tokens: outcome.tokens,
        best_epoch: outcome.best_epoch,
        seconds: [outcome.training_seconds, outcome.evaluation_seconds],
    }
}
