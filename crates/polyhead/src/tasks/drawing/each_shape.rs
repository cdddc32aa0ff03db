//! An example of each shape, drawn.

#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::{Value, json};

const TEXT: &str = "née Ada left London";

fn answer(shape: Shape, value: Value) -> Answer {
    shape.read(&value).unwrap()
}

/// The marked pieces of a text, each with its label.
fn marks(drawing: &Drawing) -> Vec<(&str, Mark, &str)> {
    let marked = drawing.text.iter().filter(|piece| piece.mark != Mark::None);
    marked.map(|piece| (piece.text.as_str(), piece.mark, piece.label.as_str())).collect()
}

fn items(drawing: &Drawing) -> Vec<(&str, Mark, Option<f64>, usize)> {
    drawing.items.iter().map(|item| (item.text.as_str(), item.mark, item.share, item.depth)).collect()
}

fn spans_of(entities: &[(&str, &str, usize)]) -> Answer {
    let entity = |(kind, text, start): &(&str, &str, usize)| json!({ "type": kind, "text": text, "start": start, "end": start + text.chars().count(), "score": 0.5 });
    let entities: Vec<Value> = entities.iter().map(entity).collect();
    answer(Shape::Spans, json!({ "text": TEXT, "entities": entities }))
}

#[test]
fn spans_are_marked_in_the_text_with_their_types_and_errors_are_said() {
    let gold = spans_of(&[("PER", "Ada", 4), ("LOC", "London", 13)]);
    let found = spans_of(&[("PER", "Ada", 4), ("ORG", "London", 13)]);
    let drawing = draw("", Some(&gold), &found);
    assert_eq!(drawing.text.iter().map(|piece| &*piece.text).collect::<String>(), TEXT);
    assert_eq!(marks(&drawing), [("Ada", Mark::Both, "PER"), ("London", Mark::Gold, "LOC")]);
    assert_eq!(drawing.facts, [("type".to_owned(), "London: LOC, predicted as ORG".to_owned())]);
    let drawing = draw("", Some(&spans_of(&[])), &spans_of(&[("PER", "née", 0)]));
    assert_eq!(marks(&drawing), [("née", Mark::Found, "PER")]);
    assert_eq!(drawing.facts, [("spurious".to_owned(), "née (PER)".to_owned())]);
}

#[test]
fn candidates_stand_in_the_text_and_below_it_with_their_scores() {
    let of = |answer: &str, start: usize, score: f64| json!({ "answer": answer, "start": start, "end": start + answer.chars().count(), "score": score });
    let with = |mut best: Value, others: Vec<Value>| {
        best["alternatives"] = json!(others);
        answer(Shape::Candidates, best)
    };
    let (gold, found) = (with(of("London", 13, 1.0), vec![]), with(of("Ada", 4, 0.75), vec![of("London", 13, 0.25)]));
    let drawing = draw(TEXT, Some(&gold), &found);
    assert_eq!(marks(&drawing), [("Ada", Mark::Found, ""), ("London", Mark::Gold, "")]);
    assert_eq!(items(&drawing), [("Ada", Mark::Found, Some(0.75), 0), ("London", Mark::Gold, Some(0.25), 0)]);
    assert_eq!(drawing.facts, [("gold".to_owned(), "London".to_owned())]);
    let none = with(of("", 0, 0.9), vec![]);
    let drawing = draw(TEXT, Some(&none), &none);
    assert_eq!(items(&drawing), [("no answer", Mark::Both, Some(0.9), 0)]);
    assert_eq!(drawing.text, [Piece::plain(TEXT)]);
}

#[test]
fn labels_have_their_scores_and_the_gold_one_is_there_however_improbable() {
    let names: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).into();
    let found = Answer::Labels(Labels::ranked(&names, &[0.4, 0.2, 0.1, 0.1, 0.1, 0.06, 0.04]));
    let gold = Answer::Labels(Labels::ranked(&["g".to_owned()], &[1.0]));
    let drawing = draw(TEXT, Some(&gold), &found);
    let shown = items(&drawing);
    assert_eq!(
        (shown.len(), shown[0], shown[1]),
        (6, ("a", Mark::Found, Some(0.4), 0), ("b", Mark::None, Some(0.2), 0))
    );
    assert_eq!(shown[5], ("g", Mark::Gold, Some(0.04), 0));
    assert_eq!(items(&draw(TEXT, Some(&found), &found))[0].1, Mark::Both);
    assert!(items(&draw(TEXT, None, &found)).iter().skip(1).all(|item| item.1 == Mark::None));
}

#[test]
fn edges_are_listed_gold_ones_first_and_their_ends_are_marked() {
    let end = |text: &str, start: usize| json!({ "text": text, "start": start, "end": start + text.len() });
    let edge = |kind: &str| json!({ "type": kind, "from": end("Ada", 4), "to": end("London", 13), "score": 0.5 });
    let of = |kinds: &[&str]| {
        let edges: Vec<Value> = kinds.iter().map(|kind| edge(kind)).collect();
        answer(Shape::Edges, json!({ "text": TEXT, "edges": edges }))
    };
    let drawing = draw("", Some(&of(&["leaves", "likes"])), &of(&["hates", "leaves"]));
    let expected = [
        ("Ada — leaves → London", Mark::Both, Some(0.5), 0),
        ("Ada — likes → London", Mark::Gold, None, 0),
        ("Ada — hates → London", Mark::Found, Some(0.5), 0),
    ];
    assert_eq!(items(&drawing), expected);
    assert_eq!(marks(&drawing), [("Ada", Mark::Both, ""), ("London", Mark::Both, "")]);
}

#[test]
fn words_of_a_tree_stand_below_their_heads_and_wrong_ones_are_said() {
    let of = |heads: [(usize, &str); 4]| {
        let words = TEXT.split(' ').zip(heads).map(|(text, (head, label))| {
            json!({ "text": text, "start": 0, "end": 0, "head": head, "label": label, "score": 0.5 })
        });
        answer(Shape::Tree, json!({ "text": TEXT, "words": words.collect::<Vec<_>>() }))
    };
    let gold = of([(2, "amod"), (3, "nsubj"), (0, "root"), (3, "obj")]);
    let drawing = draw("", Some(&gold), &of([(2, "amod"), (3, "nsubj"), (0, "root"), (2, "nmod")]));
    let expected = [
        ("left (root)", Mark::Both, Some(0.5), 0),
        ("Ada (nsubj)", Mark::Both, Some(0.5), 1),
        ("née (amod)", Mark::Both, Some(0.5), 2),
        ("London (nmod)", Mark::Found, Some(0.5), 2),
    ];
    assert_eq!(items(&drawing), expected);
    assert_eq!(drawing.facts, [("London".to_owned(), "obj of left, predicted: nmod of Ada".to_owned())]);
    // What is no tree is shown all the same: every word once.
    let cycle = draw("", None, &of([(2, "a"), (1, "b"), (9, "c"), (4, "d")]));
    assert_eq!(cycle.items.len(), 4);
    assert!(cycle.items.iter().all(|item| item.mark == Mark::None));
}

#[test]
fn an_excerpt_holds_the_answers_and_leaves_out_what_is_far() {
    let context = format!("{}gold {}found{}", "far ".repeat(100), "between ".repeat(100), " end".repeat(100));
    let at = |what: &str| context.find(what).map_or(0..0, |at| at..at + what.len());
    let pieces = excerpt(&context, &[at("gold")], &[at("found")]);
    let text: String = pieces.iter().map(|piece| &*piece.text).collect();
    assert!(text.len() < 800 && text.matches('…').count() == 3, "{text}");
    let drawing = Drawing { text: pieces, ..Drawing::default() };
    assert_eq!(marks(&drawing), [("gold", Mark::Gold, ""), ("found", Mark::Found, "")]);
}

#[test]
fn offsets_beyond_the_text_are_passed_over() {
    let found = spans_of(&[("PER", "Ada", 400)]);
    assert!(marks(&draw("", None, &found)).is_empty());
}

#[test]
fn of_several_labels_all_that_hold_or_are_gold_are_shown_and_marked() {
    let names: Vec<String> = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).into();
    let found = Answer::Labels(Labels::several(
        &names,
        &[0.9, 0.8, 0.7, 0.6, 0.55, 0.3, 0.2],
        &[0.85, 0.85, 0.5, 0.7, 0.6, 0.2, 0.5],
    ));
    let gold = Answer::Labels(Labels::several(&["c".to_owned(), "g".to_owned()], &[1.0; 2], &[0.5; 2]));
    let marks: Vec<_> =
        items(&draw(TEXT, Some(&gold), &found)).into_iter().map(|item| (item.0.to_owned(), item.1)).collect();
    let of = |label: &str, mark| (label.to_owned(), mark);
    let expected = [
        of("a", Mark::Found),
        of("b", Mark::None),
        of("c", Mark::Both),
        of("d", Mark::None),
        of("e", Mark::None),
        of("f", Mark::Found),
        of("g", Mark::Gold),
    ];
    assert_eq!(marks, expected);
    // None of them.
    let none = Answer::Labels(Labels { label: String::new(), score: 0.0, labels: Vec::new() });
    assert!(items(&draw(TEXT, Some(&none), &found)).iter().all(|item| item.1 != Mark::Gold && item.1 != Mark::Both));
}

#[test]
fn a_number_stands_beside_the_gold_one() {
    let of = |value: f64| answer(Shape::Number, json!({ "value": value }));
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(draw(TEXT, Some(&of(3.0)), &of(2.456)).facts, [fact("gold", "3.00"), fact("predicted", "2.46")]);
    assert_eq!(draw(TEXT, None, &of(2.456)).facts, [fact("predicted", "2.46")]);
    assert_eq!(draw(TEXT, None, &of(2.456)).text, [Piece::plain(TEXT)]);
}
