//! Relations as SemEval-2010 task 8 has them: four lines an example.
//!
//! ```text
//! 1<TAB>"The system has its application in an arrayed <e1>configuration</e1> of antenna <e2>elements</e2>."
//! Component-Whole(e2,e1)
//! Comment: Not a collection: there is structure here, organisation.
//! (an empty line)
//! ```
//!
//! The comment may be left out, and have several lines.

use super::{Marked, RelationExample, Relations};
use crate::data::lines::Lines;
use crate::data::{Layout, Read, quoted};
use crate::error::{Error, Place, Result};
use std::collections::HashMap;
use std::path::Path;

/// A sentence, but texts may be longer.
const LONGEST_LINE: usize = 16 << 20;
const FORM: &str = "four lines an example: `1<TAB>\"The <e1>fire</e1> was caused by the <e2>bombs</e2>.\"`, its relation, \
     `Comment:`, an empty line; other files have the extension .jsonl, .csv or .tsv";

/// Reads a file of such examples.
pub(in crate::data) fn read(file: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<RelationExample>> {
    if layout.columns.is_some() {
        return Err(Error::usage("columns: expected a file with columns, found the four lines of SemEval-2010 task 8")
            .at(Place::file(file))
            .hint("a file with columns has the extension .csv or .tsv"));
    }
    let mut lines = Lines::open_in(file, LONGEST_LINE, layout.encoding)?;
    let mut relations = Relations::new(layout);
    // Where each number was met.
    let mut numbers: HashMap<String, usize> = HashMap::new();
    while !relations.is_enough(limit) {
        let Some((at, line)) = lines.next()? else { break };
        if line.trim().is_empty() {
            continue;
        }
        let place = Place::line(file, at);
        let fault = |expected: &str, found: &str, at: usize| {
            Error::data(format!("expected {expected}; found {found}")).at(Place::line(file, at)).hint(FORM)
        };
        let Some((number, text)) = sentence(line) else {
            return Err(fault("a number, a tab and a sentence in quotes", &quoted(line), at));
        };
        let marked = Marked::read(text).map_err(|error| error.at(place.clone()))?;
        let number = number.to_owned();
        if let Some(before) = numbers.insert(number.clone(), at) {
            let found = format!("`{number}` again, as in line {before}");
            return Err(fault("a number of its own", &found, at));
        }
        let expected = "a relation, such as `Cause-Effect(e1,e2)` or `Other`";
        let label = match lines.next()? {
            Some((_, line)) if is_label(line) => line.trim().to_owned(),
            Some((at, line)) => return Err(fault(expected, &quoted(line), at)),
            None => return Err(fault(expected, "the end of the file", at + 1)),
        };
        let mut comment = false;
        while let Some((at, line)) = lines.next()? {
            match line.trim() {
                "" => break,
                line if !comment && !line.starts_with("Comment:") => {
                    return Err(fault("`Comment:` or an empty line", &quoted(line), at));
                }
                _ if sentence(line).is_some() => {
                    return Err(fault("an empty line before the next example", &quoted(line), at));
                }
                _ => comment = true,
            }
        }
        relations.push(place, Some(number), marked, &label)?;
    }
    relations.finish(file, limit, lines.notes())
}

/// The number and the text of the first line of an example.
fn sentence(line: &str) -> Option<(&str, &str)> {
    let (number, text) = line.split_once('\t')?;
    let number = number.trim();
    let text = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    (!number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())).then_some((number, text))
}

/// Whether a line can be a relation: something, and neither a comment nor a sentence.
fn is_label(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with("Comment:") && !line.contains('\t')
}
