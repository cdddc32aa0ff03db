//! Numbers for people: `109,482,240`, `84.99`, `15 min 11 s`, `84.99 ± 0.41`.

/// A count with its thousands apart: `109,482,240`.
pub fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with the right form of its noun: `1 example`, `2,000 examples`.
pub fn counted(number: usize, noun: &str) -> String {
    let ending = match number {
        1 => "",
        _ if noun.ends_with("tch") => "es",
        _ => "s",
    };
    format!("{} {noun}{ending}", count(number))
}

/// A large count in few figures: `22.6 M`, `1,240 k`.
pub fn short(number: usize) -> String {
    match number {
        0..10_000 => count(number),
        10_000..1_000_000 => format!("{:.1} k", number as f64 / 1e3),
        _ => format!("{:.1} M", number as f64 / 1e6),
    }
}

/// Two decimals: a percentage. What is no number is a dash.
pub fn decimal(number: f64) -> String {
    if number.is_finite() { unsigned(format!("{number:.2}")) } else { "–".to_owned() }
}

/// Four decimals: a loss.
pub fn fine(number: f64) -> String {
    if number.is_finite() { unsigned(format!("{number:.4}")) } else { "–".to_owned() }
}

/// A number that rounds to zero has no sign.
fn unsigned(text: String) -> String {
    match text.strip_prefix('-') {
        Some(digits) if digits.bytes().all(|byte| matches!(byte, b'0' | b'.')) => digits.to_owned(),
        _ => text,
    }
}

/// `part` of `whole` in per cent; 0 of nothing.
pub fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// A duration: `0.42 s`, `7 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "–".to_owned();
    }
    if seconds < 9.95 {
        return format!("{:.2} s", seconds.max(0.0));
    }
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Mean and sample standard deviation (the spread over seeds; `n - 1` in its denominator); none of fewer than two.
pub fn mean_and_spread(values: &[f64]) -> (f64, Option<f64>) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()))
}

/// `84.99 ± 0.41`, each number as `show` writes it.
pub fn plus_minus(values: &[f64], show: fn(f64) -> String) -> String {
    match mean_and_spread(values) {
        _ if values.is_empty() => "–".to_owned(),
        (mean, Some(spread)) => format!("{} ± {}", show(mean), show(spread)),
        (mean, None) => show(mean),
    }
}

/// The name of a measure for people: `micro_f1_strict` is `micro F1 strict`.
pub fn words(name: &str) -> String {
    let words = name.split('_').map(|word| if word == "f1" { "F1" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// The start of a text, with an ellipsis where it was cut.
pub fn start_of(text: &str, most: usize) -> String {
    match text.char_indices().nth(most).and_then(|(at, _)| text.get(..at)) {
        Some(start) => format!("{start}…"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(count(109_490_699), "109,490,699");
        assert_eq!(counted(1, "run"), "1 run");
        assert_eq!(
            (short(9_999), short(40_434), short(22_566_925)),
            ("9,999".into(), "40.4 k".into(), "22.6 M".into())
        );
        assert_eq!(
            (duration(0.5), duration(125.0), duration(3720.0)),
            ("0.50 s".into(), "2 min 05 s".into(), "1 h 02 min".into())
        );
        assert_eq!(duration(59.9), "1 min 00 s");
        assert_eq!((decimal(f64::NAN), fine(0.12345)), ("–".into(), "0.1235".into()));
        assert_eq!(
            (decimal(-0.0), decimal(-0.004), decimal(-0.005001)),
            ("0.00".into(), "0.00".into(), "-0.01".into())
        );
        assert_eq!(words("micro_f1_strict"), "micro F1 strict");
    }

    #[test]
    fn the_spread_is_the_sample_standard_deviation() {
        let (mean, spread) = mean_and_spread(&[2.0, 4.0, 9.0]);
        assert_eq!(mean, 5.0);
        assert!((spread.unwrap_or(0.0) - 13.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(mean_and_spread(&[7.0]), (7.0, None));
        assert_eq!(plus_minus(&[2.0, 4.0, 9.0], decimal), "5.00 ± 3.61");
        assert_eq!((plus_minus(&[7.0], decimal), plus_minus(&[], decimal)), ("7.00".into(), "–".into()));
    }
}
