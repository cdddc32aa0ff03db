//! `polyhead export --web`: what the folder for browsers holds, and what is said where a part of it is missing. What it answers is held
//! to the server's answers in `checks/web_check.mjs`, and natively in `polyhead-web`.
#![allow(clippy::unwrap_used)]

mod support;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use support::{file, model, path, polyhead, text};

/// What a module of WebAssembly begins with; nobody runs it here.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

#[test]
fn the_folder_is_whole_and_its_page_finds_all_that_it_names() {
    let folder = model();
    let (module, web) = (file(&folder, "polyhead_web.wasm", MODULE), folder.path().join("web"));
    let told = polyhead(&["export", &path(&folder), "--web", text(&web), "--wasm", &module]);
    assert!(told.stderr.contains("npm install"), "{}", told.stderr);
    told.success();
    let expected = [
        "README.md",
        "assets",
        "config.json",
        "index.html",
        "info.json",
        "package.json",
        "polyhead.mjs",
        "polyhead.onnx",
        "polyhead_web.wasm",
        "runtime.mjs",
        "tokenizer.json",
        "worker.mjs",
    ];
    let found = names(&web);
    assert!(expected.iter().all(|name| found.contains(*name)), "{found:?}");
    assert_eq!(std::fs::read(web.join("polyhead_web.wasm")).unwrap(), MODULE);

    // Each relative address of the page and its programs is a file; but for what npm brings.
    let read = |name: &str| std::fs::read_to_string(web.join(name)).unwrap();
    let mut addresses = 0;
    for name in ["index.html", "worker.mjs", "assets/app.js", "assets/api.js", "assets/arcs.js", "assets/tree.js"] {
        let content = read(name);
        let here = Path::new(name).parent().unwrap();
        for mark in ["src=\"", "href=\"", "from \""] {
            for (at, _) in content.match_indices(mark) {
                let address = content[at + mark.len()..].split('"').next().unwrap();
                if address.starts_with('#') || address.contains('{') {
                    continue;
                }
                addresses += 1;
                assert!(web.join(here).join(address).is_file(), "{name}: {address}");
            }
        }
    }
    assert!(addresses >= 9, "{addresses}");
    assert!(names(&web.join("assets")).contains("app.css") && !names(&web.join("assets")).contains("report.html"));
    // The page's own way to the model, not the server's.
    assert!(read("assets/api.js").contains("../polyhead.mjs"));

    let info: Value = serde_json::from_str(&read("info.json")).unwrap();
    assert_eq!((&info["version"], &info["model"]["precision"]), (&env!("CARGO_PKG_VERSION").into(), &"int8".into()));
    let config: Value = serde_json::from_str(&read("config.json")).unwrap();
    assert_eq!(config["polyhead"]["tasks"][0]["name"], "ner");
    let package: Value = serde_json::from_str(&read("package.json")).unwrap();
    let version = package["dependencies"]["onnxruntime-web"].as_str().unwrap();
    assert!(version.chars().all(|c| c.is_ascii_digit() || c == '.'), "one version: {version}");

    // int8 unless another is asked for.
    let size = |folder: &Path| std::fs::metadata(folder.join("polyhead.onnx")).unwrap().len();
    let f32 = folder.path().join("f32");
    polyhead(&["export", &path(&folder), "--web", text(&f32), "--wasm", &module, "--weights", "f32"]).success();
    assert!(size(&web) < size(&f32), "{} {}", size(&web), size(&f32));

    // Only the like is replaced, and only when asked for.
    let again = ["export", &path(&folder), "--web", text(&web), "--wasm", &module];
    assert!(polyhead(&again).failure(73).contains("--overwrite replaces it"));
    polyhead(&[&again[..], &["--overwrite"]].concat()).success();
    let other = folder.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes.txt"), "mine").unwrap();
    let refused = polyhead(&["export", &path(&folder), "--web", text(&other), "--wasm", &module, "--overwrite"]);
    assert!(refused.failure(73).contains("it is no model folder"));
}

#[test]
fn a_missing_module_is_named_with_the_command_that_makes_it() {
    let folder = model();
    let web = folder.path().join("web");
    let none = folder.path().join("none.wasm");
    let call = |module: &str| polyhead(&["export", &path(&folder), "--web", text(&web), "--wasm", module]);
    let said = call(text(&none)).failure(66);
    assert!(said.contains("none.wasm") && said.contains("cargo rustc --profile web --target wasm32-wasip1"), "{said}");
    let said = call(&file(&folder, "text.wasm", "no module")).failure(65);
    assert!(said.contains("text.wasm: expected a module of WebAssembly"), "{said}");
    assert!(!web.exists());
}

#[test]
fn options_that_mean_nothing_for_browsers_are_refused() {
    for more in [&["--task", "ner"][..], &["--onnx", "x"], &["--to", "x"], &["--external-data"]] {
        polyhead(&[&["export", "m", "--web", "w"], more].concat()).failure_of_call();
    }
    polyhead(&["export", "m", "--onnx", "o", "--wasm", "w"]).failure_of_call();
}
