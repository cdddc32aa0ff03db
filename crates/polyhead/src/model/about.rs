//! What is known of a model's origin, kept in its folder: nothing that only its maker's machine can make sense of.
//!
//! ```text
//! config.json, field `polyhead`: {"source": {...}, "recipe": "...", "scores": {...}, "epoch": 3, "examples": {...}}
//! ```

use crate::events::HeadStart;
use crate::hub::{Source, SourceKind, name_of};
use crate::tasks::Calibration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// What is known of a model's origin; kept in its folder.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// The encoder that training began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The recipe that made it, as TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Its scores on the validation data, by task.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<String, Map<String, Value>>,
    /// The epochs after which it was saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// The temperatures that its logits were divided by, by task, and what that did.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub calibration: BTreeMap<String, Calibration>,
    /// The heads that came with the encoder and were kept without training: see `encoder.keep_heads` of a recipe.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept_heads: Vec<String>,
    /// What its heads began with, where training began with a model that had some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadStart>,
    /// A request for each task, out of its validation data: something of its own to try it on.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub examples: BTreeMap<String, Value>,
}

impl Provenance {
    /// The same with the last name of every absolute path in place of the path: where files lay on the machine that made a
    /// model is nobody else's business, and of no use to them.
    pub fn without_paths(mut self) -> Self {
        if let Some(source) = &mut self.source {
            let local = source.said.strip_prefix("local folder ").filter(|_| source.kind == SourceKind::Local);
            source.said = match local {
                // A path may hold spaces.
                Some(path) => format!("local folder {}", without_path(path)),
                None => words_without_paths(&source.said),
            };
        }
        for head in &mut self.heads {
            head.why = words_without_paths(&head.why);
        }
        if let Some(mut table) = self.recipe.as_ref().and_then(|text| toml::from_str::<toml::Table>(text).ok()) {
            let mut changed = 0;
            table.iter_mut().for_each(|(_, value)| changed += shorten(value));
            if let (1.., Ok(text)) = (changed, toml::to_string(&table)) {
                self.recipe = Some(text);
            }
        }
        self
    }
}

/// The fields of `config.json` and `tokenizer_config.json` in which Python notes where it found something.
const NOTED: [&str; 6] =
    ["_name_or_path", "name_or_path", "vocab_file", "merges_file", "tokenizer_file", "special_tokens_map_file"];

/// Takes the absolute paths out of what Python noted in an object; says how many there were.
pub(super) fn forget_paths(object: &mut Map<String, Value>) -> usize {
    let mut changed = 0;
    for name in NOTED {
        if let Some(Value::String(text)) = object.get_mut(name)
            && is_absolute(text)
        {
            *text = without_path(text);
            changed += 1;
        }
    }
    changed
}

/// Shortens every absolute path in a value of a recipe; says how many there were.
fn shorten(value: &mut toml::Value) -> usize {
    match value {
        toml::Value::String(text) if is_absolute(text) => {
            *text = without_path(text);
            1
        }
        toml::Value::Table(table) => table.iter_mut().map(|(_, value)| shorten(value)).sum(),
        toml::Value::Array(values) => values.iter_mut().map(shorten).sum(),
        _ => 0,
    }
}

/// An absolute path, of this system or of another: a model may have been made anywhere.
fn is_absolute(text: &str) -> bool {
    let drive = |text: &str| {
        let mut characters = text.chars();
        characters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && characters.next() == Some(':')
            && matches!(characters.next(), Some('\\' | '/'))
    };
    text.starts_with('/') || text.starts_with("\\\\") || text.starts_with("file://") || drive(text)
}

/// The last name of an absolute path; anything else as it is.
pub(crate) fn without_path(text: &str) -> String {
    if !is_absolute(text) {
        return text.to_owned();
    }
    // `/` separates everywhere; `\` where the path is one of Windows.
    if text.starts_with('/') { name_of(Path::new(text)) } else { name_of(Path::new(&text.replace('\\', "/"))) }
}

/// The same of each word of a sentence.
fn words_without_paths(said: &str) -> String {
    said.split(' ').map(word_without_path).collect::<Vec<_>>().join(" ")
}

/// The same of a word of a sentence, which may have quotation marks, brackets or a full stop around it.
fn word_without_path(word: &str) -> String {
    let around = |c: char| "\"'`()[],;:.".contains(c);
    let path = word.trim_start_matches(around).trim_end_matches(around);
    // One `/` alone, or `/name`, says nothing of a machine.
    if !is_absolute(path) || path.trim_start_matches('/').split(['/', '\\']).count() < 2 {
        return word.to_owned();
    }
    word.replacen(path, &without_path(path), 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn about(kind: SourceKind, said: &str, recipe: &str) -> Provenance {
        let source = Source { kind, said: said.into(), revision: None, files: Vec::new() };
        Provenance { source: Some(source), recipe: Some(recipe.into()), ..Provenance::default() }
    }

    #[test]
    fn of_absolute_paths_the_last_name_stays_whatever_system_wrote_them() {
        for (path, name) in [
            ("/home/ada/my encoders/mini lm", "mini lm"),
            ("/home/ada/encoder/", "encoder"),
            ("/srv/runs/german/best", "german"),
            ("/srv/runs/german/checkpoint-120", "german"),
            ("C:\\Users\\Ada\\encoder", "encoder"),
            ("C:/Users/Ada/encoder", "encoder"),
            ("\\\\server\\share\\encoder", "encoder"),
            ("file:///home/ada/encoder", "encoder"),
        ] {
            let recipe = toml::to_string(&toml::toml! { name = "x"
                encoder = { checkpoint = "replaced" }
            });
            let recipe = recipe.unwrap().replace("\"replaced\"", &toml::Value::from(path).to_string());
            let about = about(SourceKind::Local, &format!("local folder {path}"), &recipe).without_paths();
            assert_eq!(about.source.unwrap().said, format!("local folder {name}"));
            let recipe: toml::Table = toml::from_str(&about.recipe.unwrap()).unwrap();
            assert_eq!(recipe["encoder"]["checkpoint"].as_str(), Some(name), "{path}");
        }
    }

    #[test]
    fn what_is_no_absolute_path_stays_to_the_letter() {
        let recipe = "# by hand\nencoder.checkpoint = 'owner/name' # no path\ndata.ner.train = 'hf://datasets/o/n/x.conll'\n\
                      data.ner.validation = 'samples/v.conll'\ntasks.ner.labels = ['O', 'B-A/B']\n";
        let said = "Hub cache: owner/name at commit 0 and/or more (https://huggingface.co can't be reached / not now)";
        let about = about(SourceKind::HubCache, said, recipe).without_paths();
        assert_eq!((about.source.unwrap().said.as_str(), about.recipe.as_deref()), (said, Some(recipe)));
    }

    #[test]
    fn paths_in_the_reason_why_the_hub_was_not_asked_and_in_the_notes_of_python_go_too() {
        let said = "Hub cache: o/n (no certificate in '/home/ada/ca.pem'), every digest checked";
        let about = about(SourceKind::HubCache, said, "").without_paths();
        assert_eq!(about.source.unwrap().said, "Hub cache: o/n (no certificate in 'ca.pem'), every digest checked");
        let mut config = json!({ "_name_or_path": "/home/ada/x", "name_or_path": "owner/name", "unk_token": "/" });
        assert_eq!(forget_paths(config.as_object_mut().unwrap()), 1);
        assert_eq!(config, json!({ "_name_or_path": "x", "name_or_path": "owner/name", "unk_token": "/" }));
    }
}
