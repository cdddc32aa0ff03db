//! The sum of embeddings (of words, positions, token types), its LayerNorm and dropout: the beginning of BERT.
//!
//! ```text
//! forward   e[t] = W[id[t]] + P[position[t]] + T[type[t]]     W [vocabulary, hidden], P [positions, hidden], T [types, hidden]
//!           h = dropout(LayerNorm(e))                         [tokens, hidden]
//! backward  de through both;  dW[id[t]] += de[t], and so for P and T, in the order of the tokens
//! ```
//!
//! The gradients of the tables hold the rows that were used and no others.

use crate::dropout::{Dropout, masked};
use crate::gemm::{Matrix, add_to, sum_rows};
use crate::layer_norm::{Norm, NormValues, gradient, normalise, scale};
use crate::pass::{DropoutAt, Index};
use crate::pool::for_each_of;
use crate::storage::{Parts, with_all_f32s};
use crate::tape::Tape;
use crate::value::{Rows, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};
use std::borrow::Cow;

impl Tape {
    /// `dropout(LayerNorm(Σ table[index]))`, a hidden state.
    pub(crate) fn fused_embeddings(
        &mut self,
        tables: &[(Weight, Index)],
        norm: &Norm,
        dropout: DropoutAt,
    ) -> Result<Value> {
        let inputs = self.setting.inputs.clone();
        let rows: Vec<Cow<[u32]>> = tables.iter().map(|(_, index)| inputs.rows(*index)).collect();
        for ((table, index), rows) in tables.iter().zip(&rows) {
            index.check(rows, table)?;
        }
        let Some((first, tokens)) = tables.first().map(|(table, _)| table).zip(rows.first().map(|rows| rows.len()))
        else {
            candle_core::bail!("embeddings without a table")
        };
        let columns = first.dims().get(1).copied().unwrap_or(0);
        let fits = |(table, _): &(Weight, Index)| table.dims().get(1) == Some(&columns);
        if !tables.iter().all(fits) || rows.iter().any(|rows| rows.len() != tokens) {
            candle_core::bail!("embeddings: tables of {columns} columns and {tokens} rows, and others");
        }
        let mask = self.setting.mask(dropout, Rows::Tokens, columns);
        let values = norm.values(columns)?;
        let needs_gradient = self.trains() && (norm.is_trained() || tables.iter().any(|(table, _)| table.is_trained()));
        let mut h = Buffer::uninit(tokens * columns);
        // The normalised rows, for the backward pass, and what they were divided by.
        let mut kept = needs_gradient.then(|| (Buffer::uninit(tokens * columns), Buffer::uninit(tokens)));
        let mut rounded = self.rounded(tokens, columns);
        let tensors: Vec<&Tensor> =
            tables.iter().zip(&rows).map(|((table, _), rows)| table.tensor_of_rows(rows)).collect::<Result<_>>()?;
        with_all_f32s(&tensors, |numbers| {
            let parts = Parts::new(&mut h);
            let kept = kept.as_mut().map(|(n, inverse)| (Parts::new(n), Parts::new(inverse)));
            let writer = rounded.as_mut().map(Matrix::writer);
            for_each_of(tokens, 16, |t| {
                // SAFETY: each token writes its own row.
                let h = unsafe { parts.part(t * columns, columns) };
                for (at, (table, rows)) in numbers.iter().zip(&rows).enumerate() {
                    let row = &table[rows[t] as usize * columns..][..columns];
                    if at == 0 {
                        h.copy_from_slice(row);
                    } else {
                        add_to(h, row);
                    }
                }
                let inverse = normalise(h, values.epsilon);
                if let Some((n, inverses)) = &kept {
                    // SAFETY: as above.
                    unsafe {
                        n.part(t * columns, columns).copy_from_slice(h);
                        inverses.part(t, 1)[0] = inverse;
                    }
                }
                scale(h, &values.gamma, &values.beta);
                masked(h, mask, (t * columns) as u32);
                if let Some(writer) = &writer {
                    // SAFETY: as above.
                    unsafe { writer.write(t, 0, h) };
                }
            });
            Ok(())
        })?;
        let h = self.hidden(Matrix::f32(tokens, columns, h), rounded, Rows::Tokens, needs_gradient);
        if let Some((n, inverses)) = kept {
            let (tables, inputs, norm, output) = (tables.to_vec(), inputs.clone(), norm.clone(), h.node);
            self.record(output, move |buffers| {
                let mut de = buffers.take_hidden(output)?;
                let sums = backward(&mut de, &n, &inverses, &norm.values(columns)?, mask);
                norm.gather(&sums)?;
                for (table, index) in tables.iter().filter(|(table, _)| table.is_trained()) {
                    table.add_gradient_of_rows(&inputs.rows(*index), &de)?;
                }
                Ok(())
            });
        }
        Ok(Value::Fused(h))
    }
}

/// From dh to de, in place; returns `[dγ, dβ]`.
fn backward(
    de: &mut Buffer<f32>,
    n: &[f32],
    inverses: &[f32],
    norm: &NormValues,
    dropout: Option<Dropout>,
) -> Vec<f32> {
    let columns = norm.gamma.len();
    let de = Parts::new(de);
    sum_rows(inverses.len(), 2 * columns, |row, sums| {
        let start = row * columns;
        // SAFETY: each row is visited once, and writes its own part.
        let de = unsafe { de.part(start, columns) };
        masked(de, dropout, start as u32);
        let (dgamma, dbeta) = sums.split_at_mut(columns);
        gradient(de, &n[start..start + columns], &norm.gamma, inverses[row], dgamma, dbeta);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Precision;
    use crate::ops::Ops;
    use crate::pass::{Inputs, Pass};
    use crate::segments::Segments;
    use crate::testing::{PRECISIONS, assert_tape_on, normal};
    use std::sync::Arc;

    fn inputs() -> Inputs {
        Inputs {
            ids: vec![3, 0, 3, 9, 1],
            positions: vec![0, 1, 2, 0, 1],
            types: vec![0, 0, 1, 0, 0],
            ..Inputs::of_rows(Segments::packed(&[3, 2]))
        }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let args = [normal(1, &[10, 6]), normal(2, &[6, 6]), normal(3, &[2, 6]), normal(4, &[6]), normal(5, &[6])];
        let cases = [
            (0.0, Index::PositionsFrom(0), Index::TokenTypes),
            (0.2, Index::PositionsFrom(0), Index::TokenTypes),
            (0.2, Index::PositionsFrom(2), Index::FirstRow),
        ];
        for (rate, position, kind) in cases {
            for (precision, _) in PRECISIONS {
                assert_tape_on(
                    &inputs(),
                    &args,
                    precision,
                    |ops, [words, positions, types, gamma, beta]| {
                        let tables =
                            [(words.clone(), Index::TokenIds), (positions.clone(), position), (types.clone(), kind)];
                        let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
                        ops.embeddings(&tables, &norm, DropoutAt::new(rate, "embeddings"))
                    },
                    2e-5,
                );
            }
        }
    }

    #[test]
    fn a_row_outside_its_table_is_named() {
        let table = |rows, index| (Weight::new(&normal(1, &[rows, 6])).unwrap(), index);
        let tables = [table(9, Index::TokenIds), table(4, Index::PositionsFrom(0)), table(2, Index::TokenTypes)];
        let ones = Weight::new(&normal(1, &[6])).unwrap();
        let norm = Norm::new(ones.clone(), ones, 1e-12);
        let mut tape = Tape::new(Precision::F32, Pass::Evaluate, Arc::new(inputs()));
        let error = tape.embeddings(&tables, &norm, DropoutAt::new(0.0, "embeddings")).err().unwrap();
        assert!(error.to_string().contains("id 9 lies outside"), "{error}");
    }
}
