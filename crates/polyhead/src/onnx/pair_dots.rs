//! Dot products of pairs of ranges: those of all ranges with all, of which the pairs are chosen.
//!
//! ```text
//! x [batch_size, ranges, outputs * width] -> [batch_size, ranges, outputs, width]
//! y [batch_size, ranges, width]           -> [batch_size, 1, width, ranges]
//! x y, last axes exchanged                -> [batch_size, ranges, ranges, outputs] -> [batch_size, pairs, outputs]
//! ```

use super::PAIRS;
use super::file::Attribute;
use super::graph::Graph;
use polyhead_kernels::{GraphNode, Rows, Value};

impl Graph {
    /// So many products of each pair of the head as blocks of y's width fit into x.
    pub(super) fn dots_of_pairs(&mut self, x: &GraphNode, y: &GraphNode) -> candle_core::Result<Value> {
        if let Some(other) = [x, y].into_iter().find(|node| node.rows != Rows::Ranges) {
            candle_core::bail!("dot products are of rows that are {:?}, found {:?}", Rows::Ranges, other.rows);
        }
        let (width, outputs) = (y.columns, x.columns / y.columns.max(1));
        let pairs = self.items(PAIRS).input;
        let blocks = self.ints(&format!("shape_0_0_{outputs}_{width}"), &[0, 0, outputs as i64, width as i64]);
        let x = self.emit("Reshape", &pairs, &[&x.name, &blocks], &[]);
        let y = self.emit("Transpose", &pairs, &[&y.name], &[Attribute::Ints("perm", &[0, 2, 1])]);
        let axis = self.ints("ints_1", &[1]);
        let y = self.emit("Unsqueeze", &pairs, &[&y, &axis], &[]);
        let all = self.emit("MatMul", &pairs, &[&x, &y], &[]);
        let all = self.emit("Transpose", &pairs, &[&all], &[Attribute::Ints("perm", &[0, 1, 3, 2])]);
        let name = self.emit("GatherND", &pairs, &[&all, &pairs], &[Attribute::Int("batch_dims", 1)]);
        Ok(Value::Node(GraphNode { name, columns: outputs, rows: Rows::Pairs }))
    }
}
