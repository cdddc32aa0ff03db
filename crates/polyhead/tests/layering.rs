//! Who may use whom inside the library: read from the sources, held against one table.
//!
//! Data flows one way, and so do imports. A module that is not in the table, or that uses one that its row does not
//! name, fails here: either the code moves, or the table changes in a line that a reviewer sees.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod sources;

use sources::{files, names_after};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module and the modules that it uses; every module stands below those it uses.
const MODULES: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("metrics", &[]),
    ("batch", &[]),
    ("document", &[]),
    ("order", &[]),
    ("strategy", &["error"]),
    ("sample", &["error", "strategy"]),
    ("io", &["error"]),
    ("text", &["error"]),
    ("data", &["error", "text"]),
    ("parameters", &["error", "io"]),
    ("sharing", &["error", "parameters", "strategy"]),
    ("balance", &["error", "parameters", "strategy"]),
    ("encoders", &["batch", "error", "parameters", "sharing", "strategy"]),
    ("tasks", &["batch", "data", "document", "encoders", "error", "metrics", "parameters", "text"]),
    ("events", &["error", "tasks"]),
    ("hub", &["data", "encoders", "error", "events", "io", "text"]),
    ("optim", &["error", "parameters"]),
    (
        "model",
        &["batch", "encoders", "error", "events", "hub", "io", "parameters", "sharing", "strategy", "tasks", "text"],
    ),
    ("ask", &["error", "model", "tasks", "text"]),
    ("onnx", &["encoders", "error", "io", "model", "parameters"]),
    (
        "recipe",
        &[
            "balance",
            "batch",
            "data",
            "encoders",
            "error",
            "model",
            "order",
            "parameters",
            "sample",
            "sharing",
            "strategy",
            "tasks",
        ],
    ),
    ("info", &["model", "parameters", "recipe", "tasks"]),
    ("export", &["encoders", "error", "info", "io", "model", "onnx", "parameters", "tasks"]),
    ("peft", &["encoders", "error", "export", "hub", "io", "model", "parameters", "strategy", "tasks"]),
    (
        "train",
        &[
            "balance",
            "batch",
            "data",
            "document",
            "encoders",
            "error",
            "events",
            "hub",
            "io",
            "model",
            "optim",
            "order",
            "parameters",
            "recipe",
            "sample",
            "tasks",
            "text",
        ],
    ),
    ("infer", &["batch", "data", "encoders", "error", "metrics", "model", "parameters", "tasks", "text"]),
    (
        "quantize",
        &[
            "batch",
            "encoders",
            "error",
            "hub",
            "infer",
            "io",
            "metrics",
            "model",
            "parameters",
            "recipe",
            "tasks",
            "train",
        ],
    ),
    ("suite", &["error", "infer", "metrics", "model", "tasks", "text"]),
    (
        "report",
        &[
            "data",
            "document",
            "encoders",
            "error",
            "events",
            "hub",
            "infer",
            "model",
            "parameters",
            "recipe",
            "suite",
            "tasks",
            "text",
            "train",
        ],
    ),
    ("init", &["data", "document", "error", "recipe", "tasks"]),
    (
        "compare",
        &[
            "balance",
            "document",
            "error",
            "events",
            "io",
            "model",
            "parameters",
            "recipe",
            "report",
            "sample",
            "sharing",
            "strategy",
            "tasks",
            "train",
        ],
    ),
    ("tune", &["document", "error", "events", "io", "recipe", "report", "tasks", "train"]),
];

/// Modules whose files are entries of one list and know nothing of each other; the files named here serve all of them.
const LISTS: &[(&str, &[&str])] = &[
    ("tasks", &["mod", "any", "answer", "confusion", "drawing", "faces", "lowest", "reliability"]),
    ("encoders", &["mod", "config", "layers", "post_norm"]),
    ("sample", &["mod"]),
    ("sharing", &["mod", "mixtures"]),
    ("balance", &["mod", "averaged", "means", "solve"]),
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The module of a file: `tasks` for `tasks/ner.rs`, `batch` for `batch.rs`.
fn module(path: &Path) -> String {
    let first = path.strip_prefix(source()).unwrap().components().next().unwrap();
    Path::new(&first).file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The modules that each module uses, and a file where it does.
fn uses() -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let mut uses: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for (path, code) in files(&source()) {
        let own = module(&path);
        if own == "lib" {
            continue;
        }
        let used = uses.entry(own.clone()).or_default();
        for name in names_after(&code, "crate::") {
            // The root of the crate hands out the names of `error`.
            let name = if name.starts_with(char::is_uppercase) { "error" } else { name };
            if name != own {
                used.entry(name.to_owned()).or_insert_with(|| path.clone());
            }
        }
    }
    uses
}

#[test]
fn every_module_uses_only_the_modules_that_the_table_grants_and_all_of_them() {
    let uses = uses();
    let modules: BTreeSet<&str> = uses.keys().map(String::as_str).collect();
    assert_eq!(
        modules,
        MODULES.iter().map(|(module, _)| *module).collect(),
        "the modules of the library, and of the table"
    );
    for (module, granted) in MODULES {
        for (used, file) in &uses[*module] {
            assert!(granted.contains(&used.as_str()), "{module} uses {used}, in {}", file.display());
        }
        let unused: Vec<_> = granted.iter().filter(|name| !uses[*module].contains_key(**name)).collect();
        assert!(unused.is_empty(), "{module} does not use {unused:?}: take it out of the table");
    }
}

#[test]
fn no_module_uses_one_that_uses_it() {
    for (at, (module, granted)) in MODULES.iter().enumerate() {
        for used in *granted {
            assert!(
                MODULES[..at].iter().any(|(above, _)| above == used),
                "{module} stands above {used}, which it uses"
            );
        }
    }
}

#[test]
fn entries_of_a_list_know_nothing_of_each_other() {
    for (module, shared) in LISTS {
        let folder = source().join(module);
        let files = files(&folder);
        let stem = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
        let entries: BTreeSet<String> =
            files.iter().map(|(path, _)| stem(path)).filter(|stem| !shared.contains(&stem.as_str())).collect();
        assert!(!entries.is_empty(), "{module}");
        for (path, code) in &files {
            // The list itself names its entries.
            if stem(path) == "mod" {
                continue;
            }
            for prefix in ["super::", &format!("crate::{module}::")] {
                let others: Vec<_> =
                    names_after(code, prefix).into_iter().filter(|name| entries.contains(*name)).collect();
                assert!(others.is_empty(), "{} uses {others:?}", path.display());
            }
        }
    }
}

#[test]
fn only_the_kernels_may_have_unsafe_code() {
    for (path, code) in files(&source()) {
        assert!(!code.contains("unsafe "), "{}", path.display());
    }
}
