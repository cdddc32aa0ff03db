//! `polyhead suite`: the demonstration suite, case by case, with honest totals.

use super::Format;
use crate::out::{Good, Out};
use crate::table::{counted, decimal};
use polyhead::Result;
use polyhead::infer::Session;
use polyhead::suite::{self, Entity, Question, Report, Sentence, Unsuited, Verdict, Words};
use std::path::PathBuf;

const HELP: &str = "\
Example:
  polyhead suite runs/quickstart

The suite is English. Its sentences are marked with the types of CoNLL-2003 (PER, ORG, LOC; none is MISC), others word by word with
parts of speech (UPOS): a model that lacks one of these or knows others is not asked them, and the last lines say so. Exit code 2: the
suite has no cases for any task of the model.

A sentence is right if every gold entity was found with its type at its place, and nothing else.
A question is right if the answer matches a gold one exactly, as the official SQuAD script compares.
Words are right if each has its part of speech.";

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
    out.line("English sentences marked with the types of CoNLL-2003, English questions, and English words\n")?;
    for case in &report.sentences {
        sentence(case, out)?;
    }
    for case in &report.questions {
        question(case, out)?;
    }
    for case in &report.words {
        words(case, out)?;
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
    for Unsuited { task, reason } in &report.skipped {
        out.line(format!("{task}: not asked: {reason}"))?;
    }
    Ok(())
}
