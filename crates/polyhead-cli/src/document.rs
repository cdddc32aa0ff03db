//! A document on a terminal: its text and tables. Charts and single examples are for the files beside it.

use crate::out::Out;
use crate::table::{Align, Table};
use polyhead::Result;
use polyhead::document::{self, Block, Document};

/// No line of text is longer.
const WIDTH: usize = 100;

/// Writes it to standard output.
pub fn print(document: &Document, out: &mut Out) -> Result<()> {
    out.heading(&document.title)?;
    if !document.subtitle.is_empty() {
        out.line(wrapped(&document.subtitle))?;
    }
    for section in &document.sections {
        out.heading(&format!("\n{}", section.title))?;
        let mut first = true;
        for text in section.blocks.iter().filter_map(block) {
            out.line(if first { text } else { format!("\n{text}") })?;
            first = false;
        }
    }
    Ok(())
}

fn block(block: &Block) -> Option<String> {
    match block {
        Block::Heading(text) | Block::Text(text) | Block::Missing(text) => Some(wrapped(text)),
        Block::Table(one) => Some(table(one)),
        Block::Code(text) => {
            Some(text.trim_end().lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
        }
        Block::List(items) => Some(items.iter().map(|item| format!("- {item}")).collect::<Vec<_>>().join("\n")),
        Block::Figures(figures) => {
            let mut table = Table::pairs();
            figures.iter().for_each(|one| table.row([one.name.clone(), format!("{}  {}", one.value, one.detail)]));
            Some(table.to_string())
        }
        Block::Chart(_) | Block::Cases(_) => None,
    }
}

fn table(table: &document::Table) -> String {
    let align = |align| if align == document::Align::Right { Align::Right } else { Align::Left };
    let columns: Vec<(&str, Align)> =
        table.columns.iter().map(|column| (column.name.as_str(), align(column.align))).collect();
    let mut shown = Table::new(&columns);
    table.rows.iter().for_each(|row| shown.row(row.cells.iter().map(|cell| cell.text.clone())));
    if table.caption.is_empty() { shown.to_string() } else { format!("{}\n{shown}", wrapped(&table.caption)) }
}

/// A paragraph in lines that are not too long.
fn wrapped(paragraph: &str) -> String {
    let mut lines = vec![String::new()];
    for word in paragraph.split(' ') {
        let line = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(last) if line == 0 => last.push_str(word),
            Some(last) if line + 1 + word.chars().count() <= WIDTH => *last += &format!(" {word}"),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_wrapped_at_words_and_lose_none() {
        let text = "word ".repeat(50) + &"x".repeat(120);
        let wrapped = wrapped(&text);
        assert!(wrapped.lines().all(|line| line.len() <= 120 && !line.contains("  ")));
        assert_eq!(wrapped.lines().count(), 4);
        assert_eq!(wrapped.replace('\n', " "), text);
    }
}
