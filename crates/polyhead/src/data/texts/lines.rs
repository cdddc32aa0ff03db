//! Lines of a label and a text: `LABEL text`, with a space or a tab between. Blank lines are no examples.
//!
//! Where a text may have several labels they are separated as the layout says (`a,b text`), or each has fastText's mark (`__label__a
//! __label__b text`); a line that begins with a tab has none.

use super::{LabelledText, Raw, Texts};
use crate::data::lines::Lines;
use crate::data::{LabelForm, Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use std::path::Path;

/// A text may be a long document.
const LONGEST_LINE: usize = 16 << 20;
/// What fastText writes before a label.
const FASTTEXT: &str = "__label__";

/// Reads a file of such lines.
pub(in crate::data) fn read(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<LabelledText>> {
    if layout.columns.is_some() {
        return Err(Error::usage("columns: expected a file with columns, found lines of a label and a text")
            .at(Place::file(file))
            .hint("a file with columns has the extension .csv or .tsv"));
    }
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    let mut texts = Texts::new(layout);
    while !texts.is_enough(limit) {
        let Some((number, line)) = lines.next()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::line(file, number);
        if layout.label_form == LabelForm::Set
            && let Some((labels, text)) = set(line)
        {
            texts.push(place, text, None, Raw::List(labels))?;
            continue;
        }
        let Some((label, text)) = line.trim_start().split_once([' ', '\t']) else {
            return Err(Error::data(format!("expected a label, a space and a text; found {}", quoted(line))).at(place));
        };
        texts.push(place, text, None, Raw::Cell(label.strip_prefix(FASTTEXT).unwrap_or(label).into()))?;
    }
    texts.finish(file, limit, lines.notes())
}

/// The labels of a line that lists them in its own way, and its text.
fn set(line: &str) -> Option<(Vec<String>, &str)> {
    if let Some(text) = line.strip_prefix('\t') {
        return Some((Vec::new(), text));
    }
    let (mut labels, mut rest) = (Vec::new(), line.trim_start());
    while let Some((label, text)) = rest.strip_prefix(FASTTEXT).and_then(|marked| marked.split_once([' ', '\t'])) {
        labels.push(label.to_owned());
        rest = text.trim_start();
    }
    (!labels.is_empty()).then_some((labels, rest))
}
