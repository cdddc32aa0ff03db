//! Features and batches: token ids with the map back to the text, packed end to end.
//!
//! ```text
//! windows of one head      Features, Features ...          -> Inputs, read by the encoder and by the head
//! windows of several       [Features ...], [Features ...]  -> Inputs of the encoder, where equal windows are one sequence;
//!                                                             and for each head, which sequences are its own
//! ```

use polyhead_kernels::cross_entropy::IGNORE;
use polyhead_kernels::segments::Segment;
use polyhead_kernels::{Inputs, Items, Offset, Segments, TaskRows, Tasks};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// What the loss of a window compares its logits with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Targets {
    /// A class for each row of logits; [`IGNORE`] for a row that does not count.
    Classes(Vec<i64>),
    /// A row for each column of logits: where an answer starts, and where it ends.
    Positions(Vec<i64>),
    /// A number for each row and column of logits.
    Reals(Vec<f32>),
    /// The classes that hold of each row of logits, any number of them.
    Sets(Vec<Vec<u32>>),
}

impl Targets {
    /// How many there are that a loss counts. A set is one.
    pub fn count(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.iter().filter(|class| **class != IGNORE).count(),
            Self::Positions(positions) => positions.len(),
            Self::Reals(numbers) => numbers.len(),
            Self::Sets(sets) => sets.len(),
        }
    }

    /// The classes; none of targets of another kind.
    pub fn classes(&self) -> &[i64] {
        match self {
            Self::Classes(classes) => classes,
            _ => &[],
        }
    }

    /// The positions; none of targets of another kind.
    pub fn positions(&self) -> &[i64] {
        match self {
            Self::Positions(positions) => positions,
            _ => &[],
        }
    }

    /// The numbers; none of targets of another kind.
    pub fn reals(&self) -> &[f32] {
        match self {
            Self::Reals(numbers) => numbers,
            _ => &[],
        }
    }

    /// The sets; none of targets of another kind.
    pub fn sets(&self) -> &[Vec<u32>] {
        match self {
            Self::Sets(sets) => sets,
            _ => &[],
        }
    }
}

impl Default for Targets {
    fn default() -> Self {
        Self::Classes(Vec::new())
    }
}

/// One window of an example, ready for the encoder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// Token types (segments) as BERT counts them: 0 for the first text, 1 for the second.
    pub types: Vec<u32>,
    /// What each token stands for, in the task's own unit (a range of words, of bytes); `None` where the task predicts
    /// nothing (special tokens, the question, later sub-words).
    pub spans: Vec<Option<(usize, usize)>>,
    /// The ranges of tokens that the head reads (words, spans): of each, its first token and the one behind its last.
    pub ranges: Vec<(u32, u32)>,
    /// The pairs of ranges that the head reads, as indices into `ranges`.
    pub pairs: Vec<(u32, u32)>,
    /// What the loss compares with.
    pub targets: Targets,
}

/// The windows of one example, and what did not fit into them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowedExample {
    /// At least one window, but in training for an example that nothing can be learnt from.
    pub windows: Vec<Features>,
    /// Tokens cut off.
    pub lost_tokens: usize,
    /// Gold entities or answers that no window holds whole.
    pub truncated_answers: usize,
}

/// How sequences of one batch are brought together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// End to end: no padding is computed.
    #[default]
    Packed,
    /// To the longest of the batch, for comparisons.
    Longest,
    /// To the task's maximum length, for comparisons.
    Max,
}

/// Sequences for one forward pass of the encoder, and of one head or several.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids, positions and types of all rows, and where each sequence lies.
    pub inputs: Arc<Inputs>,
    /// What each head reads of them.
    pub heads: Vec<HeadInputs>,
}

/// What one head reads of a batch.
#[derive(Debug, Clone)]
pub struct HeadInputs {
    /// The rows of the batch that it reads, in order; `None` for all of them.
    pub rows: Option<Vec<u32>>,
    /// The same as inputs of their own, with the head's ranges and pairs.
    pub inputs: Arc<Inputs>,
    /// Where these begin in the head's part of the step; `None` where it is the encoder's place.
    pub begins: Option<Offset>,
}

/// Whether two windows of one head may be one sequence of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Merge {
    /// Equal windows are encoded once, whichever heads read them.
    Equal,
    /// Equal windows of different heads are encoded once; those of one head are not: in training each has dropout masks of its
    /// own.
    AcrossHeads,
}

impl Batch {
    /// Where each sequence lies.
    pub fn segments(&self) -> &Segments {
        &self.inputs.segments
    }

    /// Brings the windows of one head together. `pad` is the id of the padding token, `max_length` the task's.
    ///
    /// This copies a few thousand numbers: microseconds of a step, so that nothing is won by doing it ahead.
    pub fn new(windows: &[&Features], padding: Padding, max_length: usize, pad: u32) -> Self {
        let mut inputs = pack(windows, padding, max_length, pad);
        add_items(&mut inputs, windows);
        let inputs = Arc::new(inputs);
        Self { heads: vec![HeadInputs { rows: None, inputs: inputs.clone(), begins: None }], inputs }
    }

    /// The same of one task, whose number decides which private parts of the encoder the rows pass.
    #[must_use]
    pub fn of_task(self, task: usize) -> Self {
        Self { inputs: Arc::new(Inputs { tasks: Tasks::One(task), ..(*self.inputs).clone() }), ..self }
    }

    /// Brings the windows of several heads together, each head's in the order of its own. With `tasks`, the numbers of the heads' tasks, each head's rows pass private parts of
    /// the encoder: then windows of different heads are never one sequence.
    pub fn shared(
        heads: &[Vec<&Features>],
        merge: Merge,
        tasks: Option<&[usize]>,
        padding: Padding,
        max_length: usize,
        pad: u32,
    ) -> Self {
        let mut unique: Vec<&Features> = Vec::new();
        // Of each head the first of its sequences, and the one behind its last, where no other has them.
        let mut own: Vec<Range<usize>> = Vec::with_capacity(heads.len());
        let mut known: HashMap<(&[u32], &[u32]), Vec<usize>> = HashMap::new();
        let mut sequences: Vec<Vec<usize>> = Vec::with_capacity(heads.len());
        for windows in heads {
            if tasks.is_some() {
                known.clear();
            }
            let first = unique.len();
            // How many of the sequences of one content this head has.
            let mut taken: HashMap<(&[u32], &[u32]), usize> = HashMap::new();
            let of_head = windows.iter().map(|window| {
                let content = (window.ids.as_slice(), window.types.as_slice());
                let (equal, taken) = (known.entry(content).or_default(), taken.entry(content).or_default());
                let at = if merge == Merge::Equal { 0 } else { *taken };
                *taken += 1;
                equal.get(at).copied().unwrap_or_else(|| {
                    unique.push(window);
                    equal.push(unique.len() - 1);
                    unique.len() - 1
                })
            });
            sequences.push(of_head.collect());
            own.push(first..unique.len());
        }
        let mut inputs = pack(&unique, padding, max_length, pad);
        let all: Vec<usize> = (0..unique.len()).collect();
        let heads = heads.iter().zip(sequences).map(|(windows, sequences)| {
            let rows = (sequences != all).then(|| rows_of(&sequences, &inputs.segments));
            let mut own = match &rows {
                Some(rows) => some_of(&inputs, rows, &sequences),
                None => inputs.clone(),
            };
            add_items(&mut own, windows);
            HeadInputs { rows, inputs: Arc::new(own), begins: None }
        });
        let heads = heads.collect();
        if let Some(tasks) = tasks {
            let rows_of_task = |(&task, own): (&usize, Range<usize>)| {
                let sequences: Vec<usize> = own.collect();
                let rows = rows_of(&sequences, &inputs.segments);
                let inputs = Arc::new(some_of(&inputs, &rows, &sequences));
                TaskRows { task, rows, inputs, begins: None }
            };
            inputs.tasks = Tasks::Several(tasks.iter().zip(own).map(rows_of_task).collect());
        }
        Self { inputs: Arc::new(inputs), heads }
    }

    /// Each head's windows, and the rows of its task, begin there in the task's part of the step.
    #[must_use]
    pub fn beginning_at(mut self, places: &[Offset]) -> Self {
        self.heads.iter_mut().zip(places).for_each(|(head, place)| head.begins = Some(*place));
        if let Tasks::Several(_) = self.inputs.tasks {
            let mut inputs = (*self.inputs).clone();
            if let Tasks::Several(tasks) = &mut inputs.tasks {
                tasks.iter_mut().zip(places).for_each(|(task, place)| task.begins = Some(*place));
            }
            self.inputs = Arc::new(inputs);
        }
        self
    }
}

/// The windows end to end, each padded as asked.
fn pack(windows: &[&Features], padding: Padding, max_length: usize, pad: u32) -> Inputs {
    let lengths: Vec<usize> = windows.iter().map(|window| window.ids.len()).collect();
    let to = match padding {
        Padding::Packed => 0,
        Padding::Longest => lengths.iter().copied().max().unwrap_or(0),
        Padding::Max => max_length,
    };
    let segments = Segments::padded(&lengths, to);
    let count = segments.rows();
    let [mut ids, mut types, mut positions] = [(); 3].map(|()| Vec::with_capacity(count));
    for (window, segment) in windows.iter().zip(segments.iter()) {
        let padded = |values: &[u32], fill: u32, into: &mut Vec<u32>| {
            into.extend_from_slice(values);
            into.resize(segment.start + segment.rows, fill);
        };
        padded(&window.ids, pad, &mut ids);
        padded(&window.types, 0, &mut types);
        positions.extend(0..segment.rows as u32);
    }
    Inputs { ids, positions, types, ..Inputs::of_rows(segments) }
}

/// The rows of some sequences.
fn rows_of(sequences: &[usize], segments: &Segments) -> Vec<u32> {
    let all: Vec<Segment> = segments.iter().collect();
    let rows = |&sequence: &usize| all.get(sequence).map(|segment| segment.start..segment.start + segment.rows);
    sequences.iter().filter_map(rows).flatten().map(|row| row as u32).collect()
}

/// The inputs of some sequences alone.
fn some_of(all: &Inputs, rows: &[u32], sequences: &[usize]) -> Inputs {
    let some = |values: &[u32]| rows.iter().filter_map(|&row| values.get(row as usize).copied()).collect();
    Inputs {
        ids: some(&all.ids),
        positions: some(&all.positions),
        types: some(&all.types),
        ..Inputs::of_rows(all.segments.some(sequences))
    }
}

/// Adds the ranges and pairs of the windows, which are the sequences of these inputs.
fn add_items(inputs: &mut Inputs, windows: &[&Features]) {
    let (mut ranges, mut pairs) = (Items::default(), Items::default());
    for (window, segment) in windows.iter().zip(inputs.segments.iter()) {
        let (row, range) = (segment.start as u32, ranges.items.len() as u32);
        ranges.items.extend(window.ranges.iter().map(|(start, end)| (row + start, row + end)));
        pairs.items.extend(window.pairs.iter().map(|(first, second)| (range + first, range + second)));
    }
    let counts = |of: fn(&Features) -> usize| windows.iter().map(|window| of(window)).collect::<Vec<_>>();
    ranges.segments = Segments::packed(&counts(|window| window.ranges.len()));
    pairs.segments = Segments::packed(&counts(|window| window.pairs.len()));
    (inputs.ranges, inputs.pairs) = (ranges, pairs);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(ids: &[u32]) -> Features {
        Features { ids: ids.to_vec(), types: vec![0; ids.len()], ..Features::default() }
    }

    #[test]
    fn packing_computes_no_padding_and_padding_marks_it() {
        let (a, b) = (window(&[1, 2, 3]), window(&[4]));
        let packed = Batch::new(&[&a, &b], Padding::Packed, 5, 9);
        assert_eq!(packed.inputs.ids, [1, 2, 3, 4]);
        assert_eq!(packed.inputs.positions, [0, 1, 2, 0]);
        let padded = Batch::new(&[&a, &b], Padding::Longest, 5, 9);
        assert_eq!(padded.inputs.ids, [1, 2, 3, 4, 9, 9]);
        assert_eq!(padded.segments().lengths(), [3, 1]);
        assert_eq!(Batch::new(&[&a, &b], Padding::Max, 5, 9).inputs.ids.len(), 10);
    }

    #[test]
    fn ranges_and_pairs_are_counted_from_the_start_of_the_batch() {
        let a = Features { ranges: vec![(1, 2), (2, 3)], pairs: vec![(0, 1), (1, 0)], ..window(&[1, 2, 3]) };
        let b = Features { ranges: vec![(0, 1)], pairs: vec![(0, 0)], ..window(&[4]) };
        let Inputs { ranges, pairs, .. } = &*Batch::new(&[&a, &b], Padding::Max, 5, 9).inputs;
        assert_eq!(ranges.items, [(1, 2), (2, 3), (5, 6)]);
        assert_eq!(pairs.items, [(0, 1), (1, 0), (2, 2)]);
        assert_eq!((ranges.segments.lengths(), pairs.segments.lengths()), (&[2, 1][..], &[2, 1][..]));
    }

    #[test]
    fn heads_share_equal_windows_and_read_their_own() {
        let (a, b, c) = (window(&[1, 2]), window(&[3]), window(&[4, 5, 6]));
        let marked = Features { ranges: vec![(0, 1)], ..window(&[3]) };
        let heads = [vec![&a, &b, &a], vec![&marked, &a], vec![&c]];
        let rows = |batch: &Batch| batch.heads.iter().map(|head| head.rows.clone()).collect::<Vec<_>>();
        let once = Batch::shared(&heads, Merge::Equal, None, Padding::Packed, 0, 9);
        assert_eq!(once.inputs.ids, [1, 2, 3, 4, 5, 6]);
        assert_eq!(rows(&once), [Some(vec![0, 1, 2, 0, 1]), Some(vec![2, 0, 1]), Some(vec![3, 4, 5])]);
        let second = &once.heads[1].inputs;
        assert_eq!((second.segments.lengths(), &second.ids[..]), (&[1, 2][..], &[3, 1, 2][..]));
        assert_eq!((&second.ranges.items[..], second.ranges.segments.lengths()), (&[(0, 1)][..], &[1, 0][..]));
        let apart = Batch::shared(&heads, Merge::AcrossHeads, None, Padding::Packed, 0, 9);
        assert_eq!(apart.inputs.ids, [1, 2, 3, 1, 2, 4, 5, 6]);
        assert_eq!(rows(&apart)[0], Some(vec![0, 1, 2, 3, 4]));
        let own = Batch::shared(&heads, Merge::Equal, Some(&[0, 1, 2]), Padding::Packed, 0, 9);
        assert_eq!(own.inputs.ids, [1, 2, 3, 3, 1, 2, 4, 5, 6]);
        assert_eq!(rows(&own), [Some(vec![0, 1, 2, 0, 1]), Some(vec![3, 4, 5]), Some(vec![6, 7, 8])]);
        let Tasks::Several(tasks) = &own.inputs.tasks else { panic!("of several") };
        let of_tasks: Vec<_> = tasks.iter().map(|task| (task.task, &task.rows[..], &task.inputs.ids[..])).collect();
        let [a, b, c] = [(0, &[0, 1, 2][..], &[1, 2, 3][..]), (1, &[3, 4, 5], &[3, 1, 2]), (2, &[6, 7, 8], &[4, 5, 6])];
        assert_eq!(of_tasks, [a, b, c]);
        let alone = Batch::shared(&heads[..1], Merge::AcrossHeads, None, Padding::Packed, 0, 9);
        assert_eq!((rows(&alone), alone.inputs.ids.len()), (vec![None], 5));
    }
}
