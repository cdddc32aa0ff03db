//! The files that a recipe names, on this machine: `data.NAME.train -> paths`.

use super::{HubEvent, HubOptions, dataset_file};
use crate::data::{FileFormats, Files, expand};
use crate::error::Result;
use std::path::{Path, PathBuf};

/// A file of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Its path as a recipe may name it: that of one that is downloaded, or lies where a run was started, is not where it lies.
    pub name: String,
    /// Where it lies.
    pub file: PathBuf,
}

/// The files that these paths mean, in order: downloaded from the Hub where they begin with `hf://`, else on this machine, where a
/// path may be a folder or a pattern. `folder_of` says which folder a relative path is of; an empty one is where this process is.
///
/// # Errors
/// A download fails, or a folder or a pattern holds no file of these formats.
pub fn data_files<'a>(
    named: &Files,
    formats: &dyn FileFormats,
    folder_of: &dyn Fn(&str) -> &'a Path,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<Vec<NamedFile>> {
    let mut all = Vec::new();
    for name in named.iter() {
        if name.starts_with("hf://") {
            all.push(NamedFile { name: name.to_owned(), file: dataset_file(name, options, notify)? });
            continue;
        }
        let folder = if Path::new(name).is_absolute() { Path::new("") } else { folder_of(name) };
        all.extend(expand(&folder.join(name), formats)?.into_iter().map(|file| {
            let name = file.strip_prefix(folder).unwrap_or(&file).to_string_lossy().into_owned();
            NamedFile { name, file }
        }));
    }
    Ok(all)
}
