//! Labels of words: CoNLL-U and the other formats, malformed ones, and a model that learns them from a file to an answer.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod small;

use polyhead::data::{CONLLU, ConlluSentence, Encoding, Layout, Read, TAGGED_WORDS, TaggedWords};
use polyhead::infer::Session;
use polyhead::recipe::Recipe;
use polyhead::tasks::{AnyTask, Purpose, TASKS};
use polyhead::text::Tokenizer;
use polyhead::train::Event;
use serde_json::{Value, json};
use small::{columns, written};

fn read_as(name: &str, text: &str, layout: &Layout) -> Read<TaggedWords> {
    let (_folder, path) = written(name, text.as_bytes());
    TAGGED_WORDS.read(&path, None, layout).unwrap()
}

fn refusal(name: &str, text: &str, layout: &Layout) -> String {
    let (_folder, path) = written(name, text.as_bytes());
    let error = TAGGED_WORDS.read(&path, None, layout).unwrap_err();
    format!("{error}; hint: {}", error.hint_text().unwrap_or("none"))
}

/// `word/LABEL word/_`.
fn shown(read: &Read<TaggedWords>) -> Vec<String> {
    let sentence = |one: &TaggedWords| {
        let pairs = one.words.iter().zip(&one.tags);
        pairs.map(|(word, tag)| format!("{word}/{}", tag.as_deref().unwrap_or("_"))).collect::<Vec<_>>().join(" ")
    };
    read.examples.iter().map(sentence).collect()
}

/// A file of CoNLL-U: cells of a line are separated by a bar here.
fn conllu(lines: &str) -> String {
    lines.lines().map(|line| line.trim().split(" | ").collect::<Vec<_>>().join("\t") + "\n").collect()
}

/// Words with their heads, everything else left open.
fn headed(words: &[(&str, &str)]) -> String {
    let line = |(at, (word, head)): (usize, &(&str, &str))| {
        let relation = if *head == "_" { "_" } else { "dep" };
        format!("{}\t{word}\t_\t_\t_\t_\t{head}\t{relation}\t_\t_\n", at + 1)
    };
    words.iter().enumerate().map(line).collect::<String>() + "\n"
}

const WHOLE: &str = "\
    # newdoc id = d1
    # sent_id = weblog-7
    # text = Il va au marché (10 000 €), n'est-ce pas?
    1 | Il | il | PRON | _ | Gender=Masc\u{7c}Number=Sing | 2 | nsubj | 2:nsubj | _
    2 | va | aller | VERB | _ | _ | 0 | root | 0:root | _
    3-4 | au | _ | _ | _ | _ | _ | _ | _ | _
    3 | à | à | ADP | _ | _ | 5 | case | _ | _
    4 | le | le | DET | _ | _ | 5 | det | _ | _
    5 | marché | marché | NOUN | _ | _ | 2 | obl | _ | _
    5.1 | va | aller | VERB | _ | _ | _ | _ | 2:conj | _
    6 | ( | ( | PUNCT | _ | _ | 8 | punct | _ | SpaceAfter=No
    7 | 10 000 | 10 000 | NUM | _ | _ | 8 | nummod | _ | _
    8 | € | € | SYM | _ | _ | 2 | parataxis | _ | SpaceAfter=No
    9 | ) | ) | PUNCT | _ | _ | 8 | punct | _ | SpaceAfter=No
    10 | , | , | PUNCT | _ | _ | 2 | punct | _ | _
    11-12 | n'est | _ | _ | _ | _ | _ | _ | _ | SpaceAfter=No
    11 | n' | ne | ADV | _ | _ | 12 | advmod | _ | _
    12 | est | être | VERB | _ | _ | 2 | parataxis | _ | _
    13 | -ce | ce | PRON | _ | _ | 12 | nsubj | _ | _
    14 | pas | pas | ADV | _ | _ | 12 | advmod | _ | SpaceAfter=No
    15 | ? | ? | PUNCT | _ | _ | 2 | punct | _ | _
    ";

fn sentences(text: &str) -> Read<ConlluSentence> {
    let (_folder, path) = written("a.conllu", text.as_bytes());
    CONLLU.read(&path, None, &Layout::default()).unwrap()
}

#[test]
fn a_conllu_sentence_is_read_whole_and_its_words_lie_in_its_text() {
    let file = conllu(WHOLE);
    let read = sentences(&file);
    let [sentence] = read.examples.as_slice() else { panic!("{read:?}") };
    assert_eq!((read.skipped.len(), read.notes.len()), (0, 0), "{read:?}");
    assert!(sentence.place.to_string().ends_with("a.conllu:4"), "{}", sentence.place);
    assert_eq!(sentence.id.as_deref(), Some("weblog-7"));
    let slice = |range: &std::ops::Range<usize>| &sentence.text[range.clone()];
    let words: Vec<(&str, &str)> = sentence.words.iter().map(|word| (&*word.form, slice(&word.bytes))).collect();
    let own = |word| (word, word);
    let expected = [own("Il"), own("va"), ("à", "au"), ("le", "au"), own("marché"), own("("), own("10 000"), own("€")];
    assert_eq!(words[..8], expected);
    assert_eq!(words[8..], [")", ",", "n'", "est", "-ce", "pas", "?"].map(own));
    let tokens: Vec<_> =
        sentence.multiword.iter().map(|one| (&*one.form, one.words.clone(), slice(&one.bytes))).collect();
    assert_eq!(tokens, [("au", 2..4, "au"), ("n'est", 10..12, "n'est")]);
    let first = &sentence.words[0];
    assert_eq!((first.line, first.lemma.as_deref(), first.upos.as_deref()), (4, Some("il"), Some("PRON")));
    assert_eq!((first.xpos.as_deref(), first.feats.as_deref()), (None, Some("Gender=Masc|Number=Sing")));
    assert_eq!((first.head, first.deprel.as_deref()), (Some(2), Some("nsubj")));
    assert_eq!(sentence.words[5].line, 11, "behind an empty node");
    let arcs = sentence.tree().unwrap();
    assert_eq!((arcs[0].head, arcs[0].relation), (Some(1), "nsubj"));
    assert_eq!((arcs[1].head, arcs[1].relation), (None, "root"));

    // Without `# text` the same text is made of the words; a space that the file does not deny stands between them.
    let without: String =
        file.lines().filter(|line| !line.starts_with("# text")).map(|line| format!("{line}\r\n")).collect();
    let again = sentences(&without);
    assert_eq!(again.examples[0].text, sentence.text);
    assert_eq!(
        again.examples[0].words.iter().map(|word| word.bytes.clone()).collect::<Vec<_>>(),
        sentence.words.iter().map(|word| word.bytes.clone()).collect::<Vec<_>>()
    );
    // A text that says something else is not believed, and that is said.
    let other = sentences(&file.replace("# text = Il va", "# text = Elle va"));
    assert_eq!(other.examples[0].text, sentence.text);
    assert!(other.notes[0].contains("whose `# text` differs from their words") && other.notes[0].contains(": 1 ("));
}

#[test]
fn underscores_are_what_nobody_annotated_but_for_the_underscore_itself() {
    let read = sentences("1\t_\t_\tSYM\t_\t_\t_\t_\t_\t_\n2\tx\t_\t_\t_\t_\t_\t_\t_\t_\n");
    let [mark, word] = read.examples[0].words.as_slice() else { panic!("{read:?}") };
    assert_eq!((mark.form.as_str(), mark.lemma.as_deref(), mark.head), ("_", Some("_"), None));
    assert_eq!((word.lemma.as_deref(), word.upos.as_deref(), word.deprel.as_deref()), (None, None, None));
    assert!(!read.examples[0].has_heads());
}

#[test]
fn a_sentence_that_is_no_tree_says_at_which_word() {
    let fault = |words: &[(&str, &str)]| {
        let read = sentences(&headed(words));
        assert!(read.examples[0].has_heads());
        let error = read.examples[0].tree().unwrap_err();
        assert!(error.hint_text().is_some());
        error.to_string()
    };
    for (words, expected) in [
        (&[("a", "2"), ("b", "0"), ("c", "_")][..], "a.conllu:3: expected a HEAD for word 3, `c`; found `_`"),
        (&[("a", "2"), ("b", "0"), ("c", "4")], "a.conllu:3: expected a HEAD from 0 to 3 for word 3, `c`; found 4"),
        (&[("a", "0"), ("b", "2")], "a.conllu:2: expected another word as the HEAD of word 2, `b`"),
        (&[("a", "0"), ("b", "1"), ("c", "0")], "a.conllu:3: expected one root, found a second, word 3, `c`; word 1"),
        (&[("a", "2"), ("b", "1")], "a.conllu:1: expected a root, found a sentence without one"),
        (&[("a", "0"), ("b", "3"), ("c", "4"), ("d", "2")], "found a circle at word 2, `b`"),
    ] {
        let said = fault(words);
        assert!(said.contains(expected), "{said}");
    }
    let relation = "1\ta\t_\t_\t_\t_\t0\t_\t_\t_\n";
    assert!(sentences(relation).examples[0].tree().unwrap_err().to_string().contains("expected a DEPREL for word 1"));
    // Long chains are no circles.
    let chain: Vec<(String, String)> = (0..2_000).map(|at| (format!("w{at}"), at.to_string())).collect();
    let chain: Vec<(&str, &str)> = chain.iter().map(|(word, head)| (word.as_str(), head.as_str())).collect();
    assert_eq!(sentences(&headed(&chain)).examples[0].tree().unwrap().len(), 2_000);
}

#[test]
fn a_line_that_is_none_of_conllu_is_refused_with_its_place_and_a_hint() {
    let good = "1\tAda\t_\tPROPN\t_\t_\t_\t_\t_\t_\n";
    let with = |line: &str| format!("{good}{line}\n");
    for (text, expected) in [
        (String::new(), "a.conllu: expected sentences, found none"),
        ("# sent_id = 1\n\n".to_owned(), "a.conllu: expected sentences, found none"),
        (with("2\tleft\t_\tVERB\t_\t_\t_\t_\t_"), "a.conllu:2: expected the ten columns of CoNLL-U, found 9"),
        (with("2\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected the ten columns of CoNLL-U, found 11"),
        (
            with("2 left _ VERB _ _ _ _ _ _"),
            "found 1: `2 left _ VERB _ _ _ _ _ _`; hint: columns are separated by tabs",
        ),
        (with("3\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected word 2, found the ID `3`"),
        (with("1\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected word 2, found the ID `1`"),
        (with("x\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_"), "expected a number, a range such as 1-2, or an empty node"),
        (with("+2\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_"), "expected a number, a range such as 1-2"),
        (with("2.1\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected the empty node 1.1, found the ID `2.1`"),
        (
            with("3-4\tleft\t_\t_\t_\t_\t_\t_\t_\t_"),
            "a.conllu:2: expected a token of words from 2 on, found the ID `3-4`",
        ),
        (with("2-1\tleft\t_\t_\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected a token of words from 2 on"),
        (
            with("2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_"),
            "a.conllu:3: expected the word 2 of the token before, found the ID `2-3`",
        ),
        (
            with("2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n2\tdo\t_\tAUX\t_\t_\t_\t_\t_\t_"),
            "a.conllu:1: expected words up to 3 for the token `don't`; the sentence ends after 2",
        ),
        ("0.1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n".to_owned(), "a.conllu:1: expected the words of a sentence, found none"),
        (with("2\t\t_\tVERB\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected a value in the column FORM, found none"),
        (with("2\tleft\t_\t\t_\t_\t_\t_\t_\t_"), "a.conllu:2: expected a value in the column UPOS, found none"),
        (
            with("2\tleft\t_\tVERB\t_\t_\tone\t_\t_\t_"),
            "a.conllu:2: expected the ID of a word as HEAD, 0 or `_`; found `one`",
        ),
        (with("2\tleft\t_\tVERB\t_\t_\t-1\t_\t_\t_"), "expected the ID of a word as HEAD, 0 or `_`; found `-1`"),
        (
            "{\"words\": [\"a\"]}\n{\"words\": [\"b\"]}\n".to_owned(),
            "a.conllu:1: expected CoNLL-U; found what looks like JSON Lines",
        ),
        (
            "1\tx\t_\t_\t_\t_\t_\t_\t_\t_\n".to_owned(),
            "a.conllu:1: expected sentences, found none that can be used: none of its words has a value in the column UPOS",
        ),
    ] {
        let said = refusal("a.conllu", &text, &Layout::default());
        assert!(said.contains(expected) && !said.contains("a.conllu:0"), "{expected}: {said}");
    }
    let layout = Layout { encoding: Encoding::Latin1, ..Layout::default() };
    assert!(refusal("a.conllu", good, &layout).contains("encoding: expected none for CoNLL-U, whose files are UTF-8"));
    for (chosen, expected) in [
        (
            "tag=deps",
            "columns.tag: expected a column of CoNLL-U, one of upos, xpos, feats, lemma, deprel; found `deps`",
        ),
        ("tag=1", "columns.tag: expected a column of CoNLL-U"),
        ("tag=upos,word=lemma", "columns.word: expected form, which is column 2 of CoNLL-U; found `lemma`"),
        ("tag=upos,text=form", "columns: expected `tag`, `word`, `sentence`; found `text`"),
        ("word=form", "columns.tag: expected a column"),
    ] {
        let said = refusal("a.conllu", good, &columns(chosen));
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn the_label_of_a_word_is_the_column_that_is_chosen_by_name_or_number() {
    let text = "1\tAda\tAda\tPROPN\tNNP\tNumber=Sing\t2\tnsubj\t_\t_\n\
                2\tleft\tleave\tVERB\tVBD\t_\t0\troot\t_\t_\n\
                3\tx\t_\t_\tFW\t_\t2\tdep\t_\t_\n";
    for (layout, expected) in [
        (Layout::default(), "Ada/PROPN left/VERB x/_"),
        (columns("tag=UPOS"), "Ada/PROPN left/VERB x/_"),
        (columns("tag=4"), "Ada/PROPN left/VERB x/_"),
        (columns("tag=xpos,word=form"), "Ada/NNP left/VBD x/FW"),
        (columns("2,5"), "Ada/NNP left/VBD x/FW"),
        (columns("tag=lemma"), "Ada/Ada left/leave x/_"),
        (columns("tag=deprel"), "Ada/nsubj left/root x/dep"),
    ] {
        assert_eq!(shown(&read_as("a.conllu", text, &layout)), [expected], "{layout:?}");
    }
    // A word that has a part of speech and no features has the label `_`; of the third nothing is known.
    let read = read_as("a.conllu", text, &columns("tag=feats"));
    assert_eq!(read.examples[0].tags, [Some("Number=Sing".into()), Some("_".into()), None]);
}

#[test]
fn every_format_gives_the_same_words() {
    let plain = Layout::default();
    let want = ["They/PRON don't/VERB #/SYM", "Ada/PROPN (/_ left/VERB"];
    let numbers =
        || Layout { tag_names: ["PRON", "VERB", "SYM", "PROPN"].map(str::to_owned).to_vec(), ..Layout::default() };
    for (name, text, layout) in [
        ("a.txt", "They PRON\ndon't VERB\n# SYM\n\nAda PROPN\n( _\nleft VERB\n", &plain),
        (
            "a.conll",
            "# sent_id = 1 of 2\n# newdoc\nThey x PRON\r\ndon't x VERB\r\n# x SYM\r\n\r\n-DOCSTART- -X- O\n\nAda x PROPN\n( x _\nleft x VERB\n\n",
            &plain,
        ),
        (
            "a.tsv",
            "\u{feff}word\tlemma\tupos\nThey\tthey\tPRON\ndon't\t\tVERB\n#\t#\tSYM\n\nAda\tAda\tPROPN\n(\t(\t_\nleft\tleave\tVERB",
            &columns("word=word,tag=upos"),
        ),
        ("a.tsv", "token\ttag\nThey\tPRON\ndon't\tVERB\n#\tSYM\n\nAda\tPROPN\n(\t_\nleft\tVERB", &plain),
        (
            "a.tsv",
            "1\tThey\tPRON\tx\n2\tdon't\tVERB\tx\n3\t#\tSYM\tx\n\n1\tAda\tPROPN\tx\n2\t(\t_\tx\n3\tleft\tVERB\tx",
            &columns("2,3"),
        ),
        ("a.txt", "They 0\ndon't 1\n# 2\n\nAda 3\n( _\nleft VERB\n", &numbers()),
        (
            "a.jsonl",
            "{\"words\": [\"They\", \"don't\", \"#\"], \"tags\": [\"PRON\", \"VERB\", \"SYM\"]}\n\n{\"id\": 2, \"tokens\": [\"Ada\", \"(\", \"left\"], \"upos\": [\"PROPN\", null, \"VERB\"]}\n",
            &plain,
        ),
        (
            "a.jsonl",
            "{\"w\": [\"They\", \"don't\", \"#\"], \"t\": [0, 1, 2]}\n{\"w\": [\"Ada\", \"(\", \"left\"], \"t\": [3, \"_\", \"VERB\"]}\n",
            &Layout { columns: columns("word=w,tag=t").columns, ..numbers() },
        ),
    ] {
        assert_eq!(shown(&read_as(name, text, layout)), want, "{name}: {text}");
        let (_folder, path) = written(name, text.as_bytes());
        let first = TAGGED_WORDS.read(&path, Some(1), layout).unwrap();
        assert_eq!(shown(&first), want[..1], "{name}");
        assert_eq!(TAGGED_WORDS.read(&path, Some(0), layout).unwrap().examples.len(), 0, "{name}");
    }
    let file = "1\tThey\t_\tPRON\t_\t_\t_\t_\t_\t_\n2\tdon't\t_\tVERB\t_\t_\t_\t_\t_\t_\n3\t#\t_\tSYM\t_\t_\t_\t_\t_\t_\n\n\
                1\tAda\t_\tPROPN\t_\t_\t_\t_\t_\t_\n2\t(\t_\t_\t_\t_\t_\t_\t_\t_\n3\tleft\t_\tVERB\t_\t_\t_\t_\t_\t_\n";
    assert_eq!(shown(&read_as("a.conllu", file, &plain)), want);
    let read = read_as("a.tsv", "# of a tool\nform\ttag\nAda\tPROPN\nleft\tVERB\n", &plain);
    assert_eq!(
        read.notes,
        ["line 2 names the columns and was skipped", "lines that are comments (`# ...`) and were skipped: 1"]
    );
    let latin = Layout { encoding: Encoding::Latin1, ..Layout::default() };
    let (_folder, path) = written("a.txt", b"caf\xe9 NOUN\n");
    assert_eq!(shown(&TAGGED_WORDS.read(&path, None, &latin).unwrap()), ["café/NOUN"]);
}

#[test]
fn sentences_without_a_label_are_left_out_with_their_place_and_reason() {
    let plain = Layout::default();
    let read = read_as(
        "a.jsonl",
        "{\"words\": [\"a\"], \"tags\": [null]}\n{\"words\": [], \"tags\": []}\n{\"words\": [\"b\"], \"tags\": [\"X\"], \"note\": 1}\n",
        &plain,
    );
    assert_eq!(shown(&read), ["b/X"]);
    let reasons: Vec<_> = read.skipped.iter().map(|one| (one.place.to_string(), one.reason.as_str())).collect();
    assert!(reasons[0].0.ends_with("a.jsonl:1") && reasons[0].1 == "none of its words has a label", "{reasons:?}");
    assert!(reasons[1].0.ends_with("a.jsonl:2") && reasons[1].1 == "it has no words", "{reasons:?}");
    assert_eq!(read.notes, ["fields that are not used were ignored: `note`"]);
    let read = read_as("a.txt", "a _\n\nb X\n", &plain);
    assert_eq!((shown(&read), read.skipped.len()), (vec!["b/X".to_owned()], 1));
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_its_place_and_what_was_expected() {
    let plain = Layout::default();
    let names = Layout { tag_names: ["NOUN", "VERB"].map(str::to_owned).to_vec(), ..Layout::default() };
    let twice = Layout { tag_names: vec!["NOUN".into(), "NOUN".into()], ..Layout::default() };
    for (name, text, layout, expected) in [
        ("a.txt", "", &plain, &["a.txt: expected sentences, found none"][..]),
        ("a.txt", "Ada PROPN\nleft\n", &plain, &["a.txt:2: expected 2 columns, as on line 1; found 1: `left`"]),
        ("a.txt", "Ada PROPN\nleft VERB x\n", &plain, &["a.txt:2: expected 2 columns", "found 3", "needs tabs"]),
        (
            "a.txt",
            "Ada\nleft\n",
            &plain,
            &["a.txt:1: expected at least two columns, the word and its label; found `Ada`"],
        ),
        ("a.tsv", "\tPROPN\tx\nb\tc\n", &plain, &["a.tsv:1: expected a word, found an empty column"]),
        (
            "a.tsv",
            "a\t\tX\nb\t\t\n",
            &columns("word=1,tag=3"),
            &["a.tsv:2: expected a label, found an empty column", "`_` stands"],
        ),
        ("a.tsv", "\tX\n", &columns("word=1,tag=2"), &["a.tsv:1: expected a word, found an empty column"]),
        ("a.tsv", "a\tX\n", &columns("word=1,tag=3"), &["a.tsv:1: columns.tag: expected one of 2 columns, found 3"]),
        ("a.tsv", "a\tX\n", &columns("tag=1"), &["columns.tag: expected another column than that of the word"]),
        (
            "a.tsv",
            "a\tX\n",
            &columns("word=1,tag=upos"),
            &["a.tsv:1: columns.tag: expected `upos` in the first line, found `a X`"],
        ),
        (
            "a.txt",
            "1 Ada PROPN\n2 left VERB\n",
            &plain,
            &["a.txt:1: expected words in the first column, found an index", "word = 2, tag = 3"],
        ),
        ("a.txt", "Ada PROPN\rleft VERB\r", &plain, &["a.txt:1: expected line ends of the form LF or CRLF"]),
        (
            "a.txt",
            "Ada 0\nleft 2\n",
            &names,
            &["a.txt:2: expected a label from 0 to 1, or a name of `tag_names`; found `2`"],
        ),
        ("a.txt", "Ada 0\n", &twice, &["a.txt: tag_names: expected different names, found `NOUN` twice"]),
        (
            "a.txt",
            "<p>Ada</p>\n",
            &plain,
            &["a.txt:1: expected columns, the word and its label; found what looks like XML"],
        ),
        (
            "a.conll",
            "1\tAda\t_\tPROPN\t_\t_\t_\t_\t_\t_\n",
            &plain,
            &["a.conll:1: ", "looks like CoNLL-U", "extension .conllu"],
        ),
        (
            "a.conll",
            "1\tI\t_\tP\t_\t_\t_\t_\t_\t_\n2-3\tdon't\t_\t_\t_\t_\t_\t_\t_\t_\n",
            &columns("2,4"),
            &["a.conll:2: ", "CoNLL-U"],
        ),
        (
            "a.jsonl",
            "{\"words\": [\"a\"]}",
            &plain,
            &["a.jsonl:1: expected words and their tags", "columns = { word ="],
        ),
        (
            "a.jsonl",
            "{\"words\": [\"a\"], \"tags\": []}",
            &plain,
            &["a.jsonl:1: expected a tag for each of 1 words of `words`, found 0"],
        ),
        (
            "a.jsonl",
            "{\"words\": \"a\", \"tags\": [\"X\"]}",
            &plain,
            &["a.jsonl:1: words: expected a list, found `\"a\"`"],
        ),
        (
            "a.jsonl",
            "{\"words\": [1], \"tags\": [\"X\"]}",
            &plain,
            &["a.jsonl:1: words[0]: expected a word, found `1`"],
        ),
        (
            "a.jsonl",
            "{\"words\": [\"a\"], \"tags\": [[\"X\"]]}",
            &plain,
            &["a.jsonl:1: tags[0]: expected a tag, found `[\"X\"]`"],
        ),
        (
            "a.jsonl",
            "{\"words\": [\"a\"], \"tags\": [\"\"]}",
            &plain,
            &["a.jsonl:1: tags[0]: expected a tag, found an empty text"],
        ),
        ("a.jsonl", "{\"words\": [\"a\"], \"words\": [\"b\"]}", &plain, &["a.jsonl:1:", "duplicate field `words`"]),
        (
            "a.jsonl",
            "{\"words\": [\"a\"], \"tags\": [\"X\"]}",
            &columns("word=1,tag=2"),
            &["columns.word: expected the name of a field, found 1"],
        ),
        (
            "a.xml",
            "<word>a</word>",
            &plain,
            &["expected labelled words as CoNLL-U (.conllu), columns of words and labels"],
        ),
        ("a.conllu.bz2", "x", &plain, &["hint: decompress it first"]),
        ("a.conllu.gz", "x", &plain, &["a.conllu.gz:1: expected the ten columns of CoNLL-U"]),
    ] {
        let said = refusal(name, text, layout);
        assert!(expected.iter().all(|part| said.contains(part)), "{name}: {said}");
    }
    let labels = Layout { label_names: vec!["a".into()], ..Layout::default() };
    assert!(refusal("a.txt", "a X\n", &labels).contains("label_names: expected none for labelled words"));
}

#[cfg(feature = "parquet")]
#[test]
fn tables_of_the_hub_are_read_with_the_names_of_their_classes() {
    let read = |layout: &Layout| TAGGED_WORDS.read(&small::fixture("conll2003.parquet"), None, layout);
    let plain = read(&Layout::default()).unwrap();
    assert_eq!(shown(&plain)[0], "Mara/NNP Okafor/NNP visited/VBD Tromsø/NNP ./.");
    assert_eq!((plain.examples.len(), plain.skipped.len()), (6, 0));
    let chosen = read(&columns("tag=chunk_tags,word=tokens")).unwrap();
    assert_eq!(shown(&chosen)[0], "Mara/B-NP Okafor/I-NP visited/B-VP Tromsø/B-NP ./O");
    assert_eq!(read(&columns("tag=chunk_tags")).unwrap().examples, chosen.examples);
    let refusal = |layout: &Layout| read(layout).unwrap_err().to_string();
    assert!(refusal(&columns("tag=upos")).contains("expected a column `upos` as columns.tag says, found `id, tokens"));
    assert!(refusal(&columns("tag=2")).contains("columns.tag: expected the name of a column, found 2"));
    assert!(refusal(&columns("tag=id")).contains("row 1: expected a list of tags"));
    let other = Layout { tag_names: vec!["A".into(), "B".into()], ..Layout::default() };
    assert!(refusal(&other).contains("expected the tags `A, B` of `tag_names`, found `NNP, VBD"));
    // Numbers without names are labels, or have those of the recipe.
    let file = small::fixture("parquet/uint64.parquet");
    let numbers = TAGGED_WORDS.read(&file, None, &columns("tag=ner_tags")).unwrap();
    assert!(numbers.examples[0].tags.iter().flatten().all(|tag| tag.parse::<u8>().is_ok()), "{numbers:?}");
    let texts = TAGGED_WORDS.read(&small::fixture("parquet/texts.parquet"), None, &Layout::default());
    assert!(texts.unwrap_err().to_string().contains("expected a column of lists for the word (words, tokens"));
}

fn open(config: Value) -> Box<dyn AnyTask> {
    (TASKS.iter().find(|kind| kind.kind == "tag").unwrap().open)(config).unwrap()
}

fn examples(task: &dyn AnyTask, text: &str) -> polyhead::tasks::Examples {
    let (_folder, path) = written("a.txt", text.as_bytes());
    task.read(&path, None, &Layout::default()).unwrap()
}

/// What is made of data before any model.
#[test]
fn labels_are_those_of_the_training_data_and_others_are_counted_as_wrong_unless_none_is_known() {
    let mut task = open(json!({}));
    let train = examples(&*task, "Ada PROPN\nleft VERB\n( _\n\nParis PROPN\n");
    task.prepare(&train).unwrap();
    assert_eq!(task.labels(), ["PROPN", "VERB"]);
    let rows = task.distribution(&train).unwrap();
    let rows: Vec<(&str, usize)> = rows.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let want = [("words", 4), ("words without a label", 1), ("different labels", 2), ("  PROPN", 2), ("  VERB", 1)];
    assert_eq!(rows, want);
    let tokenizer = Tokenizer::load(&small::fixture("tiny-bert").join("tokenizer.json")).unwrap();
    let mut some = examples(&*task, "she PRON\nleft VERB\n");
    task.check(&some).unwrap();
    let notes = task.review(&mut some, &tokenizer, Purpose::Predict).unwrap();
    assert!(
        notes[0].starts_with("1 word with a label that training did not have (the first: `PRON`, in "),
        "{notes:?}"
    );
    let none = task.check(&examples(&*task, "she PRP\nleft VBD\n")).unwrap_err();
    assert!(none.to_string().contains("a.txt:1: expected one of the labels PROPN, VERB; found `PRP`"), "{none}");
    let alone = task.learnable(&examples(&*task, "a PROPN\nb PROPN\n")).unwrap_err().to_string();
    assert!(alone.contains("a.txt:1: expected at least two labels to train on, found `PROPN` alone"), "{alone}");
    // Labels of a recipe are all that there is.
    let given = open(json!({ "labels": ["NOUN", "VERB"] }));
    let error = given.learnable(&train).unwrap_err();
    assert!(error.to_string().contains("expected one of the labels NOUN, VERB; found `PROPN`"), "{error}");
    let kind = TASKS.iter().find(|kind| kind.kind == "tag").unwrap();
    for (config, expected) in [
        (json!({ "labels": ["A", "A"] }), "labels: expected different labels, found `A` twice"),
        (json!({ "stride": 126 }), "stride: expected at most max_length - 3 = 125, found 126"),
        (json!({ "dropout": 1.0 }), "dropout: expected a rate from 0 up to 1, found 1"),
    ] {
        assert!((kind.open)(config).map(|_| ()).unwrap_err().to_string().contains(expected));
    }
    // Of many labels the most frequent are listed.
    let many: String = (0..60).flat_map(|at| vec![format!("w L{at:02}\n"); 1 + at % 7]).collect();
    let rows = task.distribution(&examples(&*task, &many)).unwrap();
    assert_eq!(rows.len(), 2 + 50 + 1);
    assert_eq!(rows[2], ("  L06".to_owned(), 7));
    let listed: usize = rows[2..].iter().map(|(_, count)| count).sum();
    assert_eq!(listed, rows[0].1);
}

#[test]
fn words_without_a_label_give_no_target_and_truncation_counts_the_labels_that_it_loses() {
    let tokenizer = Tokenizer::load(&small::fixture("tiny-bert").join("tokenizer.json")).unwrap();
    let encoded = |config: Value, text: &str| {
        let mut task = open(config);
        let train = examples(&*task, text);
        task.prepare(&train).unwrap();
        task.features(&train, 0, &tokenizer, Purpose::Train).unwrap()
    };
    let text = "ada A\nwas _\nin B\nlondon _\n";
    let windows = encoded(json!({}), text).windows;
    assert_eq!(windows.iter().map(|window| window.targets.count()).sum::<usize>(), 2);
    let long: String = (0..20).map(|at| if at % 2 == 0 { "ada A\n" } else { "was _\n" }).collect();
    let cut = encoded(json!({ "max_length": 12, "stride": 2, "truncate": true }), &long);
    assert_eq!((cut.windows.len(), cut.lost_tokens, cut.truncated_answers), (1, 10, 5));
    let whole = encoded(json!({ "max_length": 12, "stride": 2 }), &long);
    assert_eq!((whole.lost_tokens, whole.truncated_answers), (0, 0));
    assert_eq!(whole.windows.iter().map(|window| window.targets.count()).sum::<usize>(), 10);
}

#[test]
fn a_model_learns_the_labels_of_words_and_answers_scores_and_reports_them() {
    let folder = tempfile::tempdir().unwrap();
    let kind = small::kind("tag");
    let train = small::write_data(kind, "train", &(0..48).map(|at| 6 + at % 9).collect::<Vec<_>>(), folder.path());
    // Six right labels, one that nobody gave, one that training never had.
    let validation = folder.path().join("validation.txt");
    std::fs::write(&validation, "the DET\nqueen NOUN\nof DET\nlondon PROPN\nwas AUX\nriver _\n\nmary PROPN\nwar NUM\n")
        .unwrap();
    let text = format!(
        "name = 'words'\noutput = {:?}\nencoder = {{ checkpoint = {:?}, dropout = 0.0, attention_dropout = 0.0 }}\n\
         train = {{ epochs = 30, learning_rate = 3e-3, feature_cache = false, precision = 'f32' }}\n\
         tasks.pos = {{ kind = 'tag', max_length = 48, stride = 12, dropout = 0.0, batch_size = 8 }}\n\
         data.pos = {{ train = {train:?}, validation = {validation:?} }}\n",
        folder.path().join("runs"),
        small::fixture("tiny-bert"),
    );
    let events = small::train(Recipe::parse(&text, &folder.path().join("words.toml"), &[]).unwrap());
    let Some(Event::Finished(end)) = events.last() else { panic!("the end comes last") };
    let session = Session::open(&end.model).unwrap();
    let task = session.model.task("pos").unwrap();
    assert_eq!(task.task.labels(), ["AUX", "DET", "NOUN", "PROPN"]);
    let request = json!({ "text": "the queen of london", "offset_unit": "byte" });
    let answer = session.ask("pos", &request).unwrap();
    let found: Vec<Value> = answer["entities"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["type"], one["start"], one["end"]]))
        .collect();
    assert_eq!(json!(found), json!([["DET", 0, 3], ["NOUN", 4, 9], ["DET", 10, 12], ["PROPN", 13, 19]]), "{answer}");
    assert_eq!(session.ask("pos", &json!({ "words": ["the", "queen"] })).unwrap()["entities"][1]["type"], "NOUN");

    let mut records = Vec::new();
    let evaluation = session
        .evaluate("pos", std::slice::from_ref(&validation), None, &Layout::default(), &mut |answer, _| {
            records.push(answer)
        })
        .unwrap();
    let score = evaluation.score;
    assert_eq!(score.headline, "accuracy");
    assert!((score.headline_value() - 600.0 / 7.0).abs() < 1e-9, "six of seven labelled words: {score:?}");
    // scikit-learn, of these seven pairs: macro over AUX, DET, NOUN, NUM and PROPN.
    assert!((score.get("macro_recall").unwrap() - 80.0).abs() < 1e-9, "{score:?}");
    let support: Vec<(&str, usize)> = score.types.iter().map(|one| (one.name.as_str(), one.support)).collect();
    assert_eq!(support, [("AUX", 1), ("DET", 2), ("NOUN", 1), ("PROPN", 2), ("NUM", 1)]);
    assert_eq!(records[0]["gold_tags"], json!(["DET", "NOUN", "DET", "PROPN", "AUX", null]));
    assert_eq!(records[0]["tags"][4], "AUX");

    // A report says which words training never saw.
    let items = task.task.read(&validation, None, &Layout::default()).unwrap();
    let read = || task.task.read(&train, None, &Layout::default()).map_err(|error| error.to_string());
    let analysis = session.model.run(task, |task, runner| task.analyse(&items, &read, runner)).unwrap();
    assert_eq!(analysis.score, score);
    let said = format!("{:?}", analysis.blocks);
    for part in [
        "Which label is taken for which",
        "mary [war]",
        "Sentences with most errors",
        "never seen",
        "seen, with other labels only",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let gone = || Err("It is gone.".to_owned());
    let analysis = session.model.run(task, |task, runner| task.analyse(&items, &gone, runner)).unwrap();
    assert!(format!("{:?}", analysis.blocks).contains("A comparison with the training examples. It is gone."));
}
