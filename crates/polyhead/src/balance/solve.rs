//! The small problems that balancers solve exactly, for a handful of tasks: on `[task, task]` matrices of dot products.
//!
//! ```text
//! on_simplex     min x^T A x / 2 + b^T x   over x >= 0 that add up to 1    MGDA, CAGrad
//! to_simplex     min |x - y|               over x >= 0 that add up to 1    SDMGrad
//! nonnegative    min x^T A x / 2 + b^T x   over x >= 0                     UPGrad
//! power          A x = x^-p                with x > 0                      Nash-MTL (p = 1), FairGrad
//! eigen          A = V diag(l) V^T                                         Aligned-MTL
//! ```
//!
//! A is symmetric and positive semidefinite: a Gram matrix. The quadratic programs are solved by active sets (Nocedal and Wright 2006,
//! "Numerical Optimization", chapter 16), the power equation by Newton's method on the convex function whose gradient it is, eigenvalues by
//! Jacobi's rotations. All of it is f64 in a fixed order: the same bits on every machine.

/// A square matrix by rows.
pub(super) type Matrix = Vec<Vec<f64>>;

/// What is added to a diagonal, as a share of its mean: gradients that depend on each other leave no unique solution.
const RIDGE: f64 = 1e-12;

/// How far the numbers of [`power`] may grow.
const LARGEST: f64 = 1e4;

/// The dot product.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `A x`.
pub(super) fn times(matrix: &[Vec<f64>], x: &[f64]) -> Vec<f64> {
    matrix.iter().map(|row| dot(row, x)).collect()
}

/// The sum of the diagonal.
pub(super) fn trace(matrix: &[Vec<f64>]) -> f64 {
    matrix.iter().enumerate().filter_map(|(at, row)| row.get(at)).sum()
}

/// Every number multiplied.
pub(super) fn scaled(matrix: &[Vec<f64>], by: f64) -> Matrix {
    matrix.iter().map(|row| row.iter().map(|value| value * by).collect()).collect()
}

/// `A x = b` by elimination with row pivots; none where A is singular.
pub(super) fn linear(matrix: &[Vec<f64>], right: &[f64]) -> Option<Vec<f64>> {
    let count = right.len();
    let mut rows: Matrix = matrix.iter().zip(right).map(|(row, b)| row.iter().copied().chain([*b]).collect()).collect();
    for at in 0..count {
        let pivot = (at..count).max_by(|&a, &b| rows[a][at].abs().total_cmp(&rows[b][at].abs()))?;
        rows.swap(at, pivot);
        let (done, rest) = rows.split_at_mut(at + 1);
        let top = done.last()?;
        if top[at] == 0.0 || !top[at].is_finite() {
            return None;
        }
        for row in rest {
            let factor = row[at] / top[at];
            row.iter_mut().zip(top).skip(at).for_each(|(value, above)| *value -= factor * above);
        }
    }
    let mut x = vec![0.0; count];
    for at in (0..count).rev() {
        let known: f64 = (at + 1..count).map(|to| rows[at][to] * x[to]).sum();
        x[at] = (rows[at][count] - known) / rows[at][at];
    }
    x.iter().all(|value| value.is_finite()).then_some(x)
}

/// The least `x^T A x / 2 + b^T x` over the simplex.
pub(super) fn on_simplex(matrix: &[Vec<f64>], linear_part: &[f64]) -> Vec<f64> {
    active_set(matrix, linear_part, true)
}

/// The least `x^T A x / 2 + b^T x` over all x without a negative number.
pub(super) fn nonnegative(matrix: &[Vec<f64>], linear_part: &[f64]) -> Vec<f64> {
    active_set(matrix, linear_part, false)
}

/// The point of the simplex that is nearest (Duchi et al. 2008, "Efficient Projections onto the l1-Ball for Learning in High Dimensions").
pub(super) fn to_simplex(point: &[f64]) -> Vec<f64> {
    let mut sorted = point.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let (mut sum, mut above) = (0.0, 0.0);
    for (at, value) in sorted.iter().enumerate() {
        sum += value;
        let shift = (sum - 1.0) / (at + 1) as f64;
        if *value > shift {
            above = shift;
        }
    }
    point.iter().map(|value| (value - above).max(0.0)).collect()
}

/// One number after the other is let free while that makes the function less; those that would fall below zero are held at it.
fn active_set(matrix: &[Vec<f64>], linear_part: &[f64], adds_up_to_one: bool) -> Vec<f64> {
    let count = linear_part.len();
    let scale = (trace(matrix) / count.max(1) as f64).max(f64::MIN_POSITIVE);
    let slope = |x: &[f64]| -> Vec<f64> { times(matrix, x).iter().zip(linear_part).map(|(ax, b)| ax + b).collect() };
    let least = |free: &[usize]| -> Option<(Vec<f64>, f64)> {
        // The conditions of the minimum: A x + b = m on the free numbers, with m = 0 unless they add up to one.
        let extra = usize::from(adds_up_to_one);
        let row = |&at: &usize| -> Vec<f64> {
            let own = |&to: &usize| matrix[at][to] + if at == to { RIDGE * scale } else { 0.0 };
            free.iter().map(own).chain((extra == 1).then_some(-scale)).collect()
        };
        let ones = vec![1.0; free.len()].into_iter().chain([0.0]).collect();
        let rows: Matrix = free.iter().map(row).chain((extra == 1).then_some(ones)).collect();
        let right: Vec<f64> = free.iter().map(|&at| -linear_part[at]).chain((extra == 1).then_some(1.0)).collect();
        let mut solved = linear(&rows, &right)?;
        let bound = if extra == 1 { solved.pop()? * scale } else { 0.0 };
        Some((solved, bound))
    };
    let mut x = vec![0.0; count];
    let mut free: Vec<usize> = Vec::new();
    if adds_up_to_one {
        // The best corner.
        let value = |at: usize| matrix[at][at] / 2.0 + linear_part[at];
        let Some(best) = (0..count).min_by(|&a, &b| value(a).total_cmp(&value(b))) else { return x };
        x[best] = 1.0;
        free.push(best);
    }
    // Each round lowers the function, so that no set of free numbers comes twice; rounding might make it.
    for _ in 0..100 * (count + 1) {
        let Some((mut wanted, mut bound)) = least(&free) else { break };
        loop {
            // As far as no number falls below zero; the one that comes there first is held, and the rest is solved anew.
            let falls = (0..free.len()).filter(|&at| wanted[at] < 0.0);
            let falls = falls.map(|at| (at, (x[free[at]] / (x[free[at]] - wanted[at])).clamp(0.0, 1.0)));
            let Some((at, share)) = falls.min_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            free.iter().zip(&wanted).for_each(|(&free, wanted)| x[free] += share * (wanted - x[free]));
            x[free.remove(at)] = 0.0;
            match least(&free) {
                Some(next) => (wanted, bound) = next,
                None => return x,
            }
        }
        free.iter().zip(&wanted).for_each(|(&free, &wanted)| x[free] = wanted);
        let slope = slope(&x);
        let tolerance = 1e-10 * (scale + slope.iter().fold(0.0, |most: f64, value| most.max(value.abs())));
        let held = (0..count).filter(|at| !free.contains(at) && slope[*at] < bound - tolerance);
        let Some(next) = held.min_by(|&a, &b| slope[a].total_cmp(&slope[b])) else { break };
        free.push(next);
    }
    x
}

/// `A x = x^-p` with x > 0, number by number: the least `x^T A x / 2 - sum of the integrals of x^-p`, which is convex. A gradient of zeros, or opposite
/// ones, leave no solution: numbers grow to [`LARGEST`] times what they began with, and no further.
pub(super) fn power(matrix: &[Vec<f64>], exponent: f64) -> Vec<f64> {
    let count = matrix.len();
    // One number for all that has the right size: then the rest is a few steps.
    let mean = matrix.iter().flatten().sum::<f64>() / count.max(1) as f64;
    let size = if mean > 0.0 { mean } else { (trace(matrix) / count.max(1) as f64).max(f64::MIN_POSITIVE) };
    let start = size.powf(-1.0 / (1.0 + exponent));
    let mut x = vec![start; count];
    let residual =
        |x: &[f64]| -> Vec<f64> { times(matrix, x).iter().zip(x).map(|(ax, x)| ax - x.powf(-exponent)).collect() };
    let merit = |x: &[f64]| {
        let part = |x: &f64| if exponent == 1.0 { x.ln() } else { x.powf(1.0 - exponent) / (1.0 - exponent) };
        dot(x, &times(matrix, x)) / 2.0 - x.iter().map(part).sum::<f64>()
    };
    for _ in 0..200 {
        let slope = residual(&x);
        let mut hessian = matrix.to_vec();
        for (at, row) in hessian.iter_mut().enumerate() {
            row[at] += exponent * x[at].powf(-exponent - 1.0);
        }
        let Some(step) = linear(&hessian, &slope) else { break };
        // Half as far until it stays above zero and helps.
        let (now, gain) = (merit(&x), dot(&slope, &step));
        let along = |share: f64| -> Vec<f64> { x.iter().zip(&step).map(|(x, step)| x - share * step).collect() };
        let shares = std::iter::successors(Some(1.0_f64), |share| Some(share / 2.0)).take(60);
        let helps =
            |next: &Vec<f64>, share: f64| next.iter().all(|&x| x > 0.0) && merit(next) <= now - 1e-4 * share * gain;
        let Some(next) = shares.map(|share| (along(share), share)).find(|(next, share)| helps(next, *share)) else {
            break;
        };
        if next.0.iter().any(|&x| x > LARGEST * start) {
            break;
        }
        let moved = next.0.iter().zip(&x).map(|(a, b)| (a - b).abs() / b.abs()).fold(0.0, f64::max);
        x = next.0;
        if moved < 1e-14 {
            break;
        }
    }
    x
}

/// The eigenvalues of a symmetric matrix, and its eigenvectors as columns, in no order.
pub(super) fn eigen(matrix: &[Vec<f64>]) -> (Vec<f64>, Matrix) {
    let count = matrix.len();
    let mut a = matrix.to_vec();
    let mut vectors: Matrix =
        (0..count).map(|at| (0..count).map(|to| f64::from(u8::from(at == to))).collect()).collect();
    for _ in 0..100 {
        let off: f64 =
            (0..count).flat_map(|at| (0..at).map(move |to| (at, to))).map(|(at, to)| a[at][to].powi(2)).sum();
        if off <= 1e-30 * trace(&a).powi(2) {
            break;
        }
        for (p, q) in (0..count).flat_map(|p| (p + 1..count).map(move |q| (p, q))) {
            if a[p][q] == 0.0 {
                continue;
            }
            let theta = (a[q][q] - a[p][p]) / (2.0 * a[p][q]);
            let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
            let t = if theta == 0.0 { 1.0 } else { t };
            let cosine = 1.0 / (t * t + 1.0).sqrt();
            let sine = t * cosine;
            for row in &mut a {
                (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
            }
            let (above, below) = a.split_at_mut(q);
            for (x, y) in above[p].iter_mut().zip(&mut below[0]) {
                (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
            }
            for row in &mut vectors {
                (row[p], row[q]) = (cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]);
            }
        }
    }
    ((0..count).map(|at| a[at][at]).collect(), vectors)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyhead_kernels::rng::Key;

    /// The dot products of random vectors.
    fn gram(tasks: usize, dims: usize, seed: u64) -> Matrix {
        let vector = |task: usize| -> Vec<f64> {
            (0..dims).map(|at| Key::seed(seed).with(task as u64).normal(at as u64)).collect()
        };
        let all: Vec<Vec<f64>> = (0..tasks).map(vector).collect();
        all.iter().map(|a| all.iter().map(|b| dot(a, b)).collect()).collect()
    }

    fn cases() -> impl Iterator<Item = (Matrix, Vec<f64>, Key)> {
        (1..8).flat_map(|tasks| (0..40).map(move |seed| (tasks, seed))).map(|(tasks, seed)| {
            // Few dimensions: gradients that depend on each other.
            let dims = [1, 3, 20][seed as usize % 3];
            let key = Key::seed(1000 + seed);
            let right = (0..tasks).map(|at| key.normal(at as u64) * [0.0, 1.0, 10.0][seed as usize / 3 % 3]).collect();
            (gram(tasks, dims, seed), right, key)
        })
    }

    #[test]
    fn the_projection_to_the_simplex_is_the_least_square() {
        for (_, point, _) in cases() {
            // |x - y|^2 / 2 is x^T I x / 2 - y^T x, but for what does not depend on x.
            let identity: Matrix = (0..point.len())
                .map(|row| (0..point.len()).map(|at| f64::from(u8::from(at == row))).collect())
                .collect();
            let least = on_simplex(&identity, &point.iter().map(|value| -value).collect::<Vec<_>>());
            let found = to_simplex(&point);
            assert!(found.iter().zip(&least).all(|(a, b)| (a - b).abs() < 1e-6), "{point:?}: {found:?}, {least:?}");
        }
    }

    #[test]
    fn no_point_of_the_simplex_or_of_the_positive_numbers_is_better() {
        for (a, b, key) in cases() {
            let value = |x: &[f64]| dot(x, &times(&a, x)) / 2.0 + dot(&b, x);
            // Without a lower bound there is no least value: b in the range of A has one.
            let reach = times(&a, &b);
            let value_of_reach = |x: &[f64]| dot(x, &times(&a, x)) / 2.0 + dot(&reach, x);
            let (simplex, positive) = (on_simplex(&a, &b), nonnegative(&a, &reach));
            assert!(simplex.iter().chain(&positive).all(|&x| x >= 0.0));
            assert!((simplex.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{simplex:?}");
            for draw in 0..200 {
                let drawn: Vec<f64> = (0..b.len()).map(|at| -key.with(draw).uniform(at as u64).ln()).collect();
                let sum = drawn.iter().sum::<f64>();
                let share: Vec<f64> = drawn.iter().map(|x| x / sum).collect();
                // A mixture with the solution lies near it.
                for near in [1.0, 0.1, 1e-3] {
                    let mix = |x: &[f64], to: &[f64]| -> Vec<f64> {
                        x.iter().zip(to).map(|(x, to)| x + near * (to - x)).collect()
                    };
                    let slack = |value: f64| 1e-8 * (1.0 + value.abs());
                    let (at, found) = (value(&mix(&simplex, &share)), value(&simplex));
                    assert!(found <= at + slack(found), "{a:?} {b:?}: {simplex:?} is worse than {share:?}");
                    let (at, found) = (value_of_reach(&mix(&positive, &drawn)), value_of_reach(&positive));
                    assert!(found <= at + slack(found), "{a:?} {b:?}: {positive:?} is worse than {drawn:?}");
                }
            }
        }
    }

    #[test]
    fn the_power_equation_holds() {
        for (a, _, _) in cases() {
            for exponent in [0.5, 1.0, 2.0] {
                // Opposite gradients alone have no solution.
                let a: Matrix = a
                    .iter()
                    .enumerate()
                    .map(|(at, row)| {
                        row.iter().enumerate().map(|(to, value)| value + f64::from(u8::from(at == to))).collect()
                    })
                    .collect();
                let x = power(&a, exponent);
                for (ax, x) in times(&a, &x).iter().zip(&x) {
                    assert!((ax / x.powf(-exponent) - 1.0).abs() < 1e-7, "{a:?}: {x:?}");
                }
            }
        }
    }

    #[test]
    fn eigenvectors_are_orthogonal_and_make_the_matrix() {
        for (a, _, _) in cases() {
            let (values, vectors) = eigen(&a);
            for at in 0..a.len() {
                for to in 0..a.len() {
                    let made: f64 = (0..a.len()).map(|k| vectors[at][k] * values[k] * vectors[to][k]).sum();
                    assert!((made - a[at][to]).abs() < 1e-9 * (1.0 + trace(&a)), "{a:?}");
                    let product: f64 = (0..a.len()).map(|k| vectors[k][at] * vectors[k][to]).sum();
                    assert!((product - f64::from(u8::from(at == to))).abs() < 1e-9);
                }
            }
        }
    }
}
