//! Answers as they are printed: a table for people, JSON, columns of words and tags, tab-separated rows.
//!
//! ```text
//! {"text": ..., "entities": [...]}        table | json | columns (from `words` and `tags`) | tsv, a row an entity
//! {"answer": ..., "alternatives": [...]}  table | json | tsv, a row a question
//! ```
//!
//! The shape of an answer decides how it is drawn, not the kind of its task.

use crate::out::Out;
use crate::table::{Align, Table, decimal};
use polyhead::{Error, Result};
use serde_json::Value;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// A table for people
    Table,
    /// One JSON object a line
    Json,
    /// `word TAG`, a blank line after each text
    Columns,
    /// A row for each entity or answer, with tabs
    Tsv,
}

/// Prints answers one after the other.
pub struct Answers {
    form: Form,
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
    pub fn new(form: Form, titles: Titles) -> Self {
        Self { form, titles, written: 0 }
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
            Form::Columns => columns(answer, out),
            Form::Tsv => tsv(answer, number, first, out),
            Form::Table => {
                if self.titles == Titles::Shown {
                    if !first {
                        out.line("")?;
                    }
                    out.heading(title)?;
                }
                table(answer, out)
            }
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or("")
}

fn offset(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn entities(answer: &Value) -> Option<&[Value]> {
    answer.get("entities").and_then(Value::as_array).map(Vec::as_slice)
}

fn table(answer: &Value, out: &mut Out) -> Result<()> {
    let score = |value: &Value| value.get("score").and_then(Value::as_f64).map_or_else(String::new, decimal);
    let characters = |value: &Value| format!("{}..{}", offset(value, "start"), offset(value, "end"));
    if let Some(entities) = entities(answer) {
        if entities.is_empty() {
            return out.line("no entity");
        }
        let columns = ["type", "text", "characters", "score"];
        let aligned = [Align::Left, Align::Left, Align::Right, Align::Right];
        let mut table = Table::new(&std::array::from_fn::<_, 4, _>(|at| (columns[at], aligned[at])));
        for entity in entities {
            let cells = [text(entity, "type"), text(entity, "text")].map(str::to_owned);
            table.row(cells.into_iter().chain([characters(entity), score(entity)]));
        }
        return out.line(table);
    }
    if answer.get("answer").is_none() {
        return out.line(format!("{answer:#}"));
    }
    let mut table = Table::new(&[
        ("", Align::Left),
        ("answer", Align::Left),
        ("characters", Align::Right),
        ("score", Align::Right),
    ]);
    let mut row = |name: &str, answer: &Value| match text(answer, "answer") {
        "" => table.row([name.to_owned(), "(no answer)".to_owned(), String::new(), score(answer)]),
        text => table.row([name.to_owned(), text.to_owned(), characters(answer), score(answer)]),
    };
    row("best", answer);
    let others = answer.get("alternatives").and_then(Value::as_array);
    for other in others.into_iter().flatten() {
        row("or", other);
    }
    out.line(table)
}

fn columns(answer: &Value, out: &mut Out) -> Result<()> {
    let list = |name: &str| answer.get(name).and_then(Value::as_array);
    let (Some(words), Some(tags)) = (list("words"), list("tags")) else {
        return Err(Error::usage("--format columns: expected a task that gives each word a tag, found another")
            .hint("--format tsv has a row for each answer"));
    };
    for (word, tag) in words.iter().zip(tags) {
        let (word, tag) = (word.as_str().unwrap_or(""), tag.as_str().unwrap_or(""));
        // Readers take tabs for the border of columns wherever a line has one.
        let border = if word.chars().any(char::is_whitespace) { '\t' } else { ' ' };
        let word = match word.trim().is_empty() {
            true => "_".to_owned(),
            false => word.replace(['\t', '\n', '\r'], " "),
        };
        out.line(format!("{word}{border}{tag}"))?;
    }
    out.line("")
}

fn tsv(answer: &Value, number: usize, first: bool, out: &mut Out) -> Result<()> {
    let id = match answer.get("id") {
        None => number.to_string(),
        Some(Value::String(id)) => id.clone(),
        Some(id) => id.to_string(),
    };
    let (names, rows): (&[&str], Vec<&Value>) = match entities(answer) {
        Some(entities) => (&["type", "text", "start", "end", "score"], entities.iter().collect()),
        None => (&["answer", "start", "end", "score"], vec![answer]),
    };
    let line = |cells: Vec<String>| cells.iter().map(|cell| escaped(cell)).collect::<Vec<_>>().join("\t");
    if first {
        out.line(line([&["id"], names].concat().iter().map(|name| (*name).to_owned()).collect()))?;
    }
    for row in rows {
        let cell = |name: &&str| match row.get(*name) {
            None => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
        };
        out.line(line([id.clone()].into_iter().chain(names.iter().map(cell)).collect()))?;
    }
    Ok(())
}

/// A cell of a row: tabs and line ends, which would begin another, as in JSON strings.
fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell_whatever_it_holds() {
        assert_eq!(escaped("a\tb\r\nc\\t"), "a\\tb\\r\\nc\\\\t");
    }
}
