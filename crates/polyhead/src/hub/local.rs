//! A checkpoint in a folder of the user's: are the files there, and are the weights safetensors?

use super::{Checkpoint, INSTEAD_OF_WEIGHTS, OPTIONAL, REQUIRED, Source, SourceFile, SourceKind, TOKENIZER, WEIGHTS};
use crate::encoders::Vocabulary;
use crate::error::{Error, Place, Result};
use crate::events::is_finished;
use crate::io::{INT8_WEIGHTS, SHARD_INDEX, ShardIndex, sha256_file};
use crate::text::vocabulary::COMMAND;
use std::path::{Path, PathBuf};

/// The folder of the model that is meant: of a run folder that of its best model, else the folder itself.
pub fn model_folder(folder: &Path) -> PathBuf {
    let best = folder.join("best");
    if !folder.join("config.json").exists() && best.join("config.json").exists() { best } else { folder.to_owned() }
}

/// The error for a run folder that has no best model.
pub fn no_model(run: &Path) -> Error {
    if is_finished(run) {
        return Error::missing("the model of this run was removed")
            .at(Place::file(run))
            .hint("train its recipe.toml again, or name another run");
    }
    let entries = std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let step = |name: std::ffi::OsString| name.to_str()?.strip_prefix("checkpoint-")?.parse::<usize>().ok();
    let hint = match entries.filter_map(step).max() {
        Some(step) => {
            format!("; its checkpoint is a model folder too: {}", run.join(format!("checkpoint-{step}")).display())
        }
        None => String::new(),
    };
    Error::missing("this run has no model yet: it did not come to its first evaluation")
        .at(Place::file(run))
        .hint(format!("`polyhead train --resume {}` goes on with it{hint}", run.display()))
}

/// What a folder is called: its last name, and for a model of a run the name of the run. Where it lies is left out.
pub fn name_of(folder: &Path) -> String {
    let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let of_run = |name: &str| name == "best" || name.starts_with("checkpoint-");
    let own = named(folder);
    let run = own.as_deref().filter(|name| of_run(name)).and_then(|_| named(folder.parent()?));
    run.or(own).unwrap_or_else(|| "folder".to_owned())
}

/// Checks the folder and hashes its files.
pub(super) fn checkpoint(folder: &Path) -> Result<Checkpoint> {
    let asked = expand_home(folder);
    let folder = model_folder(&asked);
    let place = || Place::file(&folder);
    if folder.is_file() {
        return Err(Error::data("expected the folder of a checkpoint, found a file")
            .at(place())
            .hint("give the folder that holds config.json, tokenizer.json and model.safetensors"));
    }
    if !folder.is_dir() {
        return Err(Error::missing("no such folder")
            .at(place())
            .hint("give a folder that holds config.json, tokenizer.json and model.safetensors, or a name on the Hub"));
    }
    if !folder.join("config.json").exists() && folder.join("recipe.toml").is_file() {
        return Err(no_model(&folder));
    }
    for name in REQUIRED {
        let otherwise = match name {
            WEIGHTS => INSTEAD_OF_WEIGHTS.iter().any(|name| folder.join(name).is_file()),
            TOKENIZER => vocabulary_in(&folder).is_some(),
            _ => false,
        };
        if !otherwise && !folder.join(name).is_file() {
            return Err(missing(&folder, name));
        }
    }
    let files = described(&folder)?;
    // `.` and `..` have no name of their own.
    let name = name_of(&folder.canonicalize().unwrap_or_else(|_| folder.clone()));
    let said = match folder == asked {
        true => format!("local folder {name}"),
        false => format!("local folder {name} (the best model of this run)"),
    };
    Ok(Checkpoint { source: Source { kind: SourceKind::Local, said, revision: None, files }, folder })
}

/// The files of a vocabulary that a tokenizer can be made of, if a folder has one.
pub(super) fn vocabulary_in(folder: &Path) -> Option<&'static [&'static str]> {
    Vocabulary::ALL.into_iter().find(|vocabulary| vocabulary.is_in(folder)).map(Vocabulary::files)
}

/// The required files, and the optional ones that are there, with their digests.
pub(super) fn described(folder: &Path) -> Result<Vec<SourceFile>> {
    let index = folder.join(SHARD_INDEX);
    let whole = folder.join(WEIGHTS).is_file();
    let in_bytes = !whole && folder.join(INT8_WEIGHTS).is_file();
    let sharded = !whole && !in_bytes && index.is_file();
    let mut names: Vec<String> = Vec::new();
    for name in REQUIRED {
        match name {
            WEIGHTS if sharded => {}
            WEIGHTS if in_bytes => names.push(INT8_WEIGHTS.to_owned()),
            TOKENIZER if !folder.join(TOKENIZER).is_file() => {
                names.extend(vocabulary_in(folder).unwrap_or(&[TOKENIZER]).iter().map(|&name| name.to_owned()));
            }
            name => names.push(name.to_owned()),
        }
    }
    if sharded {
        names.push(SHARD_INDEX.to_owned());
        for name in ShardIndex::read(&index)?.names() {
            if !folder.join(name).is_file() {
                return Err(Error::missing(format!("{name} is missing, a file of the weights"))
                    .at(Place::file(&index))
                    .hint("all files that it lists must stand beside it"));
            }
            names.push(name.to_owned());
        }
    }
    let more = OPTIONAL.iter().filter(|&&name| folder.join(name).is_file() && !names.iter().any(|known| known == name));
    let more: Vec<String> = more.map(|&name| name.to_owned()).collect();
    names.extend(more);
    names
        .into_iter()
        .map(|name| {
            let path = folder.join(&name);
            let bytes = path.metadata().map_err(|cause| Error::reading(&path, cause))?.len();
            Ok(SourceFile { sha256: sha256_file(&path)?, bytes, name })
        })
        .collect()
}

fn missing(folder: &Path, name: &str) -> Error {
    if name == TOKENIZER {
        return no_tokenizer(|name| folder.join(name).is_file()).at(Place::file(folder));
    }
    if name != WEIGHTS {
        return no_config().at(Place::file(folder));
    }
    let pickled = |path: &Path| {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        path.is_file() && matches!(extension, "bin" | "pt" | "pth" | "pkl" | "ckpt" | "h5" | "msgpack")
    };
    let mut found: Vec<PathBuf> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()).filter(|p| pickled(p)).collect();
    found.sort();
    match found.first().and_then(|path| path.file_name()) {
        Some(other) => only_safetensors(&other.to_string_lossy()).at(Place::file(folder)),
        None => Error::missing("model.safetensors is missing").at(Place::file(folder)),
    }
}

/// What there may be in place of `tokenizer.json`.
const OTHER_TOKENIZERS: [&str; 7] =
    ["vocab.txt", "vocab.json", "merges.txt", "spiece.model", "spm.model", "sentencepiece.bpe.model", "bpe.codes"];

/// `tokenizer.json` is missing, and none is made of what is there instead; `has` says whether a file is there.
pub fn no_tokenizer(has: impl Fn(&str) -> bool) -> Error {
    let error = Error::missing(format!("{TOKENIZER} is missing"));
    match OTHER_TOKENIZERS.into_iter().find(|other| has(other)) {
        Some(other) => error.hint(format!("{other} alone does not say how texts are split; {COMMAND}")),
        None => error.hint(NEEDS),
    }
}

const NEEDS: &str = "a checkpoint needs config.json, tokenizer.json and model.safetensors";

/// `config.json` is missing.
pub(super) fn no_config() -> Error {
    Error::missing("config.json is missing").hint(NEEDS)
}

/// There are weights, but in a format that we refuse.
pub(super) fn only_safetensors(found: &str) -> Error {
    Error::data(format!("model.safetensors is missing; found {found}, which is refused: expected safetensors only"))
        .hint(
            "loading such a file can run any code it holds; convert it once, where you trust it, with \
             `save_pretrained(FOLDER, safe_serialization=True)` of Python's transformers",
        )
}

fn expand_home(folder: &Path) -> PathBuf {
    match (folder.strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => folder.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::fs;

    fn folder(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        names.iter().for_each(|name| fs::write(folder.path().join(name), name).unwrap());
        folder
    }

    #[test]
    fn a_complete_folder_is_taken_with_the_digest_of_every_file() {
        let folder = folder(&["config.json", "tokenizer.json", "model.safetensors", "vocab.txt", "README.md"]);
        let found = checkpoint(folder.path()).unwrap();
        assert_eq!(found.folder, folder.path());
        assert_eq!(found.source.kind, SourceKind::Local);
        let names: Vec<_> = found.source.files.iter().map(|file| file.name.as_str()).collect();
        assert_eq!(names, ["config.json", "tokenizer.json", "model.safetensors", "vocab.txt"]);
        let config = &found.source.files[0];
        assert_eq!(config.sha256, sha256_file(folder.path().join("config.json")).unwrap());
        assert_eq!((config.sha256.len(), config.bytes), (64, 11));
    }

    #[test]
    fn a_missing_file_is_named() {
        for missing in REQUIRED {
            let others: Vec<_> = REQUIRED.into_iter().filter(|&name| name != missing).collect();
            let error = checkpoint(folder(&others).path()).unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
            assert_eq!(error.kind(), crate::ErrorKind::MissingInput);
        }
    }

    #[test]
    fn a_vocabulary_that_no_tokenizer_is_made_of_gets_the_command_that_makes_one() {
        for name in OTHER_TOKENIZERS.into_iter().filter(|name| *name != "vocab.txt") {
            let error = checkpoint(folder(&["config.json", "model.safetensors", name]).path()).unwrap_err();
            let hint = error.hint_text().unwrap();
            assert!(hint.contains(name) && hint.contains("save_pretrained"), "{hint}");
        }
    }

    #[test]
    fn a_vocabulary_that_a_tokenizer_is_made_of_stands_in_its_place() {
        for names in Vocabulary::ALL.map(Vocabulary::files) {
            let all: Vec<&str> =
                ["config.json", WEIGHTS, "tokenizer_config.json"].iter().chain(names).copied().collect();
            let found = checkpoint(folder(&all).path()).unwrap();
            let found: Vec<_> = found.source.files.iter().map(|file| file.name.as_str()).collect();
            let expected: Vec<&str> =
                ["config.json"].iter().chain(names).chain(&[WEIGHTS, "tokenizer_config.json"]).copied().collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn only_safetensors_is_taken_as_weights() {
        for name in ["pytorch_model.bin", "weights.pt", "x.pkl", "model.ckpt"] {
            let error = checkpoint(folder(&["config.json", "tokenizer.json", name]).path()).unwrap_err();
            assert!(error.to_string().contains(name) && error.hint_text().unwrap().contains("safe_serialization"));
            assert_eq!(error.kind(), crate::ErrorKind::Data);
        }
    }

    #[test]
    fn weights_in_several_files_are_those_that_an_index_lists() {
        let folder = folder(&["config.json", "tokenizer.json", "a.safetensors"]);
        let index = |text: &str| std::fs::write(folder.path().join(SHARD_INDEX), text).unwrap();
        index(r#"{"weight_map": {"x": "a.safetensors", "y": "a.safetensors"}}"#);
        let found = checkpoint(folder.path()).unwrap();
        let names: Vec<&str> = found.source.files.iter().map(|file| &*file.name).collect();
        assert_eq!(names, ["config.json", "tokenizer.json", SHARD_INDEX, "a.safetensors"]);
        index(r#"{"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}"#);
        let error = checkpoint(folder.path()).unwrap_err();
        assert!(error.to_string().contains("b.safetensors is missing"), "{error}");
        for (text, expected) in [
            (r#"{"weight_map": {"x": "../a.safetensors"}}"#, "found \"../a.safetensors\""),
            (r#"{"weight_map": {"x": "model.bin"}}"#, "found \"model.bin\""),
            (r#"{"weight_map": {}}"#, "expected tensors and their files, found none"),
            ("[]", "expected an index of safetensors files"),
        ] {
            index(text);
            let error = checkpoint(folder.path()).unwrap_err();
            assert!(error.to_string().contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_file_or_nothing_in_place_of_the_folder_is_said() {
        let folder = folder(&["model.safetensors"]);
        let file = checkpoint(&folder.path().join("model.safetensors")).unwrap_err();
        assert!(file.to_string().contains("found a file"));
        assert!(checkpoint(&folder.path().join("absent")).unwrap_err().to_string().contains("no such folder"));
    }
}
