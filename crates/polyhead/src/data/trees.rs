//! Dependency trees: words with the head of each and the relation to it.
//!
//! ```text
//! .conllu   a word a line in ten columns, see `words/conllu.rs`
//! .jsonl    {"words": ["They", "left"], "heads": [2, 0], "deprels": ["nsubj", "root"]}, see `jsonl/trees.rs`
//! ```

use super::words::{ConlluArc, ConlluSentence, ConlluSentences};
use super::{Layout, Read, Skipped, start_of};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// A sentence with its dependency tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParsedSentence {
    /// Where it stands in its file.
    pub place: Place,
    /// What the file calls it, if it does.
    pub id: Option<String>,
    /// Its words, one at least.
    pub words: Vec<String>,
    /// The head of each word, counted from 1; 0 for the root, of which there is one. Heads lead to it.
    pub heads: Vec<usize>,
    /// The relation of each word to its head, as the file has it: `nmod:poss`.
    pub relations: Vec<String>,
}

/// What was read so far.
#[derive(Default)]
pub(super) struct Trees {
    examples: Vec<ParsedSentence>,
    skipped: Vec<Skipped>,
}

impl Trees {
    /// Takes a sentence; leaves it out if it has no tree.
    ///
    /// # Errors
    /// Its heads are no tree: see [`ConlluSentence::tree`].
    pub fn push(&mut self, sentence: ConlluSentence) -> Result<()> {
        let words: Vec<String> = sentence.words.iter().map(|word| word.form.clone()).collect();
        if !sentence.has_heads() {
            let (place, example) = (sentence.place, start_of(&words.join(" ")));
            self.skipped.push(Skipped { place, example, reason: "none of its words has a head".to_owned() });
            return Ok(());
        }
        let arcs = sentence.tree()?;
        let heads = arcs.iter().map(|arc| arc.head.map_or(0, |head| head + 1)).collect();
        let relations = arcs.iter().map(|ConlluArc { relation, .. }| (*relation).to_owned()).collect();
        self.examples.push(ParsedSentence { words, heads, relations, id: sentence.id, place: sentence.place });
        Ok(())
    }

    /// Whether there are as many as asked for.
    pub fn is_enough(&self, limit: Option<usize>) -> bool {
        limit.is_some_and(|limit| self.examples.len() >= limit)
    }

    /// All of them.
    ///
    /// # Errors
    /// There is none, though some were asked for.
    pub fn finish(self, file: &Path, limit: Option<usize>, notes: Vec<String>) -> Result<Read<ParsedSentence>> {
        let Self { examples, skipped } = self;
        if examples.is_empty() && limit != Some(0) {
            return Err(match skipped.first() {
                None => Error::data("expected sentences, found none").at(Place::file(file)),
                Some(Skipped { place, reason, .. }) => {
                    Error::data(format!("expected trees, found no sentence with one: {reason}")).at(place.clone())
                }
            });
        }
        Ok(Read { examples, skipped, notes })
    }
}

/// Reads the trees of a CoNLL-U file. A sentence without heads is left out.
pub(super) fn read_conllu(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<ParsedSentence>> {
    let mut sentences = ConlluSentences::open(file)?;
    let mut trees = Trees::default();
    while !trees.is_enough(limit) {
        let Some(sentence) = sentences.next()? else { break };
        trees.push(sentence)?;
    }
    trees.finish(file, limit, sentences.notes())
}
