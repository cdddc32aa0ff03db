//! The words of recipes: docs/recipes.md lists what the structs have, and hints reach the command line.
#![allow(clippy::unwrap_used)]

mod support;
use polyhead::recipe::{Recipe, keys};
use polyhead::tasks::TASKS;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use support::{file, polyhead};

/// A key with the kind of task that has it.
type Named = (Option<String>, String);

/// The rows of the tables of docs/recipes.md: key, default, meaning. A heading names the kind of the keys below it.
fn documented() -> BTreeMap<Named, (String, String)> {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recipes.md")).unwrap();
    let (mut rows, mut kind) = (BTreeMap::new(), None);
    for line in text.lines() {
        if line.starts_with('#') {
            kind = line.split_once("kind = \"").map(|(_, rest)| rest.split('"').next().unwrap().to_owned());
        }
        let Some(row) = line.strip_prefix("| `") else { continue };
        let (key, rest) = row.split_once("` |").unwrap();
        let (default, meaning) = rest.split_once('|').unwrap();
        let meaning = meaning.trim().trim_end_matches('|').trim();
        let row = (default.trim().trim_matches('`').to_owned(), meaning.to_owned());
        assert!(rows.insert((kind.clone(), key.to_owned()), row).is_none(), "{key} has two rows");
    }
    rows
}

/// What the structs take for a key that is left out; none where that is decided later, or the key must be there.
fn defaults() -> BTreeMap<Named, String> {
    let minimal =
        "name = \"x\"\n[encoder]\ncheckpoint = \"x\"\n[encoder.lora]\n[tasks.ner]\n[data.ner]\ntrain = \"x\"\n";
    let recipe = Recipe::parse(minimal, Path::new("minimal.toml"), &[]).unwrap();
    let task = recipe.tasks().unwrap().remove(0);
    let mut all = BTreeMap::new();
    for (name, value) in [("batch_size", json!(task.batch_size)), ("loss_weight", json!(task.loss_weight))] {
        all.insert((None, format!("tasks.NAME.{name}")), value.to_string());
    }
    let table: toml::Table = toml::from_str(&recipe.to_toml().unwrap()).unwrap();
    let shown = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, value) in &table {
        match value {
            toml::Value::Table(table) if name == "train" => {
                all.extend(table.iter().map(|(key, value)| ((None, format!("train.{key}")), shown(value))));
            }
            toml::Value::Table(table) if name == "encoder" => {
                let lora = table["lora"].as_table().unwrap();
                all.extend(lora.iter().map(|(key, value)| ((None, format!("encoder.lora.{key}")), shown(value))));
            }
            toml::Value::Table(_) => {}
            value if name != "name" => _ = all.insert((None, name.clone()), shown(value)),
            _ => {}
        }
    }
    for kind in TASKS {
        let Value::Object(config) = (kind.open)(json!({})).unwrap().config() else { panic!("a table") };
        let set = config.into_iter().filter(|(_, value)| !value.is_null() && *value != json!([]));
        all.extend(set.map(|(key, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            ((Some(kind.kind.to_owned()), format!("tasks.NAME.{key}")), value)
        }));
    }
    all
}

#[test]
fn the_documentation_lists_every_key_with_its_default_and_its_meaning() {
    let (documented, defaults) = (documented(), defaults());
    for key in keys(TASKS) {
        let named = (key.kind.map(str::to_owned), key.key);
        let (default, meaning) =
            documented.get(&named).unwrap_or_else(|| panic!("{named:?} is not in docs/recipes.md"));
        assert!(meaning.len() > 5, "{named:?}: {meaning}");
        match defaults.get(&named) {
            Some(taken) => match (default.parse::<f64>(), taken.parse::<f64>()) {
                (Ok(default), Ok(taken)) => assert_eq!(default, taken, "{named:?}"),
                _ => assert_eq!(default, taken, "{named:?}"),
            },
            // In words, if at all.
            None => assert!(default.parse::<f64>().is_err() && default != "true" && default != "false", "{named:?}"),
        }
    }
    let known: Vec<Named> = keys(TASKS).into_iter().map(|key| (key.kind.map(str::to_owned), key.key)).collect();
    for named in documented.keys() {
        assert!(known.contains(named), "docs/recipes.md has {named:?}, and no recipe");
    }
}

#[test]
fn words_of_other_tools_are_answered_with_what_they_are_called_here() {
    let folder = tempfile::tempdir().unwrap();
    let text = "name = \"x\"\n[encoder]\ncheckpoint = \"x\"\n[train]\nKEY = 3\n[tasks.ner]\n[tasks.qa]\n\
                [data.ner]\ntrain = \"x\"\n[data.qa]\ntrain = \"x\"\n";
    for (key, hint) in [
        ("batch_size", "it stands elsewhere: `tasks.ner.batch_size`, `tasks.qa.batch_size`"),
        ("per_device_train_batch_size", "called `tasks.ner.batch_size`, `tasks.qa.batch_size` here"),
        ("num_train_epochs", "called `train.epochs` here"),
        ("lr", "called `train.learning_rate` here"),
        ("early_stopping_patience", "called `train.patience` here; a number of evaluations in a row"),
        ("early_stopping_threshold", "there is no `early_stopping_threshold`: any gain counts as better"),
        ("device", "there is no `device`: polyhead trains and answers on the CPU"),
        ("gradient_accumulation_steps", "called `train.accumulate` here"),
        ("task_sampling", "called `train.sample` here"),
        ("fp16", "called `train.precision` here; `auto`, `f32` or `bf16`"),
        ("max_seq_length", "called `tasks.ner.max_length`, `tasks.qa.max_length` here"),
        ("doc_stride", "called `tasks.ner.stride`, `tasks.qa.stride` here"),
        ("seed", "`seed` stands at the top of a recipe"),
        ("limit", "it stands elsewhere: `data.ner.limit`, `data.qa.limit`"),
        ("learning_rte", "did you mean `learning_rate`?"),
    ] {
        let path = file(&folder, "recipe.toml", text.replace("KEY", key));
        for command in ["train", "data", "compare"] {
            let said = polyhead(&[command, &path]).failure(2);
            assert!(
                said.contains(&format!("recipe.toml:5:1: unknown key `{key}` in [train]; known: epochs,")),
                "{said}"
            );
            assert!(said.contains(&format!("hint: {hint}")) || said.contains(hint), "{key}: {said}");
        }
        let path = file(&folder, "plain.toml", text.replace("KEY = 3\n", ""));
        let said =
            polyhead(&["train", &path, "--set", "train.epochs=1", "--set", &format!("train.{key}=3")]).failure(2);
        assert!(said.contains(&format!("error: --set train.{key}=3: unknown key `{key}`")), "{said}");
        assert!(said.contains(hint) && !said.contains("epochs=1"), "{said}");
    }
    let path = file(&folder, "kind.toml", text.replace("KEY = 3\n", "").replace(".ner]", ".people]"));
    let said = polyhead(&["train", &path]).failure(2);
    assert!(said.contains("kind.toml:5:8: tasks.people.kind"), "{said}");
    let kinds: Vec<String> = polyhead::tasks::TASKS.iter().map(|kind| format!("kind = \"{}\"", kind.kind)).collect();
    assert!(said.contains(&format!("hint: add {} to [tasks.people]", kinds.join(" or "))), "{said}");
}
