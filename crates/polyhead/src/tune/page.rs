//! What a search found: as data, `tune.json`, and for readers, a [`Document`].

use super::halving::SHARES;
use super::space::{BATCHES, Setting};
use super::{Budget, Ending, HELD_OUT, Rung, Settings, Trial, Tuning, described};
use crate::document::number::{count, decimal, duration, words};
use crate::document::{Block, Chart, Document, Plot, Section, Series, Table};
use crate::error::{Error, Place, Result};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a search found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The version of polyhead that searched.
    pub polyhead: &'static str,
    /// The name of the recipe.
    pub name: String,
    /// The folder of the search. Not in the JSON, which is the same wherever it lies.
    #[serde(skip)]
    pub path: PathBuf,
    /// What was asked.
    pub settings: Settings,
    /// The trial with the best score on the most examples.
    pub best: TrialReport,
    /// The recipe as it is, on as many examples as the last trial of both had.
    pub recipe: Option<TrialReport>,
    /// The best trial on that many examples.
    pub best_beside_recipe: Option<TrialReport>,
    /// All trials that ended, rung by rung.
    pub trials: Vec<TrialReport>,
    /// Of each key that was searched, the share of the spread of the first rung's scores that its values explain by themselves (eta squared).
    /// Empty where fewer than six trials were scored.
    pub importance: BTreeMap<String, f64>,
    /// Whether the last rung came to its end within the budget.
    pub is_complete: bool,
    /// Seconds of training and scoring, in all.
    pub seconds: f64,
}

/// What a trial came to.
#[derive(Debug, Clone, Serialize)]
pub struct TrialReport {
    /// Which one.
    #[serde(flatten)]
    pub trial: Trial,
    /// The share of the training examples that it had, of which a part was held out.
    pub share: f64,
    /// Its settings, as overrides of the recipe.
    pub settings: Vec<String>,
    /// By what trials are compared: the rule of the recipe's `train.best`, on the examples that were held out.
    pub value: Option<f64>,
    /// What decides of each task.
    pub scores: BTreeMap<String, f64>,
    /// Why it came to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Seconds of training and scoring.
    pub seconds: f64,
    /// Its settings, key by key.
    #[serde(skip)]
    keys: Vec<Setting>,
}

impl Report {
    pub(super) fn new(tuning: &Tuning, rungs: Vec<Rung>) -> Result<Self> {
        let is_complete = rungs.len() == SHARES.len() && rungs.iter().flatten().all(|(_, ending)| ending.is_some());
        let mut trials = Vec::new();
        for (trial, ending) in rungs.into_iter().flatten() {
            let Some(ending) = ending else { continue };
            let (settings, keys) = described(&tuning.space, &tuning.recipe, trial)?;
            let (value, seconds) = (ending.value(), ending.seconds());
            let (scores, failed) = match ending {
                Ending::Scored(outcome, _) => {
                    (outcome.last.into_iter().map(|(task, score)| (task, score.headline_value())).collect(), None)
                }
                Ending::Failed(reason) => (BTreeMap::new(), Some(reason)),
            };
            trials.push(TrialReport { trial, share: trial.share(), settings, value, scores, failed, seconds, keys });
        }
        let scored = || trials.iter().filter(|trial| trial.value.is_some());
        let better = |a: &&TrialReport, b: &&TrialReport| {
            let value = |trial: &TrialReport| trial.value.unwrap_or(f64::NEG_INFINITY);
            // Of equals the lower number.
            let by_value = value(a).total_cmp(&value(b)).then(b.trial.number.cmp(&a.trial.number));
            a.trial.rung.cmp(&b.trial.rung).then(by_value)
        };
        let best = scored().max_by(better).cloned().ok_or_else(|| {
            Error::data("expected a trial that was scored, found none")
                .at(Place::file(&tuning.folder.path))
                .hint("the same command goes on with the search; a larger budget lets trials end")
        })?;
        let of = |number: usize, rung: usize| scored().find(|one| one.trial == Trial { rung, number });
        let together = (0..SHARES.len()).rev().find_map(|rung| Some((of(0, rung)?, of(best.trial.number, rung)?)));
        Ok(Self {
            polyhead: env!("CARGO_PKG_VERSION"),
            name: tuning.recipe.name.clone(),
            path: tuning.folder.path.clone(),
            settings: tuning.settings.clone(),
            recipe: together.map(|(recipe, _)| recipe.clone()),
            best_beside_recipe: together.map(|(_, best)| best.clone()),
            importance: importance(scored().filter(|one| one.trial.rung == 0)),
            is_complete,
            seconds: trials.iter().map(|trial| trial.seconds).sum(),
            best,
            trials,
        })
    }

    /// Comments on top of the recipe that was found.
    pub(super) fn headline(&self) -> String {
        format!(
            "# Found by `polyhead tune`: {} trials, {} of training.\n# {}\n",
            count(self.trials.len()),
            duration(self.seconds),
            self.beside()
        )
    }

    /// The best trial beside the recipe as it is.
    fn beside(&self) -> String {
        let value = |trial: &TrialReport| trial.value.map_or("none".to_owned(), decimal);
        match (&self.recipe, &self.best_beside_recipe) {
            (Some(recipe), Some(best)) if recipe.trial.number == best.trial.number => {
                format!("No trial was better than the recipe as it is: {}.", value(recipe))
            }
            (Some(recipe), Some(best)) => format!(
                "On {} of the training examples it scored {}, the recipe as it is {}.",
                percent(best.share),
                value(best),
                value(recipe)
            ),
            _ => format!("On {} of the training examples it scored {}.", percent(self.best.share), value(&self.best)),
        }
    }

    /// What it says to a reader.
    pub fn document(&self) -> Document {
        let budget = match self.settings.budget {
            Budget::Trainings(trainings) => format!("{trainings} trainings on all examples"),
            Budget::Steps(steps) => format!("{} steps", count(steps)),
            Budget::Minutes(minutes) => format!("{minutes} minutes"),
        };
        Document {
            title: format!("{}: settings that train better", self.name),
            subtitle: format!("Searched on training data alone, within {budget}."),
            sections: vec![self.found(), self.importances(), self.curves(), self.table(), self.reproduction()],
        }
    }

    fn found(&self) -> Section {
        let scores: Vec<String> =
            self.best.scores.iter().map(|(task, score)| format!("{task} {}", decimal(*score))).collect();
        let mut blocks = vec![
            Block::Text(format!("{} Its scores: {}.", self.beside(), scores.join(", "))),
            Block::Code(self.best.settings.join("\n")),
            Block::Text(format!(
                "Scores are of the {} of each trial's examples that were held out, after its last epoch, with one seed. Trials that differ \
                 by a point or two may come in another order with another seed or other examples; the best of many is flattered. What \
                 the settings are worth, `polyhead train` says on the validation data, which were not read here.",
                percent(HELD_OUT)
            )),
        ];
        if !self.is_complete {
            blocks.push(Block::Text("The budget ended before the last rung did: this is the best so far.".to_owned()));
        }
        Section { title: "Found".to_owned(), blocks }
    }

    fn importances(&self) -> Section {
        let mut bars: Vec<(String, f64)> =
            self.importance.iter().map(|(key, share)| (short(key), 100.0 * share)).collect();
        bars.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let block = match bars.is_empty() {
            true => Block::Missing("fewer than six trials were scored".to_owned()),
            false => Block::Chart(Chart {
                title: "What of the spread of scores each key explains".to_owned(),
                x: "per cent of the variance on the first rung".to_owned(),
                y: String::new(),
                plot: Plot::Bars(bars),
                note: "Values in three groups (low, middle, high) or one by one; each key by itself, so that the bars need not add up to \
                       100. With few trials chance alone explains some of it: a third where there are six, a tenth where there are twenty."
                    .to_owned(),
            }),
        };
        Section { title: "What matters".to_owned(), blocks: vec![block] }
    }

    fn curves(&self) -> Section {
        let scored = || self.trials.iter().filter_map(|trial| Some((trial, trial.value?)));
        let mut numbers: Vec<usize> =
            scored().filter(|(trial, _)| trial.trial.rung > 0).map(|(trial, _)| trial.trial.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        let line = |number: &usize| {
            let points = scored().filter(|(trial, _)| trial.trial.number == *number);
            Series::new(format!("trial {number}"), points.map(|(trial, value)| (100.0 * trial.share, value)).collect())
        };
        let mut blocks = Vec::new();
        if !numbers.is_empty() {
            blocks.push(Block::Chart(Chart {
                title: "Score by number of examples".to_owned(),
                x: "per cent of the training examples".to_owned(),
                y: "score".to_owned(),
                plot: Plot::Lines(numbers.iter().map(line).collect()),
                note: "The trials that went on.".to_owned(),
            }));
        }
        let names: Vec<&String> = self.best.keys.iter().map(|(key, _)| key).collect();
        for name in names {
            let of_rung = |rung: usize| {
                let point = |(trial, value): (&TrialReport, f64)| {
                    let (_, at) = trial.keys.iter().find(|(key, _)| key == name)?;
                    Some((*at, value))
                };
                let mut points: Vec<(f64, f64)> =
                    scored().filter(|(one, _)| one.trial.rung == rung).filter_map(point).collect();
                points.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
                let share = SHARES.get(rung).copied().unwrap_or(1.0);
                let mean = |group: &[(f64, f64)]| {
                    let sum = group.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
                    (sum.0 / group.len() as f64, sum.1 / group.len() as f64)
                };
                let means = groups(&points).into_iter().map(mean).collect();
                Series { behind: points, ..Series::new(format!("{} of the examples", percent(share)), means) }
            };
            let lines: Vec<Series> = (0..SHARES.len()).map(of_rung).filter(|line| line.points.len() > 1).collect();
            if !lines.is_empty() {
                blocks.push(Block::Chart(Chart {
                    title: format!("Score by {}", words(name)),
                    x: name.clone(),
                    y: "score".to_owned(),
                    plot: Plot::Lines(lines),
                    note: "The pale line goes from trial to trial; the other goes through the means of each value, or of the low, middle and high third. The other keys \
                           differ from trial to trial."
                        .to_owned(),
                }));
            }
        }
        Section { title: "Curves".to_owned(), blocks }
    }

    fn table(&self) -> Section {
        let mut table = Table::new("Rung by rung, in the order of the trials.", &["trial", "examples"]);
        let names: Vec<&str> = self.best.keys.iter().map(|(key, _)| key.as_str()).collect();
        names.iter().for_each(|name| table.column(*name));
        self.best.scores.keys().for_each(|task| table.column(task.as_str()));
        ["score", "time"].into_iter().for_each(|name| table.column(name));
        for trial in &self.trials {
            let settings = trial.keys.iter().map(|(_, value)| value.to_string());
            let scores =
                self.best.scores.keys().map(|task| trial.scores.get(task).copied().map_or_else(String::new, decimal));
            let value = trial.value.map_or_else(|| trial.failed.clone().unwrap_or_default(), decimal);
            let cells: Vec<String> = [trial.trial.name(), percent(trial.share)]
                .into_iter()
                .chain(settings)
                .chain(scores)
                .chain([value, duration(trial.seconds)])
                .collect();
            match trial.trial == self.best.trial {
                true => table.strong(cells),
                false => table.row(cells),
            }
        }
        Section { title: "Trials".to_owned(), blocks: vec![Block::Table(table)] }
    }

    fn reproduction(&self) -> Section {
        let command = format!("polyhead train {}", self.path.join("best.toml").display());
        let text = format!(
            "polyhead {}. Every trial is an ordinary run folder in {}, which polyhead report takes.",
            self.polyhead,
            self.path.join(super::folder::TRIALS).display()
        );
        Section { title: "To train with it".to_owned(), blocks: vec![Block::Code(command), Block::Text(text)] }
    }
}

/// A key, as short as it can be told from others.
fn short(key: &str) -> String {
    match key {
        BATCHES => "batch_size".to_owned(),
        _ => key.trim_start_matches("train.").trim_start_matches("tasks.").to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// Trials by the value of a setting, in order of it: those of each value, or, where there are many values, the low, middle and high third.
fn groups(by_setting: &[(f64, f64)]) -> Vec<&[(f64, f64)]> {
    let mut different: Vec<f64> = by_setting.iter().map(|(setting, _)| *setting).collect();
    different.dedup();
    match different.len() {
        5.. => by_setting.chunks(by_setting.len().div_ceil(3)).collect(),
        _ => by_setting.chunk_by(|a, b| a.0 == b.0).collect(),
    }
}

/// The share of the variance of the values that each key explains: that between groups of its values (eta squared).
fn importance<'a>(trials: impl Iterator<Item = &'a TrialReport>) -> BTreeMap<String, f64> {
    let trials: Vec<&TrialReport> = trials.collect();
    let Some(first) = trials.first().filter(|_| trials.len() >= 6) else { return BTreeMap::new() };
    let values: Vec<f64> = trials.iter().filter_map(|trial| trial.value).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let all = mean(&values);
    let total: f64 = values.iter().map(|value| (value - all).powi(2)).sum();
    let share = |at: usize| {
        let mut by_setting: Vec<(f64, f64)> =
            trials.iter().zip(&values).filter_map(|(trial, value)| Some((trial.keys.get(at)?.1, *value))).collect();
        by_setting.sort_by(|a, b| a.0.total_cmp(&b.0));
        let groups = groups(&by_setting);
        let between: f64 = groups
            .iter()
            .map(|group| {
                let values: Vec<f64> = group.iter().map(|(_, value)| *value).collect();
                values.len() as f64 * (mean(&values) - all).powi(2)
            })
            .sum();
        if total > 0.0 { between / total } else { 0.0 }
    };
    first.keys.iter().enumerate().map(|(at, (key, _))| (key.clone(), share(at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(number: usize, keys: &[(&str, f64)], value: f64) -> TrialReport {
        TrialReport {
            trial: Trial { rung: 0, number },
            share: 0.25,
            settings: Vec::new(),
            value: Some(value),
            scores: BTreeMap::new(),
            failed: None,
            seconds: 1.0,
            keys: keys.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect(),
        }
    }

    #[test]
    fn a_key_that_decides_explains_all_and_one_that_does_not_little() {
        // The score is that of the rate; the decay goes across it.
        let of = |number: usize| {
            let third = number / 4;
            trial(number, &[("rate", number as f64), ("decay", (number % 2) as f64)], 10.0 * third as f64)
        };
        let trials: Vec<TrialReport> = (0..12).map(of).collect();
        let found = importance(trials.iter());
        assert_eq!((found.get("rate").copied(), found.get("decay").copied()), (Some(1.0), Some(0.0)));
        assert!(importance(trials.iter().take(5)).is_empty());
    }
}
