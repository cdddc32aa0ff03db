//! A session answers a stream: in order, with the identifiers of the requests, in constant memory.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod cut;
mod small;

use polyhead::batch::Features;
use polyhead::data::Layout;
use polyhead::encoders::EncoderOverrides;
use polyhead::infer::Session;
use polyhead::model::{Model, NamedTask, Provenance};
use polyhead::tasks::{TASKS, TaskKind};
use polyhead::{Error, Place};
use polyhead_kernels::rng::Key;
use serde_json::{Value, json};
use std::cell::Cell;
use std::sync::atomic::Ordering;

/// No more requests than this are read before the first of them is answered: a window has two tokens at least, and
/// windows are run together until they hold 4,096.
const AHEAD: usize = 4096 / 2;

fn session() -> Session {
    let tasks = TASKS.iter().map(|entry| {
        let kind = small::kind(entry.kind);
        let folder = tempfile::tempdir().unwrap();
        let mut task = (entry.open)((kind.config)()).unwrap();
        let path = small::write_data(kind, "train", &[20, 30], folder.path());
        task.prepare(&task.read(&path, None, &Layout::default()).unwrap()).unwrap();
        NamedTask { name: entry.kind.to_owned(), task }
    });
    let folder = small::fixture("tiny-bert");
    let model =
        Model::pretrained(&folder, Provenance::default(), tasks.collect(), &EncoderOverrides::default(), Key::seed(1));
    Session { model: model.unwrap() }
}

#[test]
fn twenty_thousand_requests_are_answered_in_order_with_their_ids_and_none_is_held_for_long() {
    let session = session();
    for (task, count) in [("ner", 20_000), ("qa", 5_000)] {
        let (asked, answered, furthest) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let mut requests = (0..count).map(|index| {
            asked.set(index + 1);
            furthest.set(furthest.get().max(index + 1 - answered.get()));
            let mut request = (small::kind(task).request)(if index % 3 == 0 { "ada" } else { "the queen of paris" });
            // Any JSON may be an identifier; it comes back as it is.
            request["id"] = if index % 2 == 0 { json!(index) } else { json!({ "n": [index.to_string()] }) };
            Ok((request, Place::line("stream", index + 1)))
        });
        let mut each = |answer: Value| {
            let index = answered.get();
            let id = if index % 2 == 0 { json!(index) } else { json!({ "n": [index.to_string()] }) };
            assert_eq!(answer["id"], id);
            assert_eq!(answer.as_object().unwrap().keys().next().unwrap(), "id", "the identifier comes first");
            answered.set(index + 1);
            Ok(())
        };
        session.predict(task, &mut requests, &mut each).unwrap();
        assert_eq!((asked.get(), answered.get()), (count, count));
        assert!(furthest.get() <= AHEAD, "{task}: {} requests ahead of their answers", furthest.get());
    }
}

#[test]
fn logits_have_a_row_for_whatever_the_head_reads_and_as_many_columns_as_it_has_outputs() {
    let session = session();
    for task in &session.model.tasks {
        let request = |text: &str| ((small::kind(&task.name).request)(text), Place::file("request"));
        let requests = [request("ada met the queen of paris"), request("ada")];
        let found = session.logits(&task.name, &requests, &|| Ok(())).unwrap();
        let alone = session.logits(&task.name, &requests[1..], &|| Ok(())).unwrap();
        assert_eq!((found.len(), found[1].values().len()), (2, alone[0].values().len()), "{}", task.name);
        let near = found[1].values().iter().zip(alone[0].values()).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near, "{}", task.name);
        let rows: Vec<&[f32]> = found[0].rows().collect();
        assert_eq!(rows.concat(), found[0].values(), "{}", task.name);
        assert!(!rows.is_empty() && rows.iter().all(|row| row.len() == found[0].outputs()), "{}", task.name);
        let wrong = [requests[0].clone(), (json!({ "colour": 1 }), Place::file("inputs[3]"))];
        let error = session.logits(&task.name, &wrong, &|| Ok(())).unwrap_err();
        assert!(error.to_string().starts_with("inputs[3]"), "{}: {error}", task.name);
    }
}

#[test]
fn a_text_has_the_embedding_that_its_hidden_states_have_as_their_mean_whatever_stands_beside_it() {
    let session = session();
    let texts = ["ada", "", "the queen of paris met ada"].map(str::to_owned);
    let go_on = || Ok(());
    let together = session.embed(&texts, 512, &go_on).unwrap();
    assert_eq!(together.len(), 3);
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
    for (text, found) in texts.iter().zip(&together) {
        assert!(near(&session.embed(std::slice::from_ref(text), 512, &go_on).unwrap()[0], found), "{text:?}");
        let tokenizer = &session.model.tokenizer;
        let window = tokenizer.single().window([&tokenizer.text(text).unwrap()]);
        let features = Features { ids: window.ids, types: window.types, ..Features::default() };
        let hidden = session.model.hidden(&[&features]).unwrap().remove(0);
        assert_eq!((hidden.rows().len(), hidden.outputs()), (features.ids.len(), session.model.encoder.hidden_size()));
        let count = hidden.rows().len() as f32;
        let mean = |at: usize| hidden.rows().map(|row| row[at]).sum::<f32>() / count;
        assert!(near(&(0..hidden.outputs()).map(mean).collect::<Vec<_>>(), found), "{text:?}");
    }
    let stopped = session.embed(&texts, 512, &|| Err(Error::internal("enough"))).unwrap_err();
    assert_eq!(stopped.to_string(), "enough");
}

#[test]
fn requests_without_an_id_are_answered_without_one() {
    let answer = session().ask("ner", &json!({ "text": "ada" })).unwrap();
    assert!(answer.get("id").is_none());
}

#[test]
fn an_error_of_the_reader_or_of_the_consumer_ends_the_stream_after_what_came_before() {
    let session = session();
    let request = |text: &str| Ok(((small::kind("ner").request)(text), Place::file("stream")));
    let mut answered = 0;
    let mut requests = [request("ada"), request("mary"), Err(Error::data("cut short")), request("john")].into_iter();
    let mut count = |_| {
        answered += 1;
        Ok(())
    };
    assert_eq!(session.predict("ner", &mut requests, &mut count).unwrap_err().to_string(), "cut short");
    assert_eq!(answered, 2);
    let mut requests = std::iter::repeat_with(|| request("ada")); // without end
    let mut close = |_| Err(Error::cannot_write("closed"));
    assert_eq!(session.predict("ner", &mut requests, &mut close).unwrap_err().to_string(), "closed");
}

#[test]
fn an_evaluation_answers_in_order_holds_few_windows_and_a_failure_comes_after_all_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = small::write_data(small::kind("ner"), "validation", &[5; 1000], folder.path());
    let mut task = (TaskKind::of::<cut::Failing>().open)(json!({ "max_length": 48, "stride": 12 })).unwrap();
    let examples = task.read(&path, None, &Layout::default()).unwrap();
    task.prepare(&examples).unwrap();
    let first = cut::first_failing(&path);
    let named = vec![NamedTask { name: "cut".to_owned(), task }];
    let folder = small::fixture("tiny-bert");
    let model =
        Model::pretrained(&folder, Provenance::default(), named, &EncoderOverrides::default(), Key::seed(1)).unwrap();
    let mut answered = 0;
    let error = model.run(&model.tasks[0], |task, runner| {
        let before = cut::ENCODED.load(Ordering::SeqCst);
        task.evaluate(&examples, runner, &mut |answer, _| {
            assert_eq!(answer["place"], task.place(&examples, answered).unwrap().to_string());
            // A sentence of this file has seven tokens at least.
            let held = cut::ENCODED.load(Ordering::SeqCst) - before - answered;
            assert!(held <= 2 * (4096 / 7 + 1), "{held} sentences ahead of their answers");
            answered += 1;
        })
    });
    let (index, place) = first;
    assert_eq!(error.unwrap_err().place(), Some(&place));
    assert!(index * 7 > 4096, "more than one pack");
    assert_eq!(answered, index);
}
