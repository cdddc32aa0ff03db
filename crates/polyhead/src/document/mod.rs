//! A document as data: sections of text, tables, charts and cases, before anything of HTML or Markdown.
//!
//! Both writers of [`crate::report`] take the same document, so that what one of them says the other can't leave out.
//! Tasks speak of their predictions in these words too. All strings are plain text: escaping is the writers' part.

pub mod number;

/// A whole document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Its title.
    pub title: String,
    /// What it is about, in a line under the title.
    pub subtitle: String,
    /// Its sections, in order.
    pub sections: Vec<Section>,
}

/// A section with its title.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Its title.
    pub title: String,
    /// What it says.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Debug, Clone, PartialEq)]
pub enum Block {
    /// The title of what follows.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// Something that should be here and is not, and why.
    Missing(String),
    /// A few figures that matter most.
    Figures(Vec<Figure>),
    /// A table.
    Table(Table),
    /// A chart.
    Chart(Chart),
    /// Examples one by one.
    Cases(Vec<Case>),
    /// Text as it is, such as a command or a recipe.
    Code(String),
    /// A list.
    List(Vec<String>),
}

impl Block {
    /// A paragraph.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }
    /// The title of what follows.
    pub fn heading(text: impl Into<String>) -> Self {
        Self::Heading(text.into())
    }
}

/// One figure with its name.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// The figure with its unit.
    pub value: String,
    /// What else there is to say, in a few words.
    pub detail: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What it shows and how to read it; may be empty.
    pub caption: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; cells that are missing stay empty.
    pub rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its heading.
    pub name: String,
    /// On which side its cells stand.
    pub align: Align,
}

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its cells.
    pub cells: Vec<Cell>,
    /// Whether it stands out.
    pub weight: Weight,
}

/// Whether a row stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// As the others.
    Plain,
    /// A sum, a mean, the best.
    Strong,
}

/// A cell of a table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cell {
    /// What it says.
    pub text: String,
    /// How it looks where there are colours.
    pub look: Look,
}

/// How a cell looks where there are colours.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Look {
    /// As text.
    #[default]
    Plain,
    /// A bar of this share of the cell's width, from 0 to 1.
    Bar(f64),
    /// A ground of this strength, from 0 to 1.
    Heat(f64),
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), look: Look::Plain }
    }
}

impl Cell {
    /// A percentage with a bar.
    pub fn percent(value: f64) -> Self {
        Self { text: number::decimal(value), look: Look::Bar(value / 100.0) }
    }
}

impl Table {
    /// A table whose first column is text and whose others are numbers.
    pub fn new(caption: impl Into<String>, columns: &[&str]) -> Self {
        let align = |at| if at == 0 { Align::Left } else { Align::Right };
        let column = |(at, name): (usize, &&str)| Column { name: (*name).to_owned(), align: align(at) };
        let columns = columns.iter().enumerate().map(column).collect();
        Self { caption: caption.into(), columns, rows: Vec::new() }
    }

    /// The same with all columns text.
    pub fn of_text(caption: impl Into<String>, columns: &[&str]) -> Self {
        let mut table = Self::new(caption, columns);
        table.columns.iter_mut().for_each(|column| column.align = Align::Left);
        table
    }

    /// Adds a column of numbers.
    pub fn column(&mut self, name: impl Into<String>) {
        self.columns.push(Column { name: name.into(), align: Align::Right });
    }

    /// Adds a row.
    pub fn row<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(Row { cells: cells.into_iter().map(Into::into).collect(), weight: Weight::Plain });
    }

    /// Adds a row that stands out.
    pub fn strong<C: Into<Cell>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.row(cells);
        if let Some(row) = self.rows.last_mut() {
            row.weight = Weight::Strong;
        }
    }
}

/// An example: a text with what is right and what was predicted in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What came of it, in a few words: `right`, `near miss`.
    pub verdict: String,
    /// How good that is.
    pub tone: Tone,
    /// Where the example stands, or what it is about.
    pub place: String,
    /// The text, in pieces that follow each other.
    pub text: Vec<Piece>,
    /// What was found of it, one below the other.
    pub items: Vec<Item>,
    /// What there is to say of it: name and value.
    pub facts: Vec<(String, String)>,
}

/// Something listed of an example: a label, a candidate, a relation, a word of a tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What it is.
    pub text: String,
    /// Whether it is gold, predicted or both.
    pub mark: Mark,
    /// Its score from 0 to 1, if it has one.
    pub share: Option<f64>,
    /// How far it is set in: 0 for what stands below nothing.
    pub depth: usize,
}

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Right.
    Good,
    /// Nearly.
    Near,
    /// Wrong.
    Bad,
}

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The piece.
    pub text: String,
    /// What it is.
    pub mark: Mark,
    /// What stands with it, such as a type; may be empty.
    pub label: String,
}

/// What a piece of a text, or something listed, is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Text.
    None,
    /// Gold, and not predicted.
    Gold,
    /// Predicted, and not gold.
    Found,
    /// Both.
    Both,
}

impl Mark {
    /// In a word, where there are no colours; empty for what is neither.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gold => "gold",
            Self::Found => "predicted",
            Self::Both => "right",
        }
    }
}

impl Piece {
    /// A text without marks.
    pub fn plain(text: impl Into<String>) -> Self {
        Self { text: text.into(), mark: Mark::None, label: String::new() }
    }
}

/// Cuts a text where gold and predicted slices begin and end (bytes), and marks the parts.
pub fn marked(text: &str, gold: &[std::ops::Range<usize>], found: &[std::ops::Range<usize>]) -> Vec<Piece> {
    let mut cuts: Vec<usize> = gold.iter().chain(found).flat_map(|range| [range.start, range.end]).collect();
    cuts.extend([0, text.len()]);
    cuts.sort_unstable();
    cuts.dedup();
    let holds = |ranges: &[std::ops::Range<usize>], at| ranges.iter().any(|range| range.contains(&at));
    let piece = |pair: &[usize]| {
        let &[start, end] = pair else { return None };
        let mark = match (holds(gold, start), holds(found, start)) {
            (true, true) => Mark::Both,
            (true, false) => Mark::Gold,
            (false, true) => Mark::Found,
            (false, false) => Mark::None,
        };
        Some(Piece { text: text.get(start..end)?.to_owned(), mark, label: String::new() })
    };
    cuts.windows(2).filter_map(piece).collect()
}

/// The same without cutting what is gold: a predicted slice is marked where it is a gold one to the byte and `right`
/// says so, and beyond that only where nothing is gold.
pub fn marked_whole(
    text: &str,
    gold: &[std::ops::Range<usize>],
    found: &[std::ops::Range<usize>],
    right: impl Fn(&std::ops::Range<usize>) -> bool,
) -> Vec<Piece> {
    let mut kept = Vec::new();
    for range in found {
        if gold.contains(range) {
            kept.extend(right(range).then(|| range.clone()));
            continue;
        }
        let mut start = range.start;
        let mut inside: Vec<_> = gold.iter().filter(|gold| gold.start < range.end && range.start < gold.end).collect();
        inside.sort_by_key(|gold| gold.start);
        for gold in inside {
            kept.push(start..gold.start.max(start));
            start = start.max(gold.end);
        }
        kept.push(start..range.end.max(start));
    }
    // Without the blanks at its ends.
    let trim = |range: std::ops::Range<usize>| {
        let inner = text.get(range.clone())?;
        let start = range.start + (inner.len() - inner.trim_start().len());
        (!inner.trim().is_empty()).then(|| start..start + inner.trim().len())
    };
    let kept: Vec<_> = kept.into_iter().filter_map(trim).collect();
    marked(text, gold, &kept)
}

/// A chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What runs along it, with the unit.
    pub x: String,
    /// What is measured, with the unit.
    pub y: String,
    /// What is drawn.
    pub plot: Plot,
    /// How to read it; may be empty.
    pub note: String,
}

/// What a chart draws.
#[derive(Debug, Clone, PartialEq)]
pub enum Plot {
    /// Lines over numbers.
    Lines(Vec<Series>),
    /// A bar for each name, from 0.
    Bars(Vec<(String, f64)>),
    /// A range for each name, one below the other, with a line at 0.
    Intervals(Vec<Interval>),
}

/// A range in which something lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Interval {
    /// Of what.
    pub name: String,
    /// Its lower end.
    pub low: f64,
    /// What is most likely.
    pub middle: f64,
    /// Its upper end.
    pub high: f64,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Its points, from left to right. Those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// Points behind the line, such as the single measurements that it smooths; may be empty.
    pub behind: Vec<(f64, f64)>,
    /// Along the line, the seconds that had passed; may be empty.
    pub clock: Vec<(f64, f64)>,
}

impl Series {
    /// A line through these points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, behind: Vec::new(), clock: Vec::new() }
    }

    /// The same with the seconds that had passed along it.
    pub fn timed(self, clock: Vec<(f64, f64)>) -> Self {
        Self { clock, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_where_its_marks_begin_and_end_and_nothing_of_it_is_lost() {
        let text = "née Ada King";
        let pieces = marked(text, std::slice::from_ref(&(5..8)), std::slice::from_ref(&(5..13)));
        let shown: Vec<(&str, Mark)> = pieces.iter().map(|piece| (&*piece.text, piece.mark)).collect();
        assert_eq!(shown, [("née ", Mark::None), ("Ada", Mark::Both), (" King", Mark::Found)]);
        assert_eq!(pieces.iter().map(|piece| &*piece.text).collect::<String>(), text);
    }

    #[test]
    fn gold_slices_stay_whole_where_predicted_ones_cross_them() {
        let text = "the Russian league and Lada Togliatti won";
        let gold = [4..11, 23..37];
        let shown = |found: &[std::ops::Range<usize>]| -> Vec<(String, Mark)> {
            let pieces = marked_whole(text, &gold, found, |_| true);
            pieces.into_iter().filter(|piece| piece.mark != Mark::None).map(|piece| (piece.text, piece.mark)).collect()
        };
        let of = |text: &str, mark| (text.to_owned(), mark);
        assert_eq!(
            shown(&[4..18, 23..37]),
            [of("Russian", Mark::Gold), of("league", Mark::Found), of("Lada Togliatti", Mark::Both)]
        );
        assert_eq!(
            shown(std::slice::from_ref(&(23..27))),
            [of("Russian", Mark::Gold), of("Lada Togliatti", Mark::Gold)]
        );
    }
}
