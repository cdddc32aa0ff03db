//! A curve in a few characters, for a line of a terminal: `▁▃▅▇`.

/// Fewer characters than so many.
const WIDTH: usize = 16;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The values of all steps so far, as at most so many means of as many neighbours each.
#[derive(Default)]
pub struct Sparkline {
    means: Vec<f64>,
    /// How often the means were joined in pairs: one is of 2 to the power of this values.
    doublings: u32,
    sum: f64,
    count: u32,
}

impl Sparkline {
    /// One more value.
    pub fn push(&mut self, value: f64) {
        (self.sum, self.count) = (self.sum + value, self.count + 1);
        let each = 1 << self.doublings;
        if self.count < each {
            return;
        }
        self.means.push(self.sum / f64::from(each));
        (self.sum, self.count) = (0.0, 0);
        if self.means.len() == WIDTH {
            self.means = self.means.chunks(2).map(|pair| pair.iter().sum::<f64>() / pair.len() as f64).collect();
            self.doublings += 1;
        }
    }

    /// The curve from 0 to its highest value; nothing before there is a curve.
    pub fn text(&self) -> String {
        if self.means.len() < 2 {
            return String::new();
        }
        let most = self.means.iter().copied().fold(0.0, f64::max);
        let bar = |value: f64| {
            let share = if most > 0.0 { value.max(0.0) / most } else { 0.0 };
            BARS.get((share * (BARS.len() - 1) as f64).round() as usize).copied().unwrap_or(' ')
        };
        self.means.iter().copied().map(bar).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_of_any_length_fits_and_keeps_its_shape() {
        let line = |count: u32| {
            let mut line = Sparkline::default();
            (0..count).for_each(|at| line.push(f64::from(at)));
            line.text()
        };
        assert_eq!((line(0), line(1)), (String::new(), String::new()));
        assert_eq!(line(8), "▁▂▃▄▅▆▇█");
        for count in [16, 17, 31, 32, 33, 1000, 12345] {
            let text: Vec<char> = line(count).chars().collect();
            assert!((8..=WIDTH).contains(&text.len()), "{count}: {text:?}");
            assert!(text.is_sorted() && text.last() == Some(&'█') && text.first() <= Some(&'▂'), "{count}: {text:?}");
        }
        let mut flat = Sparkline::default();
        (0..4).for_each(|_| flat.push(0.0));
        assert_eq!(flat.text(), "▁▁▁▁");
    }
}
