//! Answers as they are printed: a table for people, JSON, columns of words and tags, tab-separated rows.
//!
//! The shape of an answer decides how it is drawn ([`polyhead::tasks::Shape`]), not the kind of its task. Columns come from the
//! `words` and `tags` of a record, or from the words of a tree.

use crate::out::Out;
use crate::table::{Align, Table, decimal};
use polyhead::tasks::answer::{Candidate, Candidates, Edges, Labels, Number, Spans, Tree};
use polyhead::tasks::{Answer, Shape};
use polyhead::{Error, Result};
use serde_json::Value;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A table for people
    Table,
    /// One JSON object a line
    Json,
    /// `word TAG`, a blank line after each text; a tree in CoNLL-U
    Columns,
    /// A row for each thing that was found, with tabs
    Tsv,
}

/// Prints answers one after the other.
pub struct Answers {
    form: Form,
    shape: Shape,
    /// Whether each stands under what was asked: several come.
    titles: Titles,
    written: usize,
}

/// Whether an answer stands under what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Titles {
    /// It does.
    Shown,
    /// It stands alone.
    None,
}

impl Answers {
    /// Nothing printed yet.
    pub fn new(form: Form, shape: Shape, titles: Titles) -> Self {
        Self { form, shape, titles, written: 0 }
    }

    /// Whether words and tags are needed with each answer.
    pub fn wants_records(&self) -> bool {
        self.form == Form::Columns
    }

    /// Prints an answer. `number` stands for its request where that has no `id`.
    pub fn write(&mut self, answer: &Value, title: &str, number: usize, out: &mut Out) -> Result<()> {
        let first = self.written == 0;
        self.written += 1;
        match self.form {
            Form::Json => out.json(answer),
            Form::Columns => columns(self.shape, answer, out),
            Form::Tsv => tsv(self.shape, answer, number, first, out),
            Form::Table => {
                if self.titles == Titles::Shown {
                    if !first {
                        out.line("")?;
                    }
                    out.heading(title)?;
                }
                out.line(drawn(&read(self.shape, answer)?))
            }
        }
    }
}

/// The answer in what a task gave.
fn read(shape: Shape, answer: &Value) -> Result<Answer> {
    shape.read(answer).map_err(|cause| Error::internal(format!("an answer that is not of its shape: {cause}")))
}

/// An answer as people read it.
fn drawn(answer: &Answer) -> String {
    let place = |start: usize, end: usize| format!("{start}..{end}");
    let (left, right) = (Align::Left, Align::Right);
    match answer {
        Answer::Spans(Spans { entities, .. }) if !entities.is_empty() => {
            let mut table = Table::new(&[("type", left), ("text", left), ("characters", right), ("score", right)]);
            for span in entities {
                let (kind, text) = (span.kind.clone(), span.text.clone());
                table.row([kind, text, place(span.start, span.end), decimal(span.score)]);
            }
            table.to_string()
        }
        Answer::Candidates(Candidates { answer, start, end, score, alternatives }) => {
            let best = Candidate { answer: answer.clone(), start: *start, end: *end, score: *score };
            let mut table = Table::new(&[("", left), ("answer", left), ("characters", right), ("score", right)]);
            for (name, one) in [("best", &best)].into_iter().chain(alternatives.iter().map(|one| ("or", one))) {
                let (text, place) = match one.answer.as_str() {
                    "" => ("(no answer)".to_owned(), String::new()),
                    text => (text.to_owned(), place(one.start, one.end)),
                };
                table.row([name.to_owned(), text, place, decimal(one.score)]);
            }
            table.to_string()
        }
        Answer::Number(Number { value }) => decimal(*value),
        Answer::Labels(several) if several.are_several() => {
            let mut table = Table::new(&[("label", left), ("score", right), ("holds", left)]);
            for one in &several.labels {
                let holds = if one.chosen == Some(true) { "yes" } else { "no" };
                table.row([one.label.clone(), decimal(one.score), holds.to_owned()]);
            }
            table.to_string()
        }
        Answer::Labels(Labels { labels, .. }) => {
            let mut table = Table::new(&[("label", left), ("score", right)]);
            labels.iter().for_each(|one| table.row([one.label.clone(), decimal(one.score)]));
            table.to_string()
        }
        Answer::Edges(Edges { edges, .. }) if !edges.is_empty() => {
            let heads = [("from", left), ("relation", left), ("to", left), ("characters", right), ("score", right)];
            let mut table = Table::new(&heads);
            for edge in edges {
                let places = [&edge.from, &edge.to].map(|end| place(end.start, end.end)).join(" ");
                let texts = [&edge.from.text, &edge.kind, &edge.to.text].map(Clone::clone);
                table.row(texts.into_iter().chain([places, decimal(edge.score)]));
            }
            table.to_string()
        }
        Answer::Tree(tree) if !tree.words.is_empty() => {
            let heads =
                [("", right), ("word", left), ("relation", left), ("head", right), ("", left), ("score", right)];
            let mut table = Table::new(&heads);
            for (number, word) in (1..).zip(&tree.words) {
                let (head, text) = (word.head.to_string(), tree.head_text(word).to_owned());
                let row = [format!("{number}"), word.text.clone(), word.label.clone(), head, text, decimal(word.score)];
                table.row(row);
            }
            table.to_string()
        }
        nothing => nothing.line(),
    }
}

fn columns(shape: Shape, answer: &Value, out: &mut Out) -> Result<()> {
    if shape == Shape::Tree {
        let Answer::Tree(Tree { words, .. }) = read(shape, answer)? else { return Ok(()) };
        // CoNLL-U, which has ten columns: `_` stands for what a tree does not say.
        for (number, word) in (1..).zip(&words) {
            let (form, head, relation) = (word_cell(&word.text), word.head, word_cell(&word.label));
            out.line(format!("{number}\t{form}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_"))?;
        }
        return out.line("");
    }
    let list = |name: &str| answer.get(name).and_then(Value::as_array);
    let (Some(words), Some(tags)) = (list("words"), list("tags")) else {
        return Err(Error::usage("--format columns: expected a task that gives each word a tag, found another")
            .hint("--format tsv has a row for each answer"));
    };
    for (word, tag) in words.iter().zip(tags) {
        // A word without a token may have no tag.
        let (word, tag) = (word.as_str().unwrap_or(""), tag.as_str().unwrap_or("_"));
        // Readers take tabs for the border of columns wherever a line has one.
        let border = if word.chars().chain(tag.chars()).any(char::is_whitespace) { '\t' } else { ' ' };
        out.line(format!("{}{border}{tag}", word_cell(word)))?;
    }
    out.line("")
}

/// A word in its column: never empty, and on one line.
fn word_cell(word: &str) -> String {
    match word.trim().is_empty() {
        true => "_".to_owned(),
        false => word.replace(['\t', '\n', '\r'], " "),
    }
}

fn tsv(shape: Shape, answer: &Value, number: usize, first: bool, out: &mut Out) -> Result<()> {
    let cell = |value: &Value| match value {
        Value::String(text) => escaped(text),
        value => escaped(&value.to_string()),
    };
    let id = answer.get("id").map_or_else(|| number.to_string(), cell);
    if first {
        out.line([&["id"], shape.columns()].concat().join("\t"))?;
    }
    for row in read(shape, answer)?.rows() {
        let cells = row.iter().map(cell);
        out.line([id.clone()].into_iter().chain(cells).collect::<Vec<_>>().join("\t"))?;
    }
    Ok(())
}

/// A cell of a row: tabs and line ends, which would begin another, as in JSON strings.
fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_shape_is_drawn() {
        let end = |text: &str, start: usize| json!({ "text": text, "start": start, "end": start + text.len() });
        let word = |text: &str, head: usize, label: &str| json!({ "text": text, "start": 0, "end": 3, "head": head, "label": label, "score": 0.5 });
        let labels = json!([{ "label": "news", "score": 0.75 }, { "label": "sport", "score": 0.25 }]);
        let several = json!([
            { "label": "news", "score": 0.75, "chosen": false },
            { "label": "sport", "score": 0.25, "chosen": true },
        ]);
        let edge = json!({ "type": "leaves", "from": end("Ada", 0), "to": end("London", 9), "score": 0.5 });
        for (shape, answer, shown) in [
            (
                Shape::Labels,
                json!({ "label": "news", "score": 0.75, "labels": labels }),
                "label  score\nnews    0.75\nsport   0.25",
            ),
            (
                Shape::Labels,
                json!({ "label": "news", "score": 0.75, "labels": several }),
                "label  score  holds\nnews    0.75  no\nsport   0.25  yes",
            ),
            (Shape::Number, json!({ "value": 2.456 }), "2.46"),
            (
                Shape::Edges,
                json!({ "edges": [edge] }),
                "from  relation  to      characters  score\nAda   leaves    London  0..3 9..15   0.50",
            ),
            (
                Shape::Tree,
                json!({ "words": [word("Ada", 2, "nsubj"), word("left", 0, "root")] }),
                "   word  relation  head        score\n1  Ada   nsubj        2  left   0.50\n2  left  root         0  ROOT   0.50",
            ),
            (Shape::Edges, json!({ "edges": [] }), "no relation"),
            (Shape::Spans, json!({ "entities": [] }), "no entity"),
        ] {
            assert_eq!(drawn(&read(shape, &answer).unwrap()), shown);
        }
    }

    #[test]
    fn a_cell_is_one_cell_whatever_it_holds() {
        assert_eq!(escaped("a\tb\r\nc\\t"), "a\\tb\\r\\nc\\\\t");
    }
}
