//! Kinds of tasks are named in `tasks/` alone: what is outside asks a task for its fields, the shape of its answers and what else
//! it declares, so that a new kind is a file and a line there. Read from the sources.

#![allow(clippy::unwrap_used)]

mod sources;

use polyhead::tasks::TASKS;
use sources::{crate_folder, files, names_after, without_tests};
use std::path::{Path, PathBuf};

/// The crates that must not know a kind.
const CRATES: &[&str] = &["polyhead", "polyhead-server", "polyhead-web", "polyhead-cli", "polyhead-python"];

/// Names of columns and fields that files and tables have, which a kind happens to be called too.
const IN_FILES: &[(&str, &str)] = &[
    ("src/data/conll.rs", "ner"),
    ("src/data/jsonl/sentences.rs", "ner"),
    // The column of a word's tag.
    ("src/data/conll.rs", "tag"),
    ("src/data/jsonl/words.rs", "tag"),
    ("src/data/layout.rs", "tag"),
    ("src/data/looks.rs", "tag"),
    ("src/data/mod.rs", "tag"),
    ("src/data/jsonl/sentences.rs", "tag"),
    ("src/data/word_tables.rs", "tag"),
    ("src/data/parquet/sentences.rs", "tag"),
    ("src/data/parquet/words.rs", "tag"),
    ("src/data/words/columns.rs", "tag"),
    ("src/data/words/mod.rs", "tag"),
    ("src/recipe/keys.rs", "tag"),
    // The column of a relation.
    ("src/data/texts/mod.rs", "relation"),
    ("src/answers.rs", "relation"),
];

/// The names that stand somewhere as a whole literal.
fn named(path: &Path, code: &str, names: &[&str]) -> Vec<String> {
    let quoted = |name: &&str| ['"', '\'', '`'].iter().any(|mark| code.contains(&format!("{mark}{name}{mark}")));
    let in_files = |name: &&str| IN_FILES.iter().any(|(file, known)| path.ends_with(file) && known == name);
    let found = names.iter().copied().filter(|name| quoted(name) && !in_files(name));
    found.map(|name| format!("{}: {name}", path.display())).collect()
}

fn is_a_task(path: &Path) -> bool {
    path.starts_with(crate_folder("polyhead").join("src/tasks"))
}

/// The scripts and pages that the server gives out.
fn assets() -> Vec<(PathBuf, String)> {
    let folder = std::fs::read_dir(crate_folder("polyhead-server").join("assets")).unwrap();
    let paths = folder.map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| (path.clone(), std::fs::read_to_string(path).unwrap());
    let comment = |line: &&str| !line.trim_start().starts_with("//") && !line.trim_start().starts_with("*");
    let code = |(path, text): (PathBuf, String)| (path, text.lines().filter(comment).collect::<Vec<_>>().join("\n"));
    paths.map(text).map(code).collect()
}

#[test]
fn no_kind_of_task_is_named_outside_the_tasks() {
    let kinds: Vec<&str> = TASKS.iter().map(|kind| kind.kind).collect();
    assert!(!kinds.is_empty());
    let sources = CRATES.iter().flat_map(|name| files(&crate_folder(name).join("src")));
    let outside = sources.filter(|(path, _)| !is_a_task(path)).chain(assets());
    let found: Vec<String> = outside.flat_map(|(path, code)| named(&path, without_tests(&code), &kinds)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn no_module_of_a_task_is_imported_outside_the_tasks() {
    // Modules whose files implement `Task`.
    let tasks = crate_folder("polyhead").join("src/tasks");
    let modules: Vec<String> = files(&tasks)
        .into_iter()
        .filter(|(path, code)| path.parent() == Some(&tasks) && without_tests(code).contains("impl Task for "))
        .map(|(path, _)| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(modules.len(), TASKS.len(), "{modules:?}");
    for name in CRATES {
        for (path, code) in files(&crate_folder(name).join("src")) {
            if is_a_task(&path) {
                continue;
            }
            let code = without_tests(&code);
            let used = names_after(code, "tasks::");
            let found: Vec<_> = modules.iter().filter(|module| used.contains(module.as_str())).collect();
            assert!(found.is_empty(), "{} uses {found:?}", path.display());
        }
    }
}

#[test]
fn a_kind_is_found_where_it_is_a_whole_literal() {
    let found = |code: &str| named(Path::new("x.rs"), code, &["ner"]).len();
    for code in ["match kind { \"ner\" => 1, _ => 2 }", "task.kind === 'ner'", "`ner`"] {
        assert_eq!(found(code), 1, "{code}");
    }
    assert_eq!(found("let inner = \"a ner task\"; ner();"), 0);
}
