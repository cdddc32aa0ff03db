//! How to have the same run again: commands, seed, versions, the recipe as it was.

use super::run::Run;
use crate::document::{Block, Table};
use crate::model::shell_word as quoted;
use serde_json::Value;

/// Commands, environment, recipe.
pub fn blocks(run: &Run) -> Vec<Block> {
    let mut blocks = Vec::new();
    let folder = quoted(&run.folder.display().to_string());
    if run.recipe_text.is_some() {
        blocks.push(Block::Code(format!(
            "polyhead train {recipe}\npolyhead report {folder}",
            recipe = quoted(&run.folder.join("recipe.toml").display().to_string())
        )));
        let seed = run.recipe.as_ref().map_or(String::new(), |recipe| format!(" The seed is {}.", recipe.seed));
        blocks.push(Block::text(format!(
            "The same recipe and seed give bit-identical weights on a machine with the same instructions.{seed}"
        )));
    }
    match &run.environment {
        Some(environment) => {
            let mut rows = Vec::new();
            flatten("", environment, &mut rows);
            let mut table = Table::of_text("The environment of the run.", &["", ""]);
            rows.into_iter().for_each(|(name, value)| table.row([name, value]));
            blocks.push(Block::Table(table));
        }
        None => blocks.push(Block::Missing(
            "The run recorded no environment.json: versions, machine and data fingerprints are not known.".into(),
        )),
    }
    match &run.recipe_text {
        Some(recipe) => {
            blocks.push(Block::heading("Recipe"));
            blocks.push(Block::Code(recipe.trim_end().to_owned()));
        }
        None => blocks.push(Block::Missing("There is no recipe.toml in the run folder.".into())),
    }
    blocks
}

/// `{"a": {"b": 1}}` is a row `a.b`, `1`.
fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| flatten(&below(key), value, rows)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().enumerate().for_each(|(at, item)| flatten(&below(&at.to_string()), item, rows));
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(plain).collect();
            rows.push((name.to_owned(), items.join(", ")));
        }
        other => rows.push((name.to_owned(), plain(other))),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_facts_become_rows_and_paths_words_of_a_shell() {
        let mut rows = Vec::new();
        flatten("", &json!({ "a": { "b": 1, "c": ["x", "y"] }, "d": [{ "e": null }] }), &mut rows);
        let rows: Vec<String> = rows.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(rows, ["a.b=1", "a.c=x, y", "d.0.e=null"]);
        assert_eq!((quoted("runs/a-1"), quoted("my 'runs'")), ("runs/a-1".into(), "'my '\\''runs'\\'''".into()));
    }
}
