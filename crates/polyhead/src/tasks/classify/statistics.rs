//! What there is of each label, or of each range of numbers: for `polyhead data` and reports.

use super::{Labelled, Problem};
use crate::document::number::decimal;
use crate::tasks::frequencies;

/// Numbers of more different values than this are counted in ranges.
const VALUES: usize = 12;
/// So many ranges.
const RANGES: usize = 10;

pub(super) fn distribution(problem: Problem, examples: &[Labelled]) -> Vec<(String, usize)> {
    let mut rows = vec![("texts".to_owned(), examples.len())];
    match problem {
        Problem::SingleLabel => rows.extend(labels(examples)),
        Problem::MultiLabel => {
            let counts = examples.iter().filter(|example| example.gold.is_some()).map(|example| example.labels().len());
            let counts: Vec<usize> = counts.collect();
            let with = |fits: fn(&usize) -> bool| counts.iter().filter(|count| fits(count)).count();
            rows.push(("without a label".to_owned(), with(|count| *count == 0)));
            rows.push(("with one".to_owned(), with(|count| *count == 1)));
            rows.push(("with several".to_owned(), with(|count| *count > 1)));
            rows.extend(labels(examples));
        }
        Problem::Regression => rows.extend(numbers(examples)),
    }
    rows
}

fn labels(examples: &[Labelled]) -> impl Iterator<Item = (String, usize)> {
    frequencies(examples.iter().flat_map(Labelled::labels).map(String::as_str))
}

/// Each number if there are few, else ranges of equal width between the lowest and the highest.
fn numbers(examples: &[Labelled]) -> Vec<(String, usize)> {
    let mut all: Vec<f64> = examples.iter().filter_map(Labelled::number).collect();
    all.sort_by(f64::total_cmp);
    let values: Vec<(f64, usize)> =
        all.chunk_by(|a, b| a == b).filter_map(|group| Some((*group.first()?, group.len()))).collect();
    if values.len() <= VALUES {
        return values.into_iter().map(|(value, count)| (format!("  {value}"), count)).collect();
    }
    let (Some(&low), Some(&high)) = (all.first(), all.last()) else { return Vec::new() };
    let width = (high - low) / RANGES as f64;
    let range = |number: f64| (((number - low) / width) as usize).min(RANGES - 1);
    let count = |at: usize| all.iter().filter(|number| range(**number) == at).count();
    let edge = |at: usize| decimal(low + width * at as f64);
    (0..RANGES).map(|at| (format!("  {} to {}", edge(at), edge(at + 1)), count(at))).collect()
}
