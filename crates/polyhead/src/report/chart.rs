//! Charts as SVG inside HTML: axes with names and units, round ticks, colours that colour-blind people tell apart.
//!
//! Colours are those of Okabe and Ito ("Color Universal Design", 2008), as variables of the page's style sheet, so that
//! dark pages have their own; each line also has its own dashes and, where it has few points, its own markers. Under the
//! pointer the figures of all lines come up, by the style sheet alone: a report has no script.

use super::escape::escape;
use crate::document::{Chart, Interval, Plot, Series, number};
use std::fmt::Write;

/// Colours and dashes go round after so many lines.
pub const STYLES: usize = 6;
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;
/// The height of a row of intervals: a name and its range below.
const ROW: f64 = 44.0;
/// A line of at most so many points shows each of them.
const MARKED: usize = 12;
/// At so many places along the lines the figures come up.
const PLACES: usize = 48;
/// The height of a line of the figures, and about the width of a character.
const FIGURE: (f64, f64) = (17.0, 6.8);

/// From a range of values to a range of the drawing, with round ticks.
#[derive(Debug, Clone)]
struct Scale {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Scale {
    /// A scale that begins and ends at the data (along), or at the ticks around them (up).
    fn new(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64, ends: Ends) -> Self {
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = match () {
            () if !low.is_finite() => (0.0, 1.0),
            () if high - low < 1e-12 * high.abs().max(1e-12) => {
                (low - 0.5 * low.abs().max(1e-9), high + 0.5 * high.abs().max(1e-9))
            }
            () => (low, high),
        };
        // From 0 where that costs less than half of the space: differences stay honest.
        let low = if ends == Ends::Ticks && low > 0.0 && low < 0.5 * high { 0.0 } else { low };
        let step = round_step((high - low) / 5.0);
        let first = (low / step).floor();
        let last = (high / step - 1e-9).ceil();
        let ticks: Vec<f64> =
            (0..=(last - first).clamp(0.0, 20.0) as usize).map(|at| (first + at as f64) * step).collect();
        match ends {
            Ends::Ticks => Self { low: first * step, high: last * step, from, to, ticks },
            Ends::Data => {
                let inside = |tick: &f64| *tick >= low - 1e-9 * step && *tick <= high + 1e-9 * step;
                Self { low, high, from, to, ticks: ticks.into_iter().filter(inside).collect() }
            }
        }
    }

    fn at(&self, value: f64) -> f64 {
        self.from + (value - self.low) / (self.high - self.low) * (self.to - self.from)
    }
}

/// Where a scale ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    Data,
    Ticks,
}

/// The next of 1, 2, 2.5, 5, 10 times a power of ten.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.max(1e-300).log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0];
    factors.into_iter().find(|factor| factor * power >= rough * (1.0 - 1e-9)).unwrap_or(10.0) * power
}

/// A tick as text, with as many decimals as its step needs.
fn tick(value: f64, ticks: &[f64]) -> String {
    let step = ticks.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(f64::INFINITY, f64::min);
    let value = if value.abs() < 1e-9 * step.min(1.0) { 0.0 } else { value };
    if value == 0.0 {
        return "0".into();
    }
    let largest = ticks.iter().fold(0.0_f64, |most, tick| most.max(tick.abs()));
    if !(1e-2..1e7).contains(&largest) {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e").replace('-', "−");
    }
    if largest >= 1e4 {
        return format!("{}k", trimmed(value / 1e3, step / 1e3)).replace('-', "−");
    }
    if largest >= 1e3 && step >= 1.0 && value > 0.0 {
        return number::count(value.round() as usize);
    }
    trimmed(value, step).replace('-', "−")
}

fn trimmed(value: f64, step: f64) -> String {
    let fits = |decimals: &usize| {
        let scaled = step * 10_f64.powi(*decimals as i32);
        !step.is_finite() || (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0)
    };
    let decimals = (0..6).find(fits).unwrap_or(6);
    format!("{value:.decimals$}")
}

/// A value of a point, for the text that comes up over it.
fn exact(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => {
            let text = format!("{value:.4}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3e}"),
    }
}

/// The chart as an `<svg>`.
pub fn svg(chart: &Chart) -> String {
    let mut out = String::new();
    let label = escape(&chart.title);
    let height = match &chart.plot {
        Plot::Intervals(all) => TOP + ROW * all.len() as f64 + BOTTOM,
        Plot::Lines(_) | Plot::Bars(_) => HEIGHT,
    };
    let _ = write!(out, "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{label}\">");
    match &chart.plot {
        Plot::Lines(series) => lines(series, chart, &mut out),
        Plot::Bars(bars) => columns(bars, chart, &mut out),
        Plot::Intervals(all) => intervals(all, chart, height - BOTTOM, &mut out),
    }
    let (middle, bottom) = ((LEFT + WIDTH - RIGHT) / 2.0, height - 8.0);
    let _ = write!(
        out,
        "<text class=\"axis\" x=\"{middle}\" y=\"{bottom}\" text-anchor=\"middle\">{}</text>",
        escape(&chart.x)
    );
    if !chart.y.is_empty() {
        let (middle, label) = ((TOP + HEIGHT - BOTTOM) / 2.0, escape(&chart.y));
        let _ = write!(
            out,
            "<text class=\"axis\" transform=\"translate(14 {middle}) rotate(-90)\" text-anchor=\"middle\">{label}</text>"
        );
    }
    out.push_str("</svg>");
    out
}

/// Lines across at the ticks, with their values on the left.
fn grid(scale: &Scale, out: &mut String) {
    for &value in &scale.ticks {
        let y = scale.at(value);
        let end = WIDTH - RIGHT;
        let _ = write!(out, "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{end}\" y2=\"{y:.1}\"/>");
        let (x, y) = (LEFT - 7.0, y + 4.0);
        let text = tick(value, &scale.ticks);
        let _ = write!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>");
    }
}

fn finite(point: &&(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}

fn lines(series: &[Series], chart: &Chart, out: &mut String) {
    let all = series.iter().flat_map(|series| series.points.iter().chain(&series.behind)).filter(finite);
    let mut x = Scale::new(all.clone().map(|point| point.0), LEFT, WIDTH - RIGHT, Ends::Data);
    // Along it run whole numbers: steps and epochs.
    x.ticks.retain(|tick| (tick - tick.round()).abs() < 1e-9);
    let y = Scale::new(all.map(|point| point.1), HEIGHT - BOTTOM, TOP, Ends::Ticks);
    grid(&y, out);
    for &value in &x.ticks {
        let (at, base) = (x.at(value), HEIGHT - BOTTOM);
        let (below, text) = (base + 17.0, tick(value.round(), &x.ticks));
        let end = base + 4.0;
        let _ = write!(out, "<line class=\"rule\" x1=\"{at:.1}\" y1=\"{base}\" x2=\"{at:.1}\" y2=\"{end}\"/>");
        let _ = write!(out, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>");
    }
    let (base, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let _ = write!(out, "<line class=\"rule\" x1=\"{LEFT}\" y1=\"{base}\" x2=\"{end}\" y2=\"{base}\"/>");
    let path = |points: &[(f64, f64)]| {
        let mut path = String::new();
        for (at, point) in points.iter().filter(finite).enumerate() {
            let _ = write!(path, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, x.at(point.0), y.at(point.1));
        }
        path
    };
    for (at, series) in series.iter().enumerate() {
        if !series.behind.is_empty() {
            let _ = write!(out, "<path class=\"behind s{}\" d=\"{}\"/>", at % STYLES, path(&series.behind));
        }
    }
    for (at, series) in series.iter().enumerate() {
        let style = at % STYLES;
        let _ = write!(out, "<path class=\"line s{style}\" d=\"{}\"/>", path(&series.points));
        if series.points.len() <= MARKED {
            for point in series.points.iter().filter(finite) {
                out.push_str(&marker(style, x.at(point.0), y.at(point.1)));
            }
        }
    }
    figures(series, chart, &x, &y, out);
}

/// The figures of all lines at places along them, each in a band as wide as halfway to its neighbours: hidden until the
/// pointer is in the band.
fn figures(series: &[Series], chart: &Chart, x: &Scale, y: &Scale, out: &mut String) {
    // Lines of several runs have each a clock of its own: one time would not be true of all.
    let mut clocks = series.iter().map(|series| &series.clock).filter(|clock| !clock.is_empty());
    let first = clocks.next().filter(|first| clocks.all(|clock| clock == *first));
    let clock = first.map_or(&[][..], Vec::as_slice);
    let mut places: Vec<f64> =
        series.iter().flat_map(|series| series.points.iter().filter(finite).map(|point| point.0)).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let every = places.len().div_ceil(PLACES).max(1);
    let places: Vec<f64> = places.into_iter().step_by(every).collect();
    for (index, &place) in places.iter().enumerate() {
        let halfway = |other: Option<&f64>| other.map(|other| x.at(f64::midpoint(place, *other)));
        let from = halfway(index.checked_sub(1).and_then(|before| places.get(before))).unwrap_or(LEFT);
        let to = halfway(places.get(index + 1)).unwrap_or(WIDTH - RIGHT);
        let near = |series: &Series| {
            let distance = |point: &(f64, f64)| (x.at(point.0) - x.at(place)).abs();
            let nearest = series.points.iter().filter(finite).min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
            (distance(nearest) <= (to - from) / 2.0 + 0.5).then_some(*nearest)
        };
        let found: Vec<(usize, (f64, f64))> =
            series.iter().enumerate().filter_map(|(at, series)| Some((at, near(series)?))).collect();
        let passed = clock.partition_point(|(at, _)| *at <= place + 0.5);
        let seconds = passed.checked_sub(1).and_then(|last| clock.get(last));
        let time = seconds.map_or(String::new(), |(_, seconds)| format!(", {}", number::duration(*seconds)));
        let mut texts = vec![format!("{} {}{time}", chart.x, along(place))];
        let name = |at: usize| series.get(at).map_or("", |series| series.name.as_str());
        texts.extend(found.iter().map(|&(at, point)| format!("{}: {}", name(at), exact(point.1))));
        let width = texts.iter().map(|text| text.chars().count()).max().unwrap_or(0) as f64 * FIGURE.1 + 14.0;
        let line = x.at(place);
        let left = if line + 8.0 + width < WIDTH - RIGHT { line + 8.0 } else { (line - 8.0 - width).max(2.0) };
        let (height, base) = (FIGURE.0 * texts.len() as f64 + 7.0, HEIGHT - BOTTOM);
        let _ = write!(
            out,
            "<g class=\"at\"><rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{}\"/><g>\
             <path d=\"M{line:.1} {TOP}V{base}\"/>",
            to - from,
            base - TOP
        );
        for &(at, point) in &found {
            let (style, cx, cy) = (at % STYLES, x.at(point.0), y.at(point.1));
            let _ = write!(out, "<circle class=\"mark s{style}\" cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=\"4\"/>");
        }
        let top = TOP + 2.0;
        let _ = write!(out, "<rect x=\"{left:.1}\" y=\"{top}\" width=\"{width:.0}\" height=\"{height}\" rx=\"4\"/>");
        for (row, text) in texts.iter().enumerate() {
            let (at, below) = (left + 7.0, top + FIGURE.0 * (row as f64 + 1.0) - 2.0);
            let _ = write!(out, "<text x=\"{at:.1}\" y=\"{below:.0}\">{}</text>", escape(text));
        }
        out.push_str("</g></g>");
    }
}

/// A place along the lines: whole where it is large.
fn along(value: f64) -> String {
    if (10.0..1e15).contains(&value) { number::count(value.round() as usize) } else { exact(value) }
}

/// A marker of each style's own form.
fn marker(style: usize, x: f64, y: f64) -> String {
    let polygon = |points: &[(f64, f64)]| {
        let points: Vec<String> = points.iter().map(|(dx, dy)| format!("{:.1},{:.1}", x + dx, y + dy)).collect();
        format!("<polygon class=\"mark s{style}\" points=\"{}\"/>", points.join(" "))
    };
    match style % 4 {
        0 => format!("<circle class=\"mark s{style}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>"),
        1 => polygon(&[(-3.8, -3.8), (3.8, -3.8), (3.8, 3.8), (-3.8, 3.8)]),
        2 => polygon(&[(0.0, -5.0), (4.8, 3.6), (-4.8, 3.6)]),
        _ => polygon(&[(0.0, -5.2), (5.2, 0.0), (0.0, 5.2), (-5.2, 0.0)]),
    }
}

fn columns(bars: &[(String, f64)], chart: &Chart, out: &mut String) {
    let values = bars.iter().map(|bar| bar.1).filter(|value| value.is_finite()).chain([0.0]);
    let y = Scale::new(values, HEIGHT - BOTTOM, TOP, Ends::Ticks);
    grid(&y, out);
    let width = (WIDTH - LEFT - RIGHT) / bars.len().max(1) as f64;
    // As many names as fit side by side.
    let longest = bars.iter().map(|bar| bar.0.chars().count()).max().unwrap_or(1) as f64;
    let every = ((7.5 * longest + 8.0) / width).ceil().max(1.0) as usize;
    for (at, (name, value)) in bars.iter().enumerate() {
        let left = LEFT + width * at as f64;
        let (top, base) = (y.at(value.max(0.0)), y.at(0.0));
        let title = escape(&format!("{} {name}: {}", chart.x, exact(*value)));
        let _ = write!(
            out,
            "<g><rect class=\"bar\" x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/><title>{title}</title></g>",
            left + 0.1 * width,
            0.8 * width,
            (base - top).max(0.0)
        );
        if at.is_multiple_of(every) {
            let (middle, below) = (left + width / 2.0, HEIGHT - BOTTOM + 17.0);
            let _ = write!(out, "<text x=\"{middle:.1}\" y=\"{below}\" text-anchor=\"middle\">{}</text>", escape(name));
        }
    }
    let (base, end) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    let _ = write!(out, "<line class=\"rule\" x1=\"{LEFT}\" y1=\"{base}\" x2=\"{end}\" y2=\"{base}\"/>");
}

/// One below the other, down to `base`; what has a name on its left elsewhere has it above here, where there is room.
fn intervals(all: &[Interval], chart: &Chart, base: f64, out: &mut String) {
    let ends = all.iter().flat_map(|one| [one.low, one.high]).filter(|value| value.is_finite()).chain([0.0]);
    let x = Scale::new(ends, LEFT, WIDTH - RIGHT, Ends::Ticks);
    for &value in &x.ticks {
        let (at, below, text) = (x.at(value), base + 17.0, tick(value, &x.ticks));
        let class = if value == 0.0 { "rule" } else { "grid" };
        let _ = write!(out, "<line class=\"{class}\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{base}\"/>");
        let _ = write!(out, "<text x=\"{at:.1}\" y=\"{below}\" text-anchor=\"middle\">{text}</text>");
    }
    for (at, Interval { name, low, middle, high }) in all.iter().enumerate() {
        let (top, name) = (TOP + ROW * at as f64, escape(name));
        let _ = write!(out, "<text class=\"axis\" x=\"{LEFT}\" y=\"{}\">{name}</text>", top + 14.0);
        if ![low, middle, high].iter().all(|value| value.is_finite()) {
            continue;
        }
        let ([low_at, middle_at, high_at], y) = ([low, middle, high].map(|value| x.at(*value)), top + 27.0);
        let (style, ends) = (at % STYLES, [y - 5.0, y + 5.0]);
        let (low, middle, high) = (exact(*low), exact(*middle), exact(*high));
        let title = escape(&format!("{}: {middle}, {low} to {high}", chart.x));
        let _ = write!(
            out,
            "<g><path class=\"range s{style}\" d=\"M{low_at:.1} {y}L{high_at:.1} {y}M{low_at:.1} {}L{low_at:.1} {}\
             M{high_at:.1} {}L{high_at:.1} {}\"/>{}<title>{name}, {title}</title></g>",
            ends[0],
            ends[1],
            ends[0],
            ends[1],
            marker(style, middle_at, y)
        );
    }
}

/// The sample of a line for the legend.
pub fn sample(style: usize) -> String {
    let style = style % STYLES;
    format!(
        "<svg class=\"key\" viewBox=\"0 0 30 12\" aria-hidden=\"true\"><path class=\"line s{style}\" d=\"M1 6L29 6\"/>{}</svg>",
        marker(style, 15.0, 6.0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(plot: Plot) -> Chart {
        Chart { title: "Loss <of> a".into(), x: "step".into(), y: "loss (nats)".into(), plot, note: String::new() }
    }

    #[test]
    fn steps_between_ticks_are_round() {
        for (rough, step) in [(0.9, 1.0), (1.2, 2.0), (2.1, 2.5), (3.0, 5.0), (7.0, 10.0), (0.013, 0.02)] {
            assert!((round_step(rough) - step).abs() < 1e-12, "{rough}");
        }
        let scale = Scale::new([0.3, 5.4].into_iter(), 100.0, 0.0, Ends::Ticks);
        assert_eq!(scale.ticks, [0.0, 2.0, 4.0, 6.0]);
        assert_eq!((scale.at(0.0), scale.at(6.0)), (100.0, 0.0));
        let texts: Vec<String> = [0.0, 2.5e-5, 5e-5].iter().map(|&value| tick(value, &[0.0, 2.5e-5, 5e-5])).collect();
        assert_eq!(texts, ["0", "2.5e−5", "5e−5"]);
        assert_eq!(tick(2.5, &[0.0, 2.5, 5.0]), "2.5");
        assert_eq!(tick(20_000.0, &[0.0, 20_000.0]), "20k");
    }

    #[test]
    fn every_line_is_drawn_with_axes_that_are_named_and_text_that_is_escaped() {
        let series = |name: &str| Series::new(name, vec![(1.0, 2.0), (2.0, f64::NAN), (3.0, 1.0)]);
        let text = svg(&chart(Plot::Lines(vec![series("a"), series("<script>")])));
        assert_eq!(text.matches("class=\"line").count(), 2);
        let plain = text.split("<g class=\"at\">").next().unwrap_or_default();
        assert_eq!(plain.matches("class=\"mark").count(), 4, "what is no number is left out: {text}");
        assert!(text.contains("loss (nats)") && text.contains(">step<"), "{text}");
        assert!(text.contains("&lt;script&gt;") && !text.contains("<script"), "{text}");
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }

    #[test]
    fn the_figures_of_all_lines_and_the_time_come_up_together_and_bands_cover_the_chart_once() {
        let all = |scale: f64| (0..1000).map(|at| (f64::from(at), scale * f64::from(at))).collect::<Vec<_>>();
        let clock: Vec<(f64, f64)> = (0..1000).map(|at| (f64::from(at), 0.5 * f64::from(at))).collect();
        let few = Series::new("few", vec![(0.0, 7.0), (999.0, 8.0)]);
        let text = svg(&chart(Plot::Lines(vec![Series::new("many", all(1.0)).timed(clock), few])));
        let bands: Vec<&str> = text.split("<g class=\"at\">").skip(1).collect();
        assert!((40..=PLACES).contains(&bands.len()), "{}", bands.len());
        assert!(
            bands[0].contains(">step 0, 0.00 s<") && bands[0].contains(">many: 0<") && bands[0].contains(">few: 7<")
        );
        let middle = bands[bands.len() / 2];
        assert!(middle.contains(">many: ") && !middle.contains("few"), "no figure where there is no point: {middle}");
        let of = |band: &str, name: &str| {
            band.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok())
        };
        let widths: f64 = bands.iter().filter_map(|band| of(band, "width")).sum();
        assert!((widths - (WIDTH - RIGHT - LEFT)).abs() < 3.0, "{widths}");
        assert!(text.len() < 60_000, "a report has many charts: {}", text.len());
        let timed =
            |seconds: f64| Series::new("a", vec![(1.0, 1.0), (2.0, 2.0)]).timed(vec![(1.0, seconds), (2.0, 9.0)]);
        let text = |other: f64| svg(&chart(Plot::Lines(vec![timed(3.0), timed(other)])));
        assert!(text(3.0).contains(">step 1, 3.00 s<"), "{}", text(3.0));
        assert!(text(4.0).contains(">step 1<"), "the time of two runs is not one time: {}", text(4.0));
    }

    #[test]
    fn charts_of_nothing_of_one_point_and_of_equal_values_are_charts() {
        for plot in [
            Plot::Lines(Vec::new()),
            Plot::Lines(vec![Series::new("a", Vec::new())]),
            Plot::Lines(vec![Series::new("a", vec![(1.0, 5.0)])]),
            Plot::Lines(vec![Series::new("a", vec![(1.0, 0.0), (2.0, 0.0)])]),
            Plot::Bars(Vec::new()),
            Plot::Bars(vec![("0–15".into(), 0.0)]),
            Plot::Intervals(Vec::new()),
            Plot::Intervals(vec![Interval { name: "a".into(), low: f64::NAN, middle: 0.0, high: f64::INFINITY }]),
            Plot::Intervals(vec![Interval { name: "a".into(), low: 0.0, middle: 0.0, high: 0.0 }]),
        ] {
            let text = svg(&chart(plot.clone()));
            assert!(text.ends_with("</svg>") && !text.contains("NaN") && !text.contains("inf"), "{plot:?}: {text}");
        }
    }

    #[test]
    fn intervals_reach_from_end_to_end_and_zero_is_among_the_ticks() {
        let of = |name: &str, low, middle, high| Interval { name: name.into(), low, middle, high };
        let plot = Plot::Intervals(vec![of("<ner>", 1.0, 2.0, 3.0), of("qa", -2.0, -0.5, 1.0)]);
        let text = svg(&Chart { y: String::new(), ..chart(plot) });
        assert!(!text.contains("></text>"), "an axis without a name has no text: {text}");
        assert_eq!((text.matches("class=\"range").count(), text.matches("class=\"mark").count()), (2, 2));
        assert_eq!(text.matches("class=\"rule\"").count(), 1, "{text}");
        assert!(text.contains("&lt;ner&gt;, step: 2, 1 to 3") && text.contains(">−2<"), "{text}");
        // From -2 to 3 on 402 units: 1 to 3 are two of five.
        let scale = Scale::new([-2.0, 3.0, 0.0].into_iter(), LEFT, WIDTH - RIGHT, Ends::Ticks);
        assert!(text.contains(&format!("M{:.1} 39L{:.1} 39", scale.at(1.0), scale.at(3.0))), "{text}");
    }

    #[test]
    fn bars_stand_on_zero_and_are_as_high_as_their_values() {
        let text = svg(&chart(Plot::Bars(vec![("a".into(), 10.0), ("b".into(), 5.0)])));
        let height =
            |text: &str| text.split("height=\"").nth(1).and_then(|rest| rest.split('"').next()?.parse::<f64>().ok());
        let heights: Vec<f64> = text.split("class=\"bar\"").skip(1).filter_map(height).collect();
        assert!(matches!(heights[..], [a, b] if (a - 2.0 * b).abs() < 0.2), "{heights:?}");
    }
}
