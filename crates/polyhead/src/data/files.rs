//! The files of a split: one, several, a folder of them, or those that match a pattern.
//!
//! ```text
//! train = "train.conll"                     one file
//! train = ["news.conll", "letters.jsonl"]   several, in this order
//! train = "letters/*.conll.gz"              those that match: `*` and `?` within a name, `[ab]`, `**` for folders, in the order of their names
//! train = "letters"                         those of a folder whose extension is that of a format, in the order of their names
//! ```

use super::{FileFormats, open, quoted};
use crate::error::{Error, Place, Result};
use serde::de::{SeqAccess, Visitor, value::SeqAccessDeserializer};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};

/// What a recipe names as the files of a split: a path or several. Each may be a folder or a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files(Vec<String>);

impl Files {
    /// Of these paths; `None` where there are none.
    pub fn new(paths: Vec<String>) -> Option<Self> {
        (!paths.is_empty()).then_some(Self(paths))
    }

    /// The paths as they are written, in order: one at least.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The same with other paths, one for each.
    pub fn map(&self, other: impl Fn(&str) -> String) -> Self {
        Self(self.iter().map(other).collect())
    }
}

impl From<&str> for Files {
    fn from(path: &str) -> Self {
        Self(vec![path.to_owned()])
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

impl Serialize for Files {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => one.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a path, or several as in [\"a.jsonl\", \"b.jsonl\"]")
            }

            fn visit_str<E: serde::de::Error>(self, path: &str) -> Result<Files, E> {
                Ok(Files::from(path))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, paths: A) -> Result<Files, A::Error> {
                let paths = Vec::deserialize(SeqAccessDeserializer::new(paths))?;
                Files::new(paths).ok_or_else(|| serde::de::Error::custom("expected one path at least, found none"))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// Whether a path is a pattern, and no file of this very name.
fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(['*', '?', '['])) && !path.exists()
}

/// The part of a path before its first folder or file name that is a pattern: where to look for what matches.
pub(crate) fn fixed_part(path: &Path) -> PathBuf {
    if !is_pattern(path) {
        return path.to_owned();
    }
    let plain = |part: &std::path::Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    path.components().take_while(plain).collect()
}

/// The files that a local path means: itself, unless it is a folder or a pattern.
///
/// # Errors
/// When nothing matches the pattern, it is none, a folder can't be read, or holds no file of these formats.
pub fn expand(path: &Path, formats: &dyn FileFormats) -> Result<Vec<PathBuf>> {
    if path.is_dir() {
        of_folder(path, formats)
    } else if is_pattern(path) {
        matching(path)
    } else {
        Ok(vec![path.to_owned()])
    }
}

fn of_folder(folder: &Path, formats: &dyn FileFormats) -> Result<Vec<PathBuf>> {
    let failed = |cause| Error::reading(folder, cause);
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if is_hidden(&file) || !file.is_file() {
            continue;
        }
        let extension = open::extension(&file);
        let known = formats.extensions();
        if known.is_empty() || known.contains(&extension.as_str()) {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        let expected = formats.extensions().into_iter().map(|extension| format!(".{extension}")).collect::<Vec<_>>();
        let message =
            format!("expected files of {} ({}) in the folder, found none", formats.examples(), expected.join(", "));
        return Err(Error::missing(message)
            .at(Place::file(folder))
            .hint("files in folders of a folder are not read: a pattern finds them, as in \"data/**/*.jsonl\""));
    }
    Ok(files)
}

fn is_hidden(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

fn matching(pattern: &Path) -> Result<Vec<PathBuf>> {
    let options =
        glob::MatchOptions { require_literal_separator: true, require_literal_leading_dot: true, ..Default::default() };
    let text = pattern.to_string_lossy();
    let refused = |cause: glob::PatternError| {
        Error::usage(format!("expected a pattern of file names, found {}: {}", quoted(&text), cause.msg)).hint(
            "`*` and `?` stand for any characters, `[ab]` for one of these, `**` for folders, `[*]` for a star itself",
        )
    };
    let mut files = Vec::new();
    for found in glob::glob_with(&text, options).map_err(refused)? {
        let found = found.map_err(|cause| Error::reading(cause.path(), std::io::Error::other(cause.to_string())))?;
        if found.is_file() {
            files.push(found);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Error::missing(format!("expected files that match {}, found none", quoted(&text)))
            .hint("`*` and `?` stand for any characters of a name, `**` for folders; paths are of the folder where the run is started"));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data::{SENTENCES, TEXTS};

    #[test]
    fn a_path_means_itself_the_files_of_a_folder_or_those_that_match() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        };
        for name in ["b.conll", "a.jsonl.gz", ".c.conll", "README.md", "deep/d.conll", "deep/e[1].conll", "x.csv"] {
            make(name);
        }
        let names = |path: &str| -> Vec<String> {
            let files = expand(&folder.path().join(path), &SENTENCES).unwrap();
            files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(""), ["a.jsonl.gz", "b.conll", "x.csv"], "of the formats of the task, not hidden");
        assert_eq!(names("*.conll"), ["b.conll"]);
        assert_eq!(names("**/*.conll"), ["b.conll", "deep/d.conll", "deep/e[1].conll"]);
        assert_eq!(names("[ax].*"), ["a.jsonl.gz", "x.csv"]);
        assert_eq!(names("deep/e[1].conll"), ["deep/e[1].conll"], "a file of this very name is no pattern");
        assert_eq!(names("none.conll"), ["none.conll"], "whoever reads it says that it is not there");
        let texts = expand(folder.path(), &TEXTS).unwrap();
        assert_eq!(texts.len(), 2, "{texts:?}");
        for (path, what) in [
            ("*.parquet", "expected files that match"),
            ("deep/***.x", "expected a pattern of file names"),
            ("empty", "expected files of sentences (.txt, .conll,"),
        ] {
            std::fs::create_dir_all(folder.path().join("empty")).unwrap();
            let error = expand(&folder.path().join(path), &SENTENCES).unwrap_err();
            assert!(error.to_string().contains(what) && error.hint_text().is_some(), "{error}");
        }
        assert_eq!(fixed_part(Path::new("a/b*/c.x")), Path::new("a"));
        assert_eq!(fixed_part(Path::new("a/b/c.x")), Path::new("a/b/c.x"));
    }

    #[test]
    fn a_recipe_names_one_or_several() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Data {
            train: Files,
        }
        for text in ["train = \"a.conll\"\n", "train = [\"a.conll\", \"b\"]\n"] {
            assert_eq!(toml::to_string(&toml::from_str::<Data>(text).unwrap()).unwrap(), text);
        }
        for (text, what) in [("train = []", "one path at least"), ("train = 3", "expected a path, or several")] {
            let error = toml::from_str::<Data>(text).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}
