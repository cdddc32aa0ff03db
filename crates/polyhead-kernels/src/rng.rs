//! Keyed randomness: a value is a function of its key, so there is no generator whose state could be lost.
//!
//! A [`Key`] is derived from the seed, a purpose and whatever else names the use (epoch, step, layer). Mixing is that of
//! SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).

/// Names one stream of random values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key(u64);

impl Key {
    /// The root of all keys of one run.
    pub fn seed(seed: u64) -> Self {
        Self(mix64(seed ^ 0x706f_6c79_6865_6164))
    }

    /// The key of a named purpose: `"dropout"`, `"shuffle"`.
    #[must_use]
    pub fn purpose(self, name: &str) -> Self {
        name.bytes().fold(self, |key, byte| key.with(u64::from(byte)))
    }

    /// The key of the `index`-th use: an epoch, a step, a layer.
    #[must_use]
    pub fn with(self, index: u64) -> Self {
        Self(mix64(self.0.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ mix64(index.wrapping_add(0xd1b5_4a32_d192_ed03))))
    }

    /// The `index`-th value of this stream, uniform over 64 bits.
    pub fn bits(self, index: u64) -> u64 {
        mix64(self.0.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// The `index`-th value of this stream, uniform in `0 .. 1`.
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// The `index`-th value of this stream, standard normal (Box and Muller, 1958).
    pub fn normal(self, index: u64) -> f64 {
        let (u, v) = (1.0 - self.uniform(2 * index), self.uniform(2 * index + 1));
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// `0 .. n` in random order (Fisher and Yates).
    pub fn permutation(self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            // The bias of the modulus is below 2^-40 for any n that fits in memory.
            order.swap(i, (self.bits(i as u64) % (i as u64 + 1)) as usize);
        }
        order
    }

    /// The same key in 32 bits, for the inner loops of dropout.
    pub(crate) fn narrow(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

fn mix64(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash of `index` under `key` in 32-bit arithmetic only, so that a loop over it vectorises.
#[inline(always)]
pub(crate) fn hash32(key: u32, index: u32) -> u32 {
    let mut x = index.wrapping_mul(0x9e37_79b9) ^ key;
    x = (x ^ (x >> 16)).wrapping_mul(0x21f0_aaad);
    x = (x ^ (x >> 15)).wrapping_mul(0x735a_2d97).wrapping_add(key.rotate_left(16));
    x = (x ^ (x >> 15)).wrapping_mul(0x2c1b_3c6d);
    x ^ (x >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_depends_on_its_key_and_index_alone() {
        let key = Key::seed(42).purpose("dropout").with(3);
        assert_eq!(key.bits(7), Key::seed(42).purpose("dropout").with(3).bits(7));
        assert_ne!(key.bits(7), key.bits(8));
        assert_ne!(key.bits(7), Key::seed(43).purpose("dropout").with(3).bits(7));
        assert_ne!(key.bits(7), Key::seed(42).purpose("shuffle").with(3).bits(7));
    }

    #[test]
    fn moments_are_those_of_the_distribution() {
        let (key, n) = (Key::seed(1), 100_000);
        let mean = (0..n).map(|i| key.uniform(i)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
        let normal: Vec<f64> = (0..n).map(|i| key.normal(i)).collect();
        let mean = normal.iter().sum::<f64>() / n as f64;
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / n as f64;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn a_permutation_holds_every_index_once() {
        let mut order = Key::seed(5).permutation(1000);
        assert_ne!(order, (0..1000).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
