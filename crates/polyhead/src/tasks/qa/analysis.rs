//! What a report says of predicted answers: by question word, by answer length, by what went wrong; and the mistakes
//! of which the model was surest.

use super::{Found, Qa, QaExample};
use crate::document::number::{count, decimal, percent};
use crate::document::{Block, Case, Cell, Table, Tone};
use crate::metrics::answers::{LENGTHS, OUTCOMES, Outcome, WORDS, length_bin, outcome, question_word};
use crate::metrics::squad::{Rules, Scores, score};
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task};
use crate::text::offsets::slice;
use std::ops::Range;

/// So many mistakes of each kind are shown.
const SHOWN: usize = 5;

struct Judged<'a> {
    question: &'a QaExample,
    found: &'a Found,
    outcome: Outcome,
    scores: Scores,
    score: f64,
}

impl Judged<'_> {
    fn golds(&self) -> Vec<&str> {
        self.question.golds()
    }

    /// At which place among the candidates a gold answer stands, from 1.
    fn rank(&self, rules: Rules) -> Option<usize> {
        let golds = self.golds();
        let right =
            |at: &Range<usize>| score(slice(&self.question.context, at.start, at.end), &golds, rules).exact == 1.0;
        self.found.answers.iter().position(|answer| right(&(answer.start..answer.end))).map(|at| at + 1)
    }
}

pub(super) fn blocks(task: &Qa, predictions: &[(&QaExample, Found)]) -> Vec<Block> {
    let rules = if task.config.allows_none() { Rules::V2 } else { Rules::V1 };
    let threshold = task.config.threshold();
    let judged: Vec<Judged> = predictions
        .iter()
        .map(|(question, found)| {
            let answer = if found.is_none(threshold) { "" } else { found.first(question) };
            let (outcome, scores) = outcome(answer, &question.golds(), rules);
            // How sure the model was of what it answered.
            let score = found.best(threshold).map_or_else(|| found.null_score(), |best| best.score);
            Judged { question, found, outcome, scores, score }
        })
        .collect();
    let mut blocks = vec![
        Block::heading("What came of the questions"),
        Block::Table(outcomes(&judged, rules)),
        Block::heading("By question word"),
        Block::Table(groups("question word", &WORDS, &judged, |one| question_word(&one.question.question))),
        Block::heading("By answer length"),
        Block::Table(groups("shortest gold answer", &LENGTHS, &judged, |one| length_bin(&one.golds()))),
    ];
    for (title, kinds) in [
        ("Wrong spans", &[Outcome::WrongSpan][..]),
        ("Near misses", &[Outcome::TooLong, Outcome::TooShort, Outcome::Overlap][..]),
        ("No answer", &[Outcome::NoAnswer, Outcome::Unanswerable][..]),
    ] {
        let mut worst: Vec<&Judged> = judged.iter().filter(|one| kinds.contains(&one.outcome)).collect();
        // Near misses by what they lost, the others by how sure the model was of them.
        let badness = |one: &Judged| if title == "Near misses" { -one.scores.f1 } else { one.score };
        worst.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        if worst.is_empty() {
            continue;
        }
        let order =
            if title == "Near misses" { "lowest F1 first" } else { "those first of which the model was surest" };
        blocks.push(Block::heading(title));
        blocks.push(Block::text(format!(
            "{} of {}, {order}. {}",
            count(worst.len().min(SHOWN)),
            count(worst.len()),
            legend(Shape::Candidates)
        )));
        blocks.push(Block::Cases(worst.into_iter().take(SHOWN).map(|one| case(task, one, rules)).collect()));
    }
    blocks
}

fn outcomes(judged: &[Judged], rules: Rules) -> Table {
    let mut table = Table::new(
        "Second best: the right answer is among the candidates that were kept, behind the one that was given.",
        &["outcome", "questions", "share, %", "mean F1", "second best"],
    );
    for (outcome, name) in OUTCOMES {
        let of: Vec<&Judged> = judged.iter().filter(|one| one.outcome == outcome).collect();
        if of.is_empty() && outcome != Outcome::Exact {
            continue;
        }
        let behind = match outcome {
            Outcome::Exact | Outcome::Unanswerable => "–".into(),
            _ => count(of.iter().filter(|one| one.rank(rules).is_some()).count()),
        };
        table.row([
            Cell::from(name),
            count(of.len()).into(),
            Cell::percent(percent(of.len(), judged.len())),
            decimal(mean(&of, |one| one.scores.f1)).into(),
            behind.into(),
        ]);
    }
    table
}

/// A row a group, those that are empty left out.
fn groups(title: &str, names: &[&str], judged: &[Judged], of: impl Fn(&Judged) -> &'static str) -> Table {
    let mut table = Table::new("", &[title, "questions", "exact match, %", "F1, %"]);
    let row = |name: &str, group: &[&Judged]| {
        let exact = mean(group, |one| one.scores.exact);
        [
            Cell::from(name),
            count(group.len()).into(),
            decimal(exact).into(),
            Cell::percent(mean(group, |one| one.scores.f1)),
        ]
    };
    for name in names {
        let group: Vec<&Judged> = judged.iter().filter(|one| of(one) == *name).collect();
        if !group.is_empty() {
            table.row(row(name, &group));
        }
    }
    table.strong(row("all", &judged.iter().collect::<Vec<_>>()));
    table
}

/// A mean in per cent.
fn mean(group: &[&Judged], of: impl Fn(&Judged) -> f64) -> f64 {
    // Not `sum`, which is -0 of nothing.
    100.0 * group.iter().map(|one| of(one)).fold(0.0, |sum, one| sum + one) / group.len().max(1) as f64
}

fn case(task: &Qa, one: &Judged, rules: Rules) -> Case {
    let question = one.question;
    let mut drawing = draw(&question.context, task.gold_answer(question).as_ref(), &task.answer(question, one.found));
    drawing.facts.insert(0, ("question".to_owned(), question.question.clone()));
    drawing.facts.push(("F1, %".into(), decimal(100.0 * one.scores.f1)));
    let why = match (one.rank(rules), one.outcome) {
        (_, Outcome::Unanswerable) => None,
        (Some(rank), _) => Some(format!("the right answer was candidate {rank} of {}", one.found.answers.len())),
        (None, _) => Some("the right answer was not among the candidates".to_owned()),
    };
    drawing.facts.extend(why.map(|why| ("why".to_owned(), why)));
    let verdict = OUTCOMES.iter().find(|(known, _)| *known == one.outcome).map_or("", |(_, name)| name);
    let near = matches!(one.outcome, Outcome::TooLong | Outcome::TooShort | Outcome::Overlap);
    drawing.case(verdict, if near { Tone::Near } else { Tone::Bad }, question.place.to_string())
}
