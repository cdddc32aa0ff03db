//! A document as one HTML page that needs nothing else: style and charts inside, no script, no address.
//!
//! All text is escaped, here and in the charts. The page's own policy forbids it to load or run anything, whatever text
//! may have come in with the data.

use super::chart::{sample, svg};
pub use super::escape::escape;
use crate::document::number::decimal;
use crate::document::{Align, Block, Case, Cell, Chart, Document, Figure, Item, Look, Mark, Plot, Table, Tone, Weight};
use std::fmt::Write;

const STYLE: &str = include_str!("report.css");

/// The page.
pub fn page(document: &Document) -> String {
    let mut out = String::new();
    let title = escape(&document.title);
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<header>\n<h1>{title}</h1>\n<p class=\"subtitle\">{}</p>\n</header>\n<nav aria-label=\"Sections\"><ul>",
        escape(&document.subtitle)
    );
    for (at, section) in document.sections.iter().enumerate() {
        let _ = write!(out, "<li><a href=\"#s{at}\">{}</a></li>", escape(&section.title));
    }
    out.push_str("</ul></nav>\n<main>\n");
    for (at, section) in document.sections.iter().enumerate() {
        let _ = writeln!(out, "<section aria-labelledby=\"s{at}\">\n<h2 id=\"s{at}\">{}</h2>", escape(&section.title));
        blocks(&section.blocks, at == 0, &mut out);
        out.push_str("</section>\n");
    }
    let _ = write!(out, "</main>\n<footer>polyhead {}</footer>\n</body>\n</html>\n", env!("CARGO_PKG_VERSION"));
    out
}

fn blocks(blocks: &[Block], first_section: bool, out: &mut String) {
    let mut rest = blocks;
    while let Some((block, after)) = rest.split_first() {
        rest = after;
        match block {
            Block::Heading(text) => drop(writeln!(out, "<h3>{}</h3>", escape(text))),
            Block::Text(text) => {
                // The first words of a report are its summary.
                let lead = if first_section && rest.len() + 1 == blocks.len() { " class=\"lead\"" } else { "" };
                let _ = writeln!(out, "<p{lead}>{}</p>", escape(text));
            }
            Block::Missing(text) => drop(writeln!(out, "<p class=\"missing\">{}</p>", escape(text))),
            Block::Figures(all) => figures(all, out),
            Block::Table(_) => rest = tables(block, rest, out),
            Block::Chart(first) => {
                // Neighbouring charts stand side by side.
                out.push_str("<div class=\"charts\">\n");
                chart(first, out);
                while let Some((Block::Chart(next), after)) = rest.split_first() {
                    chart(next, out);
                    rest = after;
                }
                out.push_str("</div>\n");
            }
            Block::Cases(all) => {
                out.push_str("<div class=\"cases\">\n");
                all.iter().for_each(|one| case(one, out));
                out.push_str("</div>\n");
            }
            Block::Code(text) => drop(writeln!(out, "<pre><code>{}</code></pre>", escape(text))),
            Block::List(items) => {
                let items: String = items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
                let _ = writeln!(out, "<ul>{items}</ul>");
            }
        }
    }
}

/// Neighbouring tables stand side by side where they fit, and so does a single chart after them; returns what follows.
fn tables<'a>(first: &Block, mut rest: &'a [Block], out: &mut String) -> &'a [Block] {
    out.push_str("<div class=\"beside\">\n");
    if let Block::Table(one) = first {
        table(one, out);
    }
    while let Some((Block::Table(one), after)) = rest.split_first() {
        table(one, out);
        rest = after;
    }
    if let [Block::Chart(one), after @ ..] = rest
        && !matches!(after.first(), Some(Block::Chart(_)))
    {
        chart(one, out);
        rest = after;
    }
    out.push_str("</div>\n");
    rest
}

fn figures(figures: &[Figure], out: &mut String) {
    out.push_str("<dl class=\"figures\">\n");
    for Figure { name, value, detail } in figures {
        let (name, value, detail) = (escape(name), escape(value), escape(detail));
        let _ = writeln!(
            out,
            "<div><dt>{name}</dt><dd class=\"value\">{value}</dd><dd class=\"detail\">{detail}</dd></div>"
        );
    }
    out.push_str("</dl>\n");
}

fn table(table: &Table, out: &mut String) {
    out.push_str("<div class=\"table\"><table>");
    if !table.caption.is_empty() {
        let _ = write!(out, "<caption>{}</caption>", escape(&table.caption));
    }
    if table.columns.iter().any(|column| !column.name.is_empty()) {
        out.push_str("<thead><tr>");
        for column in &table.columns {
            let class = if column.align == Align::Right { " class=\"right\"" } else { "" };
            let _ = write!(out, "<th scope=\"col\"{class}>{}</th>", escape(&column.name));
        }
        out.push_str("</tr></thead>");
    }
    out.push_str("<tbody>\n");
    for row in &table.rows {
        out.push_str(if row.weight == Weight::Strong { "<tr class=\"strong\">" } else { "<tr>" });
        for (at, column) in table.columns.iter().enumerate() {
            cell(row.cells.get(at).unwrap_or(&Cell::default()), column.align, out);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

fn cell(cell: &Cell, align: Align, out: &mut String) {
    let side = if align == Align::Right { "right" } else { "text" };
    let text = escape(&cell.text);
    let _ = match cell.look {
        Look::Plain => write!(out, "<td class=\"{side}\" dir=\"auto\">{text}</td>"),
        Look::Bar(share) => {
            let width = 100.0 * share.clamp(0.0, 1.0);
            write!(
                out,
                "<td class=\"{side}\">{text}<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{width:.1}%\"></i></span></td>"
            )
        }
        Look::Heat(share) => {
            let heat = 70.0 * share.clamp(0.0, 1.0);
            write!(out, "<td class=\"{side} heat\" style=\"--heat:{heat:.1}%\">{text}</td>")
        }
    };
}

fn chart(chart: &Chart, out: &mut String) {
    let _ = write!(out, "<figure><figcaption>{}</figcaption>", escape(&chart.title));
    if let Plot::Lines(series) = &chart.plot
        && series.len() > 1
    {
        out.push_str("<ul class=\"legend\">");
        for (at, series) in series.iter().enumerate() {
            let _ = write!(out, "<li>{}{}</li>", sample(at), escape(&series.name));
        }
        out.push_str("</ul>");
    }
    out.push_str(&svg(chart));
    if !chart.note.is_empty() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&chart.note));
    }
    out.push_str("</figure>\n");
}

fn case(case: &Case, out: &mut String) {
    let tone = match case.tone {
        Tone::Good => "good",
        Tone::Near => "near",
        Tone::Bad => "bad",
    };
    let (verdict, place) = (escape(&case.verdict), escape(&case.place));
    let _ = write!(out, "<article class=\"case {tone}\"><header><b>{verdict}</b><span>{place}</span></header>");
    if !case.text.is_empty() {
        out.push_str("<p class=\"quote\" dir=\"auto\">");
        for piece in &case.text {
            let class = class(piece.mark);
            let text = escape(&piece.text);
            let _ = match (class, piece.label.is_empty()) {
                ("", true) => write!(out, "{text}"),
                (_, true) => write!(out, "<mark class=\"{class}\">{text}</mark>"),
                (_, false) => {
                    write!(out, "<mark class=\"{class}\">{text}<small>{}</small></mark>", escape(&piece.label))
                }
            };
        }
        out.push_str("</p>");
    }
    if !case.items.is_empty() {
        out.push_str("<ul class=\"items\">");
        case.items.iter().for_each(|one| item(one, out));
        out.push_str("</ul>");
    }
    if !case.facts.is_empty() {
        out.push_str("<dl>");
        for (name, value) in &case.facts {
            let _ = write!(out, "<dt>{}</dt><dd dir=\"auto\">{}</dd>", escape(name), escape(value));
        }
        out.push_str("</dl>");
    }
    out.push_str("</article>\n");
}

/// The class of a mark in the style.
fn class(mark: Mark) -> &'static str {
    match mark {
        Mark::None => "",
        Mark::Gold => "gold",
        Mark::Found => "found",
        Mark::Both => "both",
    }
}

/// Something listed: with its mark as a colour and a word, and its score as a bar and a number.
fn item(item: &Item, out: &mut String) {
    let _ = write!(out, "<li><span style=\"--depth:{}\" dir=\"auto\">", item.depth.min(20));
    let text = escape(&item.text);
    let _ = match item.mark {
        Mark::None => write!(out, "{text}"),
        mark => write!(out, "<mark class=\"{}\">{text}<small>{}</small></mark>", class(mark), mark.name()),
    };
    out.push_str("</span>");
    // Always three cells: the items of an example are the rows of a grid.
    let _ = match item.share {
        None => write!(out, "<span></span><span></span></li>"),
        Some(share) => write!(
            out,
            "<span class=\"bar\" aria-hidden=\"true\"><i style=\"width:{:.1}%\"></i></span><span>{} %</span></li>",
            100.0 * share.clamp(0.0, 1.0),
            decimal(100.0 * share)
        ),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Piece, Row, Section};

    const EVIL: &str = "<script>alert('\"1\"')</script>&\u{1b}";

    #[test]
    fn text_of_any_part_of_a_document_is_shown_and_never_run() {
        let evil = || EVIL.to_owned();
        let mut table = Table::new(evil(), &[EVIL]);
        table.rows.push(Row { cells: vec![Cell::from(EVIL)], weight: Weight::Plain });
        let chart = |plot| Block::Chart(Chart { title: evil(), x: evil(), y: evil(), plot, note: evil() });
        let series = crate::document::Series::new(EVIL, vec![(1.0, 1.0), (2.0, 2.0)]);
        let case = Case {
            verdict: evil(),
            tone: Tone::Bad,
            place: evil(),
            text: vec![Piece { text: evil(), mark: Mark::Gold, label: evil() }, Piece::plain(EVIL)],
            items: vec![Item { text: evil(), mark: Mark::Found, share: Some(0.5), depth: 1 }],
            facts: vec![(evil(), evil())],
        };
        let blocks = vec![
            Block::Heading(evil()),
            Block::Text(evil()),
            Block::Missing(evil()),
            Block::Figures(vec![Figure { name: evil(), value: evil(), detail: evil() }]),
            Block::Table(table),
            chart(Plot::Lines(vec![series.clone(), series])),
            chart(Plot::Bars(vec![(evil(), 1.0)])),
            Block::Cases(vec![case]),
            Block::Code(evil()),
            Block::List(vec![evil()]),
        ];
        let sections = vec![Section { title: evil(), blocks }];
        let html = page(&Document { title: evil(), subtitle: evil(), sections });
        assert!(!html.contains("<script") && !html.contains("alert('") && !html.contains('\u{1b}'));
        assert!(html.matches("&lt;script&gt;alert(&#39;&quot;1&quot;&#39;)&lt;/script&gt;&amp;\u{FFFD}").count() > 25);
        assert!(html.contains("default-src 'none'") && !html.contains("http://") && !html.contains("https://"));
    }

    #[test]
    fn neighbouring_charts_stand_side_by_side() {
        let chart = || {
            Block::Chart(Chart {
                title: "t".into(),
                x: "x".into(),
                y: "y".into(),
                plot: Plot::Bars(Vec::new()),
                note: String::new(),
            })
        };
        let blocks = vec![chart(), chart(), Block::text("between"), chart()];
        let html = page(&Document { sections: vec![Section { title: "s".into(), blocks }], ..Document::default() });
        assert_eq!(html.matches("<div class=\"charts\">").count(), 2);
        assert_eq!(html.matches("<figure>").count(), 3);
    }
}
