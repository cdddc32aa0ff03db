//! The vocabulary files of checkpoints that have no `tokenizer.json`, made into one: the same that transformers makes of them.
//!
//! ```text
//! vocab.txt                   a sub-word a line, its id the number of the line from 0     -> WordPiece (BERT)
//! vocab.json, merges.txt      {SUB-WORD: id}; two sub-words a line that become one        -> byte-level BPE (RoBERTa)
//! beside them                 tokenizer_config.json, special_tokens_map.json: lower case, special tokens ...
//! ```
//!
//! Reference: `BertTokenizer` and `RobertaTokenizer` of transformers 5. What would not be exact is refused, with the command that lets
//! transformers make the file.

use crate::error::{Error, Place, Result};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

const CONFIG: &str = "tokenizer_config.json";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";

/// The command that makes a `tokenizer.json`, with what it needs.
pub const COMMAND: &str = "`python -c \"from transformers import AutoTokenizer as T; \
                           T.from_pretrained('FOLDER').save_pretrained('FOLDER')\"` writes tokenizer.json (of a SentencePiece model with \
                           sentencepiece and protobuf installed)";

/// A `tokenizer.json` of WordPiece out of the `vocab.txt` of a folder.
///
/// # Errors
/// A file can't be read; a special token is not in the vocabulary; or the settings say more than is known here.
pub fn word_piece(folder: &Path) -> Result<Vec<u8>> {
    let settings = Settings::read(folder, &["BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer"])?;
    let path = folder.join("vocab.txt");
    let text = read(&path)?.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
    // Of a sub-word that stands there twice the later line counts, as in a dictionary of Python.
    let vocabulary: Map<String, Value> = lines.enumerate().map(|(id, line)| (line.to_owned(), json!(id))).collect();
    let lower = match settings.flag("do_lower_case", None)? {
        Some(lower) => lower,
        None if has_capitals(&vocabulary) => {
            let expected = "expected `do_lower_case`, as the vocabulary has capital letters; transformers would make texts lower case";
            return Err(Error::missing(expected)
                .at(Place::file(&settings.path))
                .hint(r#"for a cased model write tokenizer_config.json: {"do_lower_case": false}"#));
        }
        None => true,
    };
    let roles = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let special =
        settings.special_tokens(&path, &vocabulary, ["pad", "unk", "cls", "sep", "mask"].into_iter().zip(roles))?;
    let [_, unknown, first, between, _] = special.as_slice() else {
        return Err(Error::internal("five special tokens"));
    };
    let (first, between) = (&first.content, &between.content);
    let token = |content: &String, kind: u32| json!({"SpecialToken": {"id": content, "type_id": kind}});
    let text = |which: &str, kind: u32| json!({"Sequence": {"id": which, "type_id": kind}});
    let named = |content: &String| json!({"id": content, "ids": [vocabulary.get(content)], "tokens": [content]});
    let single = [token(first, 0), text("A", 0), token(between, 0)];
    let pair: Vec<Value> = single.iter().cloned().chain([text("B", 1), token(between, 1)]).collect();
    Ok(file(
        &special,
        json!({
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": settings.flag("tokenize_chinese_chars", Some(true))?,
            "strip_accents": settings.flag("strip_accents", None)?,
            "lowercase": lower,
        }),
        json!({"type": "BertPreTokenizer"}),
        json!({
            "type": "TemplateProcessing",
            "single": single,
            "pair": pair,
            "special_tokens": {first: named(first), between: named(between)},
        }),
        json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        json!({
            "type": "WordPiece",
            "unk_token": unknown.content,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        }),
    ))
}

/// A `tokenizer.json` of byte-level BPE out of the `vocab.json` and the `merges.txt` of a folder.
///
/// # Errors
/// As of [`word_piece`], and where a line of `merges.txt` is not of two sub-words.
pub fn byte_level_bpe(folder: &Path) -> Result<Vec<u8>> {
    let settings = Settings::read(folder, &["RobertaTokenizer"])?;
    let path = folder.join("vocab.json");
    let vocabulary = read_object(&path)?;
    let merges = merges(&folder.join("merges.txt"))?;
    let roles = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"];
    let special =
        settings.special_tokens(&path, &vocabulary, ["cls", "pad", "sep", "unk", "mask"].into_iter().zip(roles))?;
    let [first, _, between, ..] = special.as_slice() else { return Err(Error::internal("five special tokens")) };
    let spaced = settings.flag("add_prefix_space", Some(false))?;
    let trims = settings.flag("trim_offsets", Some(true))?;
    let pair_of = |token: &Special| json!([token.content, token.id]);
    Ok(file(
        &special,
        Value::Null,
        json!({"type": "ByteLevel", "add_prefix_space": spaced, "trim_offsets": true, "use_regex": true}),
        json!({
            "type": "RobertaProcessing",
            "sep": pair_of(between),
            "cls": pair_of(first),
            "trim_offsets": trims,
            "add_prefix_space": spaced,
        }),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": merges,
        }),
    ))
}

/// The bytes of the file.
fn file(
    special: &[Special],
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    decoder: Value,
    model: Value,
) -> Vec<u8> {
    let mut added: Vec<&Special> = special.iter().collect();
    added.sort_by_key(|token| token.id);
    let added: Vec<Value> = added.into_iter().map(Special::added).collect();
    let whole = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": decoder,
        "model": model,
    });
    whole.to_string().into_bytes()
}

/// Whether the vocabulary is that of a cased model: words with capital letters, special tokens aside.
fn has_capitals(vocabulary: &Map<String, Value>) -> bool {
    let special = |word: &str| word.starts_with('[') || word.starts_with('<');
    vocabulary.keys().any(|word| !special(word) && word.chars().any(char::is_uppercase))
}

/// The pairs of `merges.txt`, whose first line may be its version.
fn merges(path: &Path) -> Result<Vec<[String; 2]>> {
    let text = read(path)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version") && !line.is_empty());
    lines
        .map(|(number, line)| match line.split(' ').collect::<Vec<_>>()[..] {
            [a, b] if !a.is_empty() && !b.is_empty() => Ok([a.to_owned(), b.to_owned()]),
            _ => Err(Error::data(format!("expected two sub-words with a space between, found {line:?}"))
                .at(Place::line(path, number + 1))),
        })
        .collect()
}

/// A special token with its id.
struct Special {
    content: String,
    id: u64,
    lstrip: bool,
    rstrip: bool,
    single_word: bool,
}

impl Special {
    fn added(&self) -> Value {
        let Self { content, id, lstrip, rstrip, single_word } = self;
        json!({
            "id": id, "content": content, "single_word": single_word, "lstrip": lstrip, "rstrip": rstrip, "normalized": false, "special": true,
        })
    }
}

/// What stands beside a vocabulary.
struct Settings {
    /// Where `tokenizer_config.json` is, or would be.
    path: PathBuf,
    config: Map<String, Value>,
    special_tokens: Map<String, Value>,
}

impl Settings {
    fn read(folder: &Path, classes: &[&str]) -> Result<Self> {
        let object = |name: &str| {
            let path = folder.join(name);
            if path.is_file() { read_object(&path) } else { Ok(Map::new()) }
        };
        let settings =
            Self { path: folder.join(CONFIG), config: object(CONFIG)?, special_tokens: object(SPECIAL_TOKENS)? };
        settings.check(folder, classes)?;
        Ok(settings)
    }

    /// Refuses what would make another tokenizer.
    fn check(&self, folder: &Path, classes: &[&str]) -> Result<()> {
        let inexact = |message: String, path: &Path, field: &str| {
            Err(Error::data(message)
                .at(Place::field(path, field))
                .hint(format!("transformers knows more of it: {COMMAND}")))
        };
        let class = self.config.get("tokenizer_class").and_then(Value::as_str);
        if let Some(class) = class.filter(|class| !classes.contains(&class.strip_suffix("Fast").unwrap_or(class))) {
            let message = format!("expected one of {} to make tokenizer.json of, found `{class}`", classes.join(", "));
            return inexact(message, &self.path, "tokenizer_class");
        }
        let empty = |value: &Value| match value {
            Value::Null => true,
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            _ => false,
        };
        let special = folder.join(SPECIAL_TOKENS);
        for (all, path) in [(&self.config, &self.path), (&self.special_tokens, &special)] {
            for field in ["additional_special_tokens", "extra_special_tokens", "added_tokens_decoder", "never_split"] {
                if all.get(field).is_some_and(|value| !empty(value)) {
                    return inexact(
                        "expected nothing here, to make tokenizer.json of a vocabulary".into(),
                        path,
                        field,
                    );
                }
            }
        }
        if self.config.get("do_basic_tokenize") == Some(&json!(false)) {
            return inexact("expected true, found false".into(), &self.path, "do_basic_tokenize");
        }
        let added = folder.join("added_tokens.json");
        if added.is_file() {
            return Err(Error::data("expected no tokens beyond the vocabulary, found a file of them")
                .at(Place::file(added))
                .hint(COMMAND));
        }
        Ok(())
    }

    /// A field that is true or false; what it counts as where it is left out or null.
    fn flag(&self, name: &str, otherwise: Option<bool>) -> Result<Option<bool>> {
        match self.config.get(name) {
            None | Some(Value::Null) => Ok(otherwise),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(other) => {
                Err(Error::data(format!("expected true or false, found {other}")).at(Place::field(&self.path, name)))
            }
        }
    }

    /// The special tokens of these roles, each with what it is called where nothing else is said.
    fn special_tokens<'a>(
        &self,
        path: &Path,
        vocabulary: &Map<String, Value>,
        roles: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Vec<Special>> {
        roles
            .map(|(role, usual)| {
                let field = format!("{role}_token");
                let said = [&self.config, &self.special_tokens].into_iter().find_map(|all| all.get(&field));
                let said = said.filter(|said| !said.is_null());
                let content = match said {
                    None => Some(usual),
                    Some(Value::Object(token)) => token.get("content").and_then(Value::as_str),
                    Some(said) => said.as_str(),
                };
                let Some(content) = content else {
                    return Err(Error::data(format!("expected a token, found {}", said.unwrap_or(&Value::Null)))
                        .at(Place::field(&self.path, &field)));
                };
                let id = vocabulary.get(content).and_then(Value::as_u64).ok_or_else(|| {
                    Error::data(format!("expected the special token `{content}` ({field}), found none"))
                        .at(Place::file(path))
                        .hint(format!("{CONFIG} can say what it is called"))
                })?;
                let flag = |name: &str| said.and_then(|said| said.get(name)).and_then(Value::as_bool).unwrap_or(false);
                let (lstrip, rstrip, single_word) = (flag("lstrip"), flag("rstrip"), flag("single_word"));
                Ok(Special { content: content.to_owned(), id, lstrip, rstrip, single_word })
            })
            .collect()
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))
}

fn read_object(path: &Path) -> Result<Map<String, Value>> {
    serde_json::from_str(&read(path)?).map_err(|cause| {
        Error::data(format!("expected an object: {cause}")).at(Place::column(path, cause.line(), cause.column()))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::text::Tokenizer;

    fn folder(files: &Map<String, Value>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text.as_str().unwrap()).unwrap();
        }
        folder
    }

    #[test]
    fn each_is_the_tokenizer_that_transformers_makes() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/vocabularies.json");
        let cases: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(cases.len(), 9);
        for case in cases {
            let files = case["files"].as_object().unwrap();
            let folder = folder(files);
            let make = if files.contains_key("vocab.txt") { word_piece } else { byte_level_bpe };
            let made = make(folder.path()).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&made).unwrap(), case["tokenizer"], "{}", case["name"]);
            let tokenizer = Tokenizer::from_bytes(&made, &folder.path().join("vocab")).unwrap();
            assert!(!tokenizer.text("the city").unwrap().is_empty());
        }
    }

    #[test]
    fn what_would_not_be_exact_is_refused_with_its_place() {
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\n";
        let error = |files: Value| word_piece(folder(files.as_object().unwrap()).path()).unwrap_err();
        for (config, expected) in [
            (r#"{"tokenizer_class": "BertJapaneseTokenizer"}"#, "found `BertJapaneseTokenizer`"),
            (r#"{"do_basic_tokenize": false}"#, "expected true, found false"),
            (r#"{"additional_special_tokens": ["[E1]"]}"#, "expected nothing here"),
            (r#"{"do_lower_case": "yes"}"#, "expected true or false, found \"yes\""),
            (r#"{"cls_token": "[FIRST]"}"#, "expected the special token `[FIRST]` (cls_token), found none"),
            (r#"{"cls_token": 3}"#, "expected a token, found 3"),
            ("[]", "expected an object"),
        ] {
            let error = error(json!({"vocab.txt": words, CONFIG: config}));
            assert!(error.to_string().contains(expected), "{config}: {error}");
            assert!(error.place().is_some(), "{config}");
        }
        let cased = error(json!({"vocab.txt": format!("{words}Ada\n")}));
        assert!(cased.hint_text().unwrap().contains(r#"{"do_lower_case": false}"#), "{cased}");
        let added = error(json!({"vocab.txt": words, "added_tokens.json": "{}"}));
        assert!(added.to_string().contains("beyond the vocabulary"), "{added}");
    }

    #[test]
    fn a_merge_of_other_than_two_is_named_with_its_line() {
        let files = json!({"vocab.json": r#"{"<s>": 0}"#, "merges.txt": "#version: 0.2\na b\na b c\n"});
        let error = byte_level_bpe(folder(files.as_object().unwrap()).path()).unwrap_err();
        assert!(
            error.to_string().contains("found \"a b c\"") && error.place().unwrap().to_string().ends_with(":3"),
            "{error}"
        );
    }
}
