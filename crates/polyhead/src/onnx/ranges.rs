//! What a graph computes of ranges and pairs: means of ranges, and the sequence of each pair.
//!
//! ```text
//! inside [batch_size, ranges, sequence_length]   1 where a token lies in a range, else 0
//! mean   inside x / max(Σ inside, 1)             of no token (a range that fills a batch up): 0
//! ```

use super::file::{Attribute, Numbers, Type};
use super::graph::Graph;
use super::{PAIRS, RANGES};
use polyhead_kernels::{GraphNode, Index, Rows, Value};

impl Graph {
    /// The mean of each range of a value of tokens.
    pub(super) fn mean_of_ranges(&mut self, x: &GraphNode) -> candle_core::Result<Value> {
        let (inside, counts) = self.inside_ranges()?;
        let at = self.items(RANGES).input;
        let sums = self.emit("MatMul", &at, &[&inside, &x.name], &[]);
        let name = self.emit("Div", &at, &[&sums, &counts], &[]);
        Ok(Value::Node(GraphNode { name, columns: x.columns, rows: Rows::Ranges }))
    }

    /// Which tokens lie in each range of the head, and how many they are, at least 1: `[batch_size, ranges, 1]`.
    fn inside_ranges(&mut self) -> candle_core::Result<(String, String)> {
        let numbers = self.numbers_of_tokens()?;
        let (at, axis) = (self.items(RANGES).input, self.ints("axis_last", &[-1]));
        let inside = self.once(&format!("{at} inside"), |graph| {
            let ends = [0, 1, 2].map(|end: i64| graph.ints(&format!("ints_{end}"), &[end]));
            let [start, end] =
                [0, 1].map(|which| graph.emit("Slice", &at, &[&at, &ends[which], &ends[which + 1], &axis], &[]));
            // Tokens are counted from 1: those behind the start, up to the end.
            let behind = graph.emit("Less", &at, &[&start, &numbers], &[]);
            let before = graph.emit("LessOrEqual", &at, &[&numbers, &end], &[]);
            let both = graph.emit("And", &at, &[&behind, &before], &[]);
            graph.emit("Cast", &at, &[&both], &[Attribute::Int("to", Type::Float as i64)])
        });
        let counts = self.once(&format!("{at} counts"), |graph| {
            let one = graph.float("float_1", 1.0);
            let count = graph.emit("ReduceSum", &at, &[&inside, &axis], &[]);
            graph.emit("Max", &at, &[&count, &one], &[])
        });
        Ok((inside, counts))
    }

    /// The tokens along `input_ids`, padding included, counted from 1: `[batch_size, 1, sequence_length]`.
    fn numbers_of_tokens(&mut self) -> candle_core::Result<String> {
        let zeros = self.index(Index::FirstRow)?;
        Ok(self.once("numbers of tokens", |graph| {
            let one = graph.constant("int_1", Numbers::Int(1));
            let ones = graph.emit("Add", "numbers", &[&zeros, &one], &[]);
            let numbers = graph.emit("CumSum", "numbers", &[&ones, &one], &[]);
            let axis = graph.ints("ints_1", &[1]);
            graph.emit("Unsqueeze", "numbers", &[&numbers, &axis], &[])
        }))
    }

    /// The rows of a value of sequences, one for each pair of the head: `[batch_size, columns] -> [batch_size, pairs, columns]`.
    pub(super) fn sequences_of_pairs(&mut self, x: &GraphNode) -> Value {
        let (at, axis) = (self.items(PAIRS).input, self.ints("axis_last", &[-1]));
        let zeros = self.once(&format!("{at} zeros"), |graph| {
            let [start, end] = [0, 1].map(|end: i64| graph.ints(&format!("ints_{end}"), &[end]));
            let firsts = graph.emit("Slice", &at, &[&at, &start, &end, &axis], &[]);
            let zeros = graph.emit("Sub", &at, &[&firsts, &firsts], &[]);
            graph.emit("Cast", &at, &[&zeros], &[Attribute::Int("to", Type::Float as i64)])
        });
        let axis = self.ints("ints_1", &[1]);
        let rows = self.emit("Unsqueeze", &at, &[&x.name, &axis], &[]);
        let name = self.emit("Add", &at, &[&rows, &zeros], &[]);
        Value::Node(GraphNode { name, columns: x.columns, rows: Rows::Pairs })
    }
}
