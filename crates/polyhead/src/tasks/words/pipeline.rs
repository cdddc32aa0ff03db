//! Token classification as Hugging Face's inference API has it.
//!
//! ```text
//! "Ada was here" -> [{"entity_group": "PER", "score": 0.98, "word": "Ada", "start": 0, "end": 3}]
//! ```
//!
//! Left to itself it labels whole words, as the task was trained and is measured: a task says how ([`WholeWords`]). Where a
//! request names a strategy, the labels of sub-words become entities by the rules of transformers' `TokenClassificationPipeline`
//! (`fixtures/pipelines.py` holds us to it), with four differences:
//!
//! - `word` is the slice of the text, where transformers puts sub-words together and loses case, accents and spaces;
//! - a slice keeps combining marks that the tokenizer drops after its last letter;
//! - the label `O` and a type that is called `O` are two things, which transformers brings together;
//! - a text too long for one window is read in overlapping ones, whatever the strategy. Each sub-word is labelled once,
//!   from the window where it has most context on both sides (the first of equals), and then the text is grouped as a
//!   whole. transformers groups each window alone and then picks among the entities that overlap.

use super::{Lengths, OUTSIDE, Words, rows_with_most_context, without_prefix};
use crate::batch::Features;
use crate::error::{Error, Place, Result};
use crate::tasks::{Alone, PipelineApi, Query, Window, found, softmax, top, within};
use crate::text::offsets::{OffsetUnit, Offsets, slice};
use crate::text::{Piece, TokenSequence, Tokenizer, windows};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// What a server shows of it.
pub const API: PipelineApi = PipelineApi {
    name: "token-classification",
    input: |generator| generator.subschema_for::<Input>(),
    parameters: |generator| generator.subschema_for::<Parameters>(),
    output: |generator| generator.subschema_for::<Output>(),
    alone: Alone::Bare,
};

/// The text.
#[derive(JsonSchema)]
#[allow(dead_code)] // Its schema is what it is for.
#[schemars(rename = "TokenClassificationInput")]
struct Input(String);

/// How token classification answers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "TokenClassificationParameters")]
struct Parameters {
    /// How the labels of sub-words become entities. Left out, whole words are labelled, as the task was trained.
    aggregation_strategy: Option<Strategy>,
    /// Types (with the strategy `none`: labels) that are left out of the answer; `["O"]` if not given. `O` names the label
    /// of what belongs to no entity, and never a type of that name. An answer without a strategy holds entities alone, so
    /// that an empty list adds nothing to it.
    ignore_labels: Option<Vec<String>>,
    /// Tokens that neighbouring windows of a long text share, at most three quarters of a window: the task's own if
    /// not given.
    stride: Option<usize>,
    /// What `start` and `end` count: characters (Unicode code points) if not given.
    offset_unit: Option<OffsetUnit>,
}

/// How the labels of sub-words become entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "TokenClassificationStrategy")]
enum Strategy {
    /// They do not: each sub-word is returned with its label.
    None,
    /// Neighbouring sub-words of one type are an entity.
    Simple,
    /// A word has the label of its first sub-word.
    First,
    /// A word has the label that is most probable on average over its sub-words.
    Average,
    /// A word has the label of its surest sub-word.
    Max,
}

/// The entities, or with the strategy `none` the sub-words, in the order of the text.
#[derive(JsonSchema)]
#[allow(dead_code)] // Its schema is what it is for.
#[schemars(rename = "TokenClassificationOutput")]
struct Output(Vec<Item>);

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "TokenClassificationItem")]
enum Item {
    Entity(Group),
    Token(Token),
}

/// An entity.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenClassificationEntity")]
struct Group {
    /// Its type.
    entity_group: String,
    /// The mean probability of the labels that it is made of.
    score: f64,
    /// The part of the text between `start` and `end`.
    word: String,
    /// Where it starts in the text.
    start: usize,
    /// Where it ends.
    end: usize,
}

/// A sub-word with its label.
#[derive(Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TokenClassificationToken")]
struct Token {
    /// The label.
    entity: String,
    /// Which token of the text it is, counted from 1.
    index: usize,
    /// The label's probability.
    score: f64,
    /// The part of the text between `start` and `end`.
    word: String,
    /// Where it starts in the text.
    start: usize,
    /// Where it ends.
    end: usize,
}

/// What the API must know of a task that labels words.
pub struct Labelling<'a> {
    /// Its labels, in the order of the outputs.
    pub labels: &'a [String],
    /// How it reads long texts.
    pub lengths: Lengths,
    /// What is answered of a group of sub-words with this label.
    pub shown: fn(&str) -> &str,
}

/// What a task makes of the whole words of a text: the windows to run, and what it finds in the text by their logits.
pub type WholeWords = (Vec<Features>, Box<dyn FnOnce(&[Window]) -> Vec<Spot> + Send>);

/// Whether an input has the form that is taken.
pub fn accepts(input: &Value) -> bool {
    input.is_string()
}

/// Reads a request. `whole` answers where it names no strategy, with windows of these lengths.
pub fn query(
    labelling: &Labelling,
    input: &Value,
    parameters: &Map<String, Value>,
    tokenizer: &Tokenizer,
    whole: impl FnOnce(Words, Lengths) -> Result<WholeWords>,
) -> Result<Query> {
    let &Labelling { labels, lengths, shown } = labelling;
    let Some(text) = input.as_str() else {
        return Err(Error::data(format!("inputs: expected a text, found {}", found(Some(input)))));
    };
    let parameters: Parameters = crate::tasks::parameters(parameters)?;
    let unit = parameters.offset_unit.unwrap_or_default();
    let ignored = parameters.ignore_labels.unwrap_or_else(|| vec!["O".to_owned()]);
    let room = tokenizer.single().room(lengths.max_length, 0)?;
    let stride = match parameters.stride {
        // So that no token is computed more than a few times.
        Some(stride) => within("stride", stride, 0..=room * 3 / 4)?,
        None => lengths.stride,
    };
    let Some(strategy) = parameters.aggregation_strategy else {
        let text = text.to_owned();
        let words = Words::from_text(Place::file("request"), text.clone(), unit);
        let (windows, find) = whole(words, Lengths { stride, ..lengths })?;
        return Ok(Query::new(windows, move |windows| json!(groups(&text, unit, find(windows).into_iter(), &ignored))));
    };
    let (pieces, continues) = tokenizer.text_with_continuations(text)?;
    let ranges = windows::windows(pieces.len(), room, stride);
    let windows = ranges.into_iter().map(|range| window(&pieces, range, tokenizer)).collect();
    let (text, labels) = (text.to_owned(), labels.to_vec());
    Ok(Query::new(windows, move |windows| {
        let tokens = Tokens::new(&pieces, &continues, &labels, windows);
        match strategy {
            Strategy::None => {
                let offsets = Offsets::new(&text, unit);
                let tokens = tokens.each().enumerate().filter(|(_, spot)| !ignored.contains(&spot.label));
                let items = tokens.map(|(at, spot)| {
                    Item::Token(Token {
                        index: at + 1,
                        score: spot.score,
                        word: slice(&text, spot.start, spot.end).to_owned(),
                        start: offsets.at(spot.start),
                        end: offsets.at(spot.end),
                        entity: spot.label,
                    })
                });
                json!(items.collect::<Vec<_>>())
            }
            Strategy::Simple => json!(groups(&text, unit, grouped(tokens.each(), shown), &ignored)),
            Strategy::First | Strategy::Average | Strategy::Max => {
                json!(groups(&text, unit, grouped(tokens.words(strategy), shown), &ignored))
            }
        }
    }))
}

/// One window over the sub-words of running text; a span holds the index of the sub-word.
fn window(pieces: &[Piece], range: std::ops::Range<usize>, tokenizer: &Tokenizer) -> Features {
    let parts = [pieces.get(range.clone()).unwrap_or(&[])];
    let TokenSequence { ids, types, texts: [text] } = tokenizer.single().window(parts);
    let mut spans = vec![None; ids.len()];
    for (span, index) in spans.iter_mut().skip(text.start).zip(range) {
        *span = Some((index, index + 1));
    }
    Features { ids, types, spans, ..Features::default() }
}

/// A part of the text with a label: a sub-word, a word or an entity. Offsets are bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Spot {
    /// Its label; of an entity, its type.
    pub label: String,
    /// Whether the label is the one of what belongs to no entity. A type may be called like it.
    pub outside: bool,
    /// How probable it is.
    pub score: f64,
    /// Where it starts.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// The sub-words of a text, each with the probabilities of its labels.
struct Tokens<'a> {
    pieces: &'a [Piece],
    /// Which go on with the word of the one before.
    continues: &'a [bool],
    labels: &'a [String],
    probabilities: Vec<Vec<f64>>,
}

impl<'a> Tokens<'a> {
    fn new(pieces: &'a [Piece], continues: &'a [bool], labels: &'a [String], windows: &[Window]) -> Self {
        let rows = rows_with_most_context(pieces.len(), windows);
        Self { pieces, continues, labels, probabilities: rows.into_iter().map(softmax).collect() }
    }

    /// The sub-words of a range, labelled by these probabilities.
    fn spot(&self, first: usize, last: usize, probabilities: &[f64]) -> Option<Spot> {
        let (label, score) = top(probabilities)?;
        let label = self.labels.get(label)?.clone();
        let (outside, start, end) = (label == OUTSIDE, self.pieces.get(first)?.start, self.pieces.get(last)?.end);
        Some(Spot { label, outside, score, start, end })
    }

    /// Each sub-word with its label.
    fn each(&self) -> impl Iterator<Item = Spot> {
        self.probabilities.iter().enumerate().filter_map(|(at, row)| self.spot(at, at, row))
    }

    /// Each word with the label that its sub-words agree on.
    fn words(&self, strategy: Strategy) -> impl Iterator<Item = Spot> {
        let mut first = 0;
        std::iter::from_fn(move || {
            let more = self.continues.get(first + 1..)?.iter().take_while(|&&continues| continues).count();
            let rows = self.probabilities.get(first..=first + more)?;
            let spot = match strategy {
                Strategy::Average => {
                    let mut mean = vec![0.0; self.labels.len()];
                    for row in rows {
                        for (mean, probability) in mean.iter_mut().zip(row) {
                            *mean += probability / rows.len() as f64;
                        }
                    }
                    self.spot(first, first + more, &mean)
                }
                Strategy::Max => {
                    let surest = |row: &Vec<f64>| row.iter().copied().fold(0.0, f64::max);
                    // The first of equals.
                    let row = rows.iter().rev().max_by(|a, b| surest(a).total_cmp(&surest(b)))?;
                    self.spot(first, first + more, row)
                }
                _ => self.spot(first, first + more, rows.first()?),
            };
            first += more + 1;
            spot
        })
    }
}

/// Neighbours of one type become one part. `B-` begins another; a label without `B-` or `I-` goes on like `I-`.
fn grouped(spots: impl Iterator<Item = Spot>, shown: fn(&str) -> &str) -> impl Iterator<Item = Spot> {
    let mut spots = spots.peekable();
    std::iter::from_fn(move || {
        let first = spots.next()?;
        let (mut end, mut sum, mut count) = (first.end, first.score, 1);
        let goes_on = |next: &Spot| {
            let same = next.outside == first.outside && without_prefix(&next.label) == without_prefix(&first.label);
            same && !next.label.starts_with("B-")
        };
        while let Some(next) = spots.next_if(goes_on) {
            (end, sum, count) = (next.end, sum + next.score, count + 1);
        }
        let label = shown(&first.label).to_owned();
        Some(Spot { label, outside: first.outside, score: sum / f64::from(count), start: first.start, end })
    })
}

/// What follows the first hyphen of a label, as transformers shows types.
pub fn after_hyphen(label: &str) -> &str {
    label.split_once('-').map_or(label, |(_, kind)| kind)
}

/// Entities as they are answered, without those of ignored types. `O` names what is outside, never a type.
fn groups(text: &str, unit: OffsetUnit, spots: impl Iterator<Item = Spot>, ignored: &[String]) -> Vec<Item> {
    let offsets = Offsets::new(text, unit);
    let item = |spot: Spot| {
        Item::Entity(Group {
            score: spot.score,
            word: slice(text, spot.start, spot.end).to_owned(),
            start: offsets.at(spot.start),
            end: offsets.at(spot.end),
            entity_group: spot.label,
        })
    };
    let ignores = |spot: &Spot| ignored.contains(&spot.label) && (spot.outside || spot.label != OUTSIDE);
    spots.filter(|spot| !ignores(spot)).map(item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 4] = ["O", "B-NAME", "I-NAME", "B-LOC"];

    /// `micro|soft com|pany|s x` with probabilities on which the strategies disagree.
    fn each_way(strategy: Strategy) -> Vec<(String, f64, usize, usize)> {
        let pieces = [(0, 5), (5, 9), (10, 13), (13, 17), (17, 18), (19, 20)];
        let pieces = pieces.map(|(start, end)| Piece { id: 0, start, end, word: 0, case: 0 });
        let continues = [false, true, false, true, true, false];
        let probabilities = vec![
            vec![0.4, 0.6, 0.0, 0.0],
            vec![0.9, 0.0, 0.1, 0.0],
            vec![0.1, 0.2, 0.6, 0.1],
            vec![0.1, 0.0, 0.2, 0.7],
            vec![0.5, 0.0, 0.0, 0.5],
            vec![0.0, 0.0, 1.0, 0.0],
        ];
        let labels = LABELS.map(str::to_owned);
        let tokens = Tokens { pieces: &pieces, continues: &continues, labels: &labels, probabilities };
        let rows = |spots: &mut dyn Iterator<Item = Spot>| {
            spots.map(|spot| (spot.label, (spot.score * 1e6).round() / 1e6, spot.start, spot.end)).collect()
        };
        match strategy {
            Strategy::None => rows(&mut tokens.each()),
            Strategy::Simple => rows(&mut grouped(tokens.each(), after_hyphen)),
            _ => rows(&mut grouped(tokens.words(strategy), after_hyphen)),
        }
    }

    fn want(rows: &[(&str, f64, usize, usize)]) -> Vec<(String, f64, usize, usize)> {
        rows.iter().map(|&(label, score, start, end)| (label.to_owned(), score, start, end)).collect()
    }

    #[test]
    fn each_strategy_settles_words_in_its_own_way() {
        let none = want(&[
            ("B-NAME", 0.6, 0, 5),
            ("O", 0.9, 5, 9),
            ("I-NAME", 0.6, 10, 13),
            ("B-LOC", 0.7, 13, 17),
            // The first of two that are equal.
            ("O", 0.5, 17, 18),
            ("I-NAME", 1.0, 19, 20),
        ]);
        assert_eq!(each_way(Strategy::None), none);
        let simple = want(&[
            ("NAME", 0.6, 0, 5),
            ("O", 0.9, 5, 9),
            ("NAME", 0.6, 10, 13),
            ("LOC", 0.7, 13, 17),
            ("O", 0.5, 17, 18),
            ("NAME", 1.0, 19, 20),
        ]);
        assert_eq!(each_way(Strategy::Simple), simple);
        assert_eq!(each_way(Strategy::First), want(&[("NAME", 0.733333, 0, 20)]));
        let average = want(&[("O", 0.65, 0, 9), ("LOC", 0.433333, 10, 18), ("NAME", 1.0, 19, 20)]);
        assert_eq!(each_way(Strategy::Average), average);
        let max = want(&[("O", 0.9, 0, 9), ("LOC", 0.7, 10, 18), ("NAME", 1.0, 19, 20)]);
        assert_eq!(each_way(Strategy::Max), max);
    }

    #[test]
    fn parts_of_one_type_are_one_until_a_b_begins_another_and_types_keep_their_hyphens() {
        let spot = |(at, label): (usize, &&str)| {
            let (label, outside) = ((*label).to_owned(), *label == OUTSIDE);
            Spot { label, outside, score: 0.5, start: at, end: at + 1 }
        };
        let groups = |labels: &[&str]| -> Vec<(String, usize, usize)> {
            let spots = grouped(labels.iter().enumerate().map(spot), after_hyphen);
            spots.map(|spot| (spot.label, spot.start, spot.end)).collect()
        };
        let parts = |rows: &[(&str, usize, usize)]| -> Vec<(String, usize, usize)> {
            rows.iter().map(|&(label, start, end)| (label.to_owned(), start, end)).collect()
        };
        assert_eq!(groups(&[]), parts(&[]));
        assert_eq!(
            groups(&["B-A", "I-A", "B-A", "I-B", "I-A"]),
            parts(&[("A", 0, 2), ("A", 2, 3), ("B", 3, 4), ("A", 4, 5)])
        );
        assert_eq!(groups(&["I-A", "I-A", "O", "O"]), parts(&[("A", 0, 2), ("O", 2, 4)]));
        assert_eq!(groups(&["B-GEO-CITY", "I-GEO-CITY"]), parts(&[("GEO-CITY", 0, 2)]));
        // A type may be called as what is outside is.
        assert_eq!(
            groups(&["O", "I-O", "O", "B-O", "I-O", "O"]),
            parts(&[("O", 0, 1), ("O", 1, 2), ("O", 2, 3), ("O", 3, 5), ("O", 5, 6)])
        );
        // Without B- and I- the whole label must be the same; what is shown is what follows its first hyphen.
        assert_eq!(groups(&["U-A", "U-A", "A", "I-A"]), parts(&[("A", 0, 2), ("A", 2, 4)]));
    }
}
