//! Multi-head self-attention over packed sequences (Vaswani et al., arXiv:1706.03762), with dropout inside.
//!
//! ```text
//! forward   S = Q Kᵀ / √d,  P = softmax(S),  O = (P m) V              per sequence and head
//! backward  dV = (P m)ᵀ dO,  dP = (dO Vᵀ) m,  dS = P (dP - Σ dP P),  dQ = dS K / √d,  dK = dSᵀ Q / √d
//! ```
//!
//! The operator takes `[rows, 3 hidden]` (queries, keys and values side by side, each `[heads, d]`) and gives
//! `[rows, hidden]`. A sequence attends to its own real tokens only; rows of padding come out as zeros. The probabilities
//! are made again in the backward pass: what lives between the passes grows with the tokens, not with their square.

use crate::dropout::Dropout;
use crate::gemm::{Strided, multiply};
use crate::math::{dot, exp, max, simd, sum};
use crate::segments::{Segment, Segments};
use crate::storage::{Parts, f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

/// Attention of packed `[rows, 3 hidden]` queries, keys and values: `[rows, hidden]`.
pub fn attention(qkv: &Tensor, segments: &Segments, heads: usize, dropout: Option<Dropout>) -> Result<Tensor> {
    let (rows, width) = qkv.dims2()?;
    if segments.rows() != rows || heads == 0 || width % (3 * heads) != 0 {
        candle_core::bail!("attention: [{rows}, {width}] for {} rows and {heads} heads", segments.rows());
    }
    if !qkv.device().is_cpu() {
        return plain(qkv, segments, heads, dropout);
    }
    qkv.contiguous()?.apply_op1(Attention { segments: segments.clone(), heads, dropout })
}

/// The same in candle's own operators, sequence by sequence.
pub fn plain(qkv: &Tensor, segments: &Segments, heads: usize, dropout: Option<Dropout>) -> Result<Tensor> {
    let hidden = qkv.dim(1)? / 3;
    let size = hidden / heads;
    let mut parts = Vec::with_capacity(segments.len());
    for (index, Segment { start, rows, tokens }) in segments.iter().enumerate() {
        // [tokens, 3 hidden] -> three of [heads, tokens, size]
        let part = qkv.narrow(0, start, tokens)?;
        let of = |i: usize| {
            part.narrow(1, i * hidden, hidden)?.reshape((tokens, heads, size))?.transpose(0, 1)?.contiguous()
        };
        let (q, k, v) = (of(0)?, of(1)?, of(2)?);
        let scores = (q.matmul(&k.t()?)? / (size as f64).sqrt())?;
        let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
        let mut p = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
        if let Some(dropout) = dropout {
            let shape = Shape::from((tokens, tokens));
            let mask = |head| dropout.part((index * heads + head) as u64).mask(&shape, qkv.device());
            p = p.mul(&Tensor::stack(&(0..heads).map(mask).collect::<Result<Vec<_>>>()?, 0)?)?;
        }
        let out = p.matmul(&v)?.transpose(0, 1)?.reshape((tokens, hidden))?;
        parts.push(out.pad_with_zeros(0, 0, rows - tokens)?);
    }
    Tensor::cat(&parts, 0)
}

struct Attention {
    segments: Segments,
    heads: usize,
    dropout: Option<Dropout>,
}

/// Where one head of one sequence lies in `[rows, 3 hidden]` and `[rows, hidden]`.
#[derive(Clone, Copy)]
struct Task {
    tokens: usize,
    size: usize,
    hidden: usize,
    qkv: usize,
    out: usize,
    dropout: Option<Dropout>,
}

impl Task {
    fn scale(&self) -> f32 {
        1.0 / (self.size as f32).sqrt()
    }

    /// A matrix `[tokens, size]` inside `[rows, 3 hidden]`, and its transpose.
    fn within<P>(&self, pointer: P) -> (Strided<P>, Strided<P>)
    where
        P: Copy,
    {
        let stride = 3 * self.hidden as isize;
        (Strided(pointer, stride, 1), Strided(pointer, 1, stride))
    }

    /// The probabilities: `p` becomes `softmax(Q Kᵀ / √d)`, `[tokens, tokens]`.
    fn probabilities(&self, qkv: &[f32], p: &mut Vec<f32>) {
        let n = self.tokens;
        p.resize(n * n, 0.0);
        let (q, _) = self.within(qkv[self.qkv..].as_ptr());
        let (_, kt) = self.within(qkv[self.qkv + self.hidden..].as_ptr());
        // SAFETY: the operator checked that all rows of this sequence lie in qkv; p is ours.
        unsafe { multiply([n, n, self.size], Strided(p.as_mut_ptr(), n as isize, 1), q, kt, self.scale()) };
        for row in p.chunks_exact_mut(n) {
            softmax(row);
        }
    }
}

impl Attention {
    fn tasks(&self, hidden: usize) -> Vec<Task> {
        let size = hidden / self.heads;
        let mut tasks = Vec::with_capacity(self.segments.len() * self.heads);
        for (index, Segment { start, tokens, .. }) in self.segments.iter().enumerate() {
            for head in 0..self.heads {
                let dropout = self.dropout.map(|dropout| dropout.part((index * self.heads + head) as u64));
                let (qkv, out) = (start * 3 * hidden + head * size, start * hidden + head * size);
                tasks.push(Task { tokens, size, hidden, qkv, out, dropout });
            }
        }
        tasks.retain(|task| task.tokens > 0);
        tasks
    }
}

impl CustomOp1 for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(&self, qkv: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, width) = layout.shape().dims2()?;
        let (qkv, hidden) = (f32s("attention", qkv, layout)?, width / 3);
        let mut out = vec![0.0; rows * hidden];
        let parts = Parts::new(&mut out);
        self.tasks(hidden).into_par_iter().for_each_init(Vec::new, |p, task| {
            task.probabilities(qkv, p);
            let n = task.tokens;
            if let Some(dropout) = task.dropout {
                mask(p, dropout);
            }
            let (v, _) = task.within(qkv[task.qkv + 2 * hidden..].as_ptr());
            let out = Strided(parts.pointer(task.out), hidden as isize, 1);
            // SAFETY: this task alone writes the columns of its head in the rows of its sequence.
            unsafe { multiply([n, task.size, n], out, Strided(p.as_ptr(), n as isize, 1), v, 1.0) };
        });
        Ok((CpuStorage::F32(out), (rows, hidden).into()))
    }

    fn bwd(&self, qkv: &Tensor, _out: &Tensor, dout: &Tensor) -> Result<Option<Tensor>> {
        let (rows, width) = qkv.dims2()?;
        let hidden = width / 3;
        let gradient = with_f32s([qkv, dout], |[qkv, dout]| {
            let mut gradient = vec![0.0; rows * width];
            let parts = Parts::new(&mut gradient);
            self.tasks(hidden).into_par_iter().for_each_init(
                || (Vec::new(), Vec::new()),
                |(p, dp), task| {
                    let (n, size) = (task.tokens, task.size);
                    task.probabilities(qkv, p);
                    dp.resize(n * n, 0.0);
                    let square = |x: &[f32]| (Strided(x.as_ptr(), n as isize, 1), Strided(x.as_ptr(), 1, n as isize));
                    let part = |i: usize| task.within(qkv[task.qkv + i * hidden..].as_ptr());
                    let target = |i: usize| task.within(parts.pointer(task.qkv + i * hidden)).0;
                    let d_out = Strided(dout[task.out..].as_ptr(), hidden as isize, 1);
                    // SAFETY: this task alone writes the columns of its head in the rows of its sequence, and p and dp
                    // are of this thread.
                    unsafe {
                        multiply([n, n, size], Strided(dp.as_mut_ptr(), n as isize, 1), d_out, part(2).1, 1.0);
                        through_softmax(dp, p, n, task.dropout);
                        // p is now P m.
                        multiply([n, size, n], target(2), square(p).1, d_out, 1.0);
                        multiply([n, size, n], target(0), square(dp).0, part(1).0, task.scale());
                        multiply([n, size, n], target(1), square(dp).1, part(0).0, task.scale());
                    }
                },
            );
            Ok(gradient)
        })?;
        Ok(Some(Tensor::from_vec(gradient, (rows, width), qkv.device())?))
    }
}

simd! {
    fn softmax(row: &mut [f32]) {
        let largest = max(row);
        for x in row.iter_mut() {
            *x = exp(*x - largest);
        }
        let inverse = 1.0 / sum(row);
        for x in row.iter_mut() {
            *x *= inverse;
        }
    }
}

simd! {
    fn mask(p: &mut [f32], dropout: Dropout) {
        let factor = dropout.factors(0);
        for (i, p) in p.iter_mut().enumerate() {
            *p *= factor(i as u32);
        }
    }
}

simd! {
    /// From `dO Vᵀ` in dp and P in p to dS in dp and `P m` in p.
    fn through_softmax(dp: &mut [f32], p: &mut [f32], n: usize, dropout: Option<Dropout>) {
        for (row, (dp, p)) in dp.chunks_exact_mut(n).zip(p.chunks_exact_mut(n)).enumerate() {
            if let Some(dropout) = dropout {
                let factor = dropout.factors((row * n) as u32);
                for (i, dp) in dp.iter_mut().enumerate() {
                    *dp *= factor(i as u32);
                }
            }
            let along = dot(dp, p);
            for (dp, p) in dp.iter_mut().zip(p.iter()) {
                *dp = p * (*dp - along);
            }
            if let Some(dropout) = dropout {
                let factor = dropout.factors((row * n) as u32);
                for (i, p) in p.iter_mut().enumerate() {
                    *p *= factor(i as u32);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Key;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        for segments in [
            Segments::packed(&[1]),
            Segments::packed(&[3, 1, 17, 40]),
            Segments::padded(&[3, 1, 9], 5),
            Segments::packed(&[512]),
        ] {
            for drop in [None, Dropout::new(0.1, Key::seed(3))] {
                let qkv = normal(1, &[segments.rows(), 3 * 24]);
                assert_twins(&[qkv], |[x]| attention(x, &segments, 3, drop), |[x]| plain(x, &segments, 3, drop), 2e-5);
            }
        }
    }

    #[test]
    fn neighbours_in_the_batch_change_nothing() {
        let qkv = normal(1, &[20, 12]);
        let all = attention(&qkv, &Segments::packed(&[5, 8, 7]), 2, None).unwrap();
        let alone = attention(&qkv.narrow(0, 5, 8).unwrap(), &Segments::packed(&[8]), 2, None).unwrap();
        let middle = all.narrow(0, 5, 8).unwrap();
        assert_eq!(middle.to_vec2::<f32>().unwrap(), alone.to_vec2::<f32>().unwrap());
    }
}
