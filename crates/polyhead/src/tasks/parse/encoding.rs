//! From words to the window that a tree is made over, and from its logits to the tree.
//!
//! ```text
//! tokens  [CLS] The trains are late [SEP]       ranges  0: [CLS], the root   1: The   2: trains   3: are   4: late
//! pairs   (1, 0) (1, 2) (1, 3) (1, 4) (2, 0) (2, 1) ...     of each word, every head that it may have, in order
//! logits  a row for each pair: how well the head is one, and how well each relation to it
//! ```
//!
//! A tree needs all words of its sentence in one window. A text that has more tokens is parsed in parts: as many words as fit, and
//! so on. Each part has a tree of its own; the roots of later parts hang from that of the first, as [`JOINED`]. Training leaves it out.

use super::{Arc, Gold, Parse, Parsed, Tree, best_tree};
use crate::batch::{Features, Targets, WindowedExample};
use crate::error::Result;
use crate::metrics::conll18::universal;
use crate::tasks::{Purpose, Window, cross_entropy, softmax};
use crate::text::{Piece, TokenSequence, Tokenizer};
use polyhead_kernels::cross_entropy::IGNORE;
use std::ops::Range;

/// The relation of the root of a later part to that of the first: what stands side by side.
pub(super) const JOINED: &str = "parataxis";

/// The column of a head among those that a word may have, which are in order and leave the word out.
pub(super) fn column(word: usize, head: usize) -> usize {
    if head < word { head } else { head.saturating_sub(1) }
}

/// The head in a column.
#[cfg(test)]
fn head_of(word: usize, column: usize) -> usize {
    if column < word { column } else { column + 1 }
}

impl Parse {
    /// The windows of a sentence: one, but of a text that is too long for it.
    pub(super) fn encode(&self, example: &Parsed, tokenizer: &Tokenizer, purpose: Purpose) -> Result<WindowedExample> {
        let room = tokenizer.single().room(self.config.max_length, 0)?;
        let words = words(example, tokenizer)?;
        let parts = parts(&words, room);
        let tokens: usize = words.iter().map(Vec::len).sum();
        if parts.len() > 1 && purpose == Purpose::Train {
            return Ok(WindowedExample { windows: Vec::new(), lost_tokens: tokens, truncated_answers: 1 });
        }
        let gold = example.gold.as_ref().filter(|_| parts.len() == 1);
        let read: usize = words.iter().map(|word| word.len().min(room)).sum();
        let windows = parts.into_iter().map(|part| self.window(&words, part, room, gold, tokenizer)).collect();
        Ok(WindowedExample { windows, lost_tokens: tokens - read, truncated_answers: 0 })
    }

    fn window(
        &self,
        words: &[Vec<Piece>],
        part: Range<usize>,
        room: usize,
        gold: Option<&Gold>,
        tokenizer: &Tokenizer,
    ) -> Features {
        let own = words.get(part.clone()).unwrap_or(&[]);
        let read = |word: &[Piece]| word.get(..room).unwrap_or(word).to_vec();
        let pieces: Vec<Piece> = own.iter().flat_map(|word| read(word)).collect();
        let TokenSequence { ids, types, texts: [text] } = tokenizer.single().window([&pieces]);
        let mut spans = vec![None; ids.len()];
        let mut ranges = vec![(0, 1)];
        let mut at = text.start;
        for (word, pieces) in part.zip(own) {
            if let Some(span) = spans.get_mut(at) {
                *span = Some((word, word + 1));
            }
            let end = at + pieces.len().min(room);
            ranges.push((at as u32, end as u32));
            at = end;
        }
        let count = own.len();
        let heads = |word: usize| (0..=count).filter(move |&head| head != word);
        let pairs = (1..=count).flat_map(|word| heads(word).map(move |head| (word as u32, head as u32))).collect();
        let targets = Targets::Classes(gold.map_or_else(Vec::new, |gold| self.targets(gold)));
        Features { ids, types, spans, ranges, pairs, targets }
    }

    /// The heads of all words, then the relations of all words; [`IGNORE`] for a relation that is not predicted.
    fn targets(&self, gold: &Gold) -> Vec<i64> {
        let heads = gold.heads.iter().map(|&head| head as i64);
        heads.chain(gold.relations.iter().map(|name| self.label(name).map_or(IGNORE, |label| label as i64))).collect()
    }

    /// The tree over all windows of a text.
    pub(super) fn tree(&self, windows: &[Window]) -> Tree {
        let mut all = Tree::default();
        for window in windows {
            let before = all.arcs.len();
            let root = all.arcs.iter().position(|arc| arc.head == 0);
            for mut arc in self.part(window) {
                match (arc.head, root) {
                    (0, None) => {}
                    // No model said so, and none gives it a probability.
                    (0, Some(root)) => arc = Arc { head: root + 1, relation: JOINED.to_owned(), score: 0.0 },
                    (head, _) => arc.head = before + head,
                }
                all.arcs.push(arc);
            }
        }
        all
    }

    /// The tree of one window.
    fn part(&self, window: &Window) -> Vec<Arc> {
        let words = window.features.ranges.len().saturating_sub(1);
        let row = |word: usize, column: usize| window.logits.row((word - 1) * words + column);
        let heads: Vec<Vec<f64>> = (1..=words)
            .map(|word| {
                let logits: Vec<f32> = (0..words).map(|at| row(word, at).first().copied().unwrap_or(0.0)).collect();
                softmax(&logits)
            })
            .collect();
        let probability = |head: usize, word: usize| {
            heads.get(word - 1).and_then(|heads| heads.get(column(word, head))).copied().unwrap_or(0.0)
        };
        let best = best_tree(words, |head, word| probability(head, word).ln());
        let arc = |(word, head): (usize, usize)| {
            let probabilities = softmax(row(word, column(word, head)).get(1..).unwrap_or(&[]));
            let (label, score) = self.best_label(&probabilities, head == 0);
            let relation = self.config.labels.get(label).cloned().unwrap_or_default();
            Arc { head, relation, score: probability(head, word) * score }
        };
        (1..).zip(best).map(arc).collect()
    }

    /// The most probable relation of a word, the first of equals, and how probable it is. The relation `root` is that of the root
    /// and of no other word, where there is such a relation.
    fn best_label(&self, probabilities: &[f64], is_root: bool) -> (usize, f64) {
        let named = |label: usize| {
            let name = self.config.labels.get(label).map_or("", String::as_str);
            universal(name).eq_ignore_ascii_case("root")
        };
        let (any, other) =
            ((0..self.config.labels.len()).any(named), (0..self.config.labels.len()).any(|at| !named(at)));
        let fits = |label: usize| if is_root { !any || named(label) } else { !other || !named(label) };
        let all = probabilities.iter().copied().enumerate().filter(|(label, _)| fits(*label));
        all.reduce(|best, one| if one.1 > best.1 { one } else { best }).unwrap_or((0, 0.0))
    }

    /// The losses of the words of windows that have gold trees: their sum, and how many words there are.
    pub(super) fn losses_of(&self, windows: &[Window]) -> (f64, usize) {
        let (mut sum, mut count) = (0.0, 0);
        for Window { features, logits } in windows {
            let targets = features.targets.classes();
            let words = targets.len() / 2;
            for (word, (&head, &label)) in (1..=words).zip(targets.iter().zip(targets.get(words..).unwrap_or(&[]))) {
                let row = |at: usize| logits.row((word - 1) * words + at);
                let gold = column(word, usize::try_from(head).unwrap_or(0));
                let heads: Vec<f32> = (0..words).filter_map(|at| row(at).first().copied()).collect();
                let of_label = cross_entropy(row(gold).iter().skip(1).copied(), label).unwrap_or(0.0);
                if let Some(of_head) = cross_entropy(heads.iter().copied(), gold as i64) {
                    (sum, count) = (sum + of_head + of_label, count + 1);
                }
            }
        }
        (sum, count)
    }
}

/// The sub-words of each word. One of which the tokenizer makes nothing is read as the unknown token, so that it has a place in
/// the tree.
pub(super) fn words(example: &Parsed, tokenizer: &Tokenizer) -> Result<Vec<Vec<Piece>>> {
    let units = &example.words.units;
    let mut words: Vec<Vec<Piece>> = vec![Vec::new(); example.words.len()];
    for piece in example.words.pieces(tokenizer)? {
        if let Some(word) = units.get(piece.word).and_then(|unit| words.get_mut(unit.word)) {
            word.push(piece);
        }
    }
    let unknown = Piece { id: tokenizer.unknown().unwrap_or(tokenizer.pad), start: 0, end: 0, word: 0, case: 0 };
    words.iter_mut().filter(|word| word.is_empty()).for_each(|word| word.push(unknown));
    Ok(words)
}

/// As many words as fit into so much room, and so on. A word that needs more has a part for itself.
pub(super) fn parts(words: &[Vec<Piece>], room: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let (mut start, mut used) = (0, 0);
    for (at, word) in words.iter().enumerate() {
        let needed = word.len().min(room);
        if used + needed > room {
            parts.push(start..at);
            (start, used) = (at, 0);
        }
        used += needed;
    }
    parts.push(start..words.len());
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::ParsedSentence;
    use crate::error::Place;
    use crate::tasks::{Logits, Task};
    use serde_json::json;
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        Tokenizer::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny-bert/tokenizer.json")).unwrap()
    }

    fn parse(labels: &[&str], max_length: usize) -> Parse {
        Parse::open(json!({ "labels": labels, "max_length": max_length })).unwrap()
    }

    /// Each word hangs from the one before it.
    fn chain(words: &[&str]) -> Parsed {
        Parsed::from_sentence(ParsedSentence {
            place: Place::line("f", 1),
            id: None,
            words: words.iter().map(|&word| word.to_owned()).collect(),
            heads: (0..words.len()).collect(),
            relations: (0..words.len()).map(|at| if at == 0 { "root" } else { "dep" }.to_owned()).collect(),
        })
    }

    #[test]
    fn a_window_has_the_root_the_words_and_every_head_of_each_word() {
        let task = parse(&["root", "dep"], 32);
        // ada | l ##o ##n ... or one: whatever the tokenizer makes of it.
        let example = chain(&["ada", "unity", "\u{e000}", "left"]);
        let encoded = task.encode(&example, &tokenizer(), Purpose::Train).unwrap();
        let [window] = encoded.windows.as_slice() else { unreachable!("one window") };
        assert_eq!((window.ranges[0], window.ranges.len(), encoded.lost_tokens), ((0, 1), 5, 0));
        for pair in window.ranges.windows(2).skip(1) {
            assert_eq!(pair[0].1, pair[1].0, "words stand end to end");
        }
        assert_eq!(window.ids[window.ranges[3].0 as usize], tokenizer().unknown().unwrap(), "no token, but a place");
        let first: Vec<_> = window.pairs.iter().take(8).copied().collect();
        assert_eq!(first, [(1, 0), (1, 2), (1, 3), (1, 4), (2, 0), (2, 1), (2, 3), (2, 4)]);
        assert_eq!(window.pairs.len(), 16);
        assert_eq!(window.targets.classes(), [0, 1, 2, 3, 0, 1, 1, 1]);
        let spans: Vec<_> = window.spans.iter().flatten().collect();
        assert_eq!(spans, [&(0, 1), &(1, 2), &(2, 3), &(3, 4)]);
        for word in 1..=4 {
            let heads: Vec<usize> = (0..4).map(|at| head_of(word, at)).collect();
            assert!(heads.iter().enumerate().all(|(at, &head)| head != word && column(word, head) == at), "{heads:?}");
        }
    }

    #[test]
    fn a_relation_that_is_not_predicted_is_no_target() {
        let task = parse(&["nsubj", "root"], 32);
        let encoded = task.encode(&chain(&["ada", "left"]), &tokenizer(), Purpose::Train).unwrap();
        assert_eq!(encoded.windows[0].targets.classes(), [0, 1, 1, IGNORE]);
    }

    #[test]
    fn what_does_not_fit_is_left_out_of_training_and_parsed_in_parts() {
        let task = parse(&["root", "dep"], 6);
        let example = chain(&["ada", "left", "the", "river", "of", "london"]);
        let trained = task.encode(&example, &tokenizer(), Purpose::Train).unwrap();
        assert_eq!((trained.windows.len(), trained.truncated_answers), (0, 1));
        let windows = task.encode(&example, &tokenizer(), Purpose::Predict).unwrap().windows;
        assert!(windows.len() > 1 && windows.iter().all(|window| window.ids.len() <= 6), "{windows:?}");
        assert!(windows.iter().all(|window| window.targets.count() == 0));
        // All logits are equal: each part is a tree, and so is the whole.
        let logits = |window: &Features| Logits::new(vec![0.0; 3 * window.pairs.len()], 3);
        let windows: Vec<Window> =
            windows.into_iter().map(|features| Window { logits: logits(&features), features }).collect();
        let Tree { arcs } = task.tree(&windows);
        assert_eq!((arcs.len(), arcs.iter().filter(|arc| arc.head == 0).count()), (6, 1));
        assert_eq!(arcs.iter().filter(|arc| arc.relation == JOINED).count(), windows.len() - 1);
        // A word of more tokens than a window is read as far as it goes.
        let long = chain(&["ada", &"xyzzy".repeat(20), "left"]);
        let windows = task.encode(&long, &tokenizer(), Purpose::Predict).unwrap();
        assert!(windows.lost_tokens > 0 && windows.windows.iter().all(|window| window.ids.len() <= 6));
    }

    #[test]
    fn a_tree_is_decoded_with_the_relation_of_its_heads_and_the_loss_is_that_of_training() {
        let task = parse(&["dep", "nsubj", "root"], 32);
        let mut features =
            task.encode(&chain(&["ada", "left"]), &tokenizer(), Purpose::Train).unwrap().windows.remove(0);
        features.targets = Targets::Classes(vec![2, 0, 1, 2]);
        // Pairs (1, 0) (1, 2) (2, 0) (2, 1). Both words would rather be roots, and the first one more so; the relation `root`
        // would win everywhere.
        let logits =
            Logits::new(vec![3.0, 0.0, 0.0, 9.0, 2.5, 0.0, 1.0, 9.0, 3.0, 0.0, 0.0, 9.0, 0.0, 2.0, 0.0, 9.0], 4);
        let window = Window { features, logits };
        let Tree { arcs } = task.tree(std::slice::from_ref(&window));
        let found: Vec<_> = arcs.iter().map(|arc| (arc.head, arc.relation.as_str())).collect();
        assert_eq!(found, [(2, "nsubj"), (0, "root")]);
        let share = |logits: &[f64], at: usize| logits[at].exp() / logits.iter().map(|logit| logit.exp()).sum::<f64>();
        let heads = [share(&[3.0, 2.5], 1), share(&[3.0, 0.0], 0)];
        let labels = [share(&[0.0, 1.0, 9.0], 1), share(&[0.0, 0.0, 9.0], 2)];
        for ((arc, head), label) in arcs.iter().zip(heads).zip(labels) {
            assert!((arc.score - head * label).abs() < 1e-9);
        }
        let (sum, count) = task.losses_of(&[window]);
        let want: f64 = heads.iter().chain(&labels).map(|share| -share.ln()).sum();
        assert!((sum - want).abs() < 1e-6 && count == 2, "{sum}, {want}");
    }
}
