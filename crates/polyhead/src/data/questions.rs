//! Questions as files write them become questions that can be used: answers placed, duplicates and blanks out.
//!
//! The files count an answer's start in characters (code points); we keep bytes, and only after the slice at that
//! place has been seen to be the answer, without the white space around it. An answer elsewhere is not moved silently:
//! it would train on another place than the annotator's. Its text still counts in scores, as in the official scripts,
//! and a note says so.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::path::Path;

use super::{Answer, Question, Read, Skipped, quoted, start_of};
use crate::error::{Error, Place, Result};

/// A question as the file has it.
pub(super) struct Raw<'a> {
    pub place: Place,
    pub id: String,
    pub question: String,
    pub context: &'a Context,
    pub answers: Vec<RawAnswer>,
    /// SQuAD v2.0's `is_impossible`, where the file says it.
    pub impossible: Option<bool>,
}

/// An answer as the file has it; `start` counts characters of the context.
pub(super) struct RawAnswer {
    pub text: String,
    pub start: i64,
}

/// A context with the byte at which each of its characters starts, found once for all its questions.
pub(super) struct Context {
    text: String,
    starts: Vec<usize>,
}

impl Context {
    pub(super) fn new(text: String) -> Self {
        let starts = text.char_indices().map(|(at, _)| at).collect();
        Self { text, starts }
    }

    /// The byte at which the answer starts, without the white space around it, or why it does not stand there.
    fn locate(&self, answer: &RawAnswer) -> Result<usize, String> {
        let text = answer.text.trim();
        let at = |start: usize| self.starts.get(start).copied().filter(|&at| self.rest(at).starts_with(text));
        let given = usize::try_from(answer.start).ok();
        let before = answer.text.chars().take_while(|c| c.is_whitespace()).count();
        // The place is that of the white space, or, where it was written afterwards, that of the first word.
        if let Some(start) = given.and_then(|start| at(start.saturating_add(before)).or_else(|| at(start))) {
            return Ok(start);
        }
        let start = given.and_then(|start| self.starts.get(start)).copied();
        let rest = start.map(|start| self.rest(start));
        let found = match rest {
            Some(rest) => quoted(&rest.chars().take(answer.text.chars().count()).collect::<String>()),
            None => format!("no such character in a context of {}", self.starts.len()),
        };
        let expected = quoted(&answer.text);
        Err(format!("expected {expected} at character {}, found {found}{}", answer.start, self.whereabouts(answer)))
    }

    fn rest(&self, start: usize) -> &str {
        self.text.get(start..).unwrap_or("")
    }

    /// Where the text of a misplaced answer stands, if that can be said.
    fn whereabouts(&self, answer: &RawAnswer) -> String {
        let mut places = self.text.match_indices(answer.text.trim()).map(|(at, _)| at);
        match (places.next(), places.next()) {
            (None, _) => "; the context does not hold it".to_owned(),
            (Some(at), None) => {
                let characters = self.starts.partition_point(|&start| start < at);
                let unit = match self.text.get(..at).map(|before| before.encode_utf16().count()) {
                    _ if answer.start == at as i64 => " (the file seems to count bytes, not characters)",
                    Some(units) if answer.start == units as i64 => " (the file seems to count UTF-16 units)",
                    _ => "",
                };
                format!("; it stands once in the context, at character {characters}{unit}")
            }
            (Some(_), Some(_)) => "; it stands in the context more than once, elsewhere".to_owned(),
        }
    }
}

/// Gathers the questions of one file.
pub(super) struct Gatherer {
    limit: Option<usize>,
    seen: HashMap<String, Place>,
    read: Read<Question>,
    unanswered: usize,
    /// Answers that had white space around them.
    trimmed: usize,
    /// Answers that do not stand where the file says: how many, and the first with their reasons.
    misplaced: (usize, Vec<String>),
    /// A field that may hold answers and is not read.
    not_read: Option<&'static str>,
}

/// So many misplaced answers are reported one by one.
const MOST_MISPLACED: usize = 5;

impl Gatherer {
    pub(super) fn new(limit: Option<usize>, notes: Vec<String>) -> Self {
        let read = Read { examples: Vec::new(), skipped: Vec::new(), notes };
        let misplaced = (0, Vec::new());
        Self { limit, seen: HashMap::new(), read, unanswered: 0, trimmed: 0, misplaced, not_read: None }
    }

    /// Takes a question, or skips it with the reason. Breaks when there are enough.
    pub(super) fn push(&mut self, raw: Raw<'_>) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        let (place, id) = (raw.place.clone(), raw.id.clone());
        match self.usable(raw) {
            Ok(question) => {
                self.unanswered += usize::from(question.golds().next().is_none());
                self.read.examples.push(question);
            }
            Err(reason) => self.read.skipped.push(Skipped { place, example: id, reason }),
        }
        match self.is_full() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.read.examples.len() >= limit)
    }

    fn usable(&mut self, raw: Raw<'_>) -> Result<Question, String> {
        let Raw { place, id, question, context, answers, impossible } = raw;
        match self.seen.entry(id.clone()) {
            Entry::Occupied(first) => return Err(format!("its identifier is that of the question at {}", first.get())),
            Entry::Vacant(free) => free.insert(place.clone()),
        };
        if context.text.trim().is_empty() {
            return Err("its context is blank".to_owned());
        }
        if question.trim().is_empty() {
            return Err("the question is blank".to_owned());
        }
        match (impossible, answers.len()) {
            (Some(true), 1..) => return Err(format!("`is_impossible` is true, but it has {} answers", answers.len())),
            (Some(false), 0) => return Err("`is_impossible` is false, but it has no answer".to_owned()),
            _ => {}
        }
        let (total, mut good, mut unplaced) = (answers.len(), Vec::new(), Vec::new());
        for (index, answer) in answers.into_iter().enumerate() {
            let text = answer.text.trim().to_owned();
            if text.is_empty() {
                if total > 1 {
                    let reason = format!("answers[{index}] is blank and was left out, the question kept");
                    self.read.skipped.push(Skipped { place: place.clone(), example: id.clone(), reason });
                }
                continue;
            }
            self.trimmed += usize::from(text.len() < answer.text.len());
            match context.locate(&answer) {
                Ok(start) => good.push(Answer { text, start }),
                Err(reason) => {
                    self.misplaced.0 += 1;
                    if self.misplaced.1.len() < MOST_MISPLACED {
                        self.misplaced.1.push(format!("{place}, `{}`: {reason}", start_of(&id)));
                    }
                    unplaced.push(text);
                }
            }
        }
        match (total, good.is_empty() && unplaced.is_empty()) {
            (0, _) | (_, false) => {}
            (1, true) => return Err("the answer is blank".to_owned()),
            (_, true) => return Err(format!("all its {total} answers are blank")),
        }
        Ok(Question { place, id, question, context: context.text.clone(), answers: good, unplaced })
    }

    /// Says that the file has a field that may hold answers and is not read.
    pub(super) fn not_read(&mut self, field: &'static str) {
        self.not_read.get_or_insert(field);
    }

    /// What was read; an error if the file holds no question, or none that can be used.
    pub(super) fn finish(mut self, file: &Path) -> Result<Read<Question>> {
        if self.read.examples.is_empty() && self.limit != Some(0) {
            return Err(match self.read.skipped.first() {
                None => Error::data("expected questions, found none").at(Place::file(file)),
                Some(first) => {
                    let count = self.read.skipped.len();
                    let name = start_of(&first.example);
                    let message =
                        format!("none of {count} questions can be used; the first, `{name}`: {}", first.reason);
                    Error::data(message).at(first.place.clone())
                }
            });
        }
        let all = self.read.examples.len();
        if let (Some(field), true) = (self.not_read, all > 0 && self.unanswered == all) {
            let message =
                format!("expected answers in `answers`, found none in {all} questions, while `{field}` is not read");
            let hint = "write them as \"answers\": [{\"text\": \"Ada\", \"answer_start\": 0}]";
            return Err(Error::data(message).at(Place::file(file)).hint(hint));
        }
        if self.trimmed > 0 {
            let note = format!("gold answers that had white space at an end, which was trimmed: {}", self.trimmed);
            self.read.notes.push(note);
        }
        let (misplaced, reasons) = &self.misplaced;
        if *misplaced > 0 {
            let alone = self.read.examples.iter().filter(|question| !question.is_trainable()).count();
            self.read.notes.push(format!(
                "gold answers that do not stand where the file says: {misplaced}. Scores count their text, as the \
                 official scripts do; training leaves them out, and with them questions that have no other answer: \
                 {alone}. {}: {}",
                if reasons.len() < *misplaced { "The first" } else { "In order" },
                reasons.join("; ")
            ));
        }
        if self.unanswered > 0 {
            self.read.notes.push(format!("{} of {all} questions have no answer in their context", self.unanswered));
        }
        Ok(self.read)
    }

    /// Adds a note.
    pub(super) fn note(&mut self, note: String) {
        self.read.notes.push(note);
    }
}
