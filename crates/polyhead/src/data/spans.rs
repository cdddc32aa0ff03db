//! Entities as spans of a text become a tag for each of its words.
//!
//! ```text
//! "EU rejects", [{ORG, 0, 2}]  ->  EU rejects, B-ORG O
//! ```
//!
//! The words are those that the file gives, or else those that `predict` makes of the text, so that training reads what prediction
//! will. A span that cuts a word is widened to whole words. Of spans that share a word the outermost is kept: the one that begins
//! first, of those that begin together the longest, of equal ones the first of the file. Both are counted, and the first of them
//! listed, in the notes of the file. A span that is no part of the text is an error.

use std::cmp::Reverse;
use std::ops::Range;

use super::quoted;
use crate::error::{Error, Place, Result};
use crate::text::offsets::{OffsetUnit, from_byte, slice, to_byte};
use crate::text::words::words;

/// What offsets are, for hints.
pub(super) const COUNTED: &str =
    "offsets count characters (Unicode code points) from 0, and the end is the first one behind the part";
/// So many changed spans are reported one by one.
const MOST_LISTED: usize = 5;

/// A text with its entities, as a file has them.
#[derive(Debug)]
pub(super) struct Annotated {
    /// The text.
    pub text: String,
    /// Where its words lie, in bytes, in order and apart, where the file says.
    pub words: Option<Vec<Range<usize>>>,
    /// In any order.
    pub entities: Vec<Marked>,
    /// What their offsets count.
    pub unit: OffsetUnit,
}

/// An entity of a text, as a file has it.
#[derive(Debug)]
pub(super) struct Marked {
    /// Where it stands in its example, for messages: `entities[2]`.
    pub name: String,
    /// Its type.
    pub kind: String,
    /// Where it starts in the text.
    pub start: usize,
    /// One past its end.
    pub end: usize,
    /// What stands there, to be checked.
    pub text: Option<String>,
}

/// An entity on the words of its text.
struct Found<'a> {
    marked: &'a Marked,
    /// The words that it holds, wholly or in part.
    words: Range<usize>,
    /// Of the text, in bytes.
    bytes: Range<usize>,
}

/// Makes tags of spans, and remembers what it had to change.
#[derive(Default)]
pub(super) struct Tagger {
    widened: Listed,
    inner: Listed,
    repeated: usize,
}

/// How many there are, and the first of them.
#[derive(Default)]
struct Listed {
    count: usize,
    first: Vec<String>,
}

impl Listed {
    fn push(&mut self, one: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < MOST_LISTED {
            self.first.push(one());
        }
    }

    fn note(&self, what: &str) -> Option<String> {
        let which = if self.first.len() < self.count { "The first" } else { "In order" };
        (self.count > 0).then(|| format!("{what}: {}. {which}: {}", self.count, self.first.join("; ")))
    }
}

impl Tagger {
    /// The words of the text with their tags.
    ///
    /// # Errors
    /// An entity is no part of the text, or not what the file says stands there. Messages begin with its name.
    pub fn tags(&mut self, place: &Place, annotated: &Annotated) -> Result<(Vec<String>, Vec<String>)> {
        let Annotated { text, words: given, entities, unit } = annotated;
        let own = if given.is_none() { words(text) } else { Vec::new() };
        let words = given.as_ref().unwrap_or(&own);
        let places = if entities.is_empty() { Vec::new() } else { boundaries(text, *unit) };
        let mut found =
            entities.iter().map(|marked| found(text, &places, words, marked, *unit)).collect::<Result<Vec<_>>>()?;
        // Stable, so that of equal ones the first of the file comes first.
        found.sort_by_key(|one| (one.words.start, Reverse(one.words.end), one.bytes.start, Reverse(one.bytes.end)));
        let mut tags = vec!["O".to_owned(); words.len()];
        let mut before: Option<&Found> = None;
        for one in &found {
            if let Some(outer) = before.filter(|outer| one.words.start < outer.words.end) {
                match outer.bytes == one.bytes && outer.marked.kind == one.marked.kind {
                    true => self.repeated += 1,
                    false => {
                        self.inner.push(|| format!("{place}, {} beside {}", one.shown(text), outer.shown(text)));
                    }
                }
                continue;
            }
            let all = one.whole(words);
            if all != one.bytes {
                let wide = || quoted(slice(text, all.start, all.end));
                self.widened.push(|| format!("{place}, {} to {}", one.shown(text), wide()));
            }
            for (tag, prefix) in tags
                .iter_mut()
                .take(one.words.end)
                .skip(one.words.start)
                .zip(["B"].into_iter().chain(std::iter::repeat("I")))
            {
                *tag = format!("{prefix}-{}", one.marked.kind);
            }
            before = Some(one);
        }
        Ok((words.iter().map(|word| slice(text, word.start, word.end).to_owned()).collect(), tags))
    }

    /// What was changed, for people.
    pub fn notes(&self) -> Vec<String> {
        let repeated = || format!("entities that are given twice, of which the second was left out: {}", self.repeated);
        let notes = [
            self.widened.note("entities that cut a word and were widened to whole words"),
            self.inner.note("entities that share words with another and were left out, the outermost kept"),
            (self.repeated > 0).then(repeated),
        ];
        notes.into_iter().flatten().collect()
    }
}

impl Found<'_> {
    /// All of its words, in bytes.
    fn whole(&self, words: &[Range<usize>]) -> Range<usize> {
        let first = words.get(self.words.start).map_or(self.bytes.start, |word| word.start);
        first..words.get(self.words.end - 1).map_or(self.bytes.end, |word| word.end)
    }

    /// Its type, its place and its text.
    fn shown(&self, text: &str) -> String {
        let Marked { kind, start, end, .. } = self.marked;
        format!("{} from {start} to {end}, {}", quoted(kind), quoted(slice(text, self.bytes.start, self.bytes.end)))
    }
}

/// Where an entity lies.
fn found<'a>(
    text: &str,
    places: &[Option<usize>],
    words: &[Range<usize>],
    marked: &'a Marked,
    unit: OffsetUnit,
) -> Result<Found<'a>> {
    let Marked { name, kind, start, end, text: said } = marked;
    if kind.trim().is_empty() {
        return Err(Error::data(format!("{name}: expected the type of an entity, found a blank one")));
    }
    let at = |offset: usize| places.get(offset).copied().flatten();
    // A long text has many entities, and counting up to each would read it as often.
    let bytes = match (at(*start), at(*end)) {
        (Some(from), Some(to)) => part_between(text, [*start, *end], from..to, said.as_deref()),
        _ => part_of(text, [*start, *end], said.as_deref(), unit),
    };
    let bytes = bytes.map_err(|why| {
        let error = Error::data(format!("{name}: expected a part of the text: {why}"));
        match said.as_deref().and_then(|said| other_unit(text, marked, said, unit)) {
            Some(unit) => error.hint(format!("in other units it is there: \"offset_unit\": \"{unit}\"")),
            None => error.hint(COUNTED),
        }
    })?;
    let first = words.partition_point(|word| word.end <= bytes.start);
    let behind = words.partition_point(|word| word.start < bytes.end);
    if first >= behind {
        let found = quoted(slice(text, bytes.start, bytes.end));
        return Err(Error::data(format!(
            "{name}: expected one of the text's tokens or more, found {found} between them"
        ))
        .hint("the tokens of an example are its words: all of the text but white space"));
    }
    Ok(Found { marked, words: first..behind, bytes })
}

/// A part of a text between two offsets, which may have to be a certain text, or why there is none. It holds no white space at its
/// ends.
pub(super) fn part_of(
    text: &str,
    [start, end]: [usize; 2],
    said: Option<&str>,
    unit: OffsetUnit,
) -> Result<Range<usize>, String> {
    let byte = |offset: usize, name: &str| {
        to_byte(text, offset, unit).ok_or_else(|| {
            let most = from_byte(text, text.len(), unit);
            match offset > most {
                true => format!("{name} up to {most}, where the text ends; found {offset}"),
                false => format!("{name} between two characters, found {offset}, which cuts one"),
            }
        })
    };
    part_between(text, [start, end], byte(start, "a start")?..byte(end, "an end")?, said)
}

/// The part of a text between two bytes, which has these offsets.
fn part_between(
    text: &str,
    [start, end]: [usize; 2],
    bytes: Range<usize>,
    said: Option<&str>,
) -> Result<Range<usize>, String> {
    if bytes.is_empty() {
        return Err(format!("a start before its end, found {start} and {end}"));
    }
    let found = slice(text, bytes.start, bytes.end);
    if let Some(said) = said.filter(|said| said.trim() != found.trim()) {
        return Err(format!("{} from {start} to {end}, as it says; found {}", quoted(said), quoted(found)));
    }
    let range = trimmed(text, bytes);
    if range.is_empty() { Err(format!("more than white space from {start} to {end}")) } else { Ok(range) }
}

/// The byte at each offset in these units; none inside of a character.
fn boundaries(text: &str, unit: OffsetUnit) -> Vec<Option<usize>> {
    let mut places = Vec::with_capacity(text.len() + 1);
    for (at, c) in text.char_indices() {
        places.push(Some(at));
        let units = match unit {
            OffsetUnit::Byte => c.len_utf8(),
            OffsetUnit::Char => 1,
            OffsetUnit::Utf16 => c.len_utf16(),
        };
        places.extend(std::iter::repeat_n(None, units - 1));
    }
    places.push(Some(text.len()));
    places
}

/// A range without the white space at its ends.
pub(super) fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let part = text.get(range.clone()).unwrap_or("");
    let start = range.start + part.len() - part.trim_start().len();
    start..start + part.trim().len()
}

/// In which other unit the entity stands where it says.
fn other_unit(text: &str, marked: &Marked, said: &str, unit: OffsetUnit) -> Option<&'static str> {
    let others = [(OffsetUnit::Char, "char"), (OffsetUnit::Byte, "byte"), (OffsetUnit::Utf16, "utf16")];
    let holds = |other: OffsetUnit| part_of(text, [marked.start, marked.end], Some(said), other).is_ok();
    others.into_iter().find(|(other, _)| *other != unit && holds(*other)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn marked(kind: &str, start: usize, end: usize, text: Option<&str>) -> Marked {
        Marked { name: "entities[0]".into(), kind: kind.into(), start, end, text: text.map(str::to_owned) }
    }

    fn annotated(text: &str, entities: Vec<Marked>, unit: OffsetUnit) -> Annotated {
        Annotated { text: text.into(), words: None, entities, unit }
    }

    /// The tags, and the notes.
    fn tags(text: &str, entities: Vec<Marked>) -> (String, Vec<String>) {
        let mut tagger = Tagger::default();
        let (_, tags) = tagger.tags(&Place::line("a", 7), &annotated(text, entities, OffsetUnit::Char)).unwrap();
        (tags.join(" "), tagger.notes())
    }

    #[test]
    fn spans_become_tags_in_every_unit() {
        let text = "né 👩‍🚀 Ada's, Rio de Janeiro!";
        for (unit, start) in [(OffsetUnit::Char, 7), (OffsetUnit::Byte, 16), (OffsetUnit::Utf16, 9)] {
            let entities =
                vec![marked("LOC", start + 7, start + 21, None), marked("PER", start, start + 3, Some("Ada"))];
            let mut tagger = Tagger::default();
            let (words, tags) = tagger.tags(&Place::line("a", 1), &annotated(text, entities, unit)).unwrap();
            assert_eq!(words, ["né", "👩‍🚀", "Ada", "'s", ",", "Rio", "de", "Janeiro", "!"]);
            assert_eq!(tags, ["O", "O", "B-PER", "O", "O", "B-LOC", "I-LOC", "I-LOC", "O"], "{unit:?}");
            assert_eq!(tagger.notes(), Vec::<String>::new());
        }
    }

    #[test]
    fn neighbours_of_one_type_stay_apart_and_white_space_around_a_span_is_nothing() {
        let (tags, notes) = tags("Ada Bo", vec![marked("PER", 0, 4, None), marked("PER", 4, 6, None)]);
        assert_eq!((tags.as_str(), notes.len()), ("B-PER B-PER", 0));
    }

    #[test]
    fn a_span_that_cuts_a_word_is_widened_and_said() {
        let (tags, notes) = tags("Adams left New Yorker", vec![marked("PER", 0, 3, None), marked("LOC", 12, 19, None)]);
        assert_eq!(tags, "B-PER O B-LOC I-LOC");
        assert_eq!(
            notes,
            [
                "entities that cut a word and were widened to whole words: 2. In order: a:7, `PER` from 0 to 3, `Ada` to \
              `Adams`; a:7, `LOC` from 12 to 19, `ew York` to `New Yorker`"
            ]
        );
    }

    #[test]
    fn of_spans_that_share_words_the_outermost_is_kept() {
        let text = "Bank of New York Mellon today";
        let whole = || marked("ORG", 0, 23, None);
        for (entities, want, count) in [
            (vec![marked("LOC", 8, 16, None), whole()], "B-ORG I-ORG I-ORG I-ORG I-ORG O", 1),
            // One begins in the other and ends behind it: the one that begins first.
            (vec![marked("LOC", 8, 23, None), marked("ORG", 0, 16, None)], "B-ORG I-ORG I-ORG I-ORG O O", 1),
            // Beginning together: the longer; equal: the first.
            (vec![marked("A", 0, 4, None), whole()], "B-ORG I-ORG I-ORG I-ORG I-ORG O", 1),
            (vec![marked("A", 0, 4, None), marked("B", 0, 4, None)], "B-A O O O O O", 1),
            // What lies in one that is left out is kept.
            (
                vec![marked("A", 0, 7, None), marked("B", 5, 16, None), marked("C", 12, 16, None)],
                "B-A I-A O B-C O O",
                1,
            ),
            (vec![whole(), marked("X", 24, 29, None)], "B-ORG I-ORG I-ORG I-ORG I-ORG B-X", 0),
        ] {
            let (tags, notes) = tags(text, entities);
            assert_eq!(tags, want);
            let said = format!("entities that share words with another and were left out, the outermost kept: {count}");
            assert_eq!(notes.iter().filter(|note| note.starts_with(&said)).count(), count, "{notes:?}");
        }
        let (_, notes) = tags(text, vec![whole(), whole()]);
        assert_eq!(notes, ["entities that are given twice, of which the second was left out: 1"]);
    }

    #[test]
    fn many_changes_are_counted_and_the_first_listed() {
        let entities = (0..9).map(|at| marked("X", 4 * at, 4 * at + 2, None)).collect();
        let (_, notes) = tags(&"abc ".repeat(9), entities);
        assert!(notes[0].contains("whole words: 9. The first: a:7, `X` from 0"), "{notes:?}");
        assert_eq!(notes[0].matches("a:7").count(), MOST_LISTED);
    }

    #[test]
    fn a_span_that_is_no_part_of_the_text_says_why() {
        for (entity, reason, hint) in [
            (marked("LOC", 4, 5, None), "more than white space from 4 to 5", COUNTED),
            (marked("LOC", 5, 4, None), "a start before its end, found 5 and 4", COUNTED),
            (marked("LOC", 5, 5, None), "a start before its end, found 5 and 5", COUNTED),
            (marked("LOC", 5, 99, None), "an end up to 8, where the text ends; found 99", COUNTED),
            (marked(" ", 0, 4, None), "expected the type of an entity, found a blank one", ""),
            (marked("LOC", 0, 4, Some("Bob")), "`Bob` from 0 to 4, as it says; found `Éric`", COUNTED),
            (marked("LOC", 6, 9, Some("Bob")), "found 9", "in other units it is there: \"offset_unit\": \"byte\""),
        ] {
            let one = annotated("Éric Bob", vec![entity], OffsetUnit::Char);
            let error = Tagger::default().tags(&Place::line("a", 1), &one).unwrap_err();
            let found = error.to_string();
            assert!(found.starts_with("entities[0]: expected") && found.contains(reason), "{found}");
            assert_eq!(error.hint_text().unwrap_or(""), hint);
        }
        let mut one = annotated("Éric Bob", vec![marked("LOC", 5, 8, None)], OffsetUnit::Char);
        one.words = Some(vec![0..5, 5..6]);
        let error = Tagger::default().tags(&Place::line("a", 1), &one).unwrap_err().to_string();
        assert!(error.contains("found `Bob` between them"), "{error}");
    }

    proptest! {
        #[test]
        fn the_table_of_places_says_what_counting_says(text in "[a é東👩]{0,9}", offset in 0..40_usize) {
            for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
                let found = boundaries(&text, unit).get(offset).copied().flatten();
                prop_assert_eq!(found, to_byte(&text, offset, unit));
            }
        }

        #[test]
        fn every_word_has_a_tag_and_every_entity_that_stands_alone_is_whole(
            text in "[a-c é東.]{1,20}", ends in prop::collection::vec((0..20_usize, 0..20_usize), 0..5))
        {
            let entities: Vec<Marked> =
                ends.iter().enumerate().map(|(at, (start, end))| marked(&format!("T{at}"), *start, *end, None)).collect();
            let one = annotated(&text, entities, OffsetUnit::Char);
            let mut tagger = Tagger::default();
            if let Ok((words, tags)) = tagger.tags(&Place::line("a", 1), &one) {
                prop_assert_eq!(words.len(), tags.len());
                for (at, (start, end)) in ends.iter().enumerate() {
                    let part: String = text.chars().skip(*start).take(end - start).collect();
                    let has = tags.contains(&format!("B-T{at}"));
                    prop_assert!(!part.trim().is_empty());
                    prop_assert!(has || tagger.inner.count > 0);
                }
                for (before, tag) in tags.iter().zip(tags.iter().skip(1)) {
                    if let Some(kind) = tag.strip_prefix("I-") {
                        prop_assert!(before.ends_with(kind), "{:?}", tags);
                    }
                }
            }
        }
    }
}
