//! A comparison for readers: a [`Document`], which `report` sets as HTML and as Markdown.

use super::report::{Cost, Measure, Report, TaskReport};
use super::statistics::{CONFIDENCE, Paired, Sample, Verdict};
use crate::document::number::{count, counted, decimal, duration, words};
use crate::document::{Align, Block, Chart, Column, Document, Interval, Plot, Section, Table};
use std::path::Path;

impl Report {
    /// What it says to a reader.
    pub fn document(&self) -> Document {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let sections = vec![
            self.summary(),
            self.result(),
            self.last_epoch(),
            self.by_seed(),
            self.budgets(),
            self.savings(),
            self.reproduction(),
        ];
        Document {
            title: format!("{}: one joint model against {} separate ones", self.name, self.tasks.len()),
            subtitle: format!("Trained at equal budgets with the seeds {}.", seeds.join(", ")),
            sections,
        }
    }

    fn summary(&self) -> Section {
        let verdicts = self.tasks.iter().filter_map(|task| sentence(task, self.seeds.len()));
        let blocks = verdicts.chain([self.saved()]).map(Block::Text).collect();
        Section { title: "In short".to_owned(), blocks }
    }

    fn saved(&self) -> String {
        /// Per cent by which the times of seeds may differ before they say nothing of the models.
        const STEADY: f64 = 10.0;
        let (parameters, training) = (&self.parameters.total, &self.seconds.training_percent);
        let time = match training.sd {
            Some(sd) if sd > STEADY => format!(
                "Training times differ too much from seed to seed to be compared ({:.0} ± {sd:.0} % of theirs).",
                training.mean
            ),
            _ => format!(
                "With as many updates as they take together, training it took {:.0} % of their time.",
                training.mean
            ),
        };
        format!(
            "One model of {} parameters stands in place of {} with {} together ({} %). {time}",
            count(parameters.joint),
            self.tasks.len(),
            count(parameters.single),
            share(parameters),
        )
    }

    fn result(&self) -> Section {
        let mut text = vec![format!(
            "Scores in per cent on the validation data, mean and standard deviation over {}: of the joint model, and of \
             the model that has the task to itself, each of the epoch that its recipe keeps. The difference is joint less \
             separate, seed by seed; above 0, sharing helped.",
            seeds(self.seeds.len())
        )];
        text.push(match self.seeds.len() {
            1 => "One seed says nothing of how much another would differ: there is no interval, and no verdict. Three \
                  seeds are the least to begin with."
                .to_owned(),
            count => format!(
                "The interval (Student's t, paired, {count} seeds) holds the mean difference over all seeds with {:.0} % \
                 confidence, for each task by itself. Where it holds 0, no difference is shown, which is not to say that \
                 there is none: the interval says how large it may be. It speaks of other seeds, not of other data.",
                100.0 * self.confidence
            ),
        });
        if self.seeds.len() == 2 {
            text.push("Two seeds make very wide intervals (t = 12.7): add some with --seeds.".to_owned());
        }
        if !self.added.is_empty() {
            let added: Vec<String> = self.added.concat().iter().map(u64::to_string).collect();
            text.push(format!(
                "Seeds {} were added to a comparison that had begun. Whoever adds seeds until a difference shows will \
                 find one sooner or later: these intervals then promise too much.",
                added.join(", ")
            ));
        }
        if self.precision.len() > 1 {
            text.push(format!(
                "The runs were not computed alike: some in {}. Differences may be due to that.",
                self.precision.join(", some in ")
            ));
        }
        let table = self.differences(|task| &task.best);
        let chart = self.intervals().map(Block::Chart);
        section("Did sharing help?", [Block::Table(table)].into_iter().chain(chart), text)
    }

    /// The interval of each task that has one.
    fn intervals(&self) -> Option<Chart> {
        let interval = |task: &TaskReport| {
            let Measure { name, paired } = task.deciding(&task.best)?;
            let [low, high] = paired.interval?;
            Some(Interval { name: format!("{} {}", task.name, words(name)), low, middle: paired.difference.mean, high })
        };
        let intervals: Vec<Interval> = self.tasks.iter().filter_map(interval).collect();
        (!intervals.is_empty()).then(|| Chart {
            title: "Difference that sharing makes".to_owned(),
            x: "joint less separate (points)".to_owned(),
            y: String::new(),
            plot: Plot::Intervals(intervals),
            note: format!("Mean and {:.0} % interval; right of 0 sharing helped.", 100.0 * self.confidence),
        })
    }

    fn last_epoch(&self) -> Section {
        let (title, epochs) = ("After the last epoch", self.budget.epochs);
        if self.runs.iter().all(|run| run.best_epoch == epochs) {
            return section(title, None, ["The same: every model was kept from its last epoch.".to_owned()]);
        }
        let text = "The same where no model had a choice. A separate model is kept from the epoch that suits its one task; \
                    the joint model has one epoch for all tasks, which may cost it something in the table above.";
        section(title, [Block::Table(self.differences(|task| &task.last))], [text.to_owned()])
    }

    fn differences(&self, of: fn(&TaskReport) -> &[Measure]) -> Table {
        let interval = format!("{:.0} % interval", 100.0 * self.confidence);
        let mut table = table(&["task", "measure"], &["joint", "separate", "difference", &interval]);
        table.columns.push(Column { name: "verdict".to_owned(), align: Align::Left });
        for task in &self.tasks {
            let Some(Measure { name, paired }) = task.deciding(of(task)) else { continue };
            table.row([
                task.name.clone(),
                words(name),
                spread(&paired.joint),
                spread(&paired.single),
                signed(paired.difference.mean),
                interval_words(paired),
                verdict(paired.verdict, self.seeds.len()),
            ]);
        }
        table
    }

    fn by_seed(&self) -> Section {
        let mut table = table(&["task", "measure"], &["seed", "joint", "separate", "difference", "epochs kept"]);
        for task in &self.tasks {
            let Some(Measure { name, paired }) = task.deciding(&task.best) else { continue };
            let values = paired.joint.values.iter().zip(&paired.single.values).zip(&paired.difference.values);
            for (seed, ((joint, single), difference)) in self.seeds.iter().zip(values) {
                let epoch = |of: Option<&str>| {
                    let run = self.runs.iter().find(|run| run.seed == *seed && run.task.as_deref() == of);
                    run.map_or_else(String::new, |run| run.best_epoch.to_string())
                };
                table.row([
                    task.name.clone(),
                    words(name),
                    seed.to_string(),
                    decimal(*joint),
                    decimal(*single),
                    signed(*difference),
                    format!("{} / {}", epoch(None), epoch(Some(&task.name))),
                ]);
            }
        }
        let text = "All measures, not these alone, are in comparison.json.".to_owned();
        section("Seed by seed", [Block::Table(table)], [text])
    }

    fn budgets(&self) -> Section {
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        let updates = |task: &str| range(self.budget.updates.get(task).map_or(&[], Vec::as_slice));
        let numbers: Vec<String> = names.iter().map(|task| format!("updates of {task}")).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).chain(["in all"]).collect();
        let mut table = table(&["model"], &numbers);
        let of_all = names.iter().map(|task| updates(task)).chain([range(&self.budget.joint)]);
        table.row(["joint".to_owned()].into_iter().chain(of_all));
        for alone in &names {
            let own = names.iter().map(|task| if task == alone { updates(task) } else { String::new() });
            table.row([format!("{alone} alone")].into_iter().chain(own).chain([updates(alone)]));
        }
        let text = [
            format!(
                "A separate model takes exactly the updates of its task that the joint model takes, in {}: the same \
                 examples in the same batches and order, from the same encoder and the same new head. The separate \
                 models together take as many updates as the joint one. The encoder of the joint model sees the updates \
                 of all tasks, that of a separate model only its own; that is what sharing means here.",
                counted(self.budget.epochs, "epoch")
            ),
            "The learning rate of each run rises and falls over its own steps. Everything else is as the recipe has it for \
             both; it was not tuned for either."
                .to_owned(),
        ];
        section("Equal budgets", [Block::Table(table)], text)
    }

    fn savings(&self) -> Section {
        let (parameters, seconds, serving) = (&self.parameters, &self.seconds, &self.serving);
        let counts =
            |name: &str, cost: &Cost<usize>| vec![name.to_owned(), count(cost.joint), count(cost.single), share(cost)];
        let times = |name: &str, cost: &Cost<Sample>, percent: &Sample| {
            vec![name.to_owned(), duration(cost.joint.mean), duration(cost.single.mean), spread(percent)]
        };
        let megabytes = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let Cost { joint, single } = parameters.bytes;
        let percent = 100.0 * joint as f64 / single.max(1) as f64;
        let rows = [
            counts("parameters", &parameters.total),
            counts("of them in encoders", &parameters.encoders),
            vec!["model.safetensors".to_owned(), megabytes(joint), megabytes(single), decimal(percent)],
            counts("encoders in memory to answer every task", &serving.encoders),
            counts("encoder passes for a request of each task", &serving.encoder_passes),
            times("training, a seed", &seconds.training, &seconds.training_percent),
            times("evaluation and saving, a seed", &seconds.evaluation, &seconds.evaluation_percent),
        ];
        let mut table = table(&[""], &["joint", "separate, together", "joint, per cent of separate"]);
        rows.into_iter().for_each(|row| table.row(row));
        let text = "Times are of the clock on the wall, whatever else the machine did; at equal budgets the updates are as \
                    many and as large, so training can save little. A request is encoded by itself with either kind of \
                    model: its tokens are its own (a question stands before its text).";
        section("What sharing saves", [Block::Table(table)], [text.to_owned()])
    }

    fn reproduction(&self) -> Section {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let recipe = self.path.join("recipe.toml");
        let command = format!("polyhead compare {} --seeds {}", recipe.display(), seeds.join(","));
        reproduction(command, self.polyhead, &self.precision, &self.path)
    }
}

pub(super) fn section(
    title: &str,
    blocks: impl IntoIterator<Item = Block>,
    text: impl IntoIterator<Item = String>,
) -> Section {
    let blocks = blocks.into_iter().chain(text.into_iter().map(Block::Text)).collect();
    Section { title: title.to_owned(), blocks }
}

/// The command that makes a comparison again, and what it was made with.
pub(super) fn reproduction(command: String, version: &str, precision: &[String], folder: &Path) -> Section {
    let text = format!(
        "polyhead {version}, matrix products in {}. Every run is an ordinary run folder in {}, which polyhead report takes.",
        precision.join(" and "),
        folder.display()
    );
    section("To do it again", [Block::Code(command)], [text])
}

/// A table whose first columns are text and whose others are numbers.
pub(super) fn table(texts: &[&str], numbers: &[&str]) -> Table {
    let mut table = Table::of_text("", texts);
    numbers.iter().for_each(|&name| table.column(name));
    table
}

/// The result of a task in one sentence.
fn sentence(task: &TaskReport, count: usize) -> Option<String> {
    let Measure { name, paired } = task.deciding(&task.best)?;
    let (task, measure, difference) = (&task.name, words(name), signed(paired.difference.mean));
    let interval = format!("{:.0} % interval {}", 100.0 * CONFIDENCE, interval_words(paired));
    Some(match (paired.verdict, paired.interval) {
        (Verdict::Helped, _) => format!("Sharing helped {task}: {measure} {difference} points ({interval})."),
        (Verdict::Hurt, _) => format!("Sharing hurt {task}: {measure} {difference} points ({interval})."),
        (Verdict::NotShown, Some(_)) => format!(
            "For {task} no difference is shown at {}: {measure} {difference} points ({interval}).",
            seeds(count)
        ),
        (Verdict::NotShown, None) => format!(
            "For {task} no difference is shown at {}: {measure} differs by {difference} points in each of them, which \
             says nothing of how much it spreads.",
            seeds(count)
        ),
        (Verdict::OneSeed, _) => {
            format!("For {task} one seed shows nothing yet: {measure} {difference} points.")
        }
    })
}

fn verdict(verdict: Verdict, count: usize) -> String {
    match verdict {
        Verdict::Helped => "helped".to_owned(),
        Verdict::Hurt => "hurt".to_owned(),
        Verdict::NotShown => format!("no difference shown at {}", seeds(count)),
        Verdict::OneSeed => "none: one seed".to_owned(),
    }
}

fn interval_words(paired: &Paired) -> String {
    match paired.interval {
        Some([low, high]) => format!("{} to {}", signed(low), signed(high)),
        None => "none".to_owned(),
    }
}

pub(super) fn seeds(count: usize) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

/// `84.69 ± 0.88`
pub(super) fn spread(sample: &Sample) -> String {
    match sample.sd {
        Some(sd) => format!("{} ± {}", decimal(sample.mean), decimal(sd)),
        None => decimal(sample.mean),
    }
}

/// With its sign, of which 0 has none.
pub(super) fn signed(number: f64) -> String {
    let text = format!("{number:+.2}");
    if text == "-0.00" || text == "+0.00" { "0.00".to_owned() } else { text }
}

/// Joint in per cent of separate.
fn share(cost: &Cost<usize>) -> String {
    decimal(100.0 * cost.joint as f64 / cost.single.max(1) as f64)
}

/// One number where all are the same, else the least and the most.
fn range(numbers: &[usize]) -> String {
    let (least, most) = (numbers.iter().min().copied().unwrap_or(0), numbers.iter().max().copied().unwrap_or(0));
    if least == most { count(least) } else { format!("{} to {}", count(least), count(most)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([signed(1.234), signed(-0.5), signed(-0.001)], ["+1.23", "-0.50", "0.00"]);
        assert_eq!((range(&[3, 3]), range(&[4, 2])), ("3".to_owned(), "2 to 4".to_owned()));
    }

    #[test]
    fn the_verdict_of_every_kind_of_result_is_a_sentence() {
        let told = |joint: &[f64], single: &[f64]| {
            let paired = Paired::of(joint.to_vec(), single.to_vec());
            let measure = Measure { name: "f1".into(), paired: paired.clone() };
            let task = TaskReport {
                name: "qa".into(),
                headline: "f1".into(),
                verdict: paired.verdict,
                best: vec![measure],
                last: Vec::new(),
            };
            sentence(&task, joint.len()).unwrap_or_default()
        };
        assert_eq!(
            told(&[81.0, 82.1, 83.2], &[80.0, 81.0, 82.0]),
            "Sharing helped qa: F1 +1.10 points (95 % interval +0.85 to +1.35)."
        );
        assert_eq!(
            told(&[80.0, 81.0, 82.0], &[81.0, 82.1, 83.2]),
            "Sharing hurt qa: F1 -1.10 points (95 % interval -1.35 to -0.85)."
        );
        assert_eq!(
            told(&[80.0, 82.0], &[81.0, 81.0]),
            "For qa no difference is shown at 2 seeds: F1 0.00 points (95 % interval -12.71 to +12.71)."
        );
        assert!(told(&[80.0, 82.0], &[79.0, 81.0]).contains("differs by +1.00 points in each of them"));
        assert_eq!(told(&[80.0], &[81.0]), "For qa one seed shows nothing yet: F1 -1.00 points.");
    }
}
