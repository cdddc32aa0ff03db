//! A comparison of strategies for readers: a [`Document`], which `report` sets as HTML and as Markdown.

use super::page::{reproduction, section, seeds, signed, spread, table};
use super::statistics::Verdict;
use super::strategies::{EntryReport, Group, GroupReport, Standing, StrategyReport};
use crate::document::number::{count, decimal, words};
use crate::document::{Block, Chart, Document, Interval, Plot, Section};
use crate::events::ParameterCounts;

impl StrategyReport {
    /// What it says to a reader.
    pub fn document(&self) -> Document {
        let numbers: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let short = self.groups.iter().map(|group| group.sentence(self.seeds.len())).collect::<Vec<_>>();
        let mut sections = vec![section("In short", None, short)];
        for group in &self.groups {
            sections.push(self.result(group));
            sections.extend(match group.group {
                Group::Balance | Group::Sample => vec![self.draws(group), self.curves(group)],
                Group::Sharing => vec![costs(group)],
            });
        }
        sections.push(self.reproduction(&numbers));
        Document {
            title: format!("{}: strategies for several tasks", self.name),
            subtitle: format!("The same data, epochs and seeds ({}) for each.", numbers.join(", ")),
            sections,
        }
    }

    fn result(&self, group: &GroupReport) -> Section {
        let (title, beside) = match group.group {
            Group::Balance => {
                ("Balancers", "A batch of every task in each step (train.sample = \"joint\"), beside equal.")
            }
            Group::Sample => ("Samplers", "Losses as they are (train.balance = \"equal\"), beside round_robin."),
            Group::Sharing => ("Ways of sharing", "Steps and losses as the recipe has them, beside hard."),
        };
        let tasks: Vec<String> = group
            .entries
            .iter()
            .take(1)
            .flat_map(|entry| &entry.tasks)
            .map(|task| format!("{}, {}", task.name, words(&task.measure)))
            .collect();
        let numbers: Vec<&str> = ["mean of tasks", "difference", "interval"]
            .into_iter()
            .chain(tasks.iter().map(String::as_str))
            .chain(["seconds a step"])
            .collect();
        let mut table = table(&["strategy"], &numbers);
        for entry in group.ranked() {
            let difference = entry.mean.difference.as_ref().map_or_else(String::new, |found| signed(found.mean));
            let interval = entry
                .mean
                .interval
                .map_or_else(String::new, |[low, high]| format!("{} to {}", signed(low), signed(high)));
            let cells = [entry.strategy.name.clone(), spread(&entry.mean.score), difference, interval];
            let of_tasks = entry.tasks.iter().map(|task| format!("{}{}", spread(&task.score), mark(task)));
            table.row(cells.into_iter().chain(of_tasks).chain([spread(&entry.step_seconds)]));
        }
        let text = vec![
            format!(
                "{beside} Headline scores in per cent on the validation data, mean and standard deviation over {}, of the epoch that the recipe keeps. The \
                 difference is to the plain strategy, seed by seed.",
                seeds(self.seeds.len())
            ),
            match self.seeds.len() {
                1 => "One seed ranks; it shows nothing: there is no interval.".to_owned(),
                _ => format!(
                    "Intervals (Student's t, paired) are so wide that all {} of this table hold together with {:.0} % confidence (Bonferroni). An arrow marks a \
                     task whose interval lies on one side of 0.",
                    group.intervals,
                    100.0 * self.confidence
                ),
            },
        ];
        let chart = group.chart().map(Block::Chart);
        section(title, [Block::Table(table)].into_iter().chain(chart), text)
    }

    /// How often each task was drawn.
    fn draws(&self, group: &GroupReport) -> Section {
        let tasks: Vec<&str> =
            group.entries.iter().take(1).flat_map(|entry| entry.updates.keys()).map(String::as_str).collect();
        let mut table = table(&["strategy"], &tasks);
        for entry in &group.entries {
            let mean = |task: &&str| {
                let counts = entry.updates.get(*task).map_or(&[][..], Vec::as_slice);
                decimal(counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64)
            };
            table.row([entry.strategy.name.clone()].into_iter().chain(tasks.iter().map(mean)));
        }
        let title = match group.group {
            Group::Balance => "Batches of each task, with each balancer",
            Group::Sample | Group::Sharing => "Batches of each task, with each sampler",
        };
        section(title, [Block::Table(table)], ["The mean over seeds.".to_owned()])
    }

    /// How weights moved, or what was drawn when, in the runs of the first seed; and the angles between the gradients.
    fn curves(&self, group: &GroupReport) -> Section {
        let seed = self.seeds.first().copied().unwrap_or_default();
        let (title, y, told) = match group.group {
            Group::Balance => (
                "How the weights moved",
                "weight",
                "Balancers that left all weights at 1 are not among them. Of those that change single numbers of the gradients a weight is the share that went through.",
            ),
            Group::Sample | Group::Sharing => (
                "What was drawn when",
                "batches",
                "How many batches each task has had. Straight lines: its share stayed the same.",
            ),
        };
        let chart = |entry: &EntryReport| {
            (!entry.curves.is_empty()).then(|| {
                let note = format!("The run of seed {seed}.");
                let plot = Plot::Lines(entry.curves.clone());
                Block::Chart(Chart {
                    title: entry.strategy.name.clone(),
                    x: "step".into(),
                    y: y.to_owned(),
                    plot,
                    note,
                })
            })
        };
        let charts: Vec<Block> = group.entries.iter().filter_map(chart).collect();
        let text = if charts.is_empty() { "No weight moved.".to_owned() } else { told.to_owned() };
        let mut cosines = table(&["gradients of"], &["mean cosine", "below 0, %"]);
        for pair in &group.cosines {
            let mean = match pair.mean.sd {
                Some(sd) => format!("{:.3} ± {sd:.3}", pair.mean.mean),
                None => format!("{:.3}", pair.mean.mean),
            };
            cosines.row([format!("{} and {}", pair.a, pair.b), mean, decimal(100.0 * pair.below_zero)]);
        }
        let angles = (!group.cosines.is_empty()).then(|| {
            let what = format!(
                "The angles between the gradients of the tasks on the shared encoder, in the runs of {}. Near 0 the tasks do not concern each other, and methods that \
                 resolve conflicts have little to do.",
                group.group.baseline()
            );
            [Block::Text(what), Block::Table(cosines)]
        });
        section(title, charts.into_iter().chain(angles.into_iter().flatten()), [text])
    }

    fn reproduction(&self, numbers: &[String]) -> Section {
        let named = |group: &GroupReport| {
            let names: Vec<&str> = group.entries.iter().map(|entry| entry.strategy.name.as_str()).collect();
            let option = group.group.key().trim_start_matches("train.");
            format!(" --{option} {}", names.join(","))
        };
        let options: String = self.groups.iter().map(named).collect();
        let recipe = self.path.join("recipe.toml");
        let command = format!("polyhead compare {}{options} --seeds {}", recipe.display(), numbers.join(","));
        reproduction(command, self.polyhead, &self.precision, &self.path)
    }
}

/// What each way of sharing takes.
fn costs(group: &GroupReport) -> Section {
    let mut table = table(&["sharing"], &["parameters", "trained", "per cent", "MiB", "time of a step, beside hard"]);
    let plain = group.entries.first().map_or(1.0, |entry| entry.step_seconds.mean);
    for entry in &group.entries {
        let ParameterCounts { all, trained } = entry.parameters.unwrap_or(ParameterCounts { all: 0, trained: 0 });
        let mib = (4 * all + 12 * trained) as f64 / f64::from(1 << 20);
        table.row([
            entry.strategy.name.clone(),
            count(all),
            count(trained),
            decimal(100.0 * trained as f64 / all.max(1) as f64),
            decimal(mib),
            decimal(entry.step_seconds.mean / plain),
        ]);
    }
    let text = "MiB: the parameters in f32, and of those that are trained the gradient and two moments. Seconds of steps are those of these runs, \
                whatever else the machine did.";
    section("What they take", [Block::Table(table)], [text.to_owned()])
}

impl GroupReport {
    /// The best mean first.
    fn ranked(&self) -> Vec<&EntryReport> {
        let mut all: Vec<&EntryReport> = self.entries.iter().collect();
        all.sort_by(|a, b| b.mean.score.mean.total_cmp(&a.mean.score.mean));
        all
    }

    fn sentence(&self, count: usize) -> String {
        let (key, plain) = (self.group.key(), self.group.baseline());
        let shown = |verdict| {
            let found = self.entries.iter().filter(move |entry| entry.mean.verdict == Some(verdict));
            found.map(|entry| entry.strategy.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let best = self.ranked().first().map_or("", |entry| entry.strategy.name.as_str());
        if count < 2 {
            return format!("{key}: {best} has the highest mean over tasks. One seed shows no more than a rank.");
        }
        let (better, worse) = (shown(Verdict::Helped), shown(Verdict::Hurt));
        let better = if better.is_empty() {
            format!("no strategy is shown to be better than {plain} in the mean over tasks")
        } else {
            format!("better than {plain} in the mean over tasks: {better}")
        };
        let worse = if worse.is_empty() { String::new() } else { format!("; worse: {worse}") };
        let smallest = self.smallest_shown.map_or_else(String::new, |width| {
            format!(" A difference of about {} points could have been shown.", decimal(width))
        });
        format!("{key} at {}: {better}{worse}. The highest mean has {best}.{smallest}", seeds(count))
    }

    fn chart(&self) -> Option<Chart> {
        let interval = |entry: &&EntryReport| {
            let ([low, high], middle) = (entry.mean.interval?, entry.mean.difference.as_ref()?.mean);
            Some(Interval { name: entry.strategy.name.clone(), low, middle, high })
        };
        let intervals: Vec<Interval> = self.ranked().iter().filter_map(interval).collect();
        (!intervals.is_empty()).then(|| Chart {
            title: format!("Difference that {} makes", self.group.key()),
            x: format!("mean over tasks, less that of {} (points)", self.group.baseline()),
            y: String::new(),
            plot: Plot::Intervals(intervals),
            note: "Mean and corrected interval; right of 0 it helped.".to_owned(),
        })
    }
}

fn mark(standing: &Standing) -> &'static str {
    match standing.verdict {
        Some(Verdict::Helped) => " \u{2191}",
        Some(Verdict::Hurt) => " \u{2193}",
        _ => "",
    }
}
