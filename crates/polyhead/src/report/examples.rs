//! What is made of the data and of the kept model: what was trained on, how validation data are answered, the
//! demonstration suite.

use super::data::{BIN, Split, encoded_split};
use super::kept::{Had, Part, examples, said};
use super::run::Run;
use super::scores::headline_value;
use crate::document::number::{count, counted, decimal, percent};
use crate::document::{Block, Case, Chart, Item, Mark, Piece, Plot, Table, Tone};
use crate::error::ErrorKind;
use crate::events::Warning;
use crate::infer::Session;
use crate::model::NamedTask;
use crate::suite::{self, Verdict};
use crate::tasks::answer::{Span, Spans, Tree, Word};
use crate::tasks::drawing::draw;
use crate::tasks::{Answer, Examples, Purpose};

/// So many examples that were left out are listed.
const LISTED: usize = 10;

/// What each task was trained on.
pub fn data(run: &Run, session: &Had<Session>) -> Vec<Block> {
    let mut blocks = Vec::new();
    if let Some(plan) = &run.plan {
        let mut table = Table::new(
            "What an epoch brings; tokens are real ones, special tokens included.",
            &["task", "examples", "windows", "tokens", "batches", "validation examples"],
        );
        for task in &plan.tasks {
            let counts = [task.examples, task.windows, task.tokens, task.batches, task.validation];
            table.row(std::iter::once(task.name.clone()).chain(counts.map(count)));
        }
        blocks.push(Block::Table(table));
        if !plan.warnings.is_empty() {
            blocks.push(Block::heading("Warnings"));
            blocks.push(Block::List(plan.warnings.iter().map(Warning::line).collect()));
        }
    }
    blocks.extend(had(run).map(Block::Table));
    match session {
        Err(why) => blocks.push(Block::Missing(format!("Distributions and lengths, which need the tokenizer. {why}"))),
        Ok(session) => {
            for NamedTask { name, task } in &session.model.tasks {
                for (part, purpose, word) in
                    [(Part::Train, Purpose::Train, "training"), (Part::Validation, Purpose::Predict, "validation")]
                {
                    blocks.push(Block::heading(format!("{name}: {word} data")));
                    let tokenizer = &session.model.tokenizer;
                    let described = examples(run, name, &**task, part).and_then(|mut examples| {
                        task.review(&mut examples, tokenizer, purpose)
                            .and_then(|_| encoded_split(&**task, &examples, tokenizer, purpose))
                            .map_err(|error| said("The windows can't be made again", &error))
                    });
                    match described {
                        Ok(split) => blocks.extend(described_split(&split, task.max_length())),
                        Err(why) => blocks.push(Block::Missing(why)),
                    }
                }
            }
        }
    }
    blocks
}

/// What each task had until the last evaluation, if the run counted it.
fn had(run: &Run) -> Option<Table> {
    let counts = run.evaluations.last().map(|evaluated| &evaluated.counts).filter(|counts| !counts.is_empty())?;
    let mut table = Table::new(
        "What each task had in this run. An example of several windows counts once a pass.",
        &["task", "batches", "windows", "examples", "different ones", "passes"],
    );
    for (task, had) in counts {
        let numbers = [had.batches, had.windows, had.examples, had.unique].map(|number| count(number as usize));
        table.row(std::iter::once(task.clone()).chain(numbers).chain([decimal(had.epochs)]));
    }
    Some(table)
}

fn described_split(split: &Split, max_length: usize) -> Vec<Block> {
    let mut facts = Table::new("", &["", ""]);
    let mut row = |name: &str, value: String| facts.row([name.to_owned(), value]);
    row("usable examples", count(split.examples));
    row("left out", count(split.skipped.len()));
    for (windows, examples) in split.windows_per_example.iter().filter(|_| split.windows_per_example.len() > 1) {
        row(&format!("examples of {}", counted(*windows, "window")), count(*examples));
    }
    row("windows", count(split.windows));
    row("tokens", count(split.tokens));
    row(&format!("longest window (at most {max_length})"), count(split.longest));
    row("tokens lost by truncation", count(split.lost.tokens));
    row("gold answers lost by truncation", count(split.lost.golds));
    let mut blocks = vec![Block::Table(facts)];
    if !split.distribution.is_empty() {
        let mut table = Table::new("", &["what there is", "number"]);
        split.distribution.iter().for_each(|(name, number)| table.row([name.trim_start().to_owned(), count(*number)]));
        blocks.push(Block::Table(table));
    }
    if let (Some(first), Some(last)) = (split.lengths.keys().next(), split.lengths.keys().next_back()) {
        let bins = (*first..=*last).step_by(BIN);
        let bars = bins.map(|bin| (bin.to_string(), split.lengths.get(&bin).copied().unwrap_or(0) as f64));
        blocks.push(Block::Chart(Chart {
            title: "Lengths of windows".into(),
            x: "tokens".into(),
            y: "windows".into(),
            plot: Plot::Bars(bars.collect()),
            note: format!("Each bar is {BIN} lengths wide and named by its first."),
        }));
    }
    blocks.extend(split.notes.iter().map(|note| Block::text(format!("While reading: {note}"))));
    if !split.skipped.is_empty() {
        let listed = |one: &crate::data::Skipped| format!("{}: {}: {}", one.place, one.example, one.reason);
        blocks.push(Block::text(format!("Left out, {} of {}:", split.skipped.len().min(LISTED), split.skipped.len())));
        blocks.push(Block::List(split.skipped.iter().take(LISTED).map(listed).collect()));
    }
    blocks
}

/// How the kept model answers the validation data of a task.
pub fn predictions(run: &Run, session: &Session, task: &NamedTask, notify: &mut dyn FnMut(&str)) -> Vec<Block> {
    let examples = match examples(run, &task.name, &*task.task, Part::Validation) {
        Ok(examples) => examples,
        Err(why) => return vec![Block::Missing(why)],
    };
    notify(&format!("{}: {} answers {}", run.name, task.name, counted(examples.len, "validation example")));
    let train = || self::examples(run, &task.name, &*task.task, Part::Train);
    match session.model.run(task, |task, runner| task.analyse(&examples, &train, runner)) {
        Ok(analysis) => {
            let mut blocks = vec![Block::text(format!(
                "The kept model answered its {} again.",
                counted(examples.len, "validation example")
            ))];
            blocks.extend(differs(run, &task.name, analysis.score.headline_value(), &examples));
            blocks.extend(analysis.blocks);
            blocks
        }
        Err(error) => vec![Block::Missing(said("The validation data can't be answered again", &error))],
    }
}

/// A warning where this score is not the one that the run recorded.
fn differs(run: &Run, task: &str, now: f64, examples: &Examples) -> Option<Block> {
    let then = headline_value(run.best()?, task)?;
    let planned = run.plan.as_ref().and_then(|plan| plan.tasks.iter().find(|one| one.name == task));
    // The same model and data in the same precision give the same score; anything else is reported.
    ((now - then).abs() > 1e-6).then(|| {
        let counts = planned.filter(|one| one.validation != examples.len);
        let counts = counts.map_or(String::new(), |one| format!(" The run had {} examples.", count(one.validation)));
        Block::Missing(format!(
            "The score of today, {}, is not the one that the run recorded, {}: data, model or arithmetic have changed.{counts}",
            decimal(now),
            decimal(then)
        ))
    })
}

/// The demonstration suite, case by case.
pub fn demonstration(session: &Session) -> Vec<Block> {
    let report = match suite::run(session) {
        Ok(report) => report,
        Err(error) if error.kind() == ErrorKind::Usage => {
            return vec![Block::Missing(said("The suite was not run", &error))];
        }
        Err(error) => return vec![Block::Missing(said("The suite can't be run", &error))],
    };
    let totals = &report.totals;
    let mut table = Table::new("", &["suite", "cases", "right", "right, %"]);
    let mut row = |name: &str, cases: usize, right: usize| {
        let share = crate::document::Cell::percent(percent(right, cases));
        table.row([name.into(), count(cases).into(), count(right).into(), share]);
    };
    if !report.sentences.is_empty() {
        row("sentences, all entities right", report.sentences.len(), totals.sentences_right);
        row("entities", totals.entities_gold, totals.entities_correct);
    }
    if !report.questions.is_empty() {
        row("questions, exact match", report.questions.len(), totals.questions_right);
    }
    if !report.words.is_empty() {
        row("words, part of speech", totals.words_gold, totals.words_correct);
    }
    let mut sets: Vec<&str> = report.texts.iter().map(|case| case.set.as_str()).collect();
    sets.dedup();
    for set in sets {
        let of_set = || report.texts.iter().filter(|case| case.set == set);
        row(set, of_set().count(), of_set().filter(|case| case.verdict == Verdict::Right).count());
    }
    if !report.relations.is_empty() {
        row("relations", report.relations.len(), totals.relations_right);
    }
    if !report.trees.is_empty() {
        row("words of trees, head", totals.arcs_gold, totals.heads_correct);
        row("words of trees, head and relation", totals.arcs_gold, totals.arcs_correct);
    }
    let mut blocks = vec![Block::Table(table)];
    for skipped in &report.skipped {
        blocks.push(Block::text(format!("{} was not asked: {}.", skipped.task, skipped.reason)));
    }
    let cases = report.sentences.iter().map(sentence).chain(report.questions.iter().map(question));
    let cases = cases.chain(report.words.iter().map(words));
    let cases = cases.chain(report.texts.iter().chain(&report.relations).map(labelled));
    blocks.push(Block::Cases(cases.chain(report.trees.iter().map(tree)).collect()));
    blocks
}

fn verdict(verdict: Verdict, some: bool) -> (&'static str, Tone) {
    match verdict {
        Verdict::Right => ("right", Tone::Good),
        Verdict::Wrong if some => ("partly right", Tone::Near),
        Verdict::Wrong => ("wrong", Tone::Bad),
    }
}

fn sentence(case: &suite::Sentence) -> Case {
    let (verdict, tone) = verdict(case.verdict, case.correct > 0);
    let answer = |entities: &[suite::Entity]| {
        let entity = |suite::Entity { kind, text, start }: &suite::Entity| Span {
            kind: kind.clone(),
            text: text.clone(),
            start: *start,
            end: start + text.chars().count(),
            score: 1.0,
        };
        Answer::Spans(Spans { text: case.text.clone(), entities: entities.iter().map(entity).collect() })
    };
    let drawing = draw(&case.text, Some(&answer(&case.gold)), &answer(&case.found));
    drawing.case(verdict, tone, format!("sentence: {}", case.domain))
}

fn words(case: &suite::Words) -> Case {
    let (verdict, tone) = verdict(case.verdict, case.correct > 0);
    let text = case.words.join(" ");
    let answer = |labels: &mut dyn Iterator<Item = Option<&String>>| {
        let mut start = 0;
        let mut entities = Vec::new();
        for (word, label) in case.words.iter().zip(labels) {
            let end = start + word.chars().count();
            entities.extend(label.map(|kind| Span { kind: kind.clone(), text: word.clone(), start, end, score: 1.0 }));
            start = end + 1;
        }
        Answer::Spans(Spans { text: text.clone(), entities })
    };
    let gold = answer(&mut case.gold.iter().map(Some));
    let found = answer(&mut case.found.iter().map(Option::as_ref));
    draw(&text, Some(&gold), &found).case(verdict, tone, format!("words: {}", case.domain))
}

fn labelled(case: &suite::Labelled) -> Case {
    let (verdict, tone) = verdict(case.verdict, false);
    let mark = if case.verdict == Verdict::Right { Mark::Both } else { Mark::Found };
    let gold = (case.verdict == Verdict::Wrong).then(|| ("gold".to_owned(), case.gold.clone()));
    Case {
        verdict: verdict.into(),
        tone,
        place: format!("{}: {}", case.set, case.domain),
        text: vec![Piece::plain(case.text.clone())],
        items: vec![Item { text: case.found.clone(), mark, share: case.score, depth: 0 }],
        facts: gold.into_iter().collect(),
    }
}

fn tree(case: &suite::Parsed) -> Case {
    let (verdict, tone) = verdict(case.verdict, case.correct > 0);
    let text = case.words.join(" ");
    let answer = |arcs: &[suite::Arc]| {
        let mut start = 0;
        let mut word = |(text, arc): (&String, &suite::Arc)| {
            let end = start + text.chars().count();
            let (label, text) = (arc.relation.clone(), text.clone());
            let word = Word { text, start, end, head: arc.head, label, score: 1.0 };
            start = end + 1;
            word
        };
        let words = case.words.iter().zip(arcs).map(&mut word).collect();
        Answer::Tree(Tree { text: text.clone(), words })
    };
    draw(&text, Some(&answer(&case.gold)), &answer(&case.found)).case(verdict, tone, format!("tree: {}", case.domain))
}

fn question(case: &suite::Question) -> Case {
    let (verdict, tone) = verdict(case.verdict, case.f1 > 0.0);
    let found = if case.found.is_empty() { "no answer" } else { &case.found };
    let mark = if case.verdict == Verdict::Right { Mark::Both } else { Mark::Found };
    let gold = (case.verdict == Verdict::Wrong).then(|| ("gold".to_owned(), case.gold.join(" | ")));
    Case {
        verdict: verdict.into(),
        tone,
        place: format!("question: {}", case.kind),
        text: vec![Piece::plain(case.question.clone())],
        items: vec![Item { text: found.to_owned(), mark, share: Some(case.score), depth: 0 }],
        facts: gold.into_iter().collect(),
    }
}
