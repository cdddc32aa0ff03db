//! The sum of word, position and token-type embeddings.
//!
//! ```text
//! forward   h[t] = W[id[t]] + P[position[t]] + T[type[t]]     W [vocabulary, hidden], P [positions, hidden], T [types, hidden]
//! backward  dW[id[t]] += dh[t], and so for P and T, in the order of the tokens
//! ```

use crate::gemm::add_to;
use crate::storage::{f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
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

/// `words[ids] + positions[positions] + types[types]`: `[tokens, hidden]`.
pub fn embedding(rows: Rows, words: &Tensor, positions: &Tensor, types: &Tensor) -> Result<Tensor> {
    for (what, table, rows) in
        [("id", words, &rows.ids), ("position", positions, &rows.positions), ("token type", types, &rows.types)]
    {
        if let Some(row) = rows.iter().find(|&&row| row as usize >= table.dims().first().copied().unwrap_or(0)) {
            candle_core::bail!("{what} {row} lies outside the embedding table of {:?}", table.dims());
        }
    }
    if !words.device().is_cpu() {
        return plain(&rows, words, positions, types);
    }
    words.apply_op3(positions, types, Embedding(rows))
}

/// The same in candle's own operators.
pub fn plain(rows: &Rows, words: &Tensor, positions: &Tensor, types: &Tensor) -> Result<Tensor> {
    let pick = |table: &Tensor, rows: &[u32]| table.index_select(&Tensor::new(rows, table.device())?, 0);
    pick(words, &rows.ids)?.add(&pick(positions, &rows.positions)?)?.add(&pick(types, &rows.types)?)
}

struct Embedding(Rows);

impl CustomOp3 for Embedding {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(
        &self,
        words: &CpuStorage,
        w_layout: &Layout,
        positions: &CpuStorage,
        p_layout: &Layout,
        types: &CpuStorage,
        t_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let hidden = w_layout.shape().dims2()?.1;
        let (words, positions, types) = (
            f32s("word embeddings", words, w_layout)?,
            f32s("position embeddings", positions, p_layout)?,
            f32s("type embeddings", types, t_layout)?,
        );
        let Rows { ids, positions: at, types: kinds } = &self.0;
        let mut h = vec![0.0; ids.len() * hidden];
        h.par_chunks_mut(hidden).enumerate().for_each(|(t, h)| {
            let row = |table: &'_ [f32], row: u32| -> std::ops::Range<usize> {
                let start = row as usize * hidden;
                debug_assert!(start + hidden <= table.len());
                start..start + hidden
            };
            h.copy_from_slice(&words[row(words, ids[t])]);
            add_to(h, &positions[row(positions, at[t])]);
            add_to(h, &types[row(types, kinds[t])]);
        });
        Ok((CpuStorage::F32(h), (ids.len(), hidden).into()))
    }

    fn bwd(
        &self,
        words: &Tensor,
        positions: &Tensor,
        types: &Tensor,
        _h: &Tensor,
        dh: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let hidden = dh.dim(1)?;
        with_f32s([dh], |[dh]| {
            let scatter = |table: &Tensor, rows: &[u32]| -> Result<Option<Tensor>> {
                let mut grad = vec![0.0; table.elem_count()];
                for (&row, dh) in rows.iter().zip(dh.chunks_exact(hidden)) {
                    add_to(&mut grad[row as usize * hidden..][..hidden], dh);
                }
                Ok(Some(Tensor::from_vec(grad, table.shape(), table.device())?))
            };
            Ok((scatter(words, &self.0.ids)?, scatter(positions, &self.0.positions)?, scatter(types, &self.0.types)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_twins, normal};

    fn rows() -> Rows {
        Rows { ids: vec![3, 0, 3, 9, 1], positions: vec![0, 1, 2, 0, 1], types: vec![0, 0, 1, 0, 0] }
    }

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        let args = [normal(1, &[10, 6]), normal(2, &[4, 6]), normal(3, &[2, 6])];
        assert_twins(&args, |[w, p, t]| embedding(rows(), w, p, t), |[w, p, t]| plain(&rows(), w, p, t), 1e-6);
    }

    #[test]
    fn a_row_outside_its_table_is_named() {
        let error = embedding(rows(), &normal(1, &[9, 6]), &normal(2, &[4, 6]), &normal(3, &[2, 6])).unwrap_err();
        assert!(error.to_string().contains("id 9 lies outside"), "{error}");
    }
}
