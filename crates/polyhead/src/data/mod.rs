//! Readers: a file of any supported format becomes examples as a person wrote them (no ids).
//!
//! One reader a format. Each returns what it read and, with the reason, what it had to leave out: nothing is dropped
//! silently. A file that is malformed is an error; an example that is well-formed but can't be used is a [`Skipped`].

use std::path::Path;

use crate::error::{Error, Place, Result};

mod annotated;
mod conll;
mod fields;
mod files;
mod json;
mod jsonl;
mod layout;
mod lines;
mod looks;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
mod questions;
mod relations;
mod rows;
mod schemes;
mod sentence_tables;
mod spans;
mod squad;
mod texts;
mod trees;
mod word_tables;
mod words;

pub use fields::{Field, fields};
pub(crate) use files::fixed_part;
pub use files::{Files, expand};
pub use layout::{Column, ColumnNames, Columns, Encoding, LabelForm, Layout};
pub use looks::tool_of;
pub use open::extension;
pub use relations::{Marked, RelationExample};
pub use schemes::training_tag;
pub use texts::{Label, LabelledText};
pub use trees::ParsedSentence;
pub use words::{ConlluArc, ConlluSentence, ConlluWord, MultiwordToken, TaggedWords};

/// A sentence of words with a tag for each: what named-entity recognition trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// Where it stands in its file.
    pub place: Place,
    /// The words, as the file splits them.
    pub words: Vec<String>,
    /// A tag for each word: `O`, `B-PER`, `I-PER` ... IOB2, but as the file has it where an `I-` continues nothing.
    pub tags: Vec<String>,
    /// The same number for the sentences of one document of its file, which stand together. A file that marks no documents is one.
    pub document: usize,
}

/// A question about a context, with its gold answers: what extractive question answering trains on.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Where it stands in its file.
    pub place: Place,
    /// The identifier that the file gives it.
    pub id: String,
    /// The question.
    pub question: String,
    /// The text that holds the answer.
    pub context: String,
    /// The gold answers: several people's, the first of them trains.
    pub answers: Vec<Answer>,
    /// Gold answers that do not stand where the file says: they count in scores and do not train.
    pub unplaced: Vec<String>,
}

impl Question {
    /// The texts of all gold answers, placed or not. None: the context does not answer the question.
    pub fn golds(&self) -> impl Iterator<Item = &str> {
        self.answers.iter().map(|answer| answer.text.as_str()).chain(self.unplaced.iter().map(String::as_str))
    }

    /// Whether it can train: it has an answer in its place, or none at all.
    pub fn is_trainable(&self) -> bool {
        !self.answers.is_empty() || self.unplaced.is_empty()
    }
}

/// A gold answer: a slice of the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The answer, exactly as it stands in the context.
    pub text: String,
    /// Where it starts in the context, in bytes. (SQuAD files count characters; the reader converts and checks.)
    pub start: usize,
}

/// What a reader found.
#[derive(Debug, Clone)]
pub struct Read<T> {
    /// The usable examples, in the order of the file.
    pub examples: Vec<T>,
    /// Those that could not be used.
    pub skipped: Vec<Skipped>,
    /// What was changed on the way in (tags converted from IOB1 to IOB2, a byte-order mark removed), for people.
    pub notes: Vec<String>,
}

/// An example that was left out, and why.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Skipped {
    /// Where it stands in its file.
    pub place: Place,
    /// Its identifier or first words.
    pub example: String,
    /// Why it can't be used.
    pub reason: String,
}

/// Reads a file; a limit takes the first usable examples.
pub type Reader<T> = fn(&Path, Option<usize>, &Layout) -> Result<Read<T>>;

/// A file format: what it is called, the extensions that tell it, and its reader.
pub struct Format<T> {
    /// What people call it.
    pub name: &'static str,
    /// The extensions of its files, in small letters, without the dot.
    pub extensions: &'static [&'static str],
    /// Whether the characters of its files may be encoded in any way.
    pub encodings: Encodings,
    /// How little a file needs to be read as this format: 0 where names or marks in it say what it is, 1 for any columns, 2 for any
    /// lines. What is read by a clearer format is meant by that one.
    pub vague: u8,
    /// Its reader.
    pub read: Reader<T>,
}

/// How the characters of a format may be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encodings {
    /// As the layout says.
    Any,
    /// In UTF-8, as the format says itself.
    Utf8,
}

impl<T> Format<T> {
    /// A format that says itself how characters are encoded.
    pub const fn new(name: &'static str, extensions: &'static [&'static str], read: Reader<T>) -> Self {
        Self { name, extensions, encodings: Encodings::Utf8, vague: 0, read }
    }

    /// Plain text, in any encoding.
    pub const fn text(name: &'static str, extensions: &'static [&'static str], read: Reader<T>) -> Self {
        Self { name, extensions, encodings: Encodings::Any, vague: 0, read }
    }

    /// The same, read of files that need not say that they are of it: see [`Format::vague`].
    pub const fn vague(self, vague: u8) -> Self {
        Self { vague, ..self }
    }
}

/// What a task can read: a type of example, and the formats of its files. A task of one's own may have its own.
pub struct Formats<T: 'static> {
    /// What the examples are called.
    pub examples: &'static str,
    /// The columns that a recipe may choose.
    pub columns: ColumnNames,
    /// The formats, in the order in which they are named. One extension means one format.
    pub formats: &'static [Format<T>],
}

/// The formats of some type of examples, whatever it is.
pub trait FileFormats: Sync {
    /// What the examples are called.
    fn examples(&self) -> &'static str;
    /// The columns that a recipe may choose.
    fn columns(&self) -> ColumnNames;
    /// The extensions of their files, in small letters, without the dot.
    fn extensions(&self) -> Vec<&'static str>;
    /// The format of this extension.
    fn format(&self, extension: &str) -> Option<FormatName>;
}

/// A format, without its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormatName {
    /// What people call it.
    pub name: &'static str,
    /// See [`Format::vague`].
    pub vague: u8,
}

impl<T> FileFormats for Formats<T> {
    fn examples(&self) -> &'static str {
        self.examples
    }

    fn columns(&self) -> ColumnNames {
        self.columns
    }

    fn extensions(&self) -> Vec<&'static str> {
        self.formats.iter().flat_map(|format| format.extensions).copied().collect()
    }

    fn format(&self, extension: &str) -> Option<FormatName> {
        let format = self.formats.iter().find(|format| format.extensions.contains(&extension))?;
        Some(FormatName { name: format.name, vague: format.vague })
    }
}

/// The extensions of tables, in which words may stand in rows of their own.
const TABLES: &[&str] = &["csv", "tsv"];

/// Those of a task that says none: its reader takes any file, and no columns are chosen.
pub const ANY_FILE: Formats<()> = Formats { examples: "examples", columns: ColumnNames::NONE, formats: &[] };

/// Tagged sentences. A new format is a file with a reader, and an entry here.
pub const SENTENCES: Formats<Sentence> = Formats {
    examples: "sentences",
    columns: ColumnNames { required: &["word", "tag"], instead: &["text", "label"], optional: &["sentence"] },
    formats: &[
        Format::text("CoNLL columns", &["txt", "conll", "bio", "iob", "iob2"], conll::read),
        Format::text("CoNLL columns or a table", &["tsv"], sentence_tables::read_tsv),
        Format::text("comma-separated values", &["csv"], sentence_tables::read_csv),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_sentences),
        Format::new("a JSON list", &["json"], jsonl::read_sentence_list),
        #[cfg(feature = "parquet")]
        Format::new("Parquet", &["parquet"], parquet::read_sentences),
    ],
};

/// Questions about contexts, with their answers.
pub const QUESTIONS: Formats<Question> = Formats {
    examples: "questions",
    columns: ColumnNames::NONE,
    formats: &[
        Format::new("SQuAD JSON", &["json"], squad::read),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_questions),
        #[cfg(feature = "parquet")]
        Format::new("Parquet", &["parquet"], parquet::read_questions),
    ],
};

/// Labelled texts, and pairs of texts.
pub const TEXTS: Formats<LabelledText> = Formats {
    examples: "labelled texts",
    columns: ColumnNames { required: &["text", "label"], instead: &[], optional: &["text_pair"] },
    formats: &[
        Format::text("lines of a label and a text", &["txt", "label"], texts::read_lines).vague(2),
        Format::text("comma-separated values", &["csv"], texts::read_csv),
        Format::text("tab-separated values", &["tsv"], texts::read_tsv),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_texts),
        Format::new("a JSON list", &["json"], jsonl::read_text_list),
        #[cfg(feature = "parquet")]
        Format::new("Parquet", &["parquet"], parquet::read_texts),
    ],
};

/// Words with a label for each.
pub const TAGGED_WORDS: Formats<TaggedWords> = Formats {
    examples: "labelled words",
    columns: ColumnNames { required: &["tag"], instead: &[], optional: &["word", "sentence"] },
    formats: &[
        Format::new("CoNLL-U", &["conllu"], words::read_conllu_words),
        Format::text("columns of words and labels", &["txt", "conll"], words::read_columns).vague(1),
        Format::text("columns of words and labels, or a table", &["tsv"], words::read_tsv).vague(1),
        Format::text("comma-separated values", &["csv"], words::read_csv).vague(1),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_words).vague(1),
        #[cfg(feature = "parquet")]
        Format::new("Parquet", &["parquet"], parquet::read_words).vague(1),
    ],
};

/// Sentences of CoNLL-U with all that is annotated of their words.
pub const CONLLU: Formats<ConlluSentence> = Formats {
    examples: "annotated sentences",
    columns: ColumnNames::NONE,
    formats: &[Format::new("CoNLL-U", &["conllu"], words::read_whole)],
};

/// Relations between two parts of a text.
pub const RELATIONS: Formats<RelationExample> = Formats {
    examples: "relations",
    columns: ColumnNames { required: &["text", "label"], instead: &[], optional: &[] },
    formats: &[
        Format::text("the four lines of SemEval-2010 task 8", &["txt"], relations::read_semeval),
        Format::text("comma-separated values", &["csv"], relations::read_csv),
        Format::text("tab-separated values", &["tsv"], relations::read_tsv),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_relations),
        Format::new("a JSON list", &["json"], jsonl::read_relation_list),
        #[cfg(feature = "parquet")]
        Format::new("Parquet", &["parquet"], relations::read_parquet),
    ],
};

/// Sentences with their dependency trees.
pub const TREES: Formats<ParsedSentence> = Formats {
    examples: "dependency trees",
    columns: ColumnNames::NONE,
    formats: &[
        Format::new("CoNLL-U", &["conllu"], trees::read_conllu),
        Format::new("JSON Lines", &["jsonl", "ndjson"], jsonl::read_trees),
    ],
};

/// What files of this extension hold elsewhere, if anything: for messages.
fn format_name(extension: &str) -> Option<&'static str> {
    fn of<T>(formats: &Formats<T>, extension: &str) -> Option<&'static str> {
        Some(formats.formats.iter().find(|format| format.extensions.contains(&extension))?.name)
    }
    of(&SENTENCES, extension)
        .or_else(|| of(&QUESTIONS, extension))
        .or_else(|| of(&TEXTS, extension))
        .or_else(|| of(&TAGGED_WORDS, extension))
        .or_else(|| of(&RELATIONS, extension))
        .or_else(|| of(&TREES, extension))
}

/// Reads tagged sentences; the extension of the file tells its format. A limit takes the first usable ones.
///
/// Words are as the file has them, so that a tokenizer may make no token of a word, or of a whole sentence. Every sentence
/// has a word.
///
/// # Errors
/// When the file is not there or malformed, when its format is unknown or holds no sentences, and when none is usable.
pub fn read_sentences(source: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Sentence>> {
    layout.check_entity_tags().map_err(|error| error.at(Place::file(source)))?;
    SENTENCES.read(source, limit, layout)
}

/// Reads questions with their answers; the extension of the file tells its format. A limit takes the first usable ones.
///
/// Every answer is a slice of its context at its place, and not blank; neither are questions and contexts. Those that
/// stand elsewhere are [`Question::unplaced`].
///
/// # Errors
/// When the file is not there or malformed, when its format is unknown or holds no questions, and when none is usable.
pub fn read_questions(source: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<Question>> {
    if layout.columns.is_some() || !layout.tag_names.is_empty() {
        let message = "expected neither `columns` nor `tag_names`, which tell words and tags, for data of questions";
        return Err(Error::usage(message).at(Place::file(source)));
    }
    QUESTIONS.read(source, limit, layout)
}

impl<T> Formats<T> {
    /// Reads a file; its extension tells its format. A limit takes the first usable examples.
    ///
    /// # Errors
    /// When the file is not there or malformed, when its format is unknown or holds other examples, when the layout does not
    /// fit it, and when no example is usable.
    pub fn read(&self, source: &Path, limit: Option<usize>, layout: &Layout) -> Result<Read<T>> {
        let checked =
            layout.check().and_then(|()| layout.columns.as_ref().map_or(Ok(()), |columns| self.columns.check(columns)));
        let checked = checked
            .and_then(|()| self.check_names("tag_names", &layout.tag_names, "tag"))
            .and_then(|()| self.check_names("label_names", &layout.label_names, "label"))
            .and_then(|()| self.check_names("label_separator", layout.label_separator.as_slice(), "label"))
            .and_then(|()| layout.check_labels());
        checked.map_err(|error| error.at_least(Place::file(source)))?;
        let extension = open::extension(source);
        let format = self.formats.iter().find(|format| format.extensions.contains(&extension.as_str()));
        match format {
            Some(format) if layout.encoding != Encoding::Utf8 && format.encodings == Encodings::Utf8 => {
                let message = format!("encoding: expected none for {}, whose files are UTF-8", format.name);
                Err(Error::usage(message).at(Place::file(source)))
            }
            Some(format) if layout.has("sentence") && !TABLES.contains(&extension.as_str()) => {
                let message = format!(
                    "columns.sentence: expected none for {}, where sentences are told apart already",
                    format.name
                );
                Err(Error::usage(message)
                    .at(Place::file(source))
                    .hint("of tables (.csv, .tsv) it says which number a word's sentence has"))
            }
            Some(format) => (format.read)(source, limit, layout),
            None => Err(self.unknown(source, &extension)),
        }
    }

    /// Refuses names of class numbers for data that have no such column.
    fn check_names(&self, key: &str, names: &[String], role: &str) -> Result<()> {
        // Of spans the labels are no classes of texts.
        let roles = || self.columns.required.iter().chain(self.columns.optional);
        if names.is_empty() || roles().any(|known| *known == role) {
            return Ok(());
        }
        let hint = "`tag_names` names the tags of words, `label_names` and `label_separator` are of labels of texts";
        Err(Error::usage(format!("{key}: expected none for {}, which have no {role}", self.examples)).hint(hint))
    }

    /// A file that is of none of the formats.
    fn unknown(&self, source: &Path, extension: &str) -> Error {
        if !source.exists() {
            return Error::missing("no such file or folder").at(Place::file(source));
        }
        let known = self.formats.iter().map(|format| format!("{} (.{})", format.name, format.extensions.join(", .")));
        let known: Vec<String> = known.collect();
        let what = self.examples;
        let like = looks::like(source);
        let name = if extension.is_empty() {
            "a file without an extension".to_owned()
        } else {
            format!("the extension `.{extension}`")
        };
        let found = match (like, format_name(extension)) {
            (Some(like), _) => format!("{name} of what looks like {}", like.what),
            (None, Some(format)) => format!("{format}, which holds no {what}"),
            (None, None) => name,
        };
        let hint = match (extension, like) {
            ("parquet", _) if format_name(extension).is_none() => {
                "this build has no Parquet reader: build it with the feature `parquet`"
            }
            ("gz", _) => "name it by its format: train.jsonl.gz, train.conll.gz",
            ("bz2" | "xz" | "zst" | "zip", _) => "decompress it first, or compress it with gzip, which is read",
            (_, Some(like)) => like.way_out,
            _ => "give the file the extension of its format",
        };
        let message = format!("expected {what} as {}; found {found}", known.join(", "));
        Error::usage(message).at(Place::file(source)).hint(hint)
    }
}

/// A piece of the input for a message: in back-ticks, on one line, cut short.
fn quoted(text: &str) -> String {
    format!("`{}`", start_of(text).escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// The first characters of a text, with an ellipsis where it was cut.
fn start_of(text: &str) -> String {
    const ENOUGH: usize = 60;
    match text.char_indices().nth(ENOUGH).and_then(|(at, _)| text.get(..at)) {
        Some(start) => format!("{start}..."),
        None => text.to_owned(),
    }
}
