//! Sentences with entities out of tables: comma-separated and tab-separated values with a row for each word or each sentence, and
//! Parquet by the names that a recipe gives.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::data::{Layout, TAGGED_WORDS, TaggedWords, read_sentences};
use small::sentences::{read_as, refusal, tagged};
use small::{columns, written};

const KAGGLE: &str = "Sentence #,Word,POS,Tag\nSentence: 1,EU,NNP,B-org\n,\"1,000\",CD,O\n,\"\"\"\"\"\",``,O\nSentence: 2,Rio,NNP,B-geo\n,de,IN,I-geo\n";

#[test]
fn a_table_with_a_column_of_sentence_numbers_has_a_row_for_each_word() {
    let want = ["EU/B-org 1,000/O \"\"/O", "Rio/B-geo de/I-geo"];
    let filled = "sentence_id,token,label\n7,EU,B-org\n7,\"1,000\",O\n7,\"\"\"\"\"\",O\n8,Rio,B-geo\n8,de,I-geo\n";
    let tabs = "sent_id\tword\tner\n0\tEU\tB-org\n0\t1,000\tO\n0\t\"\"\tO\n1\tRio\tB-geo\n\tde\tI-geo\n";
    let bare = "EU,B-org,1\n\"1,000\",O,1\n\"\"\"\"\"\",O,1\nRio,B-geo,2\nde,I-geo,2\n";
    let numbered = |columns: &str| small::columns(columns);
    let tags = Layout { tag_names: ["O", "B-org", "B-geo", "I-geo"].map(str::to_owned).to_vec(), ..Layout::default() };
    for (name, text, layout) in [
        ("a.csv", KAGGLE.to_owned(), Layout::default()),
        ("a.csv", KAGGLE.to_owned(), numbered("sentence=1,word=2,tag=4")),
        (
            "a.csv",
            KAGGLE.replace("Tag", "iob").replace("Word", "w").replace("Sentence #", "s"),
            numbered("sentence=s,word=w,tag=iob"),
        ),
        ("a.csv", filled.to_owned(), Layout::default()),
        ("a.csv", bare.to_owned(), numbered("sentence=3,word=1,tag=2")),
        ("a.tsv", tabs.to_owned(), Layout::default()),
        ("a.tsv", tabs.to_owned(), numbered("sentence=sent_id,word=word,tag=ner")),
        ("a.tsv", tabs.to_owned(), numbered("sentence=1,word=2,tag=3")),
        ("a.csv", filled.replace("B-org", "1").replace("B-geo", "2").replace("I-geo", "3").replace(",O", ",0"), tags),
    ] {
        let read = read_as(name, &text, &layout);
        assert_eq!(tagged(&read), want, "{name}: {text}");
        assert!(read.skipped.is_empty() && read.notes.is_empty(), "{:?}", read.notes);
    }
    assert!(read_as("a.csv", KAGGLE, &Layout::default()).examples[1].place.to_string().ends_with("a.csv:5"));
    // As the file is given out: in latin-1.
    let (_folder, path) = written("a.csv", b"Sentence #,Word,POS,Tag\nSentence: 1,S\xE3o,NNP,B-geo\n,\x94,NN,O\n");
    let latin = Layout { encoding: polyhead::data::Encoding::Latin1, ..Layout::default() };
    let read = read_sentences(&path, None, &latin).unwrap();
    assert_eq!(tagged(&read), ["São/B-geo \u{94}/O"]);
    let error = read_sentences(&path, None, &Layout::default()).unwrap_err();
    assert!(error.to_string().contains("a.csv:2:14: expected UTF-8 text, found the byte 0xE3"), "{error}");
}

#[test]
fn any_other_table_has_a_row_for_each_sentence() {
    let want = ["EU/B-org rejects/O it/O", "Rio/B-geo"];
    let kaggle = "Sentence #,Sentence,POS,Tag\nSentence: 1,EU rejects it,\"['NNP', 'VBZ', 'PRP']\",\"['B-org', 'O', 'O']\"\nSentence: 2,Rio,['NNP'],['B-geo']\n";
    let json = "words,tags\n\"[\"\"EU\"\", \"\"rejects\"\", \"\"it\"\"]\",\"[\"\"B-org\"\", \"\"O\"\", \"\"O\"\"]\"\nRio,B-geo\n";
    let plain = Layout::default();
    for (name, text, layout) in [
        ("a.csv", "id,text,labels\n1,EU rejects  it ,B-org O O\n2,Rio,B-geo\n", &plain),
        ("a.csv", kaggle, &plain),
        ("a.csv", json, &plain),
        ("a.tsv", "text\ttags\nEU rejects it\tB-org O O\nRio\tB-geo\n", &plain),
        ("a.tsv", "a\tb\nRio\tB-geo\nEU rejects it\tB-org O O\n", &columns("word=a,tag=b")),
        ("a.csv", "B-org O O,EU rejects it\nB-geo,Rio\n", &columns("text=2,label=1")),
        ("a.csv", "B-org O O,EU rejects it\nB-geo,Rio\n", &columns("word=2,tag=1")),
    ] {
        let read = read_as(name, text, layout);
        let mut found = tagged(&read);
        found.sort();
        assert_eq!(found, want, "{text}");
    }
    // Rows that say nothing, and one without words.
    let read = read_as("a.csv", "text,tags\nEU rejects,B-org O\nRio,\n,\n", &plain);
    assert_eq!((read.examples.len(), read.skipped.len()), (1, 1));
    assert_eq!(read.notes, ["rows without tags, of which there is no example: 1"]);
    // Spans as JSON in a cell, as Label Studio's CSV has them.
    let spans = "text,id,label,annotator\nEU rejects it,1,\"[{\"\"start\"\": 0, \"\"end\"\": 2, \"\"text\"\": \"\"EU\"\", \"\"labels\"\": [\"\"org\"\"]}]\",1\nRio,2,\"[[0, 3, \"\"geo\"\"]]\",1\nnobody,3,[],1\n";
    let read = read_as("a.csv", spans, &plain);
    assert_eq!(tagged(&read), ["EU/B-org rejects/O it/O", "Rio/B-geo", "nobody/O"]);
}

#[test]
fn tab_separated_columns_of_words_are_read_as_ever() {
    let plain = Layout::default();
    for (text, layout) in [
        ("EU\tB-ORG\nis\tO\n\nRio\tB-LOC\n", &plain),
        ("word\ttag\nEU\tB-ORG\nis\tO\n\nRio\tB-LOC\n", &plain),
        ("text\tlabel\nEU\tB-ORG\nis\tO\n\nRio\tB-LOC\n", &plain),
        ("1\tEU\tB-ORG\n2\tis\tO\n\n1\tRio\tB-LOC\n", &columns("2,3")),
        ("# a remark\nEU\tB-ORG\nis\tO\n\nRio\tB-LOC\n", &plain),
    ] {
        assert_eq!(tagged(&read_as("a.tsv", text, layout)), ["EU/B-ORG is/O", "Rio/B-LOC"], "{text}");
    }
}

#[test]
fn malformed_tables_are_refused_with_their_place_and_the_way_out() {
    let plain = Layout::default();
    for (name, text, layout, expected) in [
        ("a.csv", "", &plain, &["a.csv: expected sentences, found none"][..]),
        ("a.csv", "word,tag\n", &plain, &["a.csv: expected sentences, found none"]),
        (
            "a.csv",
            "a,b\nEU,O\n",
            &plain,
            &[
                "a.csv:1: expected a first line with the name of the words' column",
                "found `a, b`",
                "hint: say which they are",
                "sentence = 1",
            ],
        ),
        (
            "a.csv",
            "word,tag\nEU,B-ORG\nis,O\n",
            &plain,
            &[
                "a.csv:2: expected a row for each sentence, or a column with the number of the sentence",
                "hint: data.TASK.columns",
                ".conll",
            ],
        ),
        (
            "a.csv",
            "Sentence #,Word,Tag\n1,EU,B-ORG\n,is\n",
            &plain,
            &["a.csv:3: expected 3 columns, as in the first line; found 2"],
        ),
        (
            "a.csv",
            "Sentence #,Word,Tag\n1,,B-ORG\n",
            &plain,
            &["a.csv:2: expected a word, found an empty cell", "hint: each word has a row"],
        ),
        ("a.csv", "Sentence #,Word,Tag\n1,EU, \n", &plain, &["a.csv:2: expected a tag, found an empty cell"]),
        (
            "a.csv",
            "Sentence #,Word,Tag\n1,EU,NNP\n",
            &plain,
            &["a.csv:2: expected a tag `O`, `B-type` or `I-type`, found `NNP`"],
        ),
        (
            "a.csv",
            "Sentence #,Word,Tag\n1,EU,3\n",
            &plain,
            &["a.csv:2: ", "found `3`", "hint: class numbers need names"],
        ),
        (
            "a.csv",
            "text,tags\nEU is,B-ORG\n",
            &plain,
            &["a.csv:2: expected a tag for each of 2 words, found 1", "hint: words and tags stand in a cell each"],
        ),
        ("a.csv", "text,tags\nEU is,\n", &plain, &["a.csv: expected sentences, found none"]),
        ("a.csv", "text,tags\nEU is,B-ORG X\n", &plain, &["a.csv:2: expected a tag", "found `X`"]),
        (
            "a.csv",
            "text,label\nEU,\"[[0, 9, \"\"ORG\"\"]]\"\n",
            &plain,
            &["a.csv:2: label[0]: expected a part of the text: an end up to 2"],
        ),
        (
            "a.csv",
            "text,tags\n\"EU is,O O\n",
            &plain,
            &["a.csv:2: expected the end of a quoted cell, found the end of the file"],
        ),
        (
            "a.csv",
            "word,tag\nEU is,O O\n",
            &columns("word=form,tag=tag"),
            &["a.csv:1: columns.word: expected `form` in the first line, found `word, tag`"],
        ),
        (
            "a.csv",
            "EU is,O O\n",
            &columns("word=1,tag=3"),
            &["a.csv:1: columns.tag: expected one of 2 columns, found 3"],
        ),
        (
            "a.conll",
            "1 EU O\n",
            &columns("sentence=1,word=2,tag=3"),
            &["a.conll: columns.sentence: expected none for CoNLL columns", "hint: of tables (.csv, .tsv)"],
        ),
        ("a.csv", "EU is,O O\n", &columns("word=1,label=2"), &["a.csv: columns.tag: expected a column"]),
        (
            "a.csv",
            "EU is,O O\n",
            &columns("text=1,tags=2"),
            &["a.csv: columns: expected `word`, `tag`, `text`, `label`, `sentence`; found `tags`"],
        ),
        (
            "a.tsv",
            "word\ttag\nEU\n",
            &columns("word=word,tag=tag"),
            &["a.tsv:2: expected 2 columns, as in the first line; found 1"],
        ),
        (
            "a.csv",
            "Sentence #,Word,Tag\n1,EU,S-ORG\n2,Rio,U-LOC\n",
            &plain,
            &["a.csv:3: expected the tags of one scheme"],
        ),
    ] {
        let said = refusal(name, text, layout);
        assert!(said.starts_with(expected[0]) && expected.iter().all(|part| said.contains(part)), "{text}: {said}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn tables_of_parquet_are_read_by_the_names_that_a_recipe_gives() {
    let file = |name: &str| small::fixture(&format!("parquet/{name}.parquet"));
    let read = read_sentences(&file("entities"), None, &columns("text=body,label=marks")).unwrap();
    assert_eq!(tagged(&read), ["Mara/B-PER Okafor/I-PER visited/O Tromsø/B-LOC ./O", "Nobody/O came/O ./O"]);
    assert_eq!(read.notes, ["rows that say nothing of entities, of which there is no example: 1"]);
    let conll = small::fixture("conll2003.parquet");
    let usual = read_sentences(&conll, None, &Layout::default()).unwrap();
    let named = read_sentences(&conll, None, &columns("word=tokens,tag=ner_tags")).unwrap();
    assert_eq!(tagged(&named), tagged(&usual));
    for (path, chosen, expected) in [
        (&conll, "word=tokens,tag=ner", "expected a column `ner`, found `id`, `tokens`"),
        (&conll, "word=2,tag=3", "columns.word: expected the name of a column, found 2"),
        (&file("entities"), "text=body,label=other", "expected a column `other`, found `body`, `marks`"),
        (&file("entities"), "text=marks,label=body", "row 1: marks: expected a text, found"),
        (
            &file("broken_entities"),
            "text=body,label=marks",
            "row 2: marks[0]: expected a part of the text: an end up to 12",
        ),
    ] {
        let error = read_sentences(path, None, &columns(chosen)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn tables_of_labels_are_read_as_those_of_entities_are() {
    let plain = Layout::default();
    let read = |name: &str, text: &str, layout: &Layout| -> Vec<String> {
        let (_folder, path) = written(name, text.as_bytes());
        let read = TAGGED_WORDS.read(&path, None, layout).unwrap_or_else(|error| panic!("{text}: {error}"));
        let one = |sentence: &TaggedWords| {
            let pairs = sentence.words.iter().zip(&sentence.tags);
            let shown = pairs.map(|(word, tag)| format!("{word}/{}", tag.as_deref().unwrap_or("?")));
            shown.collect::<Vec<_>>().join(" ")
        };
        read.examples.iter().map(one).collect()
    };
    let want = ["EU/NNP 1,000/? \"\"/``", "Rio/NNP de/IN"];
    let kaggle = KAGGLE.replace(",CD,", ",_,");
    let tabs = "sent_id\tword\tupos\n0\tEU\tNNP\n0\t1,000\t_\n0\t\"\"\t``\n1\tRio\tNNP\n\tde\tIN\n";
    for (name, text, layout) in [
        ("a.csv", kaggle.as_str(), &plain),
        ("a.csv", &kaggle, &columns("sentence=1,word=2,tag=3")),
        ("a.csv", &kaggle, &columns("sentence=Sentence #,tag=POS")),
        ("a.csv", "text,tags\n\"EU 1,000 \"\"\"\"\",NNP _ ``\nRio de,\"['NNP', 'IN']\"\n", &plain),
        ("a.tsv", tabs, &plain),
        ("a.tsv", tabs, &columns("sentence=sent_id,tag=upos")),
    ] {
        assert_eq!(read(name, text, layout), want, "{name}: {text}");
    }
    // Columns with blank lines between sentences, in which a word and its label may hold spaces.
    let lines = "word\tlabel\nNew York\tplace name\n\nRio\tplace\n";
    assert_eq!(read("a.tsv", lines, &plain), ["New York/place name", "Rio/place"]);
    let (_folder, path) = written("a.csv", b"Sentence #,Word,POS\n1,EU,\n");
    let error = TAGGED_WORDS.read(&path, None, &plain).unwrap_err().to_string();
    assert!(error.contains("a.csv:2: expected a tag, found an empty cell"), "{error}");
}

/// CoNLL-2003 itself, where a folder `shared` stands beside the repository (or at `POLYHEAD_SHARED`): written as a table and as
/// texts with spans and tokens, it is read back as it was.
#[test]
fn real_sentences_are_read_back_out_of_every_form() {
    let beside = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let shared = std::env::var_os("POLYHEAD_SHARED").map(std::path::PathBuf::from).unwrap_or(beside);
    let valid = shared.join("data/conll2003/valid.txt");
    if !valid.is_file() {
        eprintln!("skipped: no real data at {}", valid.display());
        return;
    }
    let want = read_sentences(&valid, None, &Layout::default()).unwrap();
    let (mut csv, mut json) = ("Sentence #,Word,Tag\n".to_owned(), String::new());
    let (mut entities, mut without_tokens) = (0, String::new());
    for (number, sentence) in want.examples.iter().enumerate() {
        let (mut text, mut tokens, mut spans) = (String::new(), Vec::new(), Vec::<serde_json::Value>::new());
        for (at, (word, tag)) in sentence.words.iter().zip(&sentence.tags).enumerate() {
            let number = if at == 0 { format!("Sentence: {number}") } else { String::new() };
            csv += &format!("{number},\"{}\",{tag}\n", word.replace('"', "\"\""));
            let start = text.chars().count() + usize::from(at > 0);
            text = if at == 0 { word.clone() } else { format!("{text} {word}") };
            let end = text.chars().count();
            tokens.push(serde_json::json!({ "start": start, "end": end, "text": word }));
            match tag.split_once('-') {
                Some(("I", _)) => spans.last_mut().unwrap()["end"] = end.into(),
                Some((_, kind)) => spans.push(serde_json::json!({ "start": start, "end": end, "label": kind })),
                None => {}
            }
        }
        entities += spans.len();
        json += &format!("{}\n", serde_json::json!({ "text": text, "tokens": tokens, "spans": spans }));
        without_tokens += &format!("{}\n", serde_json::json!({ "text": text, "entities": spans }));
    }
    for (name, text) in [("a.csv", &csv), ("a.jsonl", &json)] {
        let read = read_as(name, text, &Layout::default());
        assert_eq!(tagged(&read), tagged(&want), "{name}");
        assert_eq!(read.notes, Vec::<String>::new());
    }
    // The words that prediction makes of running text cut none of the entities.
    let read = read_as("a.jsonl", &without_tokens, &Layout::default());
    let found = read.examples.iter().flat_map(|sentence| &sentence.tags).filter(|tag| tag.starts_with("B-")).count();
    assert_eq!((found, entities), (5_942, 5_942));
    assert_eq!(read.notes, Vec::<String>::new());
}
