//! Parts of a network that are private to tasks, in a batch of one task or of several.
//!
//! ```text
//! forward   x [rows, columns] -> the rows of each task -> its own part of the network -> y, the rows where they lay
//! backward  the rows of dy that are of a task go back through its part; dx is all of them
//! ```
//!
//! A part sees a batch of its task alone: attention stays inside of its sequences, dropout counts its rows. A batch of one task costs
//! nothing beside its part.

use crate::gemm::Matrix;
use crate::ops::{Ops, TaskBody};
use crate::pass::{Inputs, Setting, TaskRows, Tasks};
use crate::tape::Tape;
use crate::value::{Fused, Node, Rows, Value};
use crate::workspace::Buffer;
use candle_core::Result;
use std::sync::Arc;

/// A backend that can take a batch apart.
pub(crate) trait Apart: Ops + Sized {
    /// What it knows of its pass.
    fn setting(&mut self) -> &mut Setting;

    /// These rows of a value.
    fn rows(&mut self, x: &Value, rows: &[u32]) -> Result<Value>;

    /// One value of several, whose rows lie where these numbers say; every row of it is of one of them.
    fn joined(&mut self, parts: &[Value], rows: &[&[u32]]) -> Result<Value>;
}

/// [`Ops::of_each_task`] of such a backend.
pub(crate) fn of_each_task(ops: &mut impl Apart, values: &[&Value], body: &TaskBody) -> Result<Value> {
    let inputs = ops.setting().inputs.clone();
    match &inputs.tasks {
        Tasks::None => {
            candle_core::bail!("a part of the network that is private to a task, in a batch that is of none")
        }
        Tasks::One(task) => body(ops, *task, &values.iter().map(|&value| value.clone()).collect::<Vec<_>>()),
        Tasks::Several(tasks) => {
            for value in values {
                value.check_tokens()?;
            }
            check(tasks, inputs.segments.rows())?;
            let whole = ops.setting().clone();
            let parts = tasks.iter().map(|task| part(ops, &whole, task, values, body)).collect::<Result<Vec<_>>>();
            *ops.setting() = whole;
            let rows: Vec<&[u32]> = tasks.iter().map(|task| &task.rows[..]).collect();
            ops.joined(&parts?, &rows)
        }
    }
}

/// What the part of one task makes of its rows.
fn part(ops: &mut impl Apart, whole: &Setting, task: &TaskRows, values: &[&Value], body: &TaskBody) -> Result<Value> {
    let own = values.iter().map(|value| ops.rows(value, &task.rows)).collect::<Result<Vec<_>>>()?;
    let pass = whole.pass.beginning_at(task.begins);
    let inputs = Arc::new(Inputs { tasks: Tasks::One(task.task), ..(*task.inputs).clone() });
    *ops.setting() = Setting { pass, inputs, ..*whole };
    let y = body(ops, task.task, &own)?;
    match (y.rows_of(), y.rows()?) {
        (Rows::Tokens, rows) if rows == task.rows.len() => Ok(y),
        (of, rows) => {
            candle_core::bail!("the part of a task made {rows} rows that are {of:?} of {} tokens", task.rows.len())
        }
    }
}

/// Refuses rows of no task, and of two.
fn check(tasks: &[TaskRows], rows: usize) -> Result<()> {
    let mut seen = vec![false; rows];
    for &row in tasks.iter().flat_map(|task| &task.rows) {
        match seen.get_mut(row as usize) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => {
                candle_core::bail!("row {row} is of two tasks, each of which has a part of the network of its own")
            }
            None => candle_core::bail!("row {row} of a batch of {rows}"),
        }
    }
    match seen.iter().position(|seen| !seen) {
        Some(row) => candle_core::bail!("row {row} is of no task"),
        None => Ok(()),
    }
}

impl Apart for Tape {
    fn setting(&mut self) -> &mut Setting {
        &mut self.setting
    }

    fn rows(&mut self, x: &Value, rows: &[u32]) -> Result<Value> {
        self.fused_select_rows(x.fused()?, rows.to_vec(), Rows::Tokens)
    }

    fn joined(&mut self, parts: &[Value], rows: &[&[u32]]) -> Result<Value> {
        let parts: Vec<&Fused> = parts.iter().map(Value::fused).collect::<Result<_>>()?;
        let columns = parts.first().map_or(0, |part| part.node.columns);
        if let Some(part) = parts.iter().find(|part| part.node.columns != columns) {
            candle_core::bail!("{} columns of one task, {columns} of another", part.node.columns);
        }
        let all: usize = rows.iter().map(|rows| rows.len()).sum();
        let mut y = Buffer::uninit(all * columns);
        for (part, rows) in parts.iter().zip(rows) {
            for (at, &row) in rows.iter().enumerate() {
                part.read_row(at, &mut y[row as usize * columns..][..columns]);
            }
        }
        let needs_gradient = self.trains() && parts.iter().any(|part| part.node.needs_gradient);
        let y = self.hidden(Matrix::f32(all, columns, y), None, Rows::Tokens, needs_gradient);
        let output = y.node;
        let inputs: Vec<(Node, Vec<u32>)> =
            parts.iter().map(|part| part.node).zip(rows.iter().map(|rows| rows.to_vec())).collect();
        self.record(output, move |buffers| {
            let dy = buffers.take_hidden(output)?;
            for (node, rows) in inputs {
                let mut dx = Buffer::uninit(rows.len() * columns);
                for (dx, row) in dx.chunks_exact_mut(columns.max(1)).zip(rows) {
                    dx.copy_from_slice(&dy[row as usize * columns..][..columns]);
                }
                buffers.add(node, dx)?;
            }
            Ok(())
        });
        Ok(Value::Fused(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer_norm::Norm;
    use crate::ops::Attention;
    use crate::pass::{DropoutAt, Offset, Pass};
    use crate::rng::Key;
    use crate::segments::Segments;
    use crate::testing::{PRECISIONS, assert_tapes_on, flat, normal, weights};
    use crate::weight::Weight;

    /// Three sequences, the first and the last of task 1, the other of task 0.
    fn inputs() -> Inputs {
        let of = |lengths: &[usize]| Arc::new(Inputs::of_rows(Segments::packed(lengths)));
        let begins = |rows, sequences| Some(Offset { rows, sequences, ..Offset::default() });
        let first = TaskRows { task: 1, rows: vec![0, 1, 2, 5, 6], inputs: of(&[3, 2]), begins: begins(0, 0) };
        let second = TaskRows { task: 0, rows: vec![3, 4], inputs: of(&[2]), begins: begins(5, 2) };
        Inputs { tasks: Tasks::Several(vec![first, second]), ..Inputs::of_rows(Segments::packed(&[3, 2, 2])) }
    }

    /// A shared layer, then attention and a layer of each task.
    fn network(ops: &mut dyn Ops, weights_of: &[&Weight; 7]) -> Result<Value> {
        let [x, w, b, gamma, beta, first, second] = *weights_of;
        let x = ops.parameter(x)?;
        let h = ops.linear(&x, &weights([(w, b)]))?;
        ops.of_each_task(&[&h, &x], &|ops, task, own| {
            let [h, x] = own else { candle_core::bail!("two values") };
            let layer = weights([([first, second][task], b)]);
            let drop = |place| DropoutAt::new(0.3, place);
            let mixed = ops.self_attention(
                h,
                &weights([(w, b), (first, b), (second, b)]),
                Attention::plain(2, drop("attention")),
            )?;
            let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
            ops.linear_residual_norm(&mixed, &layer, x, &norm, drop("output"))
        })
    }

    fn arguments() -> [candle_core::Tensor; 7] {
        let matrix = |seed| (normal(seed, &[8, 8]) * 0.5).unwrap();
        [normal(1, &[7, 8]), matrix(2), normal(3, &[8]), normal(4, &[8]), normal(5, &[8]), matrix(6), matrix(7)]
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        assert_tapes_on(&inputs(), &arguments(), |ops: &mut dyn Ops, weights| network(ops, &weights));
    }

    #[test]
    fn the_rows_of_a_task_are_what_they_are_in_a_batch_of_its_own() {
        let arguments = arguments();
        for (precision, _) in PRECISIONS {
            let run = |x: &candle_core::Tensor, inputs: Inputs, begins: Offset| {
                let all: Vec<Weight> =
                    std::iter::once(x).chain(&arguments[1..]).map(|tensor| Weight::new(tensor).unwrap()).collect();
                let mut tape = Tape::new(precision, Pass::Train { key: Key::seed(1), begins }, Arc::new(inputs));
                flat(&network(&mut tape, &std::array::from_fn(|at| &all[at])).unwrap().to_tensor().unwrap())
            };
            let together = run(&arguments[0], inputs(), Offset::default());
            let Tasks::Several(tasks) = inputs().tasks else { panic!("of several") };
            for task in tasks {
                let x = crate::plain::rows_of(&arguments[0], &task.rows).unwrap();
                let alone = Inputs { tasks: Tasks::One(task.task), ..(*task.inputs).clone() };
                let alone = run(&x, alone, task.begins.unwrap());
                let rows = task.rows.iter().flat_map(|&row| together[row as usize * 8..][..8].to_vec());
                assert_eq!(rows.collect::<Vec<f32>>(), alone, "{precision:?}, task {}", task.task);
            }
        }
    }

    #[test]
    fn rows_of_no_task_or_of_two_are_refused() {
        let run = |change: &dyn Fn(&mut Vec<TaskRows>)| {
            let mut inputs = inputs();
            let Tasks::Several(tasks) = &mut inputs.tasks else { panic!("of several") };
            change(tasks);
            let mut tape = Tape::new(PRECISIONS[0].0, Pass::Evaluate, Arc::new(inputs));
            let x = tape.parameter(&Weight::new(&normal(1, &[7, 8])).unwrap()).unwrap();
            tape.of_each_task(&[&x], &|_, _, own| Ok(own[0].clone())).err().map(|error| error.to_string())
        };
        assert_eq!(run(&|_| {}), None);
        let fault = run(&|tasks| tasks[0].rows[1] = 3).unwrap();
        assert!(fault.starts_with("row 3 is of two tasks"), "{fault}");
        let fault = run(&|tasks| _ = tasks.pop()).unwrap();
        assert!(fault.starts_with("row 3 is of no task"), "{fault}");
        let mut tape = Tape::new(PRECISIONS[0].0, Pass::Evaluate, Arc::new(Inputs::of_rows(Segments::packed(&[7]))));
        let x = tape.parameter(&Weight::new(&normal(1, &[7, 8])).unwrap()).unwrap();
        let fault = tape.of_each_task(&[&x], &|_, _, own| Ok(own[0].clone())).err().unwrap().to_string();
        assert!(
            fault.starts_with("a part of the network that is private to a task, in a batch that is of none"),
            "{fault}"
        );
    }
}
