//! The sum of word, position and token-type embeddings, its LayerNorm and dropout: the beginning of BERT.
//!
//! ```text
//! forward   e[t] = W[id[t]] + P[position[t]] + T[type[t]]     W [vocabulary, hidden], P [positions, hidden], T [types, hidden]
//!           h = dropout(LayerNorm(e))                         [tokens, hidden]
//! backward  de through both;  dW[id[t]] += de[t], and so for P and T, in the order of the tokens
//! ```
//!
//! The gradients of the tables hold the rows that were used and no others.

use crate::dropout::{self, Dropout, masked};
use crate::gemm::{Matrix, add_to, sum_rows};
use crate::layer_norm::{Norm, NormValues, gradient, normalise, scale};
use crate::storage::Parts;
use crate::tape::{State, Tape, Value};
use crate::weight::Weight;
use crate::workspace::Buffer;
use candle_core::{Result, Tensor};
use rayon::prelude::*;

/// Which row of each table a token takes.
#[derive(Debug, Clone)]
pub struct Rows {
    /// Rows of the word table.
    pub ids: Vec<u32>,
    /// Rows of the position table.
    pub positions: Vec<u32>,
    /// Rows of the token-type table.
    pub types: Vec<u32>,
}

/// The tables, `[.., hidden]` each.
#[derive(Clone)]
pub struct Tables {
    /// A row for each token id.
    pub words: Weight,
    /// A row for each position.
    pub positions: Weight,
    /// A row for each token type.
    pub types: Weight,
}

impl Tape {
    /// `dropout(LayerNorm(words[ids] + positions[positions] + types[types]))`, a hidden state.
    pub fn embeddings(&mut self, rows: &Rows, tables: &Tables, norm: &Norm, dropout: Option<Dropout>) -> Result<Value> {
        let pairs = [("id", &tables.words, &rows.ids), ("position", &tables.positions, &rows.positions)];
        for (what, table, rows) in pairs.into_iter().chain([("token type", &tables.types, &rows.types)]) {
            if let Some(row) = rows.iter().find(|&&row| row as usize >= table.dims().first().copied().unwrap_or(0)) {
                candle_core::bail!("{what} {row} lies outside the embedding table of {:?}", table.dims());
            }
        }
        let columns = tables.words.dims().get(1).copied().unwrap_or(0);
        let dropout = dropout.map(|dropout| dropout.of_rows(columns));
        if !self.fused {
            let weight = |weight: &_| self.weight(weight);
            let pick =
                |table: &Weight, rows: &[u32]| weight(table)?.index_select(&Tensor::new(rows, self.device())?, 0);
            let sum = pick(&tables.words, &rows.ids)?.add(&pick(&tables.positions, &rows.positions)?)?;
            let sum = sum.add(&pick(&tables.types, &rows.types)?)?;
            return Ok(Value(State::Plain(dropout::plain(&norm.plain(&sum, weight)?, dropout)?)));
        }
        let tokens = rows.ids.len();
        let values = norm.values(columns)?;
        let mut h = Buffer::uninit(tokens * columns);
        // The normalised rows, for the backward pass, and what they were divided by.
        let mut kept = self.trains.then(|| (Buffer::uninit(tokens * columns), Buffer::uninit(tokens)));
        let mut rounded = self.rounded(tokens, columns);
        tables.words.read_rows(&rows.ids, |words| {
            tables.positions.read_rows(&rows.positions, |positions| {
                tables.types.read_rows(&rows.types, |types| {
                    let parts = Parts::new(&mut h);
                    let kept = kept.as_mut().map(|(n, inverse)| (Parts::new(n), Parts::new(inverse)));
                    let writer = rounded.as_mut().map(Matrix::writer);
                    let of = |table: &'_ [f32], row: u32| -> std::ops::Range<usize> {
                        debug_assert!((row as usize + 1) * columns <= table.len());
                        row as usize * columns..(row as usize + 1) * columns
                    };
                    (0..tokens).into_par_iter().with_min_len(16).for_each(|t| {
                        // SAFETY: each token writes its own row.
                        let h = unsafe { parts.part(t * columns, columns) };
                        h.copy_from_slice(&words[of(words, rows.ids[t])]);
                        add_to(h, &positions[of(positions, rows.positions[t])]);
                        add_to(h, &types[of(types, rows.types[t])]);
                        let inverse = normalise(h, values.epsilon);
                        if let Some((n, inverses)) = &kept {
                            // SAFETY: as above.
                            unsafe {
                                n.part(t * columns, columns).copy_from_slice(h);
                                inverses.part(t, 1)[0] = inverse;
                            }
                        }
                        scale(h, &values.gamma, &values.beta);
                        masked(h, dropout, (t * columns) as u32);
                        if let Some(writer) = &writer {
                            // SAFETY: as above.
                            unsafe { writer.write(t, 0, h) };
                        }
                    });
                    Ok(())
                })
            })
        })?;
        let h = self.hidden(Matrix::f32(tokens, columns, h), rounded);
        if let Some((n, inverses)) = kept {
            let (rows, tables, norm, node) = (rows.clone(), tables.clone(), norm.clone(), h.node);
            self.record(move |buffers| {
                let mut de = buffers.take_hidden(node)?;
                let sums = backward(&mut de, &n, &inverses, &norm.values(columns)?, dropout);
                norm.gather(&sums)?;
                tables.words.add_gradient_of_rows(&rows.ids, &de)?;
                tables.positions.add_gradient_of_rows(&rows.positions, &de)?;
                tables.types.add_gradient_of_rows(&rows.types, &de)
            });
        }
        Ok(Value(State::Fused(h)))
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
    use crate::rng::Key;
    use crate::testing::{PRECISIONS, assert_tape, normal};
    use candle_core::Device;

    fn rows() -> Rows {
        Rows { ids: vec![3, 0, 3, 9, 1], positions: vec![0, 1, 2, 0, 1], types: vec![0, 0, 1, 0, 0] }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_reference() {
        let args = [normal(1, &[10, 6]), normal(2, &[4, 6]), normal(3, &[2, 6]), normal(4, &[6]), normal(5, &[6])];
        for drop in [None, Dropout::new(0.2, Key::seed(4))] {
            for (precision, _) in PRECISIONS {
                assert_tape(
                    &args,
                    precision,
                    |tape, [words, positions, types, gamma, beta]| {
                        let (words, positions, types) = (words.clone(), positions.clone(), types.clone());
                        let norm = Norm::new(gamma.clone(), beta.clone(), 1e-12);
                        tape.embeddings(&rows(), &Tables { words, positions, types }, &norm, drop)
                    },
                    2e-5,
                );
            }
        }
    }

    #[test]
    fn a_row_outside_its_table_is_named() {
        let table = |rows| Weight::new(&normal(1, &[rows, 6])).unwrap();
        let tables = Tables { words: table(9), positions: table(4), types: table(2) };
        let ones = Weight::new(&normal(1, &[6])).unwrap();
        let norm = Norm::new(ones.clone(), ones, 1e-12);
        let mut tape = Tape::new(Precision::F32, false, &Device::Cpu);
        let error = tape.embeddings(&rows(), &tables, &norm, None).err().unwrap();
        assert!(error.to_string().contains("id 9 lies outside"), "{error}");
    }
}
