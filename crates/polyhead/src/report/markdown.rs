//! A document as Markdown (GitHub's): the same as the page, with a chart's values in a table where its lines were.

use crate::document::number::decimal;
use crate::document::{Align, Block, Case, Chart, Document, Mark, Piece, Plot, Table, Tone, Weight};
use std::fmt::Write;

/// A chart becomes a table of at most so many rows.
const ROWS: usize = 10;

/// Text on one line that means nothing to Markdown or HTML.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '$' => safe.extend(['\\', c]),
            '\n' | '\r' | '\t' => safe.push(' '),
            c if c.is_control() => safe.push('\u{FFFD}'),
            c => safe.push(c),
        }
    }
    // What would be the mark of a list at the start of a line.
    if safe.trim_start().starts_with(['-', '+', '=']) {
        return format!("\\{}", safe.trim_start());
    }
    match safe.split_once(". ") {
        Some((number, rest)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{number}\\. {rest}")
        }
        _ => safe,
    }
}

/// The text.
pub fn page(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", escape(&document.title), escape(&document.subtitle));
    for section in &document.sections {
        let _ = write!(out, "\n## {}\n", escape(&section.title));
        section.blocks.iter().for_each(|one| block(one, &mut out));
    }
    out
}

fn block(block: &Block, out: &mut String) {
    out.push('\n');
    let _ = match block {
        Block::Heading(text) => writeln!(out, "### {}", escape(text)),
        Block::Text(text) => writeln!(out, "{}", escape(text)),
        Block::Missing(text) => writeln!(out, "> **Missing:** {}", escape(text)),
        Block::Figures(figures) => {
            out.push_str("| | | |\n|---|--:|---|\n");
            figures.iter().try_for_each(|one| {
                writeln!(out, "| {} | **{}** | {} |", escape(&one.name), escape(&one.value), escape(&one.detail))
            })
        }
        Block::Table(one) => {
            table(one, out);
            Ok(())
        }
        Block::Chart(one) => {
            chart(one, out);
            Ok(())
        }
        Block::Cases(cases) => {
            cases.iter().for_each(|one| case(one, out));
            Ok(())
        }
        Block::Code(text) => {
            // A fence longer than any in the text.
            let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
            let fence = "`".repeat(3.max(longest + 1));
            writeln!(out, "{fence}\n{}\n{fence}", text.trim_end())
        }
        Block::List(items) => items.iter().try_for_each(|item| writeln!(out, "- {}", escape(item))),
    };
}

fn table(table: &Table, out: &mut String) {
    if !table.caption.is_empty() {
        let _ = writeln!(out, "{}\n", escape(&table.caption));
    }
    let names: Vec<String> = table.columns.iter().map(|column| escape(&column.name)).collect();
    let sides: Vec<&str> =
        table.columns.iter().map(|column| if column.align == Align::Right { "--:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |\n|{}|", names.join(" | "), sides.join("|"));
    for row in &table.rows {
        let cells: Vec<String> = (0..table.columns.len())
            .map(|at| match row.cells.get(at).map(|cell| escape(&cell.text)).unwrap_or_default() {
                text if row.weight == Weight::Strong && !text.trim().is_empty() => format!("**{}**", text.trim()),
                text => text,
            })
            .collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

fn chart(chart: &Chart, out: &mut String) {
    let _ = writeln!(out, "**{}.** {}\n", escape(&chart.title), escape(&chart.note));
    match &chart.plot {
        Plot::Bars(bars) => {
            let _ = writeln!(out, "| {} | {} |\n|---|--:|", escape(&chart.x), escape(&chart.y));
            for (name, value) in bars {
                let _ = writeln!(out, "| {} | {} |", escape(name), number(*value));
            }
        }
        Plot::Intervals(all) => {
            let _ = writeln!(out, "| | {} | from | to |\n|---|--:|--:|--:|", escape(&chart.x));
            for one in all {
                let [middle, low, high] = [one.middle, one.low, one.high].map(number);
                let _ = writeln!(out, "| {} | {middle} | {low} | {high} |", escape(&one.name));
            }
        }
        Plot::Lines(series) => {
            let names: Vec<String> = series.iter().map(|series| escape(&series.name)).collect();
            let _ = writeln!(out, "| {} | {} |", escape(&chart.x), names.join(" | "));
            let _ = writeln!(out, "|--:|{}|", "--:|".repeat(names.len()).trim_end_matches('|'));
            for x in rows(series.iter().flat_map(|series| series.points.iter().map(|point| point.0))) {
                let near = |points: &[(f64, f64)]| {
                    let nearest = points.iter().min_by(|a, b| (a.0 - x).abs().total_cmp(&(b.0 - x).abs()));
                    nearest.map_or("–".to_owned(), |point| number(point.1))
                };
                let values: Vec<String> = series.iter().map(|series| near(&series.points)).collect();
                let _ = writeln!(out, "| {} | {} |", number(x.round()), values.join(" | "));
            }
            let _ = writeln!(out, "\n({})", escape(&chart.y));
        }
    }
}

/// At most [`ROWS`] places along the axis, the first and the last among them.
fn rows(places: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut places: Vec<f64> = places.filter(|place| place.is_finite()).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let last = places.len().saturating_sub(1);
    if last < ROWS {
        return places;
    }
    (0..ROWS).filter_map(|at| places.get(at * last / (ROWS - 1)).copied()).collect()
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".into(),
        size if size != 0.0 && size < 1e-2 => format!("{value:.2e}"),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.3}"),
    }
}

fn case(case: &Case, out: &mut String) {
    let sign = match case.tone {
        Tone::Good => "✓",
        Tone::Near => "≈",
        Tone::Bad => "✗",
    };
    let _ = writeln!(out, "- {sign} **{}** ({})", escape(&case.verdict), escape(&case.place));
    if !case.text.is_empty() {
        let text: String = case.text.iter().map(piece).collect();
        let _ = writeln!(out, "  > {text}\n");
    }
    for item in &case.items {
        let inset = "  ".repeat(1 + item.depth.min(20));
        let text = piece(&Piece { text: item.text.clone(), mark: item.mark, label: item.mark.name().to_owned() });
        let share = item.share.map_or_else(String::new, |share| format!(" {} %", decimal(100.0 * share)));
        let _ = writeln!(out, "{inset}- {text}{share}");
    }
    for (name, value) in &case.facts {
        let _ = writeln!(out, "  - {}: {}", escape(name), escape(value));
    }
}

/// Gold is bold, predicted is in italics, both is both.
fn piece(piece: &Piece) -> String {
    let text = escape(&piece.text);
    let sign = match piece.mark {
        Mark::None => return text,
        Mark::Gold => "**",
        Mark::Found => "*",
        Mark::Both => "***",
    };
    // Markdown wants no blank inside its marks.
    let inner = text.trim();
    if inner.is_empty() {
        return text;
    }
    let label = if piece.label.is_empty() { String::new() } else { format!(" \\[{}\\]", escape(&piece.label)) };
    text.replacen(inner, &format!("{sign}{inner}{sign}{label}"), 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Section, Series};

    #[test]
    fn text_means_nothing_to_markdown_or_html() {
        assert_eq!(escape("a|b <script> *x* [y](z)\n# h"), "a\\|b &lt;script&gt; \\*x\\* \\[y\\](z) \\# h");
        assert_eq!(
            (escape("1. Marc Blume"), escape("- x"), escape("1.5")),
            ("1\\. Marc Blume".into(), "\\- x".into(), "1.5".into())
        );
    }

    #[test]
    fn a_chart_is_told_in_at_most_ten_rows_with_its_first_and_last() {
        let points = (0..100).map(|at| (f64::from(at), f64::from(at) / 2.0)).collect();
        let chart = Chart {
            title: "Loss".into(),
            x: "step".into(),
            y: "nats".into(),
            plot: Plot::Lines(vec![Series::new("a", points)]),
            note: String::new(),
        };
        let sections = vec![Section { title: "S".into(), blocks: vec![Block::Chart(chart)] }];
        let text = page(&Document { sections, ..Document::default() });
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert_eq!((rows.len(), rows[0], rows[9]), (10, "| 0 | 0 |", "| 99 | 49.500 |"));
    }

    #[test]
    fn a_fence_is_longer_than_any_in_the_text() {
        let sections = vec![Section { title: "S".into(), blocks: vec![Block::Code("a\n````\nb".into())] }];
        let text = page(&Document { sections, ..Document::default() });
        assert_eq!(text.matches("`````").count(), 2, "{text}");
    }

    #[test]
    fn marks_hug_their_words() {
        let gold = Piece { text: " Ada ".into(), mark: Mark::Gold, label: "PER".into() };
        assert_eq!(piece(&gold), " **Ada** \\[PER\\] ");
    }
}
