//! A comparison for readers: sections of text and tables as plain data, which any writer can set; and as Markdown.

use super::report::{Cost, Measure, Report, TaskReport};
use super::statistics::{CONFIDENCE, Paired, Sample, Verdict};

/// What a reader is told, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The title.
    pub title: String,
    /// The result in a few sentences.
    pub summary: Vec<String>,
    /// The rest.
    pub sections: Vec<Section>,
}

/// A heading with a table and what is to be said about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The heading.
    pub heading: String,
    /// The columns of its table; none if there is no table.
    pub columns: Vec<Column>,
    /// The rows of its table.
    pub rows: Vec<Vec<String>>,
    /// A command that belongs to it.
    pub command: Option<String>,
    /// What is to be said about it, by paragraph.
    pub text: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where its cells stand.
    pub side: Side,
}

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

impl Report {
    /// What a reader is told.
    pub fn page(&self) -> Page {
        let sections =
            vec![self.result(), self.last_epoch(), self.by_seed(), self.budgets(), self.savings(), self.reproduction()];
        Page {
            title: format!("{}: one joint model against {} separate ones", self.name, self.tasks.len()),
            summary: self.verdicts().chain([self.saved()]).collect(),
            sections,
        }
    }

    fn verdicts(&self) -> impl Iterator<Item = String> {
        self.tasks.iter().filter_map(|task| sentence(task, self.seeds.len()))
    }

    fn saved(&self) -> String {
        let (parameters, training) = (&self.parameters.total, &self.seconds.training_percent);
        format!(
            "One model of {} parameters stands in place of {} with {} together ({} %). With as many updates as they \
             take together, training it took {:.0} % of their time.",
            count(parameters.joint),
            self.tasks.len(),
            count(parameters.single),
            share(parameters),
            training.mean,
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
        Section { text, ..self.difference_table("Did sharing help?", |task| &task.best) }
    }

    fn last_epoch(&self) -> Section {
        let (heading, epochs) = ("After the last epoch", self.budget.epochs);
        if self.runs.iter().all(|run| run.best_epoch == epochs) {
            let text = vec!["The same: every model was kept from its last epoch.".to_owned()];
            return Section { heading: heading.to_owned(), columns: Vec::new(), rows: Vec::new(), command: None, text };
        }
        let text = vec![
            "The same where no model had a choice. A separate model is kept from the epoch that suits its one task; the \
             joint model has one epoch for all tasks, which may cost it something in the table above."
                .to_owned(),
        ];
        Section { text, ..self.difference_table(heading, |task| &task.last) }
    }

    fn difference_table(&self, heading: &str, of: fn(&TaskReport) -> &[Measure]) -> Section {
        let interval = format!("{:.0} % interval", 100.0 * self.confidence);
        let columns = columns(&["task", "measure", "verdict"], &["joint", "separate", "difference", &interval]);
        let rows = self.tasks.iter().filter_map(|task| {
            let Measure { name, paired } = task.deciding(of(task))?;
            Some(vec![
                task.name.clone(),
                words(name),
                spread(&paired.joint),
                spread(&paired.single),
                signed(paired.difference.mean),
                interval_words(paired),
                verdict(paired.verdict, self.seeds.len()),
            ])
        });
        Section { heading: heading.to_owned(), columns, rows: rows.collect(), command: None, text: Vec::new() }
    }

    fn by_seed(&self) -> Section {
        let mut rows = Vec::new();
        for task in &self.tasks {
            let Some(Measure { name, paired }) = task.deciding(&task.best) else { continue };
            let values = paired.joint.values.iter().zip(&paired.single.values).zip(&paired.difference.values);
            for (seed, ((joint, single), difference)) in self.seeds.iter().zip(values) {
                let epoch = |of: Option<&str>| {
                    let run = self.runs.iter().find(|run| run.seed == *seed && run.task.as_deref() == of);
                    run.map_or_else(String::new, |run| run.best_epoch.to_string())
                };
                rows.push(vec![
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
        Section {
            heading: "Seed by seed".to_owned(),
            columns: columns(&["task", "measure"], &["seed", "joint", "separate", "difference", "epochs kept"]),
            rows,
            command: None,
            text: vec!["All measures, not these alone, are in comparison.json.".to_owned()],
        }
    }

    fn budgets(&self) -> Section {
        let names: Vec<&str> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        let updates = |task: &str| range(self.budget.updates.get(task).map_or(&[], Vec::as_slice));
        let mut joint = vec!["joint".to_owned()];
        joint.extend(names.iter().map(|task| updates(task)));
        joint.push(range(&self.budget.joint));
        let mut rows = vec![joint];
        for alone in &names {
            let mut row = vec![format!("{alone} alone")];
            row.extend(names.iter().map(|task| if task == alone { updates(task) } else { String::new() }));
            row.push(updates(alone));
            rows.push(row);
        }
        let numbers: Vec<String> = names.iter().map(|task| format!("updates of {task}")).collect();
        let numbers: Vec<&str> = numbers.iter().map(String::as_str).chain(["in all"]).collect();
        Section {
            heading: "Equal budgets".to_owned(),
            columns: columns(&["model"], &numbers),
            rows,
            command: None,
            text: vec![
                format!(
                    "A separate model takes exactly the updates of its task that the joint model takes, in {}: the same \
                     examples in the same batches and order, from the same encoder and the same new head. The separate \
                     models together take as many updates as the joint one. The encoder of the joint model sees the \
                     updates of all tasks, that of a separate model only its own; that is what sharing means here.",
                    counted(self.budget.epochs, "epoch")
                ),
                "The learning rate of each run rises and falls over its own steps. Everything else is as the recipe has \
                 it for both; it was not tuned for either."
                    .to_owned(),
            ],
        }
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
        let rows = vec![
            counts("parameters", &parameters.total),
            counts("of them in encoders", &parameters.encoders),
            vec!["model.safetensors".to_owned(), megabytes(joint), megabytes(single), decimal(percent)],
            counts("encoders in memory to answer every task", &serving.encoders),
            counts("encoder passes for a request of each task", &serving.encoder_passes),
            times("training, a seed", &seconds.training, &seconds.training_percent),
            times("evaluation and saving, a seed", &seconds.evaluation, &seconds.evaluation_percent),
        ];
        Section {
            heading: "What sharing saves".to_owned(),
            columns: columns(&[""], &["joint", "separate, together", "joint, per cent of separate"]),
            rows,
            command: None,
            text: vec![
                "Times are of the clock on the wall, whatever else the machine did; at equal budgets the updates are as \
                 many and as large, so training can save little. A request is encoded by itself with either kind of \
                 model: its tokens are its own (a question stands before its text). Tasks that read the same tokens \
                 could share one pass of a joint encoder; polyhead does not do that yet."
                    .to_owned(),
            ],
        }
    }

    fn reproduction(&self) -> Section {
        let seeds: Vec<String> = self.seeds.iter().map(u64::to_string).collect();
        let text = vec![format!(
            "polyhead {}, matrix products in {}. Every run is an ordinary run folder in {}.",
            self.polyhead,
            self.precision.join(" and "),
            self.path.display()
        )];
        Section {
            heading: "To do it again".to_owned(),
            columns: Vec::new(),
            rows: Vec::new(),
            command: Some(format!(
                "polyhead compare {} --seeds {}",
                self.path.join("recipe.toml").display(),
                seeds.join(",")
            )),
            text,
        }
    }
}

impl Page {
    /// As Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# {}\n", escaped(&self.title));
        for paragraph in &self.summary {
            text += &format!("\n{}\n", escaped(paragraph));
        }
        for section in &self.sections {
            text += &format!("\n## {}\n", escaped(&section.heading));
            if !section.columns.is_empty() {
                let names: Vec<String> = section.columns.iter().map(|column| column.name.clone()).collect();
                let rules =
                    section.columns.iter().map(|column| if column.side == Side::Right { "---:" } else { "---" });
                text += &format!("\n{}|{}|\n", row(&names), rules.collect::<Vec<_>>().join("|"));
                text.extend(section.rows.iter().map(|cells| row(cells)));
            }
            if let Some(command) = &section.command {
                text += &format!("\n    {command}\n");
            }
            for paragraph in &section.text {
                text += &format!("\n{}\n", escaped(paragraph));
            }
        }
        text
    }
}

fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell).replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

/// Names come from recipes: what Markdown would read as markup stands as it is.
fn escaped(text: &str) -> String {
    let markup = |c: char| matches!(c, '\\' | '*' | '_' | '`' | '<' | '[');
    text.chars().flat_map(|c| markup(c).then_some('\\').into_iter().chain([c])).collect()
}

fn columns(left: &[&str], right: &[&str]) -> Vec<Column> {
    // A verdict is read last.
    let (last, first): (Vec<&&str>, Vec<&&str>) = left.iter().partition(|name| **name == "verdict");
    let column = |side: Side| move |name: &&str| Column { name: (*name).to_owned(), side };
    let first = first.into_iter().map(column(Side::Left));
    first.chain(right.iter().map(column(Side::Right))).chain(last.into_iter().map(column(Side::Left))).collect()
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

fn seeds(count: usize) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

/// `84.69 ± 0.88`
fn spread(sample: &Sample) -> String {
    match sample.sd {
        Some(sd) => format!("{} ± {}", decimal(sample.mean), decimal(sd)),
        None => decimal(sample.mean),
    }
}

fn decimal(number: f64) -> String {
    format!("{number:.2}")
}

/// With its sign, of which 0 has none.
fn signed(number: f64) -> String {
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

/// The name of a measure for people: `micro F1`.
fn words(name: &str) -> String {
    let words: Vec<&str> = name.split('_').map(|word| if word == "f1" { "F1" } else { word }).collect();
    words.join(" ")
}

fn counted(number: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A count with its thousands apart: `109,482,240`.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `7.3 s`, `2 min 05 s`, `1 h 02 min`.
fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([signed(1.234), signed(-0.5), signed(-0.001)], ["+1.23", "-0.50", "0.00"]);
        assert_eq!([duration(7.25), duration(125.0), duration(3720.0)], ["7.2 s", "2 min 05 s", "1 h 02 min"]);
        assert_eq!((range(&[3, 3]), range(&[4, 2])), ("3".to_owned(), "2 to 4".to_owned()));
        assert_eq!(words("micro_f1_strict"), "micro F1 strict");
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

    #[test]
    fn markdown_holds_every_cell_and_names_are_no_markup() {
        let page = Page {
            title: "a_b".into(),
            summary: vec!["one".into()],
            sections: vec![Section {
                heading: "h".into(),
                columns: columns(&["task", "verdict"], &["x"]),
                rows: vec![vec!["n|r".into(), "1".into(), "helped".into()]],
                command: Some("do a_b".into()),
                text: vec!["two".into()],
            }],
        };
        let expected = "# a\\_b\n\none\n\n## h\n\n| task | x | verdict |\n|---|---:|---|\n| n\\|r | 1 | helped |\n\n    do a_b\n\ntwo\n";
        assert_eq!(page.markdown(), expected);
    }
}
