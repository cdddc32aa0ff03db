//! A folder for browsers: the model, and what was compiled and written for it.
//!
//! The module in WebAssembly is compiled for another target than this program, so that it is a file of its own: `--wasm` names
//! it, or it lies beside this program, or where cargo puts it when it compiles both in one folder.

use polyhead::export::for_browsers;
use polyhead::info::ModelInfo;
use polyhead::model::Model;
use polyhead::onnx::{Format, WeightType};
use polyhead::{Error, Place, Result};
use polyhead_server::ASSETS;
use polyhead_web::files::{BUILD, FILES, MODULE};
use std::path::{Path, PathBuf};

/// What a module begins with: its magic number.
const MAGIC: &[u8] = b"\0asm";

/// Writes the folder of a model that was loaded from `path`.
pub fn export(path: &Path, model: &Model, format: Format, wasm: Option<&Path>, folder: &Path) -> Result<()> {
    let module = module(wasm)?;
    let of_page = |name: &str| !["api.js", "report.html"].contains(&name);
    let page = ASSETS
        .iter()
        .filter(|(name, ..)| of_page(name))
        .map(|(name, _, text)| (format!("assets/{name}"), text.as_bytes()));
    let own = FILES.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes()));
    let mut files: Vec<(String, &[u8])> = own.chain(page).collect();
    files.push((MODULE.to_owned(), &module));
    let weights = match format.weights {
        WeightType::F32 => "f32",
        WeightType::F16 => "f32 of f16 weights",
        WeightType::Int8 | WeightType::Qdq => "int8",
    };
    for_browsers(model, &ModelInfo::of(model, path, weights), format, &files, folder)
}

/// The bytes of the module.
fn module(named: Option<&Path>) -> Result<Vec<u8>> {
    let places = named.map_or_else(places, |file| vec![file.to_owned()]);
    let Some(path) = places.iter().find(|place| place.is_file()) else {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        return Err(Error::missing(format!(
            "expected the module that browsers run, found none at {}",
            places.join(" nor ")
        ))
        .hint(format!(
            "in the sources of polyhead, `rustup target add wasm32-wasip1` and `{BUILD}` make it; --wasm FILE names it"
        )));
    };
    let bytes = std::fs::read(path).map_err(|cause| Error::reading(path, cause))?;
    if !bytes.starts_with(MAGIC) {
        return Err(Error::data("expected a module of WebAssembly, found something else")
            .at(Place::file(path))
            .hint(format!("`{BUILD}` makes it")));
    }
    Ok(bytes)
}

/// Where it may lie: beside this program, and in the folder of cargo that this program was compiled into.
fn places() -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(|path| path.canonicalize());
    let Some(folder) = program.as_deref().ok().and_then(Path::parent) else { return vec![PathBuf::from(MODULE)] };
    let target = folder.parent().map(|target| target.join("wasm32-wasip1").join("web").join(MODULE));
    std::iter::once(folder.join(MODULE)).chain(target).collect()
}
