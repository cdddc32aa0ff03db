//! Two parts of a text, and the ways in which people mark them.
//!
//! ```text
//! in the text   The <e1>fire</e1> was caused by the <e2>bombs</e2>.
//! by offsets    {"text": "...", "head": {"start": 4, "end": 8}, "tail": {"start": 27, "end": 32}}      or `e1` and `e2`
//! ```
//!
//! White space at the ends of a part is no part of it.

use crate::data::quoted;
use crate::data::spans::{COUNTED, part_of, trimmed};
use crate::error::{Error, Result};
use crate::text::offsets::OffsetUnit;
use serde_json::{Map, Value, json};
use std::ops::Range;

/// A text with two parts of it, in bytes. They hold more than white space, and may share characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marked {
    /// The text without marks.
    pub text: String,
    /// The first part.
    pub first: Range<usize>,
    /// The second part.
    pub second: Range<usize>,
}

/// The marks of the first part, then of the second: where each begins and ends.
const MARKS: [[&str; 2]; 2] = [["<e1>", "</e1>"], ["<e2>", "</e2>"]];
/// The names of the first part and of the second where they are given by offsets.
const NAMES: [[&str; 2]; 2] = [["head", "tail"], ["e1", "e2"]];
const HINT: &str = "mark both parts, as in `The <e1>fire</e1> was caused by the <e2>bombs</e2>.`";

impl Marked {
    /// Reads the marks in a text.
    ///
    /// # Errors
    /// A mark is missing, comes twice or before the one that opens it, the parts cross, or one is blank.
    pub fn read(marked: &str) -> Result<Self> {
        let fault = |found: String| {
            Error::data(format!("expected <e1>...</e1> and <e2>...</e2> around two parts, found {found}")).hint(HINT)
        };
        let mut places = [[0; 2]; 2];
        for (marks, places) in MARKS.iter().zip(&mut places) {
            for (mark, place) in marks.iter().zip(places.iter_mut()) {
                let mut all = marked.match_indices(mark).map(|(at, _)| at);
                *place = all.next().ok_or_else(|| fault(format!("no `{mark}` in {}", quoted(marked))))?;
                if all.next().is_some() {
                    return Err(fault(format!("`{mark}` twice")));
                }
            }
            if places[1] < places[0] {
                return Err(fault(format!("`{}` before `{}`", marks[1], marks[0])));
            }
        }
        let [first, second] = places;
        let inside = |at: usize, of: [usize; 2]| of[0] < at && at < of[1];
        if inside(first[0], second) != inside(first[1], second) {
            return Err(fault("parts that cross: one begins in the other and ends behind it".to_owned()));
        }
        let mut text = String::with_capacity(marked.len());
        let mut order: Vec<(usize, &str)> =
            MARKS.iter().flatten().zip(places.iter().flatten()).map(|(mark, at)| (*at, *mark)).collect();
        order.sort_unstable();
        let mut from = 0;
        for (at, mark) in &order {
            text += marked.get(from..*at).unwrap_or("");
            from = at + mark.len();
        }
        text += marked.get(from..).unwrap_or("");
        // Every mark that stands before a place moves it to the left.
        let moved =
            |at: usize| at - order.iter().filter(|(other, _)| *other < at).map(|(_, mark)| mark.len()).sum::<usize>();
        let part = |[start, end]: [usize; 2], [open, close]: [&str; 2]| {
            let range = trimmed(&text, moved(start)..moved(end));
            if range.is_empty() { Err(fault(format!("nothing between `{open}` and `{close}`"))) } else { Ok(range) }
        };
        let (first, second) = (part(first, MARKS[0])?, part(second, MARKS[1])?);
        Ok(Self { text, first, second })
    }

    /// The parts that a JSON object gives of this text: by offsets that count `unit`, or, where it gives none, by the marks in it.
    ///
    /// # Errors
    /// One of the parts is missing or no part of the text: it begins at or behind its end, ends beyond the text, cuts a character,
    /// is blank, or is not the text that the object says.
    pub fn of_json(text: &str, object: &Map<String, Value>, unit: OffsetUnit) -> Result<Self> {
        let given = |name: &str| object.get(name).filter(|value| !value.is_null());
        let named = NAMES.iter().find(|names| names.iter().any(|name| given(name).is_some()));
        let Some([first, second]) = named else { return Self::read(text) };
        let part = |name: &str, other: &str| {
            let Some(value) = given(name) else {
                return Err(Error::data(format!("expected `{name}` beside `{other}`, found nothing")).hint(format!(
                    "{}: both parts have a start and an end",
                    json!({ other: { "start": 0, "end": 3 } })
                )));
            };
            let Value::Object(value) = value else {
                let found = quoted(&value.to_string());
                return Err(Error::data(format!("expected {{\"start\": 0, \"end\": 3}} as `{name}`, found {found}")));
            };
            let end = |field: &str| {
                let number = value.get(field).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
                number.ok_or_else(|| {
                    let found = value.get(field).map_or("nothing".to_owned(), |value| quoted(&value.to_string()));
                    Error::data(format!("expected a whole number from 0 as `{name}.{field}`, found {found}"))
                })
            };
            let said = ["text", "name"].iter().find_map(|field| value.get(*field)?.as_str());
            part_of(text, [end("start")?, end("end")?], said, unit)
                .map_err(|why| Error::data(format!("expected a part of the text as `{name}`: {why}")).hint(COUNTED))
        };
        Ok(Self { text: text.to_owned(), first: part(first, second)?, second: part(second, first)? })
    }

    /// The text with its marks; what [`Self::read`] takes where the parts do not cross.
    pub fn write(&self) -> String {
        marked(&self.text, [&self.first, &self.second])
    }
}

/// A text with marks around two parts of it.
pub(super) fn marked(text: &str, parts: [&Range<usize>; 2]) -> String {
    let mut order: Vec<([usize; 4], &str)> = Vec::new();
    for (number, (part, [open, close])) in parts.iter().zip(MARKS).enumerate() {
        // At one place parts end before others begin, the inner one first, and the outer one begins first.
        order.push(([part.start, 1, text.len() - part.end, number], open));
        order.push(([part.end, 0, text.len() - part.start, MARKS.len() - number], close));
    }
    order.sort_unstable();
    let (mut written, mut from) = (String::with_capacity(text.len() + 18), 0);
    for ([at, ..], mark) in order {
        written += text.get(from..at).unwrap_or("");
        written += mark;
        from = at;
    }
    written + text.get(from..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parts(marked: &Marked) -> [&str; 2] {
        [&marked.text[marked.first.clone()], &marked.text[marked.second.clone()]]
    }

    #[test]
    fn marks_are_read_in_any_order_and_inside_of_each_other() {
        for (marked, text, want) in [
            ("The <e1>fire</e1> of <e2> bombs </e2>.", "The fire of  bombs .", ["fire", "bombs"]),
            ("<e2>é</e2><e1>東</e1>", "é東", ["東", "é"]),
            ("<e1>University of <e2>London</e2></e1>", "University of London", ["University of London", "London"]),
            ("<e2><e1>a</e1> b</e2>", "a b", ["a", "a b"]),
        ] {
            let read = Marked::read(marked).unwrap();
            assert_eq!((read.text.as_str(), parts(&read)), (text, want), "{marked}");
            assert_eq!(Marked::read(&read.write()).unwrap(), read);
        }
    }

    #[test]
    fn marks_that_do_not_fit_are_refused_with_what_was_found() {
        for (marked, found) in [
            ("no marks", "no `<e1>` in `no marks`"),
            ("<e1>a</e1> <e2>b", "no `</e2>`"),
            ("<e1>a</e1> <e2>b</e2> <e1>", "`<e1>` twice"),
            ("</e1>a<e1> <e2>b</e2>", "`</e1>` before `<e1>`"),
            ("<e1>a <e2>b</e1> c</e2>", "parts that cross"),
            ("<e2>a <e1>b</e2> c</e1>", "parts that cross"),
            ("<e1> </e1> <e2>b</e2>", "nothing between `<e1>` and `</e1>`"),
            ("<e1>a</e1> <e2></e2>", "nothing between `<e2>` and `</e2>`"),
        ] {
            let error = Marked::read(marked).unwrap_err().to_string();
            assert!(error.contains(found) && error.starts_with("expected <e1>...</e1> and <e2>...</e2>"), "{error}");
        }
    }

    #[test]
    fn offsets_count_what_was_said_and_are_held_to_the_text() {
        let text = "né 👩‍🚀 in 東京";
        let object = |first: [usize; 2], second: [usize; 2]| {
            let end = |[start, end]: [usize; 2]| json!({ "start": start, "end": end });
            json!({ "head": end(first), "tail": end(second) }).as_object().unwrap().clone()
        };
        for (unit, first, second) in [
            (OffsetUnit::Char, [0, 3], [10, 12]),
            (OffsetUnit::Byte, [0, 4], [19, 25]),
            (OffsetUnit::Utf16, [0, 3], [12, 14]),
        ] {
            let read = Marked::of_json(text, &object(first, second), unit).unwrap();
            assert_eq!(parts(&read), ["né", "東京"], "{unit:?}");
        }
        for (first, unit, said) in [
            (
                [0, 13],
                OffsetUnit::Char,
                "expected a part of the text as `head`: an end up to 12, where the text ends; found 13",
            ),
            ([2, 2], OffsetUnit::Char, "expected a part of the text as `head`: a start before its end, found 2 and 2"),
            ([3, 1], OffsetUnit::Char, "expected a part of the text as `head`: a start before its end, found 3 and 1"),
            ([2, 3], OffsetUnit::Char, "expected a part of the text as `head`: more than white space from 2 to 3"),
            (
                [0, 2],
                OffsetUnit::Byte,
                "expected a part of the text as `head`: an end between two characters, found 2, which cuts one",
            ),
            (
                [4, 6],
                OffsetUnit::Utf16,
                "expected a part of the text as `head`: a start between two characters, found 4, which cuts one",
            ),
        ] {
            let error = Marked::of_json(text, &object(first, [0, 1]), unit).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(text in "[ -;=-~é東]{2,30}", ends in prop::array::uniform4(any::<prop::sample::Index>())) {
            let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mut ends = ends.map(|end| *end.get(&boundaries));
            ends.sort_unstable();
            let part = |start, end| trimmed(&text, start..end);
            // Beside each other, or one inside of the other.
            for (first, second) in [
                (part(ends[0], ends[1]), part(ends[2], ends[3])),
                (part(ends[2], ends[3]), part(ends[0], ends[1])),
                (part(ends[0], ends[3]), part(ends[1], ends[2])),
                (part(ends[1], ends[2]), part(ends[0], ends[3])),
            ] {
                if !first.is_empty() && !second.is_empty() {
                    let made = Marked { text: text.clone(), first, second };
                    prop_assert_eq!(Marked::read(&made.write()).unwrap(), made);
                }
            }
        }
    }
}
