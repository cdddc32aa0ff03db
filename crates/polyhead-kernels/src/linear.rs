//! Linear layer.
//!
//! ```text
//! forward   y = x Wᵀ + b               x [tokens, in], W [out, in], b [out] -> y [tokens, out]
//! backward  dx = dy W    dW = dyᵀ x    db = sum of dy over tokens
//! ```

use crate::gemm::{Factor, Precision, add_to, matmul, sum_rows};
use crate::storage::{f32s, with_f32s};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

/// `x Wᵀ + b` for x `[tokens, in]`, weight `[out, in]` and bias `[out]`: `[tokens, out]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor, precision: Precision) -> Result<Tensor> {
    if !x.device().is_cpu() {
        return plain(x, weight, bias);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Linear(precision))
}

/// The same in candle's own operators.
pub fn plain(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

struct Linear(Precision);

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((tokens, inner), (outer, w_inner)) = (x_layout.shape().dims2()?, w_layout.shape().dims2()?);
        if inner != w_inner || b_layout.shape().dims1()? != outer {
            candle_core::bail!("linear: x is [{tokens}, {inner}], W [{outer}, {w_inner}], b {:?}", b_layout.shape());
        }
        let (x, w, b) =
            (f32s("linear x", x, x_layout)?, f32s("linear W", w, w_layout)?, f32s("linear b", b, b_layout)?);
        let y = matmul(Factor::plain(x, tokens, inner), Factor::transposed(w, inner, outer), Some(b), self.0);
        Ok((CpuStorage::F32(y), (tokens, outer).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _b: &Tensor,
        _y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let ((tokens, inner), outer) = (x.dims2()?, w.dim(0)?);
        let (dx, dw, db) = with_f32s([x, w, dy], |[x, w, dy]| {
            let dx = matmul(Factor::plain(dy, tokens, outer), Factor::plain(w, outer, inner), None, self.0);
            let dw = matmul(Factor::transposed(dy, outer, tokens), Factor::plain(x, tokens, inner), None, self.0);
            let db = sum_rows(tokens, outer, |row, sums| add_to(sums, &dy[row * outer..(row + 1) * outer]));
            Ok((dx, dw, db))
        })?;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, (tokens, inner), device)?),
            Some(Tensor::from_vec(dw, (outer, inner), device)?),
            Some(Tensor::from_vec(db, outer, device)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_twins, normal};

    #[test]
    fn values_and_gradients_are_those_of_the_plain_twin() {
        for (tokens, inner, outer) in [(1, 8, 3), (70, 33, 130), (200, 64, 16)] {
            let args = [normal(1, &[tokens, inner]), normal(2, &[outer, inner]), normal(3, &[outer])];
            for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 8e-3)] {
                assert_twins(&args, |[x, w, b]| linear(x, w, b, precision), |[x, w, b]| plain(x, w, b), tolerance);
            }
        }
    }
}
