//! What lies beside a model in a folder for browsers, the same for every model: page, module and npm's manifest.

/// The file of the module that is compiled to WebAssembly.
pub const MODULE: &str = "polyhead_web.wasm";

/// The command that makes it.
pub const BUILD: &str = "cargo rustc --profile web --target wasm32-wasip1 -p polyhead-web --crate-type cdylib";

/// The files of our own: name and text. The page needs besides, in `assets/`, the files of the page of `polyhead serve`, but for
/// `api.js`.
pub const FILES: &[(&str, &str)] = &[
    ("index.html", include_str!("../assets/index.html")),
    ("polyhead.mjs", include_str!("../assets/polyhead.mjs")),
    ("worker.mjs", include_str!("../assets/worker.mjs")),
    ("assets/api.js", include_str!("../assets/api.js")),
    ("assets/page.css", include_str!("../assets/page.css")),
    ("package.json", include_str!("../assets/package.json")),
    ("runtime.mjs", include_str!("../assets/runtime.mjs")),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(name: &str) -> &'static str {
        FILES.iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn the_page_names_nothing_outside_its_folder() {
        for (name, text) in FILES.iter().filter(|(name, _)| *name != "package.json") {
            assert!(!text.contains("http://") && !text.contains("https://"), "{name}");
        }
        let page = text("index.html");
        assert!(page.contains("default-src 'none'") && !page.contains("<style") && !page.contains("<script>"));
        for name in ["polyhead.mjs", "worker.mjs"] {
            assert!(
                FILES
                    .iter()
                    .any(|(_, text)| text.contains(&format!("\"{name}\"")) || text.contains(&format!("/{name}\"")))
            );
        }
    }

    #[test]
    fn every_file_of_onnx_runtime_that_is_loaded_is_copied() {
        for name in ["ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"] {
            assert!(text("polyhead.mjs").contains(name) && text("runtime.mjs").contains(name), "{name}");
        }
        assert!(text("polyhead.mjs").contains(MODULE));
    }
}
