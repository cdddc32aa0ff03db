//! Every recipe in `recipes/` parses and runs from end to end: as it is, but with tiny-bert, a few examples and one
//! epoch. A recipe that is added later is run, too.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::report::data::data_report;
use polyhead::tasks::TASKS;
use polyhead::train::{Event, Plan, prepare};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every recipe, in alphabetical order.
fn recipes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(workspace().join("recipes")).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

/// What makes a recipe small: the encoder, the data, the lengths of windows, what is of the encoder's vocabulary. All else stays the
/// recipe's own.
fn reductions(recipe: &Recipe, folder: &Path) -> Vec<String> {
    let mut overrides = vec![
        format!("encoder.checkpoint={}", small::fixture("tiny-bert").display()),
        format!("output={}", folder.join("runs").display()),
        "train.epochs=1".to_owned(),
        // Not into the cache of whoever runs the tests.
        "train.feature_cache=false".to_owned(),
    ];
    for task in recipe.tasks().unwrap() {
        let (name, kind) = (&task.name, small::kind(&task.kind));
        let Value::Object(config) = (kind.config)() else { panic!("{name}: a table") };
        // Lengths, and tokens that are of its vocabulary.
        let fitting = config.iter().filter(|(_, value)| value.is_u64() || value.is_array());
        overrides.extend(fitting.map(|(key, value)| format!("tasks.{name}.{key}={value}")));
        overrides.push(format!("tasks.{name}.batch_size=4"));
        for (split, examples) in [("train", 12), ("validation", 4)] {
            let path = small::write_data(kind, &format!("{name}-{split}"), &vec![8; examples], folder);
            overrides.push(format!("data.{name}.{split}={}", path.display()));
        }
    }
    overrides
}

#[test]
fn every_recipe_parses_and_its_own_toml_says_the_same() {
    for path in recipes() {
        let recipe = Recipe::read(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let text = recipe.to_toml().unwrap();
        assert_eq!(Recipe::parse(&text, &path, &[]).unwrap().to_toml().unwrap(), text);
        assert_eq!(path.file_stem().unwrap().to_str().unwrap(), recipe.name, "a recipe is named as its file");
        let about = std::fs::read_to_string(&path).unwrap();
        assert!(about.starts_with("# "), "{}: it says in its first line what it is for", path.display());
    }
}

#[test]
fn every_file_that_a_recipe_takes_from_this_repository_is_there() {
    for path in recipes() {
        for (task, data) in Recipe::read(&path, &[]).unwrap().data {
            let files = [Some(data.train), data.validation].into_iter().flatten();
            for file in files.flat_map(|files| files.iter().map(str::to_owned).collect::<Vec<_>>()) {
                // What stands in DATA is of whoever runs it: a recipe says what belongs there.
                let is_theirs = file.contains("://") || file.starts_with("DATA/");
                let found = is_theirs || workspace().join(&file).is_file();
                assert!(found, "{}: data.{task}: no file {file}", path.display());
            }
        }
    }
}

#[test]
fn every_recipe_runs_from_end_to_end_at_reduced_size() {
    for path in recipes() {
        let folder = tempfile::tempdir().unwrap();
        let overrides = reductions(&Recipe::read(&path, &[]).unwrap(), folder.path());
        let recipe = Recipe::read(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
        // What `polyhead data` says ...
        let prepared = prepare(&recipe, TASKS, &mut |_| {}).unwrap();
        let plan = Plan::new(&recipe, &prepared).unwrap();
        assert_eq!(data_report(&prepared, plan).unwrap().tasks.len(), recipe.tasks.len());
        // ... `polyhead train` does ...
        let events = small::train(recipe.clone());
        let Some(Event::Finished(end)) = events.last() else { panic!("{}: no end", path.display()) };
        assert_eq!(end.scores.len(), recipe.tasks.len(), "{}", path.display());
        let steps = events.iter().filter(|event| matches!(event, Event::Step(_))).count();
        assert!(steps > 0 && steps == end.steps, "{}", path.display());
        // ... and `polyhead predict` answers with.
        let session = Session::open(&end.folder).unwrap();
        for task in recipe.tasks().unwrap() {
            let answer = session.ask(&task.name, &(small::kind(&task.kind).request)("ada was in london .")).unwrap();
            assert!(answer.is_object(), "{}: {answer}", path.display());
        }
    }
}

#[test]
fn a_recipe_chooses_columns_and_names_class_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("train.tsv");
    std::fs::write(&data, "1\tNew York\t1\t_\n2\tis\t0\t_\n\n1\tAda\t2\t_\n").unwrap();
    let text = format!(
        "name = \"columns\"\nencoder.checkpoint = '{}'\ntrain.feature_cache = false\n[tasks.ner]\nmax_length = 32\nstride = 8\n[data.ner]\ntrain = '{}'\n\
         columns = {{ word = 2, tag = 3 }}\ntag_names = [\"O\", \"B-LOC\", \"B-PER\"]\n",
        small::fixture("tiny-bert").display(),
        data.display()
    );
    let path = Path::new("columns.toml");
    let parse = |overrides: &[&str]| {
        let overrides: Vec<String> = overrides.iter().map(|&pair| pair.to_owned()).collect();
        Recipe::parse(&text, path, &overrides)
    };
    let recipe = parse(&[]).unwrap();
    let again = Recipe::parse(&recipe.to_toml().unwrap(), path, &[]).unwrap();
    let prepared = prepare(&again, TASKS, &mut |_| ()).unwrap();
    assert_eq!(prepared.model.tasks[0].task.labels(), ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]);
    for (overrides, expected) in [
        (&["data.ner.columns.word=0"][..], "data.ner.columns: expected two different columns"),
        (&["data.ner.columns.tag=2"], "data.ner.columns: expected two different columns"),
        (&["data.ner.columns.tags=2"], "unknown key `tags` in [data.ner.columns]; known: word, tag"),
        (&["data.ner.tag_names=[\"PER\"]"], "data.ner.tag_names: expected tags such as `O`"),
    ] {
        let error = parse(overrides).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
