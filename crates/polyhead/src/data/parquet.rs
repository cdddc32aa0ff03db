//! Parquet tables in the layouts of the Hugging Face Hub.
//!
//! ```text
//! sentences (lhoestq/conll2003)   tokens: list<string>, ner_tags: list<int64> (class numbers) or list<string>; `parquet/sentences.rs`
//! questions (rajpurkar/squad)     id, context, question: string, answers: {text: list<string>, answer_start: list<int>}
//! texts (stanfordnlp/sst2)        sentence: string, label: int64 (class numbers) or string; see `parquet/texts.rs`
//! words (universal_dependencies)  tokens: list<string>, upos: list<int64> (class numbers) or list<string>; `parquet/words.rs`
//! ```
//!
//! The names of the classes stand in the file's metadata, under the key `huggingface`, as `datasets` writes them, or in
//! the recipe ([`Layout::tag_names`], [`Layout::label_names`]). Without them a file is refused: numbers mean nothing by themselves. Whole numbers
//! may have any width, and identifiers may be whole numbers. Other columns are neither read nor decoded.

mod sentences;
mod texts;
mod words;

use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::column::page::Page;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::Value;

use super::layout::Layout;
use super::questions::{Context, Gatherer, Raw, RawAnswer};
use super::{Question, Read, quoted};
use crate::error::{Error, Place, Result};
pub(super) use sentences::read_sentences;
pub(super) use texts::read_texts;
pub(super) use words::read_words;

/// Reads questions, one a row.
pub(super) fn read_questions(file: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<Question>> {
    guarded(file, || {
        let table = Table::open(file, &[&["id"], &["context"], &["question"], &["answers"]])?;
        let mut gatherer = Gatherer::new(limit, Vec::new());
        ["answer", "answer_text"].into_iter().filter(|name| table.has(name)).for_each(|name| gatherer.not_read(name));
        table.each_row(|place, row| {
            let context = Context::new(string(field(row, &["context"])?)?);
            let raw = Raw {
                place: place.clone(),
                id: id(field(row, &["id"])?)?,
                question: string(field(row, &["question"])?)?,
                context: &context,
                answers: answers(field(row, &["answers"])?)?,
                impossible: None,
            };
            Ok(if gatherer.push(raw).is_break() { Next::Enough } else { Next::Row })
        })?;
        gatherer.finish(file)
    })
}

/// A file whose readers fail at its end instead of reading nothing: the decoder steps over the elements of a list one by one, as
/// many as a damaged header claims, and takes an end of the file for an element that was read.
struct NoSilentEnd(File);

impl Length for NoSilentEnd {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for NoSilentEnd {
    type T = FailsAtEnd;

    fn get_read(&self, start: u64) -> parquet::errors::Result<FailsAtEnd> {
        self.0.get_read(start).map(FailsAtEnd)
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        self.0.get_bytes(start, length)
    }
}

struct FailsAtEnd(BufReader<File>);

impl std::io::Read for FailsAtEnd {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(into)? {
            0 if !into.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }
}

/// Whether a visitor of rows wants another one.
enum Next {
    Row,
    Enough,
}

/// An open table and the columns to read.
struct Table<'a> {
    file: &'a Path,
    reader: SerializedFileReader<NoSilentEnd>,
    columns: Type,
}

impl<'a> Table<'a> {
    /// Opens a table that has one column of each group of names.
    fn open(file: &'a Path, wanted: &[&[&str]]) -> Result<Self> {
        let (reader, columns) = Self::columns(file)?;
        let mut chosen = Vec::new();
        for names in wanted {
            let Some(column) = columns.iter().find(|column| names.contains(&column.name())) else {
                let found: Vec<_> = columns.iter().map(|column| quoted(column.name())).collect();
                let message = format!("expected a column `{}`, found {}", names.join("` or `"), found.join(", "));
                return Err(Error::data(message).at(Place::file(file)));
            };
            chosen.push(column.name());
        }
        Self::of(file, reader, &columns, &chosen)
    }

    /// A file, and all columns that it has.
    fn columns(file: &Path) -> Result<(SerializedFileReader<NoSilentEnd>, Vec<Arc<Type>>)> {
        let opened = File::open(file).map_err(|cause| Error::reading(file, cause))?;
        if opened.metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return Err(Error::data("expected a file, found a directory").at(Place::file(file)));
        }
        check_schema_size(&opened).map_err(|error| error.at_least(Place::file(file)))?;
        let reader = SerializedFileReader::new(NoSilentEnd(opened)).map_err(|cause| malformed(file, cause))?;
        let root = reader.metadata().file_metadata().schema();
        let columns = if root.is_group() { root.get_fields().to_vec() } else { Vec::new() };
        Ok((reader, columns))
    }

    /// The table of these of its columns.
    fn of(
        file: &'a Path,
        reader: SerializedFileReader<NoSilentEnd>,
        columns: &[Arc<Type>],
        wanted: &[&str],
    ) -> Result<Self> {
        let chosen = wanted.iter().filter_map(|name| columns.iter().find(|column| column.name() == *name).cloned());
        let root = reader.metadata().file_metadata().schema();
        let columns = Type::group_type_builder(root.name()).with_fields(chosen.collect()).build();
        let columns = columns.map_err(|cause| malformed(file, cause))?;
        let table = Self { file, reader, columns };
        table.check_codec()?;
        table.check_dictionaries()?;
        Ok(table)
    }

    /// Whether there is a column of this name.
    fn has(&self, name: &str) -> bool {
        let root = self.reader.metadata().file_metadata().schema();
        root.is_group() && root.get_fields().iter().any(|column| column.name() == name)
    }

    /// Refuses a codec that this build can't decompress, by its name.
    fn check_codec(&self) -> Result<()> {
        for group in self.reader.metadata().row_groups() {
            for column in group.columns() {
                let known = matches!(
                    column.compression(),
                    Compression::UNCOMPRESSED
                        | Compression::SNAPPY
                        | Compression::GZIP(_)
                        | Compression::LZ4
                        | Compression::LZ4_RAW
                        | Compression::ZSTD(_)
                );
                if !known {
                    let found = column.compression().to_string();
                    let found = found.split('(').next().unwrap_or("");
                    let message = format!(
                        "expected data compressed with snappy, gzip, lz4 or zstd, or not at all; found {found}"
                    );
                    return Err(Error::data(message)
                        .at(Place::file(self.file))
                        .hint("write it again: pandas.read_parquet(FILE).to_parquet(FILE, compression=\"zstd\")"));
                }
            }
        }
        Ok(())
    }

    /// Refuses a dictionary that says it holds more values than it has bytes: room for all of them would be made before the
    /// first is read. What is wrong otherwise shows when rows are read.
    fn check_dictionaries(&self) -> Result<()> {
        let chosen: Vec<&str> = self.columns.get_fields().iter().map(|column| column.name()).collect();
        for (at, group) in self.reader.metadata().row_groups().iter().enumerate() {
            let Ok(reader) = self.reader.get_row_group(at) else { continue };
            for (index, column) in group.columns().iter().enumerate() {
                let path = column.column_path();
                if !path.parts().first().is_some_and(|name| chosen.contains(&name.as_str())) {
                    continue;
                }
                let first = reader.get_column_page_reader(index).and_then(|mut pages| pages.get_next_page());
                if let Ok(Some(Page::DictionaryPage { buf, num_values, .. })) = first
                    && num_values as usize > buf.len()
                {
                    let (path, bytes) = (path.string(), buf.len());
                    let message =
                        format!("expected a dictionary of at most {bytes} values in {bytes} bytes, found {num_values}");
                    return Err(Error::data(message)
                        .at(Place::field(self.file, path))
                        .hint("was the file damaged, or written to its end?"));
                }
            }
        }
        Ok(())
    }

    /// Calls `visit` with each row; an error that names no place is placed at its row (from 1).
    fn each_row(&self, mut visit: impl FnMut(&Place, &Row) -> Result<Next>) -> Result<()> {
        let rows = RowIter::from_file(Some(self.columns.clone()), &self.reader);
        let rows = rows.map_err(|cause| malformed(self.file, cause))?;
        for (index, row) in rows.enumerate() {
            let place = Place::row(self.file, index + 1);
            let row = row.map_err(|cause| malformed(self.file, cause).at(place.clone()))?;
            match visit(&place, &row).map_err(|error| error.at_least(place.clone()))? {
                Next::Row => {}
                Next::Enough => break,
            }
        }
        Ok(())
    }

    /// What class numbers mean: as the file says, or as the key of the recipe does.
    fn agreed(&self, key: &str, said: &[String], own: Vec<String>) -> Result<Vec<String>> {
        if own.is_empty() || said.is_empty() || own == said {
            return Ok(if own.is_empty() { said.to_vec() } else { own });
        }
        let what = if key == "tag_names" { "tags" } else { "labels" };
        let (said, found) = (said.join(", "), own.join(", "));
        let message = format!("expected the {what} {} of `{key}`, found {} in the file", quoted(&said), quoted(&found));
        Err(Error::data(message)
            .at(Place::file(self.file))
            .hint(format!("leave out `{key}`: the file names its classes")))
    }

    /// The class names of the first of these columns that has any, from the metadata that `datasets` writes.
    fn own_class_names(&self, columns: &[&str]) -> Option<Vec<String>> {
        let metadata = self.reader.metadata().file_metadata().key_value_metadata()?;
        let text = metadata.iter().find(|pair| pair.key == "huggingface")?.value.as_deref()?;
        let json: Value = serde_json::from_str(text).ok()?;
        let features = json.get("info")?.get("features")?;
        let mut feature = columns.iter().find_map(|column| features.get(*column))?;
        while let Some(inner) = feature.get("feature") {
            feature = inner;
        }
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect()
    }
}

/// Runs a reader; a panic inside the Parquet library becomes an error about the file.
fn guarded<T>(file: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| {
        Err(Error::data("expected a Parquet file, found one that its decoder can't take").at(Place::file(file)))
    })
}

/// The most columns, inner ones included, that a table of examples may have.
const MOST_COLUMNS: u64 = 1000;

/// Refuses a schema that is deep enough to overflow the stack, which the decoder descends without a bound.
///
/// The file ends with its metadata, their length and a magic number. The metadata open with the version and the list
/// of schema elements (Thrift's compact protocol, in which every writer puts them in this order); its length is enough.
fn check_schema_size(mut file: &File) -> Result<()> {
    let mut tail = [0; 8];
    let mut read = |from: SeekFrom, into: &mut [u8]| file.seek(from).and_then(|_| file.read(into)).ok();
    if read(SeekFrom::End(-8), &mut tail) != Some(8) {
        return Ok(()); // too short: the decoder says so
    }
    let [a, b, c, d, magic @ ..] = tail;
    if &magic != b"PAR1" {
        return Ok(()); // no Parquet file: the decoder says so
    }
    let mut head = [0; 24];
    let from = SeekFrom::End(-8 - i64::from(u32::from_le_bytes([a, b, c, d])));
    if read(from, &mut head).is_none() {
        return Ok(()); // a length beyond the file: the decoder says so
    }
    match schema_elements(&head) {
        Some(elements) if elements <= MOST_COLUMNS => Ok(()),
        Some(elements) => Err(Error::data(format!("expected at most {MOST_COLUMNS} columns, found {elements}"))),
        None => Err(Error::data("expected the metadata to open with the version and the schema")),
    }
}

/// The number of schema elements, from the first bytes of the metadata.
fn schema_elements(head: &[u8]) -> Option<u64> {
    const VERSION: u8 = 0x15; // the next field, a 32-bit integer
    const SCHEMA: u8 = 0x19; // the next field, a list
    const LONG_LIST: u8 = 0xF0; // a list whose length follows; a shorter one has it in these four bits
    let mut bytes = head.iter().copied();
    let number = |bytes: &mut dyn Iterator<Item = u8>| {
        let mut value = 0_u64;
        for (index, byte) in bytes.take(5).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * index);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    };
    bytes.next().filter(|&byte| byte == VERSION)?;
    number(&mut bytes)?;
    bytes.next().filter(|&byte| byte == SCHEMA)?;
    let list = bytes.next()?;
    if list & LONG_LIST == LONG_LIST { number(&mut bytes) } else { Some(u64::from(list >> 4)) }
}

fn malformed(file: &Path, cause: parquet::errors::ParquetError) -> Error {
    Error::data(format!("expected a whole Parquet file: {cause}")).at(Place::file(file)).because(cause)
}

fn field<'r>(row: &'r Row, names: &[&str]) -> Result<&'r Field> {
    let found = row.get_column_iter().find(|(name, _)| names.contains(&name.as_str()));
    found.map(|(_, field)| field).ok_or_else(|| Error::data(format!("expected a field `{}`", names.join("` or `"))))
}

fn unexpected(expected: &str, found: &Field) -> Error {
    Error::data(format!("expected {expected}, found {}", quoted(&found.to_string())))
}

fn string(field: &Field) -> Result<String> {
    match field {
        Field::Str(text) => Ok(text.clone()),
        other => Err(unexpected("a string", other)),
    }
}

/// An identifier: a string, or a whole number.
fn id(field: &Field) -> Result<String> {
    match field {
        Field::Str(text) => Ok(text.clone()),
        Field::ULong(number) => Ok(number.to_string()),
        other => {
            integer(other).map(|number| number.to_string()).map_err(|_| unexpected("a string or a whole number", other))
        }
    }
}

/// The elements of a list; null is an empty one.
fn elements<'f>(field: &'f Field, what: &str) -> Result<&'f [Field]> {
    match field {
        Field::ListInternal(list) => Ok(list.elements()),
        Field::Null => Ok(&[]),
        other => Err(unexpected(what, other)),
    }
}

fn strings(field: &Field) -> Result<Vec<String>> {
    elements(field, "a list of strings")?.iter().map(string).collect()
}

fn integer(field: &Field) -> Result<i64> {
    match field {
        Field::Byte(number) => Ok((*number).into()),
        Field::Short(number) => Ok((*number).into()),
        Field::Int(number) => Ok((*number).into()),
        Field::Long(number) => Ok(*number),
        Field::UByte(number) => Ok((*number).into()),
        Field::UShort(number) => Ok((*number).into()),
        Field::UInt(number) => Ok((*number).into()),
        Field::ULong(number) => i64::try_from(*number).map_err(|_| unexpected("a number below 2^63", field)),
        other => Err(unexpected("a whole number", other)),
    }
}

/// Answers as a pair of lists, as a list of pairs, or null.
fn answers(field: &Field) -> Result<Vec<RawAnswer>> {
    let pair = match field {
        Field::Group(pair) => pair,
        Field::Null => return Ok(Vec::new()),
        Field::ListInternal(list) => return list.elements().iter().map(answer).collect(),
        other => return Err(unexpected("answers {text, answer_start}", other)),
    };
    let texts = strings(self::field(pair, &["text"])?)?;
    let starts = elements(self::field(pair, &["answer_start"])?, "a list of whole numbers")?;
    if texts.len() != starts.len() {
        let message = format!("expected an answer_start for each of {} texts, found {}", texts.len(), starts.len());
        return Err(Error::data(message));
    }
    let pairs = texts.into_iter().zip(starts);
    pairs.map(|(text, start)| Ok(RawAnswer { text, start: integer(start)? })).collect()
}

fn answer(field: &Field) -> Result<RawAnswer> {
    let Field::Group(pair) = field else { return Err(unexpected("an answer {text, answer_start}", field)) };
    Ok(RawAnswer {
        text: string(self::field(pair, &["text"])?)?,
        start: integer(self::field(pair, &["answer_start"])?)?,
    })
}
