//! Scores as tables: precision, recall and F1 side by side, the breakdown by type, and what else a task measures.

use crate::table::{Align, Table, count, decimal};
use polyhead::tasks::Score;
use serde_json::Value;
use std::collections::BTreeMap;

/// The tables of a score, in order; those that would be empty are left out.
pub fn tables(score: &Score) -> Vec<Table> {
    let (mut means, rest) = means_and_rest(score);
    let mut other = Table::new(&[("measure", Align::Left), ("value", Align::Right)]);
    for (name, value) in rest {
        other.row([words(name), number(name, value)]);
    }
    let mut types = Table::new(&[
        ("type", Align::Left),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("gold", Align::Right),
    ]);
    for kind in &score.types {
        let [precision, recall, f1] = [kind.precision, kind.recall, kind.f1].map(decimal);
        types.row([kind.name.clone(), precision, recall, f1, count(kind.support)]);
    }
    let strict = score.values.keys().any(|name| name.ends_with("_strict"));
    let mut table = Table::new(&[
        ("mean", Align::Left),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
    ]);
    for (stem, values) in means.drain(..) {
        let name = match stem.strip_suffix("_strict") {
            Some(stem) => format!("{}, strict IOB2", words(stem)),
            None if strict => format!("{}, lenient", words(&stem)),
            None => words(&stem),
        };
        table.row([vec![name], values.to_vec()].concat());
    }
    [table, types, other].into_iter().filter(|table| !table.is_empty()).collect()
}

/// One row a task: its name, what decides and its value, then the other measures in brief.
pub fn summary(scores: &BTreeMap<String, Score>) -> Table {
    let mut table = Table::new(&[("task", Align::Left), ("measure", Align::Left), ("value", Align::Right)]);
    for (task, score) in scores {
        let (means, rest) = means_and_rest(score);
        let strict = !means.is_empty() && score.values.keys().any(|name| name.ends_with("_strict"));
        for (stem, [precision, recall, f1]) in means {
            let (mean, scheme) = match stem.strip_suffix("_strict") {
                Some(mean) => (mean, " (strict IOB2)"),
                None => (stem.as_str(), if strict { " (lenient)" } else { "" }),
            };
            if mean == "micro" && scheme != " (strict IOB2)" {
                table.row([task.clone(), format!("micro precision{scheme}"), precision]);
                table.row([task.clone(), format!("micro recall{scheme}"), recall]);
            }
            table.row([task.clone(), format!("{} F1{scheme}", words(mean)), f1]);
        }
        for (name, value) in rest {
            table.row([task.clone(), words(name), number(name, value)]);
        }
    }
    table
}

type Means = Vec<(String, [String; 3])>;

/// The triples `{stem}_precision{end}`, `{stem}_recall{end}`, `{stem}_f1{end}`, and what is in none of them.
fn means_and_rest(score: &Score) -> (Means, Vec<(&str, &Value)>) {
    let (mut means, mut rest) = (Means::new(), Vec::new());
    for (name, value) in &score.values {
        let parts = name.split_once("_precision");
        let value_of =
            |measure: &str| parts.and_then(|(stem, end)| Some(decimal(score.get(&format!("{stem}_{measure}{end}"))?)));
        match (parts, value_of("precision"), value_of("recall"), value_of("f1")) {
            (Some((stem, end)), Some(precision), Some(recall), Some(f1)) => {
                means.push((format!("{stem}{end}"), [precision, recall, f1]));
            }
            _ => rest.push((name.as_str(), value)),
        }
    }
    rest.retain(|(name, _)| !means.iter().any(|(stem, _)| belongs(name, stem)));
    (means, rest)
}

/// Whether a measure is the recall or F1 of the triple of this stem.
fn belongs(name: &str, stem: &str) -> bool {
    ["_recall", "_f1"].iter().any(|part| name.contains(part) && name.replacen(part, "", 1) == stem)
}

/// The name of a measure for people.
pub fn words(name: &str) -> String {
    let name = name.replace('_', " ");
    if name == "f1" { "F1".to_owned() } else { name.replace(" f1", " F1") }
}

/// A value as it is shown.
pub fn number(name: &str, value: &Value) -> String {
    match value.as_f64() {
        Some(value) if name == "questions" => count(value as usize),
        // Nats, or what the numbers of a task count in, not per cent.
        Some(value) if ["loss", "mse", "mae"].contains(&name) => format!("{value:.4}"),
        Some(value) => decimal(value),
        None => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use polyhead::tasks::TypeScore;
    use serde_json::json;

    fn score(values: Value, types: Vec<TypeScore>) -> Score {
        Score { headline: "f1".into(), values: values.as_object().unwrap().clone(), types }
    }

    #[test]
    fn every_value_of_a_score_is_shown_once_and_named() {
        let values = json!({
            "micro_precision": 11.111, "micro_recall": 22.222, "micro_f1": 33.333,
            "micro_precision_strict": 44.444, "micro_recall_strict": 55.555, "micro_f1_strict": 66.666,
            "token_accuracy": 77.777,
        });
        let types = vec![TypeScore { name: "PER".into(), precision: 1.0, recall: 2.0, f1: 3.0, support: 1234 }];
        let tables: Vec<String> = tables(&score(values, types)).iter().map(ToString::to_string).collect();
        assert_eq!(tables.len(), 3);
        assert!(tables[0].contains("micro, lenient") && tables[0].contains("micro, strict IOB2"));
        for value in ["11.11", "22.22", "33.33", "44.44", "55.5", "66.67", "77.78", "1,234"] {
            assert_eq!(
                tables.iter().map(|table| table.matches(value).count()).sum::<usize>(),
                1,
                "{value}: {tables:?}"
            );
        }
    }

    #[test]
    fn a_score_without_means_is_a_list() {
        let tables = tables(&score(json!({"exact_match": 50.0, "f1": 60.0, "questions": 2000.0}), Vec::new()));
        assert_eq!(tables.len(), 1);
        let text = tables[0].to_string();
        assert!(text.contains("exact match") && text.contains("F1") && text.contains("2,000"), "{text}");
    }
}
