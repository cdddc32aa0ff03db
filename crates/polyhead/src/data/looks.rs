//! What a file looks like that no reader takes: named, with the way to a form that is read.
//!
//! Only its beginning is looked at, and only after something has failed. Exports of annotation tools differ from version
//! to version, so that a look is a guess, and says so.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;

use crate::error::Error;

/// So much of the beginning tells what a file is.
const BEGINNING: u64 = 64 << 10;
/// Lines that must have as many commas for a table of values.
const ROWS: usize = 5;

/// What a file looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Like {
    /// With its article.
    pub what: &'static str,
    /// How it comes to a form that is read.
    pub way_out: &'static str,
}

const ENTITIES_BY_LINE: &str = "write an object a line, with the extension .jsonl: {\"text\": \"Ada left.\", \
     \"entities\": [{\"type\": \"PER\", \"start\": 0, \"end\": 3}]}";
const ONE_A_LINE: &str = "write an object a line, with the extension .jsonl: jq -c '.[]' FILE > FILE.jsonl";
const QUESTION_A_LINE: &str = "write a question a line, with the extension .jsonl: {\"question\": \"Who?\", \
     \"context\": \"Ada did.\", \"answers\": [{\"text\": \"Ada\", \"answer_start\": 0}]}";

const LABEL_STUDIO: Like = Like {
    what: "a Label Studio export",
    way_out: "its exports JSON and JSON-MIN are read with the extension .json: spans, choices, and of JSON relations; for questions write SQuAD JSON",
};
const SPANS: &str =
    "it is read as sentences with entities, with the extension .json, or .jsonl where each line is a record";
const SPACY: Like = Like { what: "training data of spaCy", way_out: SPANS };
const DOCCANO: Like = Like { what: "a doccano export (`text` and `label`)", way_out: SPANS };
const PRODIGY: Like = Like { what: "annotations of Prodigy", way_out: SPANS };
const SQUAD: Like =
    Like { what: "SQuAD JSON, which holds questions", way_out: "SQuAD JSON is data of a task of kind qa" };
pub(super) const LINES: Like =
    Like { what: "JSON Lines (an object a line)", way_out: "give the file the extension .jsonl" };
const ARRAY: Like = Like { what: "a JSON array of objects", way_out: ONE_A_LINE };
const FLAT: Like = Like {
    what: "a list of questions under `data`, without SQuAD's `paragraphs`",
    way_out: "write a question a line, with the extension .jsonl: jq -c '.data[]' FILE > FILE.jsonl",
};
const CSV_OF_WORDS: Like = Like {
    what: "comma-separated values (CSV)",
    way_out: "give the file the extension .csv; in other files tabs or spaces separate columns, and a blank line ends a sentence",
};
const CSV_OF_QUESTIONS: Like = Like { what: "comma-separated values (CSV)", way_out: QUESTION_A_LINE };
const MARKUP: Like = Like { what: "XML or HTML", way_out: ENTITIES_BY_LINE };
const PYTHON: Like = Like { what: "Python source, as spaCy's `TRAIN_DATA`", way_out: ENTITIES_BY_LINE };
const BRAT: Like = Like { what: "annotations of brat (.ann)", way_out: ENTITIES_BY_LINE };

impl Like {
    /// The error that stands for the one of a reader.
    pub(super) fn instead_of(self, expected: &str) -> Error {
        Error::data(format!("expected {expected}; found what looks like {}", self.what)).hint(self.way_out)
    }
}

/// What the file looks like, if that can be said.
pub(super) fn like(file: &Path) -> Option<Like> {
    let mut bytes = Vec::new();
    super::open::open(file).ok()?.take(BEGINNING).read_to_end(&mut bytes).ok()?;
    like_text(&String::from_utf8_lossy(&bytes))
}

/// The same of the beginning of a text.
pub(super) fn like_text(text: &str) -> Option<Like> {
    let text = text.trim_start_matches('\u{FEFF}').trim_start();
    match text.chars().next()? {
        '{' | '[' => like_json(text),
        '<' => Some(MARKUP),
        'T' if text.starts_with("T1\t") => Some(BRAT),
        _ if text.lines().take(20).any(|line| line.trim_start().starts_with("TRAIN_DATA")) => Some(PYTHON),
        _ => like_table(text),
    }
}

/// The annotation tool that a file comes from, if its beginning tells: the names of fields that only it has, and the form of spans.
pub fn tool_of(file: &Path) -> Option<&'static str> {
    match like(file)? {
        LABEL_STUDIO => Some("Label Studio"),
        SPACY => Some("spaCy"),
        PRODIGY => Some("Prodigy"),
        DOCCANO => Some("doccano"),
        BRAT => Some("brat"),
        _ => None,
    }
}

/// A file of questions, where sentences are expected.
pub(super) fn of_questions(text: &str) -> Option<Like> {
    let end = (0..=text.len().min(BEGINNING as usize)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    like_text(text.get(..end).unwrap_or("")).filter(|like| [SQUAD, FLAT].contains(like))
}

fn like_table(text: &str) -> Option<Like> {
    let rows: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).take(ROWS).collect();
    let separated = |mark: char| {
        let counts: BTreeSet<usize> = rows.iter().map(|row| row.matches(mark).count()).collect();
        rows.len() > 1 && counts.first().is_some_and(|least| *least > 0) && counts.len() == 1
    };
    let header = rows.first()?.to_lowercase();
    let known = ["word", "token", "tag", "label", "sentence"].iter().any(|name| header.contains(name));
    match separated(',') || separated(';') {
        _ if header.contains("question") && header.contains("context") => Some(CSV_OF_QUESTIONS),
        true if known || !rows.iter().any(|row| row.contains('\t')) => Some(CSV_OF_WORDS),
        // A quoted text with commas of its own has them in any number.
        false if known && header.contains(',') => Some(CSV_OF_WORDS),
        _ => None,
    }
}

fn like_json(text: &str) -> Option<Like> {
    let keys = keys(text);
    let has = |name: &str| keys.contains(name);
    let array = text.starts_with('[');
    // Objects that begin a line, each after another that ended.
    let by_line =
        text.lines().take(2).filter(|line| line.starts_with('{') && line.trim_end().ends_with('}')).count() == 2;
    match () {
        () if has("from_name")
            || has("annotation_id")
            || has("completions")
            || has("annotator") && has("lead_time") =>
        {
            Some(LABEL_STUDIO)
        }
        () if array && has("annotations") && has("data") => Some(LABEL_STUDIO),
        () if has("_input_hash") || has("spans") && has("answer") && has("text") => Some(PRODIGY),
        () if has("paragraphs") && has("qas") => Some(SQUAD),
        () if has("classes") && has("annotations") || array && has("paragraphs") && has("sentences") => Some(SPACY),
        () if array && has("entities") && !has("text") => Some(SPACY),
        () if has("entities") && has("text") && spans_are_lists(text, "entities") => Some(SPACY),
        () if has("ents") && has("text") => Some(SPACY),
        () if has("start_offset") && has("text") => Some(DOCCANO),
        () if ["label", "labels"].iter().any(|name| has("text") && spans_are_lists(text, name)) => Some(DOCCANO),
        () if by_line => Some(LINES),
        () if array && keys.is_empty() => None,
        () if array => Some(ARRAY),
        () if has("data") && has("question") => Some(FLAT),
        () if has("words") || has("tokens") || has("question") && has("context") => Some(LINES),
        () => None,
    }
}

/// Whether the first list of this name that holds anything holds lists, of numbers and a name.
fn spans_are_lists(text: &str, name: &str) -> bool {
    let key = format!("\"{name}\"");
    let lists = text.split(&key).skip(1).map(|after| {
        let mut marks = after.chars().filter(|c| !c.is_whitespace());
        (marks.next(), marks.next(), marks.next())
    });
    let mut lists =
        lists.filter(|(colon, open, first)| (*colon, *open) == (Some(':'), Some('[')) && *first != Some(']'));
    matches!(lists.next(), Some((_, _, Some('[' | '('))))
}

/// The keys of the objects at the beginning of a JSON text, however it goes on.
fn keys(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('"') {
        let mut escaped = false;
        let end = after.find(|c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some((string, tail)) = end.and_then(|end| Some((after.get(..end)?, after.get(end + 1..)?))) else { break };
        if tail.trim_start().starts_with(':') {
            found.insert(string);
        }
        rest = tail;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_of_other_tools_are_named() {
        for (text, expected) in [
            (
                r#"[{"id": 1, "annotations": [{"result": [{"from_name": "label", "value": {}}]}], "data": {}}]"#,
                Some(LABEL_STUDIO),
            ),
            (r#"[{"text": "a", "label": [{"start": 0, "labels": ["X"]}], "annotation_id": 1}]"#, Some(LABEL_STUDIO)),
            (r#"[["Ada left", {"entities": [[0, 3, "PER"]]}]]"#, Some(SPACY)),
            (r#"{"classes": ["PER"], "annotations": [["Ada", {"entities": []}]]}"#, Some(SPACY)),
            ("{\"text\": \"Ada\", \"entities\": [[0, 3, \"PER\"]]}\n", Some(SPACY)),
            ("{\"id\": 1, \"text\": \"Ada\", \"label\": [[0, 3, \"PER\"]]}\n", Some(DOCCANO)),
            (
                "{\"text\": \"a\", \"label\": [], \"id\": 1}\n{\"text\": \"Ada\", \"label\": [[0, 3, \"PER\"]]}\n",
                Some(DOCCANO),
            ),
            ("{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \"b\", \"label\": \"y\"}\n", Some(LINES)),
            ("{\"text\": \"a\", \"spans\": [], \"answer\": \"accept\"}\n", Some(PRODIGY)),
            ("{\"text\": \"a\", \"entities\": [{\"id\": 1, \"start_offset\": 0}], \"relations\": []}\n", Some(DOCCANO)),
            ("{\"words\": [\"a\"]}\n{\"words\": [\"b\"]}\n", Some(LINES)),
            ("{\"tokens\": [\"a\"], \"ner_tags\": [0]}\n", Some(LINES)),
            ("{\"question\": \"q\", \"context\": \"c\"}\n", Some(LINES)),
            (r#"[{"question": "q", "context": "c"}]"#, Some(ARRAY)),
            (r#"{"data": [{"question": "q", "context": "c"}]}"#, Some(FLAT)),
            (r#"{"data": [{"paragraphs": [{"qas": []}]}]}"#, Some(SQUAD)),
            ("Sentence #,Word,POS,Tag\nSentence: 1,Ada,NNP,B-PER\n,left,VBD,O\n", Some(CSV_OF_WORDS)),
            ("word;tag\nAda;B-PER\n", Some(CSV_OF_WORDS)),
            ("id,question,context,answer\n1,\"Who, then?\",\"a, b\",a\n", Some(CSV_OF_QUESTIONS)),
            ("<text><PER>Ada</PER></text>", Some(MARKUP)),
            ("import spacy\nTRAIN_DATA = [\n", Some(PYTHON)),
            ("T1\tPER 0 3\tAda\n", Some(BRAT)),
            ("Ada B-PER\nleft O\n", None),
            ("Ada\n, O\n", None),
            ("[1, 2]", None),
            ("{\"version\": \"1.1\"}", None),
            ("", None),
        ] {
            assert_eq!(like_text(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_are_found_in_a_text_that_breaks_off() {
        let found = keys(r#"{"a": "b: \" c", "d\"e": {"f": ["g", {"h": 1}], "i"#);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "d\\\"e", "f", "h"]);
    }
}
