//! Labelled texts from every format that holds them, and what is said of files that do not.

#![allow(clippy::unwrap_used)]

mod small;

use polyhead::data::{Encoding, LabelForm, LabelledText, Layout, Read, TEXTS};
use polyhead::tasks::TASKS;
use serde_json::json;
use small::{columns, written};

fn read_as(name: &str, text: &str, layout: &Layout) -> Read<LabelledText> {
    let (_folder, path) = written(name, text.as_bytes());
    TEXTS.read(&path, None, layout).unwrap()
}

/// `label: text` or `label: text / text_pair`.
fn shown(read: &Read<LabelledText>) -> Vec<String> {
    let pair = |example: &LabelledText| example.text_pair.as_ref().map_or(String::new(), |text| format!(" / {text}"));
    read.examples.iter().map(|example| format!("{}: {}{}", example.label, example.text, pair(example))).collect()
}

#[test]
fn every_format_gives_the_same_texts() {
    let plain = Layout::default();
    let want = ["good: a \"fine\", warm film", "bad: dull"];
    for (name, text, layout) in [
        ("a.txt", "good a \"fine\", warm film\n\nbad\tdull\r\n", &plain),
        ("a.label", "__label__good a \"fine\", warm film\n__label__bad dull", &plain),
        ("a.csv", "\u{feff}id,Sentence,label\n1,\"a \"\"fine\"\", warm film\",good\n2,dull,bad\n", &plain),
        ("a.csv", "good,\"a \"\"fine\"\", warm film\"\nbad,dull\n", &columns("text=2,label=1")),
        ("a.csv", "label,text\ngood,\"a \"\"fine\"\", warm film\"\nbad,dull\n", &columns("text=2,label=1")),
        ("a.csv", "text;label\n\"a \"\"fine\"\", warm film\";good\ndull;bad\n", &plain),
        ("a.csv", "id\tlabel\ttext\n1\tgood\t\"a \"\"fine\"\", warm film\"\n2\tbad\tdull\n", &plain),
        ("a.csv", "kind,body\ngood,\"a \"\"fine\"\", warm film\"\nbad,dull\n", &columns("text=body,label=kind")),
        ("a.tsv", "text\tlabel\na \"fine\", warm film\tgood\ndull\tbad\n", &plain),
        (
            "a.jsonl",
            "{\"text\": \"a \\\"fine\\\", warm film\", \"label\": \"good\"}\n{\"label\": \"bad\", \"text\": \"dull\"}",
            &plain,
        ),
        (
            "a.jsonl",
            "{\"body\": \"a \\\"fine\\\", warm film\", \"kind\": \"good\", \"text\": 1}\n{\"kind\": \"bad\", \"body\": \"dull\"}",
            &columns("text=body,label=kind"),
        ),
    ] {
        assert_eq!(shown(&read_as(name, text, layout)), want, "{name}: {text}");
    }
}

#[test]
fn pairs_numbers_and_line_ends_in_cells_are_read() {
    let plain = Layout::default();
    let read = read_as("a.csv", "premise,hypothesis,label\n\"one\ntwo\",three,0\n", &plain);
    assert_eq!(shown(&read), ["0: one\ntwo / three"]);
    let read = read_as("a.jsonl", "{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": 1, \"idx\": 7}", &plain);
    assert_eq!(shown(&read), ["1: a / b"]);
    assert_eq!(read.notes, ["fields that are not used were ignored: `idx`"]);
    let read = read_as("a.csv", "text;label\n\"one; two\";x\n3,5 km;y\n", &plain);
    assert_eq!(shown(&read), ["x: one; two", "y: 3,5 km"]);
    assert_eq!(read.notes, ["the values are separated by semicolons, as the first row has no comma"]);
    let latin = Layout { encoding: Encoding::Latin1, ..Layout::default() };
    let (_folder, path) = written("a.txt", b"DESC:def What is caf\xe9 ?\n");
    assert_eq!(shown(&TEXTS.read(&path, None, &latin).unwrap()), ["DESC:def: What is café ?"]);
    assert_eq!(TEXTS.read(&path, Some(0), &latin).unwrap().examples.len(), 0);
}

#[test]
fn what_has_no_text_or_no_label_is_left_out_with_its_place_and_reason() {
    let read = read_as("a.csv", "text,label\n ,x\na,\nb,y\n", &Layout::default());
    assert_eq!(shown(&read), ["y: b"]);
    let reasons: Vec<_> = read.skipped.iter().map(|one| (one.place.to_string(), one.reason.clone())).collect();
    assert!(reasons[0].0.ends_with("a.csv:2") && reasons[0].1 == "its text is blank", "{reasons:?}");
    assert!(reasons[1].0.ends_with("a.csv:3") && reasons[1].1 == "it has no label", "{reasons:?}");
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_its_place_and_what_was_expected() {
    let plain = Layout::default();
    let latin = Layout { encoding: Encoding::Latin1, ..Layout::default() };
    for (name, text, layout, expected) in [
        ("a.txt", "good film\nbad\n", &plain, &["a.txt:2: expected a label, a space and a text; found `bad`"][..]),
        ("a.txt", "good film\n", &columns("text=1,label=2"), &["a.txt: columns: expected a file with columns"]),
        ("a.csv", "a,b\nc,d\n", &plain, &["a.csv:1: expected a first line with the name", "found `a, b`"]),
        ("a.csv", "text,label\na\n", &plain, &["a.csv:2: expected 2 columns, as in the first line; found 1"]),
        ("a.csv", "text,label\n\"a,b\n", &plain, &["a.csv:2: expected the end of a quoted cell"]),
        (
            "a.csv",
            "text,label\na,b\n",
            &columns("text=3,label=1"),
            &["a.csv:1: columns.text: expected one of 2 columns"],
        ),
        ("a.csv", "text,label\na,b\n", &columns("text=x,label=1"), &["columns.text: expected `x` in the first line"]),
        (
            "a.csv",
            "text,label\na,b\n",
            &columns("1,2"),
            &["a.csv: columns: expected `text`, `label`, `text_pair`; found"],
        ),
        ("a.csv", "text,label\na,b\n", &columns("text=1"), &["a.csv: columns.label: expected a column"]),
        ("a.csv", "text,label\n", &plain, &["a.csv: expected labelled texts, found none"]),
        ("a.csv", "text,label\n,x\n", &plain, &["a.csv:2: expected labelled texts", "its text is blank"]),
        ("a.jsonl", "{\"text\": \"a\"}", &plain, &["a.jsonl:1: expected a text and its label"]),
        ("a.jsonl", "{\"text\": 5, \"label\": 1}", &plain, &["a.jsonl:1: text: expected a text, found `5`"]),
        ("a.jsonl", "{\"text\": \"a\", \"text\": \"b\"}", &plain, &["a.jsonl:1:", "duplicate field `text`"]),
        ("a.jsonl", "{}", &latin, &["a.jsonl: encoding: expected none for JSON Lines"]),
        (
            "a.conll",
            "Ada B-PER\n",
            &plain,
            &["expected labelled texts as lines", "CoNLL columns, which holds no labelled"],
        ),
    ] {
        let (_folder, path) = written(name, text.as_bytes());
        let said = TEXTS.read(&path, None, layout).unwrap_err().to_string();
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    }
    let (_folder, path) = written("a.txt", b"DESC What is caf\xe9 ?\n");
    let error = TEXTS.read(&path, None, &plain).unwrap_err();
    assert!(error.to_string().contains("a.txt:1:17: expected UTF-8 text, found the byte 0xE9"), "{error}");
}

/// What a classifier makes of a file, before any model: labels, and what is wrong with data.
#[test]
fn a_classifier_learns_its_labels_and_refuses_data_that_do_not_fit() {
    let open = |config| (TASKS.iter().find(|kind| kind.kind == "classify").unwrap().open)(config).unwrap();
    let read = |name: &str, text: &str, task: &dyn polyhead::tasks::AnyTask| {
        let (_folder, path) = written(name, text.as_bytes());
        task.read(&path, None, &Layout::default()).unwrap()
    };
    let mut coarse = open(json!({ "label_until": ":" }));
    let train = read("a.txt", "LOC:city Where ?\nHUM:ind Who ?\nLOC:other Whither ?\n", &*coarse);
    coarse.prepare(&train).unwrap();
    assert_eq!(coarse.labels(), ["HUM", "LOC"]);
    assert_eq!(coarse.fields().len(), 1);
    let unknown = coarse.check(&read("b.txt", "NUM:count How many ?\n", &*coarse)).unwrap_err().to_string();
    assert!(unknown.contains("b.txt:1: expected one of the labels HUM, LOC, found `NUM`"), "{unknown}");
    let pair = read("b.csv", "text,text_pair,label\na,b,LOC\n", &*coarse);
    let said = coarse.check(&pair).unwrap_err().to_string();
    assert!(said.contains("b.csv:2: expected one text, found a pair of texts"), "{said}");
    let single = coarse.learnable(&read("c.txt", "LOC a\nLOC b\n", &*coarse)).unwrap_err().to_string();
    assert!(single.contains("c.txt:1: expected at least two labels to train on, found `LOC` alone in 2"), "{single}");

    let mut pairs = open(json!({}));
    pairs.prepare(&read("a.csv", "text,text_pair,label\na,b,1\nc,d,0\n", &*pairs)).unwrap();
    assert_eq!(pairs.labels(), ["0", "1"]);
    assert_eq!(pairs.fields().iter().map(|field| field.name).collect::<Vec<_>>(), ["text", "text_pair"]);
    assert!(pairs.check(&read("b.txt", "1 one text\n", &*pairs)).is_err());
    assert_eq!(pairs.config()["inputs"], "pair", "what was learnt is kept with the model");
}

#[test]
fn class_numbers_have_the_names_that_the_recipe_gives_and_others_are_refused() {
    let layout = Layout { label_names: ["neg", "pos"].map(str::to_owned).to_vec(), ..Layout::default() };
    for (name, text) in [
        ("a.txt", "1 warm film\n0 dull\npos warm\n"),
        ("a.csv", "text,label\nwarm film,1\ndull,0\nwarm,pos\n"),
        (
            "a.jsonl",
            "{\"text\": \"warm film\", \"label\": 1}\n{\"text\": \"dull\", \"label\": 0}\n{\"text\": \"warm\", \"label\": \"pos\"}",
        ),
    ] {
        assert_eq!(shown(&read_as(name, text, &layout)), ["pos: warm film", "neg: dull", "pos: warm"], "{name}");
    }
    let refusal = |name: &str, text: &str, layout: &Layout| {
        let (_folder, path) = written(name, text.as_bytes());
        TEXTS.read(&path, None, layout).unwrap_err().to_string()
    };
    let error = refusal("a.txt", "0 dull\n2 warm\n", &layout);
    assert!(error.contains("a.txt:2: expected a label from 0 to 1, or a name of `label_names`; found `2`"), "{error}");
    let twice = Layout { label_names: vec!["a".into(), "a".into()], ..Layout::default() };
    assert!(refusal("a.txt", "0 dull\n", &twice).contains("label_names: expected different names, found `a`"));
    let tags = Layout { tag_names: vec!["O".into()], ..Layout::default() };
    assert!(refusal("a.txt", "0 dull\n", &tags).contains("tag_names: expected none for labelled texts"));
}

#[cfg(feature = "parquet")]
#[test]
fn tables_of_the_hub_are_read_with_the_names_of_their_classes() {
    let file = |name: &str| {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/parquet/{name}.parquet"))
    };
    let read = |name: &str, layout: &Layout| TEXTS.read(&file(name), None, layout);
    let plain = Layout::default();
    let texts = read("texts", &plain).unwrap();
    let want = [
        "positive: The second act was worth the whole evening.",
        "negative: Zwei Stunden Gähnen, und die Café-Szene war zu laut.",
        "negative: Nobody left early.",
    ];
    assert_eq!(shown(&texts), want);
    assert_eq!((texts.skipped.len(), texts.skipped[0].reason.as_str()), (1, "it has no label"));
    assert!(texts.skipped[0].place.to_string().ends_with("texts.parquet: row 4"), "{}", texts.skipped[0].place);
    assert_eq!(TEXTS.read(&file("texts"), Some(1), &plain).unwrap().examples.len(), 1);
    // Without names in the file, numbers are labels, or have those of the recipe.
    let pairs = read("text_pairs", &plain).unwrap();
    assert_eq!(shown(&pairs)[0], "1: The second act was worth the whole evening. / The evening was not wasted.");
    let named = |names: [&str; 2]| Layout { label_names: names.map(str::to_owned).to_vec(), ..Layout::default() };
    assert!(shown(&read("text_pairs", &named(["no", "yes"])).unwrap())[0].starts_with("yes: "));
    let error = read("texts", &named(["no", "yes"])).unwrap_err().to_string();
    assert!(error.contains("expected the labels `no, yes` of `label_names`, found `negative, positive`"), "{error}");
    let error = read("bodies", &plain).unwrap_err().to_string();
    assert!(error.contains("expected a column for the text (text, sentence"), "{error}");
    assert_eq!(shown(&read("bodies", &columns("text=body,label=topic")).unwrap()), want);
    let error = read("bodies", &columns("text=body,label=class")).unwrap_err().to_string();
    assert!(error.contains("expected a column `class` as columns.label says, found `topic, body`"), "{error}");
}

fn form(label_form: LabelForm) -> Layout {
    Layout { label_form, ..Layout::default() }
}

fn separated(separator: &str) -> Layout {
    Layout { label_separator: Some(separator.into()), ..form(LabelForm::Set) }
}

#[test]
fn every_format_gives_the_same_sets_of_labels() {
    let plain = form(LabelForm::Set);
    let want = ["fear, anger: a dark, long night", ": nothing at all", "joy: morning"];
    let mut named = columns("text=body,label=kinds");
    named.label_form = LabelForm::Set;
    let numbered = Layout { label_names: ["fear", "anger", "joy"].map(str::to_owned).to_vec(), ..form(LabelForm::Set) };
    for (name, text, layout) in [
        (
            "a.jsonl",
            "{\"text\": \"a dark, long night\", \"labels\": [\"fear\", \" anger\", \"fear\"]}\n{\"text\": \"nothing at all\", \"labels\": []}\n\
             {\"text\": \"morning\", \"labels\": \"joy\"}",
            &plain,
        ),
        (
            "a.jsonl",
            "{\"body\": \"a dark, long night\", \"kinds\": [\"fear\", \"anger\"]}\n{\"body\": \"nothing at all\", \"kinds\": []}\n\
             {\"body\": \"morning\", \"kinds\": [\"joy\"], \"label\": 1}",
            &named,
        ),
        (
            "a.jsonl",
            "{\"text\": \"a dark, long night\", \"label\": [0, 1]}\n{\"text\": \"nothing at all\", \"label\": []}\n\
             {\"text\": \"morning\", \"label\": 2}",
            &numbered,
        ),
        ("a.csv", "text,labels\n\"a dark, long night\",fear | anger\nnothing at all,\nmorning,joy\n", &separated("|")),
        ("a.csv", "label,text,label\nfear,\"a dark, long night\",anger\n,nothing at all,\n,morning,joy\n", &plain),
        (
            "a.tsv",
            "text\tlabels\na dark, long night\tfear;anger;fear\nnothing at all\t\nmorning\tjoy\n",
            &separated(";"),
        ),
        ("a.txt", "fear,anger a dark, long night\n\tnothing at all\njoy morning\n", &separated(",")),
        ("a.txt", "__label__fear __label__anger a dark, long night\n\tnothing at all\n__label__joy morning\n", &plain),
    ] {
        let read = read_as(name, text, layout);
        assert_eq!(shown(&read), want, "{name}: {text}");
        assert!(read.skipped.is_empty(), "{name}: {:?}", read.skipped);
    }
    // What says nothing is left out; what is there says which line that was.
    let read = read_as(
        "a.jsonl",
        "{\"text\": \"a\"}\n{\"text\": \"b\", \"labels\": null}\n{\"text\": \"c\", \"labels\": []}",
        &plain,
    );
    assert_eq!(shown(&read), [": c"]);
    let reasons: Vec<_> = read.skipped.iter().map(|one| (one.place.to_string(), one.reason.as_str())).collect();
    assert!(reasons[0].0.ends_with("a.jsonl:1") && reasons[1].0.ends_with("a.jsonl:2"), "{reasons:?}");
    assert!(reasons.iter().all(|(_, reason)| *reason == "it has no label"), "{reasons:?}");
}

#[test]
fn every_format_gives_the_same_numbers() {
    let plain = form(LabelForm::Number);
    for (name, text) in [
        (
            "a.jsonl",
            "{\"sentence1\": \"warm\", \"sentence2\": \"hot\", \"label\": 3.75}\n{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": -1}\n\
             {\"sentence1\": \"c\", \"sentence2\": \"d\", \"label\": \"2e1\"}\n{\"sentence1\": \"e\", \"sentence2\": \"f\", \"label\": null}",
        ),
        ("a.csv", "sentence1,sentence2,label\nwarm,hot, 3.75\na,b,-1\nc,d,20\ne,f,\n"),
        ("a.tsv", "sentence1\tsentence2\tlabel\nwarm\thot\t3.75\na\tb\t-1.0\nc\td\t20\ne\tf\t\n"),
    ] {
        let read = read_as(name, text, &plain);
        assert_eq!(shown(&read), ["3.75: warm / hot", "-1: a / b", "20: c / d"], "{name}");
        assert_eq!(read.skipped.len(), 1, "{name}");
    }
    assert_eq!(shown(&read_as("a.txt", "3.5 a warm film\n-2 dull\n", &plain)), ["3.5: a warm film", "-2: dull"]);
}

#[test]
fn labels_of_another_form_are_refused_with_their_place_and_what_was_expected() {
    let (name, set, number) = (form(LabelForm::Name), form(LabelForm::Set), form(LabelForm::Number));
    let numbered = Layout { label_names: vec!["a".into()], ..form(LabelForm::Set) };
    for (file, text, layout, expected) in [
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": [\"x\", \"y\"]}",
            &name,
            &["a.jsonl:1: expected one label, found `x, y`"][..],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": []}",
            &name,
            &["a.jsonl:1: expected one label, found an empty list"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": {\"x\": 1}}",
            &set,
            &["a.jsonl:1: labels: expected a label or a list of labels"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": [0.0, 1.0]}",
            &set,
            &["a.jsonl:1: labels: expected a list of names or of whole numbers, found `[0.0,1.0]`"],
        ),
        ("a.jsonl", "{\"text\": \"a\", \"labels\": [[\"x\"]]}", &set, &["a.jsonl:1: labels: expected a list of names"]),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": [\"x\", null]}",
            &set,
            &["a.jsonl:1: labels: expected a list of names"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": [\"x\", \" \"]}",
            &set,
            &["a.jsonl:1: expected names of labels, found a blank one in `x,  `"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"labels\": [0, 1]}",
            &numbered,
            &["a.jsonl:1: expected a label from 0 to 0, or a name of `label_names`; found `1`"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\"}\n{\"text\": \"b\"}",
            &set,
            &["a.jsonl:1: expected a text and its label, found only `text`"],
        ),
        ("a.jsonl", "{\"labels\": [\"x\"]}", &set, &["a.jsonl:1: expected a text and its label, found only"]),
        (
            "a.csv",
            "text,labels\na,x\nb,\"x,,y\"\n",
            &separated(","),
            &["a.csv:3: expected names of labels, found a blank one in `x,,y`"],
        ),
        ("a.csv", "text,label,label\na,x\n", &set, &["a.csv:2: expected 3 columns, as in the first line; found 2"]),
        (
            "a.csv",
            "text,label\na,x\n",
            &Layout { label_separator: Some(",".into()), ..Layout::default() },
            &["a.csv: label_separator: expected none where a text has one label, found `,`"],
        ),
        (
            "a.csv",
            "text,label\na,x\n",
            &separated(""),
            &["a.csv: label_separator: expected what stands between labels"],
        ),
        ("a.csv", "text,label\na,3\nb,good\n", &number, &["a.csv:3: expected a number as the label, found `good`"]),
        ("a.csv", "text,label\na,nan\n", &number, &["a.csv:2: expected a number as the label, found `nan`"]),
        ("a.csv", "text,label\na,-inf\n", &number, &["a.csv:2: expected a number as the label, found `-inf`"]),
        ("a.csv", "text,label\na,1e39\n", &number, &["a.csv:2: expected a number below 3.4e38, found `1e39`"]),
        ("a.csv", "text,label\na,\"3,5\"\n", &number, &["a.csv:2: expected a number as the label, found `3,5`"]),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": true}",
            &number,
            &["a.jsonl:1: expected a number as the label, found `true`"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": [3.5]}",
            &number,
            &["a.jsonl:1: label: expected a list of names or of whole numbers"],
        ),
        (
            "a.jsonl",
            "{\"text\": \"a\", \"label\": [3]}",
            &number,
            &["a.jsonl:1: expected a number as the label, found the list `3`"],
        ),
        ("a.jsonl", "{\"text\": \"a\", \"label\": NaN}", &number, &["a.jsonl:1:"]),
        ("a.txt", "good a warm film\n", &number, &["a.txt:1: expected a number as the label, found `good`"]),
        (
            "a.csv",
            "text,label\na,3\n",
            &Layout { label_names: vec!["x".into()], ..number.clone() },
            &["a.csv: label_names: expected none where labels are numbers"],
        ),
    ] {
        let (_folder, path) = written(file, text.as_bytes());
        let said = TEXTS.read(&path, None, layout).unwrap_err();
        assert!(expected.iter().all(|part| said.to_string().contains(part)), "{text}: {said}");
        assert!(said.to_string().len() < 300, "{said}");
    }
    let (_folder, path) = written("a.csv", b"text,label\na,\"3,5\"\n");
    assert!(TEXTS.read(&path, None, &number).unwrap_err().hint_text().unwrap().contains("decimal point"));
}

#[cfg(feature = "parquet")]
#[test]
fn tables_of_lists_and_of_numbers_are_read() {
    let file = |name: &str| {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/parquet/{name}.parquet"))
    };
    // Class numbers with the names that the file gives them, and a row without any.
    let read = TEXTS.read(&file("label_lists"), None, &form(LabelForm::Set)).unwrap();
    assert_eq!(
        shown(&read),
        ["anger, fear: The second act was loud.", ": Nobody left early.", "joy: The morning was bright."]
    );
    assert_eq!((read.skipped.len(), read.skipped[0].reason.as_str()), (1, "it has no label"));
    let error = TEXTS.read(&file("label_lists"), None, &Layout::default()).unwrap_err().to_string();
    assert!(error.contains("label_lists.parquet: row 1: expected one label, found `0, 1`"), "{error}");
    let read = TEXTS.read(&file("similarities"), None, &form(LabelForm::Number)).unwrap();
    assert_eq!(shown(&read), ["3.75: A man sings. / A man is singing.", "-1: A cat sleeps. / Stocks fell."]);
    assert_eq!(read.skipped.len(), 1);
    let error = TEXTS.read(&file("similarities"), None, &Layout::default()).unwrap_err().to_string();
    assert!(error.contains("a label as `label`: a name or a whole number"), "{error}");
}
