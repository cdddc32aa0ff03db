//! Entity tags: which are legal, and which scheme a file is in. Heads train on IOB2, so that all others become it.
//!
//! ```text
//!          New   York  Rome  .   Ada     says
//! IOB2     B-LOC I-LOC B-LOC O   B-PER   O       each entity opens with B-
//! IOB1     I-LOC I-LOC B-LOC O   I-PER   O       with I-; B- only parts it from a neighbour of its type
//! IO       I-LOC I-LOC I-LOC O   I-PER   O       neighbours of one type can't be parted
//! BIOES    B-LOC E-LOC S-LOC O   S-PER   O       E- ends an entity, S- is a whole one; M- stands for I- in BMES
//! BILOU    B-LOC L-LOC U-LOC O   U-PER   O       the same with L- and U-
//! ```
//!
//! (Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999; Ratinov and Roth 2009.) The scheme is that of the whole file. Where a
//! file of IOB2 has an `I-x` that continues nothing, its tags stay: strict scoring reads them to the letter, as seqeval does, and
//! only training takes the word as the first of an entity ([`training_tag`]). Illegal places of BIOES and BILOU are read as
//! seqeval's default reads them, and counted.

use std::borrow::Cow;
use std::path::Path;

use super::{Read, Sentence, Skipped, quoted, start_of};
use crate::error::{Error, Place, Result};

/// How a recipe says what class numbers mean.
pub(super) const NAME_THE_NUMBERS: &str =
    "class numbers need names, in their order: data.TASK.tag_names = [\"O\", \"B-PER\", \"I-PER\", ...]";

/// What a tag must look like, for messages.
pub(super) const EXPECTED: &str = "a tag `O`, `B-type` or `I-type`";

/// Whether it is `O`, or a type with the prefix of one of the schemes.
pub(super) fn is_tag(tag: &str) -> bool {
    tag == "O" || parts_of(tag).is_some()
}

/// Refuses what is no tag.
pub(super) fn check_tag(tag: &str, place: impl FnOnce() -> Place) -> Result<()> {
    if is_tag(tag) {
        return Ok(());
    }
    let message = format!("expected {EXPECTED}, found {}", quoted(tag));
    Err(Error::data(message).at(place()).hint(way_out(tag)))
}

/// What may have been meant by something that is no tag.
pub(super) fn way_out(tag: &str) -> String {
    let (prefix, rest) = tag.split_once(['-', '_', ':', '/']).unwrap_or((tag, ""));
    let upper = tag.to_uppercase();
    match tag {
        "0" => format!("a word outside of entities has the letter `O`, and this is a zero; {NAME_THE_NUMBERS}"),
        _ if tag.parse::<f64>().is_ok() => NAME_THE_NUMBERS.to_owned(),
        "B" | "I" | "E" | "S" | "B-" | "I-" | "E-" | "S-" | "L-" | "U-" | "M-" => {
            "an entity needs a type, as in `B-PER`".to_owned()
        }
        "" | "-" | "_" | "OUT" | "NONE" => "a word outside of entities has the tag `O`".to_owned(),
        _ if tag != upper && is_tag(&upper) => format!("in capital letters: `{}`", start_of(&upper)),
        _ if matches!(prefix, "B" | "I" | "E" | "S") && !rest.is_empty() => {
            format!("with a hyphen: `{prefix}-{}`", start_of(rest))
        }
        _ if tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) => {
            let kind = start_of(tag);
            format!(
                "if it is a type, the first word of an entity has `B-{kind}` and those after it `I-{kind}`; if it is \
                 none: is the tag the last column?"
            )
        }
        _ => "is the tag the last column, and does the line not hold a comment?".to_owned(),
    }
}

/// The prefix and the type of an entity's tag; `None` for `O` and anything else.
fn parts_of(tag: &str) -> Option<(char, &str)> {
    let (prefix, kind) = tag.split_once('-')?;
    let mut characters = prefix.chars();
    let prefix = characters.next().filter(|prefix| "BIESLUM".contains(*prefix))?;
    (characters.next().is_none() && !kind.is_empty()).then_some((prefix, kind))
}

/// The type of an entity's tag; `None` for `O` and anything else.
fn kind_of(tag: &str) -> Option<&str> {
    parts_of(tag).map(|(_, kind)| kind)
}

/// The tag that training takes for a word: that of the file, but `B-x` for an `I-x` that continues no `x`.
pub fn training_tag<S: AsRef<str>>(tags: &[S], word: usize) -> Option<Cow<'_, str>> {
    let tag = tags.get(word)?.as_ref();
    let before = word.checked_sub(1).and_then(|before| kind_of(tags.get(before)?.as_ref()));
    Some(match tag.strip_prefix("I-") {
        Some(kind) if !kind.is_empty() && before != Some(kind) => Cow::Owned(format!("B-{kind}")),
        _ => Cow::Borrowed(tag),
    })
}

/// Brings a whole file to IOB2, whichever scheme it is in. Says what was done, and what stands in a file that mixes two.
fn to_iob2(sentences: &mut [Sentence]) -> Result<Option<String>> {
    let first_with = |prefixes: &str| {
        let has = |tag: &String| parts_of(tag).is_some_and(|(prefix, _)| prefixes.contains(prefix));
        let found = |sentence: &&Sentence| sentence.tags.iter().any(has);
        sentences.iter().find(found).map(|sentence| sentence.place.clone())
    };
    match (first_with("ESM"), first_with("LU")) {
        (Some(bioes), Some(bilou)) => Err(Error::data(format!(
            "expected the tags of one scheme, found those of BIOES (the first in the sentence at {bioes}) and of BILOU"
        ))
        .at(bilou)
        .hint("E- and L- are the same, and so are S- and U-: convert one of them")),
        (Some(_), None) => Ok(Some(closed_to_iob2(sentences, "BIOES"))),
        (None, Some(_)) => Ok(Some(closed_to_iob2(sentences, "BILOU"))),
        (None, None) => Ok(opened_to_iob2(sentences)),
    }
}

/// From a scheme that marks the ends of entities.
fn closed_to_iob2(sentences: &mut [Sentence], scheme: &str) -> String {
    let (mut illegal, mut first) = (0_usize, None);
    for sentence in sentences {
        let mut broken = 0;
        // The type of the entity that goes on.
        let mut open: Option<String> = None;
        for tag in &mut sentence.tags {
            let Some((prefix, kind)) = parts_of(tag).map(|(prefix, kind)| (prefix, kind.to_owned())) else {
                broken += usize::from(open.take().is_some());
                continue;
            };
            let opens = matches!(prefix, 'B' | 'S' | 'U');
            let goes_on = !opens && open.as_ref() == Some(&kind);
            // Whether this tag is there, or what should have stood before it is not.
            broken += usize::from(!goes_on && (open.is_some() || !opens));
            *tag = format!("{}-{kind}", if goes_on { 'I' } else { 'B' });
            open = matches!(prefix, 'B' | 'I' | 'M').then_some(kind);
        }
        broken += usize::from(open.is_some());
        if broken > 0 {
            first.get_or_insert_with(|| sentence.place.clone());
        }
        illegal += broken;
    }
    let note = format!("the tags were converted from {scheme} to IOB2");
    match first {
        Some(first) => format!(
            "{note}; {illegal} of them are out of place, such as an end without a beginning (the first in the sentence \
             at {first}): a tag that continues nothing opens an entity"
        ),
        None => note,
    }
}

/// From a scheme that marks beginnings, or nothing.
fn opened_to_iob2(sentences: &mut [Sentence]) -> Option<String> {
    let (mut orphans, mut first, mut opened_with_b, mut has_b) = (0_usize, None, 0_usize, false);
    for sentence in sentences.iter() {
        let mut previous = None;
        for tag in &sentence.tags {
            let kind = kind_of(tag);
            has_b |= tag.starts_with("B-");
            if kind.is_some() && kind != previous {
                match tag.starts_with("I-") {
                    true => {
                        orphans += 1;
                        first.get_or_insert_with(|| sentence.place.clone());
                    }
                    false => opened_with_b += 1,
                }
            }
            previous = kind;
        }
    }
    let first = first?;
    if opened_with_b > 0 {
        return Some(format!(
            "{orphans} entities open with `I-` while {opened_with_b} open with `B-` (the first in the sentence at \
             {first}): training opens them with `B-`; scores take the tags as they stand, so that the strict ones do \
             not count them"
        ));
    }
    for sentence in sentences {
        let tags = (0..sentence.tags.len()).filter_map(|word| training_tag(&sentence.tags, word).map(Cow::into_owned));
        sentence.tags = tags.collect();
    }
    let scheme = if has_b { "IOB1" } else { "IO, which parts no neighbours of one type," };
    Some(format!(
        "the tags were converted from {scheme} to IOB2: {orphans} entities that open with `I-` now open with `B-`"
    ))
}

/// What every reader of sentences does with those it read: tags to IOB2, unusable sentences out, the first `limit`.
///
/// The scheme is decided on the whole file, so that a limit does not change it. What a tokenizer makes nothing of, a reader
/// does not know: a sentence without words is skipped here, any other is the task's to judge.
pub(super) fn finish(file: &Path, found: Read<Sentence>, limit: Option<usize>) -> Result<Read<Sentence>> {
    let Read { examples: mut sentences, mut skipped, mut notes } = found;
    if sentences.is_empty() && skipped.is_empty() {
        return Err(Error::data("expected sentences, found none").at(Place::file(file)));
    }
    notes.extend(to_iob2(&mut sentences)?);
    let mut examples = Vec::new();
    for sentence in sentences {
        if limit.is_some_and(|limit| examples.len() >= limit) {
            break;
        }
        if sentence.words.is_empty() {
            let (example, reason) = (String::new(), "it has no words".to_owned());
            skipped.push(Skipped { place: sentence.place, example, reason });
        } else {
            examples.push(sentence);
        }
    }
    if let (true, Some(first)) = (examples.is_empty() && limit != Some(0), skipped.first()) {
        let message = format!("none of {} sentences can be used; the first: {}", skipped.len(), first.reason);
        return Err(Error::data(message).at(first.place.clone()));
    }
    Ok(Read { examples, skipped, notes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(tags: &[&[&str]]) -> Result<(Vec<Vec<String>>, Option<String>)> {
        let sentence = |tags: &&[&str]| Sentence {
            place: Place::line("f", 1),
            words: tags.iter().map(|_| "w".to_owned()).collect(),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            document: 0,
        };
        let mut sentences: Vec<_> = tags.iter().map(sentence).collect();
        let note = to_iob2(&mut sentences)?;
        Ok((sentences.into_iter().map(|sentence| sentence.tags).collect(), note))
    }

    fn converted(tags: &[&[&str]]) -> (Vec<Vec<String>>, Option<String>) {
        read(tags).unwrap()
    }

    #[test]
    fn bioes_and_bilou_become_iob2() {
        let want = [vec!["B-A", "I-A", "I-A", "O", "B-B"], vec!["B-A", "B-A", "B-B", "I-B"]];
        for (scheme, file) in [
            ("BIOES", [&["B-A", "I-A", "E-A", "O", "S-B"][..], &["S-A", "S-A", "B-B", "E-B"]]),
            ("BIOES", [&["B-A", "M-A", "E-A", "O", "S-B"], &["S-A", "S-A", "B-B", "E-B"]]),
            ("BILOU", [&["B-A", "I-A", "L-A", "O", "U-B"], &["U-A", "U-A", "B-B", "L-B"]]),
        ] {
            let (tags, note) = converted(&file);
            assert_eq!(tags, want);
            assert_eq!(note.unwrap(), format!("the tags were converted from {scheme} to IOB2"));
        }
    }

    #[test]
    fn what_is_out_of_place_in_bioes_is_read_as_seqeval_reads_it_and_counted() {
        let rows: &[(&[&str], &[&str], usize)] = &[
            (&["E-A", "O", "S-A"], &["B-A", "O", "B-A"], 1), // an end without a beginning
            (&["B-A", "O", "S-A"], &["B-A", "O", "B-A"], 1), // a beginning without an end
            (&["S-A", "B-A"], &["B-A", "B-A"], 1),           // the same at the end of the sentence
            (&["B-A", "E-B", "S-A"], &["B-A", "B-B", "B-A"], 1), // of another type
            (&["S-A", "I-A", "E-A"], &["B-A", "B-A", "I-A"], 1), // an inside after a whole one
            (&["B-A", "B-A", "E-A"], &["B-A", "B-A", "I-A"], 1), // two beginnings
        ];
        for (tags, want, count) in rows {
            let (found, note) = converted(&[tags]);
            assert_eq!(found, [*want], "{tags:?}");
            let note = note.unwrap();
            assert!(note.contains(&format!("; {count} of them are out of place")) && note.contains("f:1"), "{note}");
        }
    }

    #[test]
    fn a_file_of_bioes_and_bilou_is_refused() {
        let error = read(&[&["S-A", "O"], &["U-A"]]).unwrap_err().to_string();
        assert!(error.contains("those of BIOES") && error.contains("BILOU"), "{error}");
    }

    #[test]
    fn io_becomes_iob2() {
        let (tags, note) = converted(&[&["I-A", "I-A", "I-B", "O"], &["I-B"]]);
        assert_eq!(tags, [vec!["B-A", "I-A", "B-B", "O"], vec!["B-B"]]);
        assert!(note.unwrap().contains("from IO, which parts no neighbours of one type, to IOB2: 3 entities"));
    }

    #[test]
    fn iob1_becomes_iob2() {
        let (tags, note) = converted(&[&["I-A", "I-A", "B-A", "I-B", "O"], &["I-A", "O", "I-A"]]);
        assert_eq!(tags, [vec!["B-A", "I-A", "B-A", "B-B", "O"], vec!["B-A", "O", "B-A"]]);
        assert!(note.unwrap().contains("from IOB1 to IOB2: 4 entities"));
    }

    #[test]
    fn iob2_stays_as_it_is() {
        let (tags, note) = converted(&[&["B-A", "I-A", "B-A", "B-B", "O"], &["O", "O"]]);
        assert_eq!(tags, [vec!["B-A", "I-A", "B-A", "B-B", "O"], vec!["O", "O"]]);
        assert_eq!(note, None);
    }

    #[test]
    fn a_file_that_mixes_both_schemes_keeps_its_tags_and_says_how_many_are_orphans() {
        let (tags, note) = converted(&[&["B-A", "I-B", "O"], &["I-A", "I-A"]]);
        assert_eq!(tags, [vec!["B-A", "I-B", "O"], vec!["I-A", "I-A"]]);
        let note = note.unwrap();
        assert!(note.contains("2 entities open with `I-` while 1 open with `B-`") && note.contains("f:1"), "{note}");
        assert!(note.contains("scores take the tags as they stand"), "{note}");
    }

    #[test]
    fn training_opens_with_b_what_continues_nothing() {
        let tags = ["I-A", "I-A", "B-A", "I-B", "O", "I-B", "I-B-C"];
        let trained: Vec<_> = (0..tags.len()).filter_map(|word| training_tag(&tags, word)).collect();
        assert_eq!(trained, ["B-A", "I-A", "B-A", "B-B", "O", "B-B", "B-B-C"]);
        assert_eq!(training_tag(&tags, tags.len()), None);
    }

    #[test]
    fn a_wrong_tag_has_the_hint_that_fits_it() {
        for (tag, hint) in [
            ("0", "this is a zero"),
            ("7", "data.TASK.tag_names"),
            ("o", "in capital letters: `O`"),
            ("b-per", "in capital letters: `B-PER`"),
            ("S_ORG", "with a hyphen: `S-ORG`"),
            ("B_ORG", "with a hyphen: `B-ORG`"),
            ("I", "needs a type"),
            ("_", "has the tag `O`"),
            ("PER", "`B-PER` and those after it `I-PER`"),
            ("(x", "is the tag the last column"),
        ] {
            assert!(way_out(tag).contains(hint), "{tag}: {}", way_out(tag));
        }
    }
}
