//! Questions as files write them become questions that can be used: answers placed, duplicates and blanks out.
//!
//! The files count an answer's start in characters (code points); we keep bytes, and only after the slice at that
//! place has been seen to be the answer. An answer elsewhere is not moved silently: it would train on another place
//! than the annotator's. It is skipped, and the reason says where the text does stand.

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

    /// The byte at which the answer starts, or why it does not stand where it says.
    fn locate(&self, answer: &RawAnswer) -> Result<usize, String> {
        if answer.text.trim().is_empty() {
            return Err("the answer is blank".to_owned());
        }
        let start = usize::try_from(answer.start).ok().and_then(|start| self.starts.get(start)).copied();
        let rest = start.and_then(|start| self.text.get(start..));
        if let (Some(start), Some(true)) = (start, rest.map(|rest| rest.starts_with(&answer.text))) {
            return Ok(start);
        }
        let found = match rest {
            Some(rest) => quoted(&rest.chars().take(answer.text.chars().count()).collect::<String>()),
            None => format!("no such character in a context of {}", self.starts.len()),
        };
        let expected = quoted(&answer.text);
        Err(format!("expected {expected} at character {}, found {found}{}", answer.start, self.whereabouts(answer)))
    }

    /// Where the text of a misplaced answer stands, if that can be said.
    fn whereabouts(&self, answer: &RawAnswer) -> String {
        let mut places = self.text.match_indices(&answer.text).map(|(at, _)| at);
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
}

impl Gatherer {
    pub(super) fn new(limit: Option<usize>, notes: Vec<String>) -> Self {
        let read = Read { examples: Vec::new(), skipped: Vec::new(), notes };
        Self { limit, seen: HashMap::new(), read, unanswered: 0 }
    }

    /// Takes a question, or skips it with the reason. Breaks when there are enough.
    pub(super) fn push(&mut self, raw: Raw<'_>) -> ControlFlow<()> {
        if self.is_full() {
            return ControlFlow::Break(());
        }
        let (place, id) = (raw.place.clone(), raw.id.clone());
        match self.usable(raw) {
            Ok(question) => {
                self.unanswered += usize::from(question.answers.is_empty());
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
        let (mut good, mut misplaced) = (Vec::new(), Vec::new());
        let total = answers.len();
        for (index, answer) in answers.into_iter().enumerate() {
            match context.locate(&answer) {
                Ok(start) => good.push(Answer { text: answer.text, start }),
                Err(reason) => misplaced.push((index, reason)),
            }
        }
        if let (true, Some((_, reason))) = (good.is_empty(), misplaced.first()) {
            return Err(match total {
                1 => reason.clone(),
                _ => format!("none of its {total} answers stands where it says; the first: {reason}"),
            });
        }
        for (index, reason) in misplaced {
            let reason = format!("answers[{index}] was left out, the question kept: {reason}");
            self.read.skipped.push(Skipped { place: place.clone(), example: id.clone(), reason });
        }
        Ok(Question { place, id, question, context: context.text.clone(), answers: good })
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
        if self.unanswered > 0 {
            let all = self.read.examples.len();
            self.read.notes.push(format!("{} of {all} questions have no answer in their context", self.unanswered));
        }
        Ok(self.read)
    }

    /// Adds a note.
    pub(super) fn note(&mut self, note: String) {
        self.read.notes.push(note);
    }
}
