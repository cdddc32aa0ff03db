//! No module of a folder uses one that uses it, directly or through others: read from the `use` lines of every folder of
//! sources.

#![allow(clippy::unwrap_used)]

mod sources;

use sources::{crate_folder, files, names_after, without_tests};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The crates whose folders are looked at.
const CRATES: &[&str] = &["polyhead", "polyhead-server", "polyhead-web", "polyhead-cli", "polyhead-python"];

/// Module -> the modules of the same folder that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// The modules of a folder, each with all files that belong to it.
fn uses(root: &Path, folder: &Path) -> Uses {
    let inside = folder.strip_prefix(root).unwrap();
    let path: String = inside.iter().map(|part| format!("{}::", part.to_str().unwrap())).collect();
    let absolute = format!("crate::{path}");
    let mut uses = Uses::new();
    for (file, code) in files(folder) {
        let file = file.strip_prefix(folder).unwrap().to_owned();
        let module = Path::new(file.iter().next().unwrap()).file_stem().unwrap().to_str().unwrap();
        // The folder's own file declares its modules, and hands out what they have.
        if file.iter().count() == 1 && ["mod", "lib", "main"].contains(&module) {
            continue;
        }
        let depth = file.iter().count() - usize::from(file.ends_with("mod.rs"));
        let relative = "super::".repeat(depth);
        let code = without_tests(&code);
        let used = uses.entry(module.to_owned()).or_default();
        for prefix in [&absolute, &relative] {
            let starts = |at: usize| !code[..at].ends_with([':', '_']) && !code[..at].ends_with(char::is_alphanumeric);
            let whole: String = code
                .match_indices(prefix.as_str())
                .filter(|(at, _)| starts(*at))
                .map(|(at, _)| &code[at..])
                .map(|rest| {
                    let end = rest.find(';').unwrap_or(rest.len());
                    format!("{}\n", &rest[..end])
                })
                .collect();
            used.extend(names_after(&whole, prefix).into_iter().map(str::to_owned));
        }
    }
    let modules: BTreeSet<String> = uses.keys().cloned().collect();
    for (module, used) in &mut uses {
        used.retain(|name| name != module && modules.contains(name));
    }
    uses
}

/// All that a module uses, through others too.
fn reached<'a>(uses: &'a Uses, module: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&'a str> = uses[module].iter().map(String::as_str).collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(uses[next].iter().map(String::as_str));
        }
    }
    found
}

/// The modules of a folder that use themselves through others.
fn cycle(uses: &Uses) -> Vec<&str> {
    uses.keys().map(String::as_str).filter(|module| reached(uses, module).contains(module)).collect()
}

fn folders(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    into.push(folder.to_owned());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            folders(&path, into);
        }
    }
}

#[test]
fn no_module_of_a_folder_uses_one_that_uses_it() {
    let mut edges = 0;
    for name in CRATES {
        let root = crate_folder(name).join("src");
        let mut all = Vec::new();
        folders(&root, &mut all);
        for folder in all {
            let uses = uses(&root, &folder);
            edges += uses.values().map(BTreeSet::len).sum::<usize>();
            let cycle = cycle(&uses);
            let within: Vec<_> = cycle.iter().map(|module| (module, &uses[*module])).collect();
            assert!(cycle.is_empty(), "{}: each of these uses itself through the others: {within:?}", folder.display());
        }
    }
    assert!(edges > 200, "the imports are found: {edges}");
}

#[test]
fn a_cycle_is_found_whatever_its_length() {
    let of = |pairs: &[(&str, &[&str])]| -> Uses {
        pairs
            .iter()
            .map(|(name, used)| ((*name).to_owned(), used.iter().map(|name| (*name).to_owned()).collect()))
            .collect()
    };
    assert!(cycle(&of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    assert_eq!(cycle(&of(&[("a", &["b"]), ("b", &["c"]), ("c", &["b"])])), ["b", "c"]);
}
