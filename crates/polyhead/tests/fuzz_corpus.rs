//! Every input that fuzzing is kept for, read again: real files, what reached new code, and what once failed.
//!
//! The targets, with what each holds its reader to, are in `fuzz/targets/library.rs`; `fuzz/run.sh` makes new inputs.

#![allow(clippy::unwrap_used)]

#[path = "../../../fuzz/targets/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/targets/library.rs"]
mod library;

#[test]
fn no_input_in_the_corpus_breaks_a_promise_of_its_reader() {
    library::TARGETS.iter().for_each(|(name, target)| corpus::replay(name, *target));
}

#[test]
fn real_inputs_are_read_and_not_only_refused() {
    let path = corpus::folder;
    use polyhead::data::{CONLLU, Layout, RELATIONS, TAGGED_WORDS, TEXTS, read_questions, read_sentences};
    let sentences = |name: &str| read_sentences(&path(name), None, &Layout::default()).unwrap().examples.len();
    let questions = |name: &str| read_questions(&path(name), None, &Layout::default()).unwrap().examples.len();
    let texts = |name: &str| TEXTS.read(&path(name), None, &Layout::default()).unwrap().examples.len();
    assert_eq!((texts("texts/table.csv"), texts("texts/table.tsv")), (2, 2));
    let words = |name: &str| TAGGED_WORDS.read(&path(name), None, &Layout::default()).unwrap().examples.len();
    assert_eq!((words("words/sentences.conllu"), words("words/columns.conll"), words("words/rows.jsonl")), (2, 2, 2));
    let whole = CONLLU.read(&path("words/sentences.conllu"), None, &Layout::default()).unwrap().examples;
    assert!(whole.iter().all(|sentence| sentence.tree().is_ok()));
    let relations = |name: &str| RELATIONS.read(&path(name), None, &Layout::default()).unwrap().examples.len();
    let found = ["four-lines.txt", "offsets.jsonl", "entities.jsonl", "marks.csv"];
    assert_eq!(found.map(|name| relations(&format!("relations/{name}"))), [2, 2, 2, 1]);
    assert_eq!(sentences("conll/columns.txt"), 2);
    let found = ["doccano.jsonl", "spacy.json", "label_studio.json", "prodigy.jsonl", "words.csv", "sentences.csv"];
    assert_eq!(found.map(|name| sentences(&format!("annotated/{name}"))), [2, 2, 1, 1, 2, 2]);
    assert_eq!(sentences("jsonl/sentences.jsonl"), 2);
    assert_eq!(questions("squad/unanswered.json"), 2);
    assert_eq!(questions("jsonl/questions.jsonl"), 3);
    assert!(sentences("parquet/conll2003.parquet") > 0 && questions("parquet/squad.parquet") > 0);
    for name in ["quickstart", "report", "tables"] {
        let recipe = polyhead::recipe::Recipe::read(&path(&format!("recipe/{name}.toml")), &[]).unwrap();
        assert_eq!(recipe.tasks().unwrap().len(), 2, "{name}");
    }
    for name in ["tiny", "wordpiece", "bpe", "unigram", "wordlevel"] {
        let tokenizer = polyhead::text::Tokenizer::load(&path(&format!("tokenizer/{name}.json"))).unwrap();
        assert!(!tokenizer.text("ab").unwrap().is_empty(), "{name}");
    }
    for name in ["f32", "halves", "empty"] {
        let file = path(&format!("safetensors/{name}"));
        let (naming, heads) = (polyhead::encoders::ENCODERS[0].naming, polyhead::parameters::Heads::Stored);
        assert!(polyhead::parameters::Weights::read(&file, naming, heads, &candle_core::Device::Cpu).is_ok(), "{name}");
    }
}
