//! What a report says of predicted trees: how well each relation and each distance is parsed, what is taken for what, and the
//! sentences with most errors.

use super::{Parse, Parsed, Tree};
use crate::document::number::{count, percent};
use crate::document::{Block, Case, Cell, Table, Tone};
use crate::metrics::conll18::universal;
use crate::tasks::drawing::{draw, legend};
use crate::tasks::{Shape, Task};
use std::collections::BTreeMap;

/// So many sentences are shown.
const SHOWN: usize = 12;
/// So many confusions are listed.
const LISTED: usize = 15;
/// Words between a word and its head, and one: what the rows of the second table hold.
const DISTANCES: &[(&str, usize)] = &[("1", 1), ("2", 2), ("3 to 5", 5), ("6 to 10", 10), ("more", usize::MAX)];

/// A word with what was predicted of it.
struct Judged<'a> {
    /// The index of its sentence.
    sentence: usize,
    word: &'a str,
    gold: (usize, &'a str),
    found: (usize, &'a str),
    /// The gold head, and the one that was found.
    heads: [&'a str; 2],
    /// How far away the gold head stands; none for the root.
    distance: Option<usize>,
}

impl Judged<'_> {
    fn has_head(&self) -> bool {
        self.gold.0 == self.found.0
    }

    fn is_right(&self) -> bool {
        self.has_head() && universal(self.gold.1) == universal(self.found.1)
    }
}

/// Of a group of words: how many, with how many right heads, and how many that are right altogether.
#[derive(Default, Clone, Copy)]
struct Group {
    words: usize,
    heads: usize,
    right: usize,
}

impl Group {
    fn add(&mut self, word: &Judged) {
        self.words += 1;
        self.heads += usize::from(word.has_head());
        self.right += usize::from(word.is_right());
    }

    fn cells(&self, name: &str) -> [Cell; 4] {
        let share = |part| Cell::percent(percent(part, self.words));
        [name.into(), count(self.words).into(), share(self.heads), share(self.right)]
    }
}

const CONVENTION: &str = "Punctuation counts; relations are compared without their subtypes.";

pub(super) fn blocks(task: &Parse, predictions: &[(&Parsed, Tree)]) -> Vec<Block> {
    let words: Vec<Judged> = predictions.iter().enumerate().flat_map(|(at, one)| judged(at, one)).collect();
    let mut blocks = vec![
        Block::text(CONVENTION),
        Block::heading("How well each relation is parsed"),
        Block::Table(by_relation(&words)),
        Block::heading("How well near and far heads are found"),
        Block::Table(by_distance(&words)),
    ];
    let relations = confusions(
        &words,
        predictions,
        |word| word.has_head(),
        |word| {
            let (gold, found) = (universal(word.gold.1), universal(word.found.1));
            format!("{gold} taken for {found}")
        },
    );
    let heads = confusions(
        &words,
        predictions,
        |word| !word.has_head(),
        |word| format!("another head of {}", universal(word.gold.1)),
    );
    for (title, list) in
        [("Wrong relations at the right head", relations), ("Relations whose heads are wrong most often", heads)]
    {
        if !list.is_empty() {
            blocks.push(Block::heading(title));
            blocks.push(Block::List(list));
        }
    }
    let worst = worst(task, &words, predictions);
    if worst.is_empty() {
        blocks.push(Block::text("Every word has its gold head and relation."));
        return blocks;
    }
    blocks.push(Block::heading("Sentences with most errors"));
    blocks.push(Block::text(legend(Shape::Tree)));
    blocks.push(Block::Cases(worst));
    blocks
}

/// The words of a sentence.
fn judged<'a>(sentence: usize, (example, tree): &'a (&'a Parsed, Tree)) -> Vec<Judged<'a>> {
    let Some(gold) = &example.gold else { return Vec::new() };
    let forms = example.words.words();
    let form = |head: usize| head.checked_sub(1).map_or("ROOT", |at| forms.get(at).copied().unwrap_or(""));
    let word = |(at, (gold, arc)): (usize, ((usize, &'a str), &'a super::Arc))| Judged {
        sentence,
        word: form(at),
        gold,
        found: (arc.head, &arc.relation),
        heads: [form(gold.0), form(arc.head)],
        distance: (gold.0 > 0).then(|| gold.0.abs_diff(at)),
    };
    (1..).zip(gold.arcs().zip(&tree.arcs)).map(word).collect()
}

fn table(caption: &str, name: &str) -> Table {
    Table::new(caption, &[name, "words", "head, %", "head and relation, %"])
}

/// A row a gold relation, the most frequent first.
fn by_relation(words: &[Judged]) -> Table {
    let (mut groups, mut all) = (BTreeMap::<&str, Group>::new(), Group::default());
    for word in words {
        groups.entry(universal(word.gold.1)).or_default().add(word);
        all.add(word);
    }
    let mut rows: Vec<(&str, Group)> = groups.into_iter().collect();
    rows.sort_by_key(|(_, group)| std::cmp::Reverse(group.words));
    let mut table = table("Words by their gold relation.", "relation");
    rows.iter().for_each(|(name, group)| table.row(group.cells(name)));
    table.strong(all.cells("all"));
    table
}

/// A row a range of distances.
fn by_distance(words: &[Judged]) -> Table {
    let mut groups = vec![Group::default(); DISTANCES.len() + 1];
    for word in words {
        let bin = word.distance.map_or(0, |far| 1 + DISTANCES.iter().take_while(|(_, most)| far > *most).count());
        if let Some(group) = groups.get_mut(bin) {
            group.add(word);
        }
    }
    let mut table = table("Words by how many words away their gold head stands.", "distance");
    let names = std::iter::once("the root").chain(DISTANCES.iter().map(|(name, _)| *name));
    names.zip(&groups).for_each(|(name, group)| table.row(group.cells(name)));
    table
}

/// Wrong words by what is said of them, the most frequent first, each with an example.
fn confusions(
    words: &[Judged],
    predictions: &[(&Parsed, Tree)],
    which: impl Fn(&Judged) -> bool,
    said: impl Fn(&Judged) -> String,
) -> Vec<String> {
    let mut counts: BTreeMap<String, (usize, &Judged)> = BTreeMap::new();
    for word in words.iter().filter(|word| !word.is_right() && which(word)) {
        counts.entry(said(word)).or_insert((0, word)).0 += 1;
    }
    let mut counts: Vec<(String, (usize, &Judged))> = counts.into_iter().collect();
    counts.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    let line = |(said, (times, word)): (String, (usize, &Judged))| {
        let place =
            predictions.get(word.sentence).map_or(String::new(), |(example, _)| example.words.place.to_string());
        let [gold, found] = word.heads;
        let example = match word.has_head() {
            true => format!("`{}` below `{gold}`", word.word),
            false => format!("`{}` below `{found}` and not `{gold}`", word.word),
        };
        format!("{said}: {} ({example}, {place})", count(times))
    };
    counts.into_iter().take(LISTED).map(line).collect()
}

/// The sentences with most errors, in the order of the file where equal.
fn worst(task: &Parse, words: &[Judged], predictions: &[(&Parsed, Tree)]) -> Vec<Case> {
    let mut errors = vec![0_usize; predictions.len()];
    for word in words.iter().filter(|word| !word.is_right()) {
        if let Some(errors) = errors.get_mut(word.sentence) {
            *errors += 1;
        }
    }
    let mut order: Vec<(usize, &(&Parsed, Tree))> =
        errors.into_iter().zip(predictions).filter(|(errors, _)| *errors > 0).collect();
    order.sort_by_key(|(errors, _)| std::cmp::Reverse(*errors));
    let case = |(errors, (example, tree)): (usize, &(&Parsed, Tree))| {
        let of = example.words.len();
        let verdict = format!("{errors} of {of} {} wrong", if of == 1 { "word" } else { "words" });
        let tone = if errors < of { Tone::Near } else { Tone::Bad };
        let drawing = draw(&example.words.text, task.gold_answer(example).as_ref(), &task.answer(example, tree));
        drawing.case(verdict, tone, example.words.place.to_string())
    };
    order.into_iter().take(SHOWN).map(case).collect()
}
