//! Windows of sentences, for training and prediction: long ones overlap, and a cut entity is counted. A sentence that fits one
//! window may have its neighbours of the document around it, which are read and not labelled.

use super::{Context, Ner, Tagged};
use crate::batch::WindowedExample;
use crate::error::Result;
use crate::tasks::Purpose;
use crate::tasks::words::{is_first, labelled_windows, window_in_context};
use crate::text::{Piece, Tokenizer};
use std::ops::Range;

impl Ner {
    pub(super) fn encode(
        &self,
        example: &Tagged,
        pieces: &[Piece],
        tokenizer: &Tokenizer,
        purpose: Purpose,
    ) -> Result<WindowedExample> {
        let ranges = self.config.lengths().ranges(pieces, tokenizer, purpose)?;
        let label = |unit: usize| example.training_tag(unit).and_then(|tag| self.label(&tag));
        let windows = match (&example.context, ranges.as_slice()) {
            (Some(context), [whole]) if *whole == (0..pieces.len()) => {
                let room = tokenizer.single().room(self.config.max_length, self.config.stride)? - pieces.len();
                let (before, after) = around(context, room, tokenizer)?;
                vec![window_in_context(&before, pieces, &after, tokenizer, &label)]
            }
            _ => labelled_windows(&example.words, pieces, &ranges, tokenizer, purpose, &label),
        };
        if purpose == Purpose::Predict {
            return Ok(WindowedExample { windows, ..WindowedExample::default() });
        }
        Ok(WindowedExample {
            windows,
            lost_tokens: pieces.len() - ranges.last().map_or(0, |range| range.end),
            truncated_answers: self.lost(example, pieces, &ranges),
        })
    }

    /// The gold entities of which no window holds every label.
    fn lost(&self, example: &Tagged, pieces: &[Piece], windows: &[Range<usize>]) -> usize {
        if windows.len() == 1 && windows.first() == Some(&(0..pieces.len())) {
            return 0;
        }
        let labelled: Vec<(usize, usize)> = (0..pieces.len())
            .filter(|&at| is_first(pieces, at))
            .filter_map(|at| Some((example.words.units.get(pieces.get(at)?.word)?.word, at)))
            .collect();
        let whole = |words: Range<usize>| {
            let first = labelled.partition_point(|&(word, _)| word < words.start);
            let after = labelled.partition_point(|&(word, _)| word < words.end);
            let places = labelled.get(first..after).unwrap_or(&[]);
            let (Some((_, from)), Some((_, to))) = (places.first(), places.last()) else { return true };
            windows.iter().any(|window| window.contains(from) && window.contains(to))
        };
        let entities = self.notation().entities(&example.tags);
        entities.into_iter().filter(|span| !whole(span.start..span.end)).count()
    }
}

/// The sub-words that stand before and after a sentence in its document, `room` of them in all: as many on either side, but where
/// one side has fewer the other gets what is left.
fn around(context: &Context, room: usize, tokenizer: &Tokenizer) -> Result<(Vec<Piece>, Vec<Piece>)> {
    let mut before: Vec<Piece> = Vec::new();
    for words in context.before() {
        if before.len() >= room {
            break;
        }
        before.splice(0..0, words.pieces(tokenizer)?);
    }
    let mut after: Vec<Piece> = Vec::new();
    for words in context.after() {
        if after.len() >= room {
            break;
        }
        after.extend(words.pieces(tokenizer)?);
    }
    let left = (room / 2).max(room.saturating_sub(after.len())).min(before.len());
    before.drain(..before.len() - left);
    after.truncate(room - left);
    Ok((before, after))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::batch::Features;
    use crate::data::Sentence;
    use crate::error::Place;
    use crate::tasks::Task;
    use crate::tasks::words::windows::deciding;
    use polyhead_kernels::cross_entropy::IGNORE;
    use serde_json::{Value, json};
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        Tokenizer::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json")).unwrap()
    }

    fn ner(more: Value) -> Ner {
        let mut config = json!({ "max_length": 14, "stride": 5, "labels": ["O", "B-PER", "I-PER"] });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Ner::open(config).unwrap()
    }

    /// Words of one to seven sub-words, every fourth a name of two words, from the second word on.
    fn long(words: usize) -> Tagged {
        let all = ["ada", "unity", "東京", "of", "lovelace", "xyzzyxy"];
        let words: Vec<String> = (0..words).map(|at| all[at % all.len()].to_owned()).collect();
        let tags = (0..words.len()).map(|at| ["O", "B-PER", "I-PER", "O"][at % 4].to_owned()).collect();
        Tagged::from_sentence(Sentence { place: Place::line("f", 1), words, tags, document: 0 })
    }

    fn encoded(ner: &Ner, example: &Tagged, purpose: Purpose) -> WindowedExample {
        ner.features(example, &tokenizer(), purpose).unwrap()
    }

    #[test]
    fn training_scores_every_label_of_a_long_text_once_in_the_window_that_decodes_it() {
        for stride in [0, 1, 5, 11] {
            let ner = ner(json!({ "stride": stride }));
            for words in [1, 2, 7, 30, 61] {
                let example = long(words);
                let predicted = encoded(&ner, &example, Purpose::Predict).windows;
                let trained = encoded(&ner, &example, Purpose::Train);
                assert_eq!((trained.lost_tokens, trained.windows.len() <= predicted.len()), (0, true));
                let mut scored = vec![0; example.words.units.len()];
                for window in &trained.windows {
                    assert!(predicted.iter().any(|whole| whole.ids == window.ids && whole.spans == window.spans));
                    for (span, &target) in window.spans.iter().zip(window.targets.classes()) {
                        if target == IGNORE {
                            continue;
                        }
                        let (unit, _) = span.unwrap();
                        let tag = example.training_tag(unit).unwrap();
                        assert_eq!(Some(target as usize), ner.label(&tag), "{stride}, {words}");
                        scored[unit] += 1;
                    }
                }
                assert!(scored.iter().all(|&times| times == 1), "{stride}, {words}: {scored:?}");
                for (window, at) in deciding(example.words.units.len(), predicted.iter()).into_iter().flatten() {
                    let same = |trained: &&Features| {
                        trained.ids == predicted[window].ids && trained.targets.classes()[at] != IGNORE
                    };
                    assert!(trained.windows.iter().any(|one| same(&one)), "{stride}, {words}");
                }
            }
        }
    }

    #[test]
    fn a_text_that_fits_one_window_trains_as_the_reference_has_it() {
        let (all, first) = (ner(json!({})), ner(json!({ "truncate": true })));
        for words in [1, 2, 3] {
            let example = long(words);
            let encoded = encoded(&all, &example, Purpose::Train);
            assert_eq!(encoded, super::tests::encoded(&first, &example, Purpose::Train), "{words}");
            assert_eq!((encoded.windows.len(), encoded.lost_tokens, encoded.truncated_answers), (1, 0, 0));
        }
    }

    #[test]
    fn truncation_trains_on_the_first_window_and_counts_what_it_cuts() {
        let ner = ner(json!({ "truncate": true }));
        // ada | u ##n ##i ##t ##y | 東 京 | of | lovelace | x ##y ##z ##z ##y ##x ##y | ada
        let example = long(7);
        let (cut, whole) = (encoded(&ner, &example, Purpose::Train), encoded(&ner, &example, Purpose::Predict));
        assert_eq!((cut.windows.len(), whole.windows.len()), (1, 2));
        assert_eq!((&cut.windows[0].ids, &cut.windows[0].spans), (&whole.windows[0].ids, &whole.windows[0].spans));
        assert_eq!(
            (cut.lost_tokens, cut.truncated_answers),
            (18 - 12, 1),
            "the second name: xyzzyxy is cut, ada is gone"
        );
    }

    #[test]
    fn an_entity_that_no_window_holds_whole_is_counted_and_trained_on() {
        let ner = ner(json!({ "stride": 2 }));
        let words: Vec<String> = vec!["of".to_owned(); 40];
        let tag = |at: usize| {
            ["O", "B-PER", "I-PER"][if at == 8 || at == 30 { 1 } else { usize::from((9..14).contains(&at)) * 2 }]
        };
        let tags = (0..40).map(|at| tag(at).to_owned()).collect();
        let example = Tagged::from_sentence(Sentence { place: Place::line("f", 1), words, tags, document: 0 });
        let encoded = encoded(&ner, &example, Purpose::Train);
        assert_eq!((encoded.lost_tokens, encoded.truncated_answers), (0, 1));
        assert_eq!(encoded.windows.iter().map(|window| window.targets.count()).sum::<usize>(), 40);
    }

    #[test]
    fn a_sentence_is_read_with_its_neighbours_and_scored_alone() {
        let sentence = |words: &[&str], document| Sentence {
            place: Place::line("f", 1),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            tags: vec!["O".to_owned(); words.len()],
            document,
        };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json");
        let vocabulary = tokenizers::Tokenizer::from_file(path).unwrap();
        let of_all =
            |ids: &[u32]| ids.iter().map(|&id| vocabulary.id_to_token(id).unwrap()).collect::<Vec<_>>().join(" ");
        let ner = ner(json!({ "max_length": 10, "stride": 0, "context": "document" }));
        let file = || {
            vec![
                sentence(&["ada", "of", "lovelace"], 0),
                sentence(&["of", "of"], 0),
                sentence(&["unity", "ada"], 0),
                sentence(&["lovelace"], 3),
                sentence(&["of"; 20], 3),
            ]
        };
        let windows = |example: &Tagged| encoded(&ner, example, Purpose::Predict).windows;
        let examples = Tagged::of_file(file(), true);
        // Eight tokens: two of its own, three of either side.
        let second = windows(&examples[1]).remove(0);
        assert_eq!(of_all(&second.ids), "[CLS] ada of lovelace of of u ##n ##i [SEP]");
        assert_eq!(second.spans.iter().flatten().collect::<Vec<_>>(), [&(0, 1), &(1, 2)]);
        assert_eq!(second.targets.count(), 2);
        // The first of a document has what follows, and nothing of another document is read.
        assert_eq!(of_all(&windows(&examples[0])[0].ids), "[CLS] ada of lovelace of of u ##n ##i [SEP]");
        assert_eq!(of_all(&windows(&examples[3])[0].ids), "[CLS] lovelace of of of of of of of [SEP]");
        // One that is too long for a window has its own windows.
        let long = windows(&examples[4]);
        assert_eq!((long.len(), long.iter().flat_map(|window| window.spans.iter().flatten()).count()), (3, 20));
        // The windows are those of the same document, so what is kept of another's is not taken for them.
        let mut other = file();
        other[2].words[1] = "of".to_owned();
        let other = Tagged::of_file(other, true);
        assert_ne!(ner.fingerprint(&examples[1]).unwrap(), ner.fingerprint(&other[1]).unwrap());
        assert_eq!(ner.fingerprint(&examples[3]).unwrap(), ner.fingerprint(&other[3]).unwrap());
    }
}
