//! A selection of tasks for readers: a [`Document`], which `report` sets as HTML and as Markdown.

use super::page::{reproduction, section, seeds, signed, spread, table};
use super::selection::{Auxiliary, Confirmed, SelectionReport};
use super::statistics::Verdict;
use crate::document::number::words;
use crate::document::{Block, Chart, Document, Interval, Plot, Section};

impl SelectionReport {
    /// What it says to a reader.
    pub fn document(&self) -> Document {
        let sections = vec![
            section("In short", None, [self.answer(), self.may_be()]),
            self.probes(),
            self.whole(),
            self.reproduction(),
        ];
        Document {
            title: format!("{}: which tasks help {}", self.name, self.target),
            subtitle: format!("Scored on training examples of {} that were held out.", self.target),
            sections,
        }
    }

    /// The answer in one sentence.
    pub fn answer(&self) -> String {
        let Self { target, .. } = self;
        let shown = self.confirmed.iter().find(|set| !set.with.is_empty() && set.with == self.chosen);
        match shown.and_then(|set| Some((set, set.gain.as_ref()?, set.interval?))) {
            Some((set, gain, [low, high])) => format!(
                "{} {target}: {} {} points ({:.0} % interval {} to {}).",
                helped(&set.with),
                words(&self.measure),
                signed(gain.mean),
                100.0 * self.confidence,
                signed(low),
                signed(high)
            ),
            None => format!("No task is shown to help {target}: train it alone."),
        }
    }

    /// How large a gain could be that was not shown.
    fn may_be(&self) -> String {
        let highest = self.confirmed.iter().filter_map(|set| Some((set, set.interval?[1])));
        let Some((set, high)) = highest.max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return "There is no interval: the scores of all seeds are the same.".to_owned();
        };
        let count = self.seeds[1].len();
        match self.chosen.is_empty() {
            true => format!(
                "At {} a gain of up to {} points with {} can't be ruled out; a larger budget (--trainings) narrows that.",
                seeds(count),
                signed(high),
                set.with.join(" and ")
            ),
            false => "The recipe is selected.toml. What it is worth, `polyhead train` says on the validation data, which were not read here.".to_owned(),
        }
    }

    fn probes(&self) -> Section {
        let [epochs, _] = self.epochs;
        let mut table = table(&["with"], &[&words(&self.measure), "gain", "cosine of the gradients"]);
        table.row(["alone".to_owned(), spread(&self.alone), String::new(), String::new()]);
        for Auxiliary { task, score, gain, cosine } in &self.ranked {
            let cosine = cosine.map_or_else(String::new, |cosine| format!("{cosine:.3}"));
            table.row([task.clone(), spread(score), signed(gain.mean), cosine]);
        }
        let text = format!(
            "Short trainings, {epochs} of {} epochs: {} alone and with each other task, mean and standard deviation over {}. The gain decides the rank. The \
             cosine is the mean over the training; near 0 the tasks do not concern each other, below it they pull in opposite directions.",
            self.epochs[1],
            self.target,
            seeds(self.seeds[0].len())
        );
        section("Short trainings with each task", [Block::Table(table)], [text])
    }

    fn whole(&self) -> Section {
        let mut table = table(&["with"], &[&words(&self.measure), "gain", "interval"]);
        for set in &self.confirmed {
            let gain = set.gain.as_ref().map_or_else(String::new, |gain| signed(gain.mean));
            let interval =
                set.interval.map_or_else(String::new, |[low, high]| format!("{} to {}", signed(low), signed(high)));
            let cells = [named(set), spread(&set.score), gain, interval];
            if set.verdict == Some(Verdict::Helped) { table.strong(cells) } else { table.row(cells) }
        }
        let text = format!(
            "Whole trainings with {} of their own, each with other examples held out: alone, with the best task, and with all that gained in the \
             probes. Intervals (Student's t, paired) are so wide that all hold together with {:.0} % confidence (Bonferroni).",
            seeds(self.seeds[1].len()),
            100.0 * self.confidence
        );
        let interval = |set: &Confirmed| {
            let ([low, high], middle) = (set.interval?, set.gain.as_ref()?.mean);
            Some(Interval { name: named(set), low, middle, high })
        };
        let intervals: Vec<Interval> = self.confirmed.iter().filter_map(interval).collect();
        let chart = (!intervals.is_empty()).then(|| {
            Block::Chart(Chart {
                title: format!("Gain of {}", self.target),
                x: format!("{}, less that of the task alone (points)", words(&self.measure)),
                y: String::new(),
                plot: Plot::Intervals(intervals),
                note: "Mean and corrected interval; right of 0 it helped.".to_owned(),
            })
        });
        section("Whole trainings", [Block::Table(table)].into_iter().chain(chart), [text])
    }

    fn reproduction(&self) -> Section {
        let recipe = self.path.join("recipe.toml");
        let (recipe, target) = (recipe.display(), &self.target);
        let command = format!("polyhead select {recipe} --target {target} --trainings {}", self.trainings);
        reproduction(command, self.polyhead, &self.precision, &self.path)
    }
}

fn named(set: &Confirmed) -> String {
    if set.with.is_empty() { "alone".to_owned() } else { set.with.join(", ") }
}

/// `qa helps`, `qa and ner help`.
fn helped(with: &[String]) -> String {
    match with {
        [one] => format!("{one} helps"),
        [first @ .., last] => format!("{} and {last} help", first.join(", ")),
        [] => String::new(),
    }
}
