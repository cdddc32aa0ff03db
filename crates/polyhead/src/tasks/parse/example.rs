//! A sentence with its gold tree, and a tree that was predicted.

use crate::data::ParsedSentence;
use crate::tasks::words::Words;
use crate::text::offsets::OffsetUnit;

/// A text split into words, with its gold tree where there is one.
pub struct Parsed {
    pub(super) words: Words,
    pub(super) gold: Option<Gold>,
    pub(super) id: Option<String>,
}

/// A gold tree: the head of each word, counted from 1, and the relation to it.
pub struct Gold {
    pub(super) heads: Vec<usize>,
    pub(super) relations: Vec<String>,
}

/// A tree that was predicted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    pub(super) arcs: Vec<Arc>,
}

/// What was predicted of a word.
#[derive(Debug, Clone, PartialEq)]
pub struct Arc {
    /// Its head, counted from 1; 0 for the root.
    pub(super) head: usize,
    /// Its relation to the head.
    pub(super) relation: String,
    /// How probable both are.
    pub(super) score: f64,
}

impl Parsed {
    pub(super) fn from_sentence(sentence: ParsedSentence) -> Self {
        let ParsedSentence { place, id, words, heads, relations } = sentence;
        let words = Words::from_words(place, &words, OffsetUnit::default());
        Self { words, gold: Some(Gold { heads, relations }), id }
    }

    /// Without a gold tree.
    pub(super) fn unparsed(words: Words) -> Self {
        Self { words, gold: None, id: None }
    }
}

impl Gold {
    /// The head and the relation of each word.
    pub(super) fn arcs(&self) -> impl Iterator<Item = (usize, &str)> + Clone {
        self.heads.iter().copied().zip(self.relations.iter().map(String::as_str))
    }
}
