//! What the readers make of good files: the examples, the notes and the limits.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use polyhead::data::{Columns, Layout, Question, Read, Sentence, TEXTS, read_questions, read_sentences};
use polyhead::metrics::span_f1::{Counts, Scheme, entities};

fn written(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn sentences_of(name: &str, text: &str) -> Read<Sentence> {
    let (_folder, path) = written(name, text);
    read_sentences(&path, None, &Layout::default()).unwrap()
}

fn questions_of(name: &str, text: &str, limit: Option<usize>) -> Read<Question> {
    let (_folder, path) = written(name, text);
    read_questions(&path, limit, &Layout::default()).unwrap()
}

fn tagged(sentence: &Sentence) -> String {
    let pairs = sentence.words.iter().zip(&sentence.tags);
    pairs.map(|(word, tag)| format!("{word}/{tag}")).collect::<Vec<_>>().join(" ")
}

/// The answers as their contexts hold them at the places that the reader found.
fn slices(question: &Question) -> Vec<&str> {
    question.answers.iter().map(|answer| &question.context[answer.start..answer.start + answer.text.len()]).collect()
}

#[test]
fn columns_become_sentences_whatever_the_line_ends_and_separators() {
    let text = "\u{FEFF}-DOCSTART- -X- O O\r\n\r\nEU\tNNP\tI-NP\tB-ORG\r\nrejects VBZ  I-VP O\r\n \r\n\r\n. . O O";
    let read = sentences_of("a.conll", text);
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["EU/B-ORG rejects/O", "./O"]);
    assert!(read.examples[0].place.to_string().ends_with("a.conll:3"));
    assert_eq!(read.notes.len(), 1);
    assert!(read.notes[0].contains("byte-order mark"));
}

#[test]
fn a_document_start_ends_a_sentence() {
    let read = sentences_of("a.txt", "a O\n-DOCSTART-\nb O\n");
    assert_eq!(read.examples.len(), 2);
}

#[test]
fn iob1_is_converted_with_a_note() {
    let read = sentences_of("a.txt", "a I-PER\nb B-PER\nc I-LOC\nd I-LOC\n\ne I-PER\n");
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["a/B-PER b/B-PER c/B-LOC d/I-LOC", "e/B-PER"]);
    assert!(read.notes[0].contains("from IOB1 to IOB2: 3 entities"), "{:?}", read.notes);
}

#[test]
fn the_entities_of_every_scheme_are_those_that_seqeval_reads_in_it() {
    // Every sequence of four tags of two types that has an end, legal or not.
    for (scheme, prefixes) in [("BIOES", "BIES"), ("BILOU", "BILU")] {
        let tags: Vec<String> =
            prefixes.chars().flat_map(|prefix| [format!("{prefix}-A"), format!("{prefix}-B")]).collect();
        let tags: Vec<&str> = tags.iter().map(String::as_str).chain(["O"]).collect();
        let count = tags.len().pow(4);
        let sequence = |number: usize| (0..4).map(move |at| number / 9_usize.pow(at) % 9).collect::<Vec<_>>();
        let mut text = String::new();
        let mut written: Vec<Vec<String>> = Vec::new();
        for number in 0..count {
            let sentence: Vec<&str> = sequence(number).into_iter().map(|tag| tags[tag]).collect();
            sentence.iter().for_each(|tag| text.push_str(&format!("word {tag}\n")));
            text.push('\n');
            // seqeval knows the ends of BIOES.
            written.push(sentence.iter().map(|tag| tag.replace("L-", "E-").replace("U-", "S-")).collect());
        }
        let read = sentences_of("a.txt", &text);
        assert!(read.notes[0].contains(&format!("from {scheme} to IOB2")), "{:?}", read.notes);
        assert_eq!(read.examples.len(), count);
        for (sentence, written) in read.examples.iter().zip(&written) {
            assert_eq!(entities(&sentence.tags, Scheme::StrictIob2), entities(written, Scheme::Lenient), "{written:?}");
        }
    }
}

#[test]
fn a_file_compressed_with_gzip_is_read_as_it_is_without() {
    let compressed = |text: &str| {
        let mut bytes = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        bytes.write_all(text.as_bytes()).unwrap();
        bytes.finish().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let (plain, gz) = (folder.path().join(name), folder.path().join(format!("{name}.gz")));
        fs::write(&plain, text).unwrap();
        // Two members, as `cat a.gz b.gz` makes them.
        let (first, second) = text.split_at(text.len() / 2);
        fs::write(&gz, [compressed(first), compressed(second)].concat()).unwrap();
        (plain, gz)
    };
    let layout = Layout::default();
    for (name, text) in [
        ("a.conll", "EU B-ORG\nrejects O\n\nAda S-PER\n"),
        ("a.jsonl", "{\"words\": [\"EU\"], \"tags\": [\"B-ORG\"]}\n{\"words\": [\"a\"], \"tags\": [\"O\"]}\n"),
        ("a.json", "[{\"text\": \"EU is\", \"label\": [[0, 2, \"ORG\"]]}, [\"Rio\", {\"entities\": []}]]"),
        ("a.csv", "Sentence #,Word,Tag\n1,EU,B-ORG\n,is,O\n2,Rio,B-LOC\n"),
        ("a.tsv", "sent_id\tword\ttag\n1\tEU\tB-ORG\n\tis\tO\n2\tRio\tB-LOC\n"),
    ] {
        let (plain, gz) = write(name, text);
        let of = |path: &Path| read_sentences(path, None, &layout).unwrap().examples;
        let read = of(&gz);
        assert!(read.iter().all(|sentence| sentence.place.to_string().contains(".gz:")));
        let words = |sentences: Vec<Sentence>| sentences.iter().map(tagged).collect::<Vec<_>>();
        assert_eq!(words(read), words(of(&plain)));
    }
    let (plain, gz) = write("a.csv", "text,label\n\"good, very\",yes\nbad,no\n");
    let of = |path: &Path| TEXTS.read(path, None, &layout).unwrap().examples;
    assert_eq!(
        of(&gz).iter().map(|text| (&text.text, &text.label)).collect::<Vec<_>>(),
        of(&plain).iter().map(|text| (&text.text, &text.label)).collect::<Vec<_>>()
    );
}

#[test]
fn documents_are_told_where_a_file_marks_them() {
    let documents = |read: Read<Sentence>| read.examples.iter().map(|sentence| sentence.document).collect::<Vec<_>>();
    let marked = "-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART- O\n\nc O\n\n# newdoc id = x\nd O\n";
    assert_eq!(documents(sentences_of("a.conll", marked)), [0, 0, 2, 3]);
    assert_eq!(documents(sentences_of("a.conll", "a O\n\nb O\n")), [0, 0]);
    let row = |word: &str, document: &str| format!("{{\"words\": [\"{word}\"], \"tags\": [\"O\"]{document}}}\n");
    let lines = [
        row("a", ", \"document\": 7"),
        row("b", ", \"doc_id\": 7"),
        row("c", ", \"document_id\": \"x\""),
        row("d", ""),
    ];
    assert_eq!(documents(sentences_of("a.jsonl", &lines.concat())), [0, 0, 2, 3]);
}

#[test]
fn where_a_line_has_tabs_they_alone_separate() {
    let read = sentences_of("a.tsv", "New York\tB-LOC\n is \tO\t\n\nSan  Marino\t\tB-LOC\n");
    let words: Vec<_> = read.examples.iter().map(|sentence| sentence.words.clone()).collect();
    assert_eq!(words, [vec!["New York", "is"], vec!["San  Marino"]]);
    assert_eq!(read.examples[1].tags, ["B-LOC"]);
}

#[test]
fn lines_that_begin_with_a_hash_are_comments_where_they_can_not_be_words() {
    let text = "# newdoc\n# 5 O\n# text = # and O\nMarta B-PER\n# B-PER\n#left O\n# a remark on it\n\n#\n# id 8c50\nuse O\n\n                # O\n#Lyon B-LOC\n";
    let read = sentences_of("a.conll", text);
    let tagged: Vec<_> = read.examples.iter().map(tagged).collect();
    assert_eq!(tagged, ["Marta/B-PER #/B-PER #left/O", "use/O", "#/O #Lyon/B-LOC"]);
    assert_eq!(read.notes, ["lines that are comments (`# ...`) and were skipped: 6"]);
    // In a file of four columns a line of two is no word.
    let read = sentences_of("a.conll", "# O\nmarta _ _ B-PER\n# _ _ O\n");
    assert_eq!(read.examples[0].words, ["marta", "#"]);
}

#[test]
fn a_header_is_skipped_and_said() {
    let read = sentences_of("a.tsv", "Token\tPOS\tNER_tag\nEU\tNNP\tB-ORG\n");
    assert_eq!(tagged(&read.examples[0]), "EU/B-ORG");
    assert_eq!(read.notes, ["line 1 names the columns and was skipped"]);
    // Not at another place, and not where its last column is a tag.
    assert_eq!(sentences_of("a.txt", "Word O\ntag O\n").examples[0].words, ["Word", "tag"]);
}

#[test]
fn columns_are_chosen_by_number() {
    let (_folder, path) =
        written("a.tsv", "# a remark\n1\tNew York\tB-LOC\tO\n2\tin\tO\t\n\n1\t-DOCSTART-\tO\tO\n\n1\tis\tO\tO\n");
    let layout = |word, tag| Layout { columns: Some(Columns::of([("word", word), ("tag", tag)])), ..Layout::default() };
    let read = read_sentences(&path, None, &layout(2, 3)).unwrap();
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["New York/B-LOC in/O", "is/O"]);
    // Said so, an index is words.
    let (_folder, path) = written("b.txt", "1 x O\n2 y B-A\n");
    assert_eq!(tagged(&read_sentences(&path, None, &layout(1, 3)).unwrap().examples[0]), "1/O 2/B-A");
    // A file that counts in one sentence alone has numbers as words.
    assert_eq!(sentences_of("b.txt", "1 CD O\n2 CD O\n\nEU NNP B-ORG\n").examples.len(), 2);
}

#[test]
fn class_numbers_are_tags_by_the_names_of_the_recipe() {
    let layout = Layout { tag_names: ["O", "B-A", "I-A"].map(str::to_owned).to_vec(), ..Layout::default() };
    for (name, text) in [
        ("a.jsonl", "{\"tokens\": [\"EU\", \"is\", \"7\"], \"ner_tags\": [1, 2, 0]}"),
        ("a.txt", "EU 1\nis 2\n7 0\n"),
        ("b.txt", "EU B-A\nis I-A\n7 O\n"),
    ] {
        let (_folder, path) = written(name, text);
        let read = read_sentences(&path, None, &layout).unwrap();
        assert_eq!(tagged(&read.examples[0]), "EU/B-A is/I-A 7/O");
    }
}

#[test]
fn the_answers_of_predict_are_training_data() {
    let line = r#"{"id": 3, "text": "Né à Rio, Ada's left.", "entities": [
        {"type": "LOC", "text": "Rio", "start": 5, "end": 8, "score": 0.98}, {"type": "PER", "text": "Ada", "start": 10, "end": 13, "score": 0.9}]}"#;
    let read = sentences_of("a.jsonl", &line.replace('\n', " "));
    assert_eq!(tagged(&read.examples[0]), "Né/O à/O Rio/B-LOC ,/O Ada/B-PER 's/O left/O ./O");
    let bytes = r#"{"text": "Né à Rio", "entities": [{"type": "LOC", "start": 7, "end": 10}], "offset_unit": "byte"}"#;
    assert_eq!(tagged(&sentences_of("a.jsonl", bytes).examples[0]), "Né/O à/O Rio/B-LOC");
    // Refused with its place and the way out, where the units are others than it says.
    let two = format!(
        "{bytes}\n{}\n",
        r#"{"text": "Né à Rio", "entities": [{"type": "LOC", "text": "Rio", "start": 7, "end": 10}]}"#
    );
    let (_folder, path) = written("a.jsonl", &two);
    let error = read_sentences(&path, None, &Layout::default()).unwrap_err();
    assert!(error.to_string().contains("a.jsonl:2: entities[0]: expected a part of the text"), "{error}");
    assert!(error.hint_text().unwrap().contains("\"offset_unit\": \"byte\""), "{error}");
}

#[test]
fn an_answer_of_predict_beside_its_question_is_gold() {
    let lines = [
        r#"{"question": "Where?", "context": "Né 🦊 à Rio.", "answer": "Rio", "start": 7, "end": 10, "score": 0.9, "alternatives": []}"#,
        r#"{"question": "Where?", "context": "Né 🦊 à Rio.", "answer": "Rio", "start": 12, "offset_unit": "byte"}"#,
        r#"{"question": "Where?", "context": "Né 🦊 à Rio.", "answer": "Rio", "start": 8, "offset_unit": "utf16"}"#,
        r#"{"question": "Where?", "context": "Né 🦊 à Rio.", "answer_text": "Rio", "answer_start": 7}"#,
        r#"{"question": "Why?", "context": "Né 🦊 à Rio.", "answer": "", "start": 0, "end": 0}"#,
    ];
    let read = questions_of("a.jsonl", &lines.join("\n"), None);
    assert_eq!((read.skipped.len(), read.examples.len()), (0, 5));
    for question in &read.examples[..4] {
        assert_eq!((slices(question), question.answers[0].start), (vec!["Rio"], 12));
    }
    assert_eq!(read.examples[4].golds().count(), 0);
}

#[test]
fn white_space_around_a_gold_answer_is_trimmed_and_said_once() {
    let of = |text: &str, start: usize| {
        format!(
            r#"{{"question": "Who?", "context": "So Ada\n Bo", "answers": [{{"text": "{text}", "answer_start": {start}}}]}}"#
        )
    };
    let lines = [of("Ada", 3), of(" Ada", 2), of("Ada\\n", 3), of(" Ada\\n ", 3), of("\\n Bo", 6)];
    let read = questions_of("a.jsonl", &lines.join("\n"), None);
    let found: Vec<_> = read.examples.iter().map(|question| (slices(question), question.answers[0].start)).collect();
    assert_eq!(found[..4], std::array::from_fn::<_, 4, _>(|_| (vec!["Ada"], 3)));
    assert_eq!(found[4], (vec!["Bo"], 8));
    assert_eq!(read.notes, ["gold answers that had white space at an end, which was trimmed: 4"]);
}

#[test]
fn whole_numbers_are_identifiers_in_squads_json() {
    let text = r#"{"data": [{"paragraphs": [{"context": "Ada", "qas": [{"id": 262, "question": "q", "answers": []},
        {"id": "262", "question": "q", "answers": []}]}]}]}"#;
    let read = questions_of("a.json", text, None);
    assert_eq!((read.examples[0].id.as_str(), read.skipped.len()), ("262", 1));
}

/// Gold and predicted tags with orphans, as the file has them, score as seqeval scores them.
#[test]
fn tags_score_as_they_stand_in_the_file() {
    let expected: serde_json::Value = serde_json::from_slice(&fs::read(fixture("orphan_tags.json")).unwrap()).unwrap();
    let column = |tag| {
        let layout = Layout { columns: Some(Columns::of([("word", 1), ("tag", tag)])), ..Layout::default() };
        read_sentences(&fixture("orphan_tags.conll"), None, &layout).unwrap()
    };
    let (gold, found) = (column(3), column(2));
    assert!(gold.notes[0].contains("scores take the tags as they stand"), "{:?}", gold.notes);
    for (name, scheme) in [("lenient", Scheme::Lenient), ("strict", Scheme::StrictIob2)] {
        let mut counts = Counts::new(scheme);
        gold.examples.iter().zip(&found.examples).for_each(|(gold, found)| counts.add(&gold.tags, &found.tags));
        for (mean, scores) in [("micro", counts.micro().scores()), ("macro", counts.macro_average())] {
            for (at, ours) in [scores.precision, scores.recall, scores.f1].into_iter().enumerate() {
                let theirs = expected[name][mean][at].as_f64().unwrap();
                assert!((ours - theirs).abs() < 1e-12, "{name} {mean}: ours {ours}, theirs {theirs}");
            }
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn tables_of_every_integer_and_codec_are_read() {
    let expected = read_sentences(&fixture("conll2003.parquet"), None, &Layout::default()).unwrap();
    let all = |read: &Read<Sentence>| read.examples.iter().map(tagged).collect::<Vec<_>>();
    for name in ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "gzip", "lz4", "zstd", "none"] {
        let read = read_sentences(&fixture(&format!("parquet/{name}.parquet")), None, &Layout::default()).unwrap();
        assert_eq!(all(&read), all(&expected), "{name}");
    }
    // Without the names of its classes, by those of the recipe.
    let names = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"];
    let layout = Layout { tag_names: names.map(str::to_owned).to_vec(), ..Layout::default() };
    let read = read_sentences(&fixture("parquet/uint64.parquet"), None, &layout).unwrap();
    assert_eq!(all(&read), all(&expected));
    let pairs = read_questions(&fixture("parquet/pairs.parquet"), None, &Layout::default()).unwrap();
    let hub = read_questions(&fixture("squad.parquet"), None, &Layout::default()).unwrap();
    assert!(pairs.examples.iter().map(slices).eq(hub.examples.iter().map(slices)));
    let read = read_questions(&fixture("parquet/ids.parquet"), None, &Layout::default()).unwrap();
    assert_eq!((read.examples[5].id.as_str(), slices(&read.examples[5])), ("5", vec!["1877"]));
}

#[test]
fn a_limit_takes_the_first_usable_sentences() {
    let text = "{\"words\": [], \"tags\": []}\n{\"words\": [\"a\"], \"tags\": [\"O\"]}\n{\"words\": [\"b\"], \"tags\": [\"O\"]}\n\
                {\"words\": [], \"tags\": []}\n{\"words\": [\"c\"], \"tags\": [\"O\"]}\n";
    let (_folder, path) = written("a.jsonl", text);
    let read = read_sentences(&path, Some(2), &Layout::default()).unwrap();
    assert_eq!(read.examples.iter().map(tagged).collect::<Vec<_>>(), ["a/O", "b/O"]);
    assert_eq!(read.skipped.len(), 1);
    assert!(read_sentences(&path, Some(0), &Layout::default()).unwrap().examples.is_empty());
}

#[test]
fn a_sentence_keeps_words_that_a_tokenizer_may_delete() {
    let read = sentences_of("a.jsonl", r#"{"words": ["a", "", "\u200b"], "tags": ["O", "O", "B-X"]}"#);
    assert_eq!(read.examples[0].words.len(), 3);
    assert_eq!(read.notes, Vec::<String>::new());
    assert_eq!(sentences_of("a.conll", "\u{200b} O\n\n").examples.len(), 1);
}

#[test]
fn json_lines_take_the_names_of_the_hub() {
    let read =
        sentences_of("a.jsonl", "\n{\"id\": \"7\", \"tokens\": [\"EU\"], \"ner_tags\": [\"B-A\"], \"pos\": {}}\n");
    assert_eq!(tagged(&read.examples[0]), "EU/B-A");
    assert!(read.examples[0].place.to_string().ends_with("a.jsonl:2"));
    assert!(read.notes[0].contains("ignored: `pos`"), "{:?}", read.notes);
}

#[test]
fn json_lines_take_answers_in_every_form() {
    let forms = [
        r#", "answers": [{"text": "Ähre", "answer_start": 4}]"#,
        r#", "answers": {"text": ["Ähre"], "answer_start": [4]}, "id": "a""#,
        r#", "answers": [], "id": 12"#,
        r#", "answers": {"text": [], "answer_start": []}"#,
        r#", "answers": null"#,
        "",
    ];
    let lines = forms.map(|form| format!(r#"{{"question": "Was?", "context": "Die Ähre 🦊."{form}}}"#)).join("\n");
    let read = questions_of("a.ndjson", &lines, None);
    assert_eq!(read.skipped, []);
    let found: Vec<_> = read.examples.iter().map(|q| (q.id.as_str(), slices(q))).collect();
    let none = Vec::<&str>::new;
    assert_eq!(found[..2], [("line-1", vec!["Ähre"]), ("a", vec!["Ähre"])]);
    assert_eq!(found[2..], [("12", none()), ("line-4", none()), ("line-5", none()), ("line-6", none())]);
    assert!(read.notes[0].contains("4 of 6 questions have no answer"), "{:?}", read.notes);
}

#[test]
fn squad_answers_are_placed_in_bytes() {
    let text = r#"{"version": "v2.0", "data": [{"title": "t", "paragraphs": [{"context": "é 🦊 Ada é", "qas": [
        {"id": "1", "question": "Who?", "is_impossible": false, "answers": [
            {"text": "Ada", "answer_start": 4}, {"text": "🦊 Ada é", "answer_start": 2, "extra": 1}]},
        {"id": "2", "question": "Why?", "is_impossible": true, "answers": [],
            "plausible_answers": [{"text": "x", "answer_start": 9}]}]}]}]}"#;
    let read = questions_of("a.json", text, None);
    assert_eq!(read.skipped, []);
    assert_eq!(slices(&read.examples[0]), ["Ada", "🦊 Ada é"]);
    assert_eq!(read.examples[0].answers[0].start, 8);
    assert!(read.examples[1].answers.is_empty());
    assert!(read.examples[1].place.to_string().ends_with("a.json: data[0].paragraphs[0].qas[1]"));
    assert_eq!(questions_of("a.json", text, Some(1)).examples.len(), 1);
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

#[cfg(feature = "parquet")]
#[test]
fn the_hubs_tables_are_read() {
    let read = read_sentences(&fixture("conll2003.parquet"), None, &Layout::default()).unwrap();
    assert_eq!(read.examples.len(), 6);
    assert_eq!(tagged(&read.examples[0]), "Mara/B-PER Okafor/I-PER visited/O Tromsø/B-LOC ./O");
    assert!(read.examples[5].place.to_string().ends_with("conll2003.parquet: row 6"));
    assert_eq!(read_sentences(&fixture("conll2003.parquet"), Some(2), &Layout::default()).unwrap().examples.len(), 2);

    let read = read_questions(&fixture("squad.parquet"), None, &Layout::default()).unwrap();
    assert_eq!((read.examples.len(), read.skipped.len()), (6, 0));
    assert_eq!(slices(&read.examples[0]), ["Edda Rowan", "Rowan"]);
    assert_eq!(slices(&read.examples[3]), ["blue 🦊 and grey", "blue", "grey"]);
    assert_eq!(read.examples[5].id, "hub5");
    assert_eq!(slices(&read.examples[5]), ["1877"]);
    assert_eq!(read.examples.iter().filter(|question| question.answers.is_empty()).count(), 1);
    assert_eq!(read_questions(&fixture("squad.parquet"), Some(4), &Layout::default()).unwrap().examples.len(), 4);
}

#[test]
fn the_official_dataset_of_the_metric_fixture_is_read() {
    let json: serde_json::Value = serde_json::from_slice(&fs::read(fixture("squad_dataset.json")).unwrap()).unwrap();
    let read = questions_of("a.json", &json["dataset"].to_string(), None);
    assert_eq!((read.examples.len(), read.skipped.len()), (30, 0));
}

/// CoNLL-2003 and SQuAD themselves, where a folder `shared` stands beside the repository (or at `POLYHEAD_SHARED`).
#[test]
fn real_data_is_read_to_the_last_example() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYHEAD_SHARED").map(PathBuf::from).unwrap_or(beside);
    let data = shared.join("data");
    if !data.is_dir() {
        eprintln!("skipped: no real data at {}", data.display());
        return;
    }
    for (name, count) in [("train.txt", 14_041), ("valid.txt", 3_250)] {
        let read = read_sentences(&data.join("conll2003").join(name), None, &Layout::default()).unwrap();
        assert_eq!((read.examples.len(), read.skipped.len()), (count, 0), "{name}");
        assert_eq!(read.notes, Vec::<String>::new(), "{name}");
    }
    for (name, count) in
        [("train-v1.1", 7_723), ("validation-v1.1", 1_205), ("train-v2.0", 8_233), ("validation-v2.0", 1_762)]
    {
        let read = read_questions(&data.join("squad").join(format!("{name}.json")), None, &Layout::default()).unwrap();
        assert_eq!((read.examples.len(), read.skipped.as_slice()), (count, [].as_slice()), "{name}");
        assert!(read.examples.iter().all(|q| slices(q).iter().zip(&q.answers).all(|(slice, a)| *slice == a.text)));
    }
}
