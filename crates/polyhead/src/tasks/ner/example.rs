//! A sentence with its gold tags, and the document that it stands in.
//!
//! ```text
//! words  | Ada  | 東京タワー          tags  B-PER  B-LOC
//! units  | Ada  | 東 京 タ ワ ー            B-PER  B-LOC I-LOC I-LOC I-LOC I-LOC
//! ```

use super::inside;
use crate::data::{Sentence, training_tag};
use crate::error::Place;
use crate::tasks::words::Words;
use crate::text::offsets::OffsetUnit;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;

/// A text split into words, each with a tag where it is gold.
pub struct Tagged {
    pub(super) words: Arc<Words>,
    pub(super) tags: Vec<String>,
    /// The first sentence of its document, where its file marks several: what tells one from the other.
    pub(super) document: Option<Arc<str>>,
    /// Where it stands in a document, if it is to be read in its context.
    pub(super) context: Option<Context>,
}

/// A place in a document.
#[derive(Clone)]
pub(super) struct Context {
    document: Arc<Document>,
    /// Which of its sentences it is.
    at: usize,
}

/// Sentences that stand together.
struct Document {
    /// In order.
    sentences: Vec<Arc<Words>>,
    /// Of all their words.
    digest: Vec<u8>,
}

impl Document {
    fn new(sentences: Vec<Arc<Words>>) -> Self {
        let mut digest = Sha256::new();
        for word in sentences.iter().flat_map(|sentence| sentence.words().into_iter().chain(["\n"])) {
            digest.update((word.len() as u64).to_le_bytes());
            digest.update(word);
        }
        Self { digest: digest.finalize().to_vec(), sentences }
    }
}

impl Context {
    /// The sentences before it, from its neighbour backwards.
    pub fn before(&self) -> impl Iterator<Item = &Words> {
        self.document.sentences.iter().take(self.at).rev().map(Arc::as_ref)
    }

    /// The sentences after it.
    pub fn after(&self) -> impl Iterator<Item = &Words> {
        self.document.sentences.iter().skip(self.at + 1).map(Arc::as_ref)
    }

    /// What tells its place from every other of any document.
    pub fn fingerprint(&self) -> (&[u8], usize) {
        (&self.document.digest, self.at)
    }
}

impl Tagged {
    pub(super) fn from_sentence(sentence: Sentence) -> Self {
        let Sentence { place, words, tags, .. } = sentence;
        Self {
            words: Arc::new(Words::from_words(place, &words, OffsetUnit::default())),
            tags,
            document: None,
            context: None,
        }
    }

    /// The sentences of a file, each in the context of its document where this is to be read.
    pub(super) fn of_file(sentences: Vec<Sentence>, in_context: bool) -> Vec<Self> {
        let documents: Vec<usize> = sentences.iter().map(|sentence| sentence.document).collect();
        let several = documents.first() != documents.last();
        let mut examples: Vec<Self> = sentences.into_iter().map(Self::from_sentence).collect();
        let mut rest = examples.as_mut_slice();
        for document in documents.chunk_by(PartialEq::eq) {
            let (those, others) = rest.split_at_mut(document.len());
            let opening = those.first().filter(|_| several).map(|first| Arc::from(first.words.text.as_str()));
            let whole = in_context
                .then(|| Arc::new(Document::new(those.iter().map(|example| example.words.clone()).collect())));
            for (at, example) in those.iter_mut().enumerate() {
                example.document.clone_from(&opening);
                example.context = whole.clone().map(|document| Context { document, at });
            }
            rest = others;
        }
        examples
    }

    /// Without gold tags.
    pub(super) fn untagged(words: Words) -> Self {
        Self { words: Arc::new(words), tags: Vec::new(), document: None, context: None }
    }

    pub(super) fn place(&self) -> &Place {
        &self.words.place
    }

    /// The tag that a unit is trained with: that of its word, which later units go on with.
    pub(super) fn training_tag(&self, unit: usize) -> Option<Cow<'_, str>> {
        let unit = self.words.units.get(unit)?;
        let tag = training_tag(&self.tags, unit.word)?;
        Some(if unit.first { tag } else { inside(tag) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(words: &[(&str, &str)]) -> Tagged {
        let (words, tags) = words.iter().map(|(word, tag)| ((*word).to_owned(), (*tag).to_owned())).unzip();
        Tagged::from_sentence(Sentence { place: Place::line("f", 1), words, tags, document: 0 })
    }

    #[test]
    fn a_file_of_characters_of_words_and_of_runs_trains_on_the_same_units() {
        let files: [&[(&str, &str)]; 3] = [
            &[
                ("東", "B-LOC"),
                ("京", "I-LOC"),
                ("タ", "I-LOC"),
                ("ワ", "I-LOC"),
                ("ー", "I-LOC"),
                ("は", "O"),
                ("高", "O"),
                ("い", "O"),
            ],
            &[("東京", "B-LOC"), ("タワー", "I-LOC"), ("は", "O"), ("高い", "O")],
            &[("東京タワー", "B-LOC"), ("は高い", "O")],
        ];
        let running = Words::from_text(Place::line("f", 1), "東京タワーは高い".into(), OffsetUnit::Char);
        for file in files {
            let example = tagged(file);
            assert_eq!(example.words.text, running.text);
            assert_eq!(example.words.units(), running.units());
            let tags: Vec<_> = (0..example.words.units.len()).filter_map(|unit| example.training_tag(unit)).collect();
            assert_eq!(tags, ["B-LOC", "I-LOC", "I-LOC", "I-LOC", "I-LOC", "O", "O", "O"]);
        }
    }

    #[test]
    fn given_words_stay_words_and_are_parted_by_a_space_where_their_script_has_one() {
        let example = tagged(&[("Ada's", "B-PER"), ("東京Tower", "B-LOC"), ("、", "O"), ("ok", "O"), ("", "O")]);
        assert_eq!(example.words.text, "Ada's 東京Tower 、 ok ");
        assert_eq!(example.words.words(), ["Ada's", "東京Tower", "、", "ok", ""]);
        assert_eq!(example.words.units(), ["Ada's", "東", "京", "Tower", "、", "ok", ""]);
    }
}
