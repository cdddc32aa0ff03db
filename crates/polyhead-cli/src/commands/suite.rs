//! `polyhead suite`: the demonstration suite, case by case, with honest totals.

use super::Format;
use crate::out::{Good, Out};
use crate::table::{counted, decimal};
use polyhead::Result;
use polyhead::infer::Session;
use polyhead::suite::{self, Entity, Labelled, Parsed, Question, Report, Sentence, Unsuited, Verdict, Words};
use std::path::PathBuf;

const HELP: &str = "\
Example:
  polyhead suite runs/quickstart

The suite is English. Its cases are marked with
  entities           the types of CoNLL-2003 (PER, ORG, LOC; none is MISC)
  answers            parts of a text that answer a question
  parts of speech    UPOS; trees: Universal Dependencies
  labels             sentiment (negative, positive), types of questions (those of TREC)
  relations          those of SemEval-2010 task 8
A task that lacks one of these labels or knows others is not asked, and the last lines say so. Exit code 2: the suite has no cases for
any task of the model.

A sentence is right if every gold entity was found with its type at its place, and nothing else.
A question is right if the answer matches a gold one exactly, as the official SQuAD script compares.
Words are right if each has its part of speech, a tree if each word has its head and its relation, subtypes left aside.
A text is right if it gets its label, a relation if it gets its own, with the direction.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder (then its best model)
    model: PathBuf,
    #[command(flatten)]
    format: Format,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let report = suite::run(&Session::open(&args.model)?)?;
    if args.format.json {
        return out.json(&report);
    }
    out.line("English texts with gold answers; `polyhead help suite` says what they are marked with\n")?;
    for case in &report.sentences {
        sentence(case, out)?;
    }
    for case in &report.questions {
        question(case, out)?;
    }
    for case in &report.words {
        words(case, out)?;
    }
    for case in report.texts.iter().chain(&report.relations) {
        labelled(case, out)?;
    }
    for case in &report.trees {
        tree(case, out)?;
    }
    totals(&report, out)
}

fn verdict(verdict: Verdict, title: &str, out: &mut Out) -> Result<()> {
    let (good, word) = match verdict {
        Verdict::Right => (Good::Yes, "right"),
        Verdict::Wrong => (Good::No, "wrong"),
    };
    let word = out.verdict(good, word);
    out.painted(&format!("{word}  {title}"))
}

fn sentence(case: &Sentence, out: &mut Out) -> Result<()> {
    let Sentence { gold, found, correct, .. } = case;
    verdict(case.verdict, &format!("ner, {}: {correct} of {} found", case.domain, gold.len()), out)?;
    out.line(format!("  {}", case.text))?;
    out.line(format!("  found: {}", listed(found)))?;
    let missed: Vec<Entity> = gold.iter().filter(|entity| !found.contains(entity)).cloned().collect();
    let surplus: Vec<Entity> = found.iter().filter(|entity| !gold.contains(entity)).cloned().collect();
    for (what, entities) in [("missed", missed), ("false positive", surplus)] {
        if !entities.is_empty() {
            out.line(format!("  {what}: {}", listed(&entities)))?;
        }
    }
    out.line("")
}

fn listed(entities: &[Entity]) -> String {
    let all: Vec<String> = entities.iter().map(|entity| format!("{} [{}]", entity.text, entity.kind)).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(", ") }
}

fn question(case: &Question, out: &mut Out) -> Result<()> {
    verdict(case.verdict, &format!("qa, {}: F1 {}", case.kind, decimal(case.f1)), out)?;
    out.line(format!("  {}", case.context))?;
    out.line(format!("  {}", case.question))?;
    let found = if case.found.is_empty() { "no answer" } else { &case.found };
    out.line(format!("  found: {found} (score {})", decimal(case.score)))?;
    if case.verdict == Verdict::Wrong {
        out.line(format!("  right: {}", case.gold.join(" | ")))?;
    }
    out.line("")
}

fn words(case: &Words, out: &mut Out) -> Result<()> {
    let all = case.gold.len();
    verdict(case.verdict, &format!("words, {}: {} of {all} right", case.domain, case.correct), out)?;
    out.line(format!("  {}", case.words.join(" ")))?;
    for ((word, gold), found) in case.words.iter().zip(&case.gold).zip(&case.found) {
        if found.as_ref() != Some(gold) {
            let found = found.as_deref().unwrap_or("nothing");
            out.line(format!("  {word}: {found}, right: {gold}"))?;
        }
    }
    out.line("")
}

fn labelled(case: &Labelled, out: &mut Out) -> Result<()> {
    verdict(case.verdict, &format!("{}, {}", case.set, case.domain), out)?;
    out.line(format!("  {}", case.text))?;
    let score = case.score.map_or_else(String::new, |score| format!(" (score {})", decimal(score)));
    out.line(format!("  found: {}{score}", case.found))?;
    if case.verdict == Verdict::Wrong {
        out.line(format!("  right: {}", case.gold))?;
    }
    out.line("")
}

fn tree(case: &Parsed, out: &mut Out) -> Result<()> {
    let (all, right) = (case.gold.len(), case.correct);
    verdict(case.verdict, &format!("tree, {}: {right} of {all} words right", case.domain), out)?;
    out.line(format!("  {}", case.words.join(" ")))?;
    let arc = |arc: Option<&suite::Arc>| match arc {
        None => "nothing".to_owned(),
        Some(suite::Arc { head: 0, relation }) => relation.clone(),
        Some(suite::Arc { head, relation }) => {
            format!("{relation} of {}", case.words.get(head - 1).map_or("nothing", String::as_str))
        }
    };
    for (at, (word, gold)) in case.words.iter().zip(&case.gold).enumerate() {
        let found = case.found.get(at);
        if !found.is_some_and(|found| found.is(gold)) {
            out.line(format!("  {word}: {}, right: {}", arc(found), arc(Some(gold))))?;
        }
    }
    out.line("")
}

fn totals(report: &Report, out: &mut Out) -> Result<()> {
    let totals = &report.totals;
    out.heading("Totals")?;
    if !report.sentences.is_empty() {
        out.line(format!(
            "ner: {} of {} right; {} of {} gold entities found, and {} that are none",
            totals.sentences_right,
            counted(report.sentences.len(), "sentence"),
            totals.entities_correct,
            totals.entities_gold,
            totals.entities_found.saturating_sub(totals.entities_correct),
        ))?;
    }
    if !report.questions.is_empty() {
        out.line(format!(
            "qa: {} of {} answered exactly; mean F1 {}",
            totals.questions_right,
            counted(report.questions.len(), "question"),
            decimal(totals.questions_f1),
        ))?;
    }
    if !report.words.is_empty() {
        let (right, all) = (totals.words_correct, totals.words_gold);
        out.line(format!("words: {right} of {} with their part of speech", counted(all, "word")))?;
    }
    let mut sets: Vec<&str> = report.texts.iter().map(|case| case.set.as_str()).collect();
    sets.dedup();
    for set in sets {
        let of_set: Vec<&Labelled> = report.texts.iter().filter(|case| case.set == set).collect();
        let right = of_set.iter().filter(|case| case.verdict == Verdict::Right).count();
        out.line(format!("{set}: {right} of {} right", counted(of_set.len(), "text")))?;
    }
    if !report.relations.is_empty() {
        let all = counted(report.relations.len(), "sentence");
        out.line(format!("relations: {} of {all} right", totals.relations_right))?;
    }
    if !report.trees.is_empty() {
        out.line(format!(
            "trees: {} of {} with their head, {} with head and relation",
            totals.heads_correct,
            counted(totals.arcs_gold, "word"),
            totals.arcs_correct
        ))?;
    }
    for Unsuited { task, reason } in &report.skipped {
        out.line(format!("{task}: not asked: {reason}"))?;
    }
    Ok(())
}
