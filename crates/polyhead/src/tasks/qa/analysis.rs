//! What a report says of predicted answers: by question word, by answer length, by what went wrong; and the mistakes
//! of which the model was surest.

use super::{Asked, Found, NoAnswer, Qa};
use crate::document::number::{count, decimal, percent};
use crate::document::{Block, Case, Cell, Piece, Table, Tone, marked};
use crate::metrics::answers::{LENGTHS, OUTCOMES, Outcome, WORDS, length_bin, outcome, question_word};
use crate::metrics::squad::{Rules, Scores, score};
use crate::text::offsets::slice;
use std::ops::Range;

/// So many mistakes of each kind are shown.
const SHOWN: usize = 5;
/// So many bytes of the context stand around the answers.
const AROUND: usize = 160;

struct Judged<'a> {
    question: &'a Asked,
    found: &'a Found,
    outcome: Outcome,
    scores: Scores,
}

impl Judged<'_> {
    fn golds(&self) -> Vec<&str> {
        self.question.golds()
    }

    /// How sure the model was of what it answered.
    fn score(&self) -> f64 {
        self.found.best().map_or_else(|| self.found.null_score(), |best| best.score)
    }

    /// At which place among the candidates a gold answer stands, from 1.
    fn rank(&self, rules: Rules) -> Option<usize> {
        let golds = self.golds();
        let right =
            |at: &Range<usize>| score(slice(&self.question.context, at.start, at.end), &golds, rules).exact == 1.0;
        self.found.answers.iter().position(|answer| right(&(answer.start..answer.end))).map(|at| at + 1)
    }
}

pub(super) fn blocks(task: &Qa, predictions: &[(&Asked, Found)]) -> Vec<Block> {
    let rules = if task.config.no_answer == Some(NoAnswer::Allowed) { Rules::V2 } else { Rules::V1 };
    let judged: Vec<Judged> = predictions
        .iter()
        .map(|(question, found)| {
            let (outcome, scores) = outcome(found.text(question), &question.golds(), rules);
            Judged { question, found, outcome, scores }
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
        let badness = |one: &Judged| if title == "Near misses" { -one.scores.f1 } else { one.score() };
        worst.sort_by(|a, b| badness(b).total_cmp(&badness(a)));
        if worst.is_empty() {
            continue;
        }
        let order =
            if title == "Near misses" { "lowest F1 first" } else { "those first of which the model was surest" };
        blocks.push(Block::heading(title));
        blocks.push(Block::text(format!(
            "{} of {}, {order}. Underlined: gold. Dashed: predicted. Filled: both.",
            count(worst.len().min(SHOWN)),
            count(worst.len())
        )));
        blocks.push(Block::Cases(worst.into_iter().take(SHOWN).map(|one| case(one, rules)).collect()));
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

fn case(one: &Judged, rules: Rules) -> Case {
    let question = one.question;
    let golds: Vec<Range<usize>> =
        question.answers.iter().map(|answer| answer.start..answer.start + answer.text.len()).collect();
    let found: Vec<Range<usize>> = one.found.best().map(|best| best.start..best.end).into_iter().collect();
    let mut names = one.golds();
    names.sort_unstable();
    names.dedup();
    let text = one.found.text(question);
    let mut facts = vec![
        ("question".to_owned(), question.question.clone()),
        ("gold".into(), if names.is_empty() { "no answer".into() } else { names.join(" | ") }),
        (
            "predicted".into(),
            format!("{} (score {})", if text.is_empty() { "no answer" } else { text }, decimal(one.score())),
        ),
        ("F1, %".into(), decimal(100.0 * one.scores.f1)),
    ];
    let why = match (one.rank(rules), one.outcome) {
        (_, Outcome::Unanswerable) => None,
        (Some(rank), _) => Some(format!("the right answer was candidate {rank} of {}", one.found.answers.len())),
        (None, _) => Some("the right answer was not among the candidates".to_owned()),
    };
    facts.extend(why.map(|why| ("why".to_owned(), why)));
    Case {
        verdict: OUTCOMES.iter().find(|(known, _)| *known == one.outcome).map_or("", |(_, name)| name).to_owned(),
        tone: if matches!(one.outcome, Outcome::TooLong | Outcome::TooShort | Outcome::Overlap) {
            Tone::Near
        } else {
            Tone::Bad
        },
        place: question.place.to_string(),
        text: excerpt(&question.context, &golds, &found),
        facts,
    }
}

/// The context around the answers, marked; what lies far from them becomes an ellipsis.
fn excerpt(context: &str, golds: &[Range<usize>], found: &[Range<usize>]) -> Vec<Piece> {
    // Of several gold answers the first is shown, with those that overlap it.
    let overlapping = |first: &Range<usize>| {
        let near = || golds.iter().filter(|range| range.start < first.end && first.start < range.end);
        let start = near().map(|range| range.start).min().unwrap_or(first.start);
        start..near().map(|range| range.end).max().unwrap_or(first.end)
    };
    let gold: Vec<Range<usize>> = golds.first().map(overlapping).into_iter().collect();
    let shown =
        |at: usize| gold.iter().chain(found).any(|range| at + AROUND >= range.start && at <= range.end + AROUND);
    let mut pieces = Vec::new();
    let mut start = 0;
    for piece in marked(context, &gold, found) {
        let end = start + piece.text.len();
        if piece.mark != crate::document::Mark::None {
            pieces.push(piece);
        } else {
            pieces.extend(near(&piece.text, |at| shown(start + at)));
        }
        start = end;
    }
    if gold.is_empty() && found.is_empty() {
        return vec![Piece::plain(crate::document::number::start_of(context, 2 * AROUND))];
    }
    pieces
}

/// The words of a text that are near, with an ellipsis for each gap.
fn near(text: &str, shown: impl Fn(usize) -> bool) -> Vec<Piece> {
    let mut kept = String::new();
    let mut gap = false;
    let mut at = 0;
    for word in text.split_inclusive(' ') {
        if shown(at) {
            if gap {
                kept.push_str("… ");
            }
            kept.push_str(word);
            gap = false;
        } else {
            gap = true;
        }
        at += word.len();
    }
    if gap {
        kept.push_str("… ");
    }
    if kept.is_empty() { Vec::new() } else { vec![Piece::plain(kept)] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Mark;

    #[test]
    fn an_excerpt_holds_the_answers_and_leaves_out_what_is_far() {
        let context = format!("{}gold {}found{}", "far ".repeat(100), "between ".repeat(100), " end".repeat(100));
        let at = |what: &str| context.find(what).map_or(0..0, |at| at..at + what.len());
        let pieces = excerpt(&context, &[at("gold")], &[at("found")]);
        let text: String = pieces.iter().map(|piece| &*piece.text).collect();
        assert!(text.len() < 800 && text.matches('…').count() == 3, "{text}");
        let marks: Vec<(&str, Mark)> =
            pieces.iter().filter(|piece| piece.mark != Mark::None).map(|piece| (&*piece.text, piece.mark)).collect();
        assert_eq!(marks, [("gold", Mark::Gold), ("found", Mark::Found)]);
    }
}
