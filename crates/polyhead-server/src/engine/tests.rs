//! The way of a request: refused before it is tokenised, tokenised in its turn, computed, or given up on.
#![allow(clippy::unwrap_used)]

use super::*;
use serde_json::json;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

fn shared() -> Arc<Shared<()>> {
    Arc::new(Shared::new(Limits::default(), Metrics::new()))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).max_blocking_threads(8).enable_all().build().unwrap()
}

/// A text of so many words, whose tokenising makes one window of each hundred tokens and does this besides.
fn unread(words: usize, tokens: usize, also: impl FnOnce() + Send + 'static) -> Unread<()> {
    Unread::new(0, json!("word ".repeat(words)), move |(), _| {
        also();
        let window = |length: usize| Features { ids: vec![1; length], types: vec![0; length], ..Features::default() };
        let mut lengths = vec![100; tokens / 100];
        lengths.push(tokens % 100);
        Ok(Query::new(lengths.into_iter().map(window).collect(), |windows| windows.len().into()))
    })
}

/// Lets one batch through, as the thread of the model does.
fn batch(shared: &Shared<()>) -> usize {
    let queue = &mut shared.state().queue;
    let Some(batch) = shared.take(queue) else { return 0 };
    let tokens = batch.tokens;
    let results = batch.windows.iter().map(|_| Ok(Logits::new(vec![0.0], 1))).collect();
    queue.put(batch, results);
    tokens
}

fn held(shared: &Shared<()>) -> [(usize, usize); 3] {
    let admission = &shared.state().queue.admission;
    Class::ALL.map(|class| (admission.requests(class), admission.tokens(class)))
}

#[test]
fn what_finds_no_room_is_refused_before_it_is_tokenised() {
    let (runtime, shared, calls) = (runtime(), shared(), Arc::new(AtomicUsize::new(0)));
    let ask = |words: usize, tokens: usize| {
        let calls = calls.clone();
        let unread = unread(words, tokens, move || _ = calls.fetch_add(1, Ordering::SeqCst));
        runtime.block_on(shared.ask(vec![unread], Arc::new(())))
    };
    let long = ask(30_000, 45_000).unwrap();
    for _ in 0..100 {
        let error = ask(30_000, 45_000).err().unwrap();
        assert_eq!(error.code, Code::Overloaded);
        assert!(
            error
                .body()
                .contains("45000 tokens of long requests; 2048 are kept for them, and the 8192 for all are taken"),
            "{}",
            error.body()
        );
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1, "one was tokenised, a hundred were not");
    // Short ones have their own part: 4,096 tokens.
    let short: Vec<_> = (0..1_000).map_while(|_| ask(100, 150).ok()).collect();
    assert!((27..=29).contains(&short.len()), "{}", short.len());
    assert_eq!(calls.load(Ordering::SeqCst), 1 + short.len());
    let text = shared.metrics.text();
    assert!(text.contains("polyhead_refusals_total{reason=\"full\",class=\"long\"} 100"), "{text}");
    assert!(text.contains("polyhead_refusals_total{reason=\"full\",class=\"short\"} 1"), "{text}");
    assert!(text.contains("polyhead_queue_tokens{class=\"long\"} 45000"), "{text}");
    drop((long, short));
    assert_eq!(batch(&shared), 0, "all of them have gone");
    assert_eq!(held(&shared), [(0, 0); 3]);
    let text = shared.metrics.text();
    assert!(text.contains("polyhead_queue_tokens{class=\"long\"} 0\n"), "the metrics know it: {text}");
}

#[test]
fn estimates_follow_what_texts_turn_out_to_be() {
    let (runtime, shared) = (runtime(), shared());
    for _ in 0..100 {
        drop(runtime.block_on(shared.ask(vec![unread(98, 300, || ())], Arc::new(()))).unwrap());
        batch(&shared);
    }
    let reservation = shared.reserve(&[unread(998, 0, || ())]).unwrap();
    let estimated = held(&shared)[Class::Medium as usize].1;
    assert!((2_900..=3_000).contains(&estimated), "{estimated}");
    drop(reservation);
}

#[test]
fn few_are_tokenised_at_a_time_and_short_ones_do_not_wait_for_long_ones() {
    let (runtime, shared) = (runtime(), shared());
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (entered, wait_entered) = mpsc::channel();
    let (leave, wait_leave) = mpsc::channel::<()>();
    let wait_leave = Arc::new(Mutex::new(wait_leave));
    // Three of 800 words: medium ones, that stay in the tokenizer until they are told to leave.
    let asked: Vec<_> = (0..3)
        .map(|_| {
            let (running, most, entered, wait_leave) =
                (running.clone(), most.clone(), entered.clone(), wait_leave.clone());
            let unread = unread(800, 1_200, move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                entered.send(()).unwrap();
                wait_leave.lock().unwrap().recv().unwrap();
                running.fetch_sub(1, Ordering::SeqCst);
            });
            let shared = shared.clone();
            runtime.spawn(async move { shared.ask(vec![unread], Arc::new(())).await.is_ok() })
        })
        .collect();
    wait_entered.recv().unwrap();
    // One is in the tokenizer, others wait for their turn: a short one goes past them.
    assert!(runtime.block_on(shared.ask(vec![unread(10, 15, || ())], Arc::new(()))).is_ok());
    assert_eq!(running.load(Ordering::SeqCst), 1);
    for _ in 0..asked.len() {
        leave.send(()).unwrap();
    }
    for asked in asked {
        assert!(runtime.block_on(asked).unwrap());
    }
    assert_eq!(most.load(Ordering::SeqCst), 1, "never two at once");
}

#[test]
fn who_goes_before_the_turn_is_never_tokenised_and_gives_the_place_back() {
    let (runtime, shared, calls) = (runtime(), shared(), Arc::new(AtomicUsize::new(0)));
    let _guard = runtime.enter();
    let turn = runtime.block_on(shared.turns.of(Class::Long)).unwrap();
    {
        let calls = calls.clone();
        let unread = unread(30_000, 45_000, move || _ = calls.fetch_add(1, Ordering::SeqCst));
        let mut asking = pin!(shared.ask(vec![unread], Arc::new(())));
        assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(held(&shared)[Class::Long as usize].0, 1, "it waits for its turn, with its place");
    }
    assert_eq!(held(&shared), [(0, 0); 3]);
    drop(turn);
    // Whoever comes next has the turn, and is the first that is tokenised.
    assert!(runtime.block_on(shared.ask(vec![unread(30_000, 45_000, || ())], Arc::new(()))).is_ok());
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

#[test]
fn who_goes_while_the_first_text_is_tokenised_costs_no_second() {
    let (runtime, shared, calls) = (runtime(), shared(), Arc::new(AtomicUsize::new(0)));
    let _guard = runtime.enter();
    let (entered, wait_entered) = mpsc::channel();
    let (leave, wait_leave) = mpsc::channel::<()>();
    let first = unread(10, 15, move || {
        entered.send(()).unwrap();
        wait_leave.recv().unwrap();
    });
    let second = calls.clone();
    let second = unread(10, 15, move || _ = second.fetch_add(1, Ordering::SeqCst));
    {
        let mut asking = pin!(shared.ask(vec![first, second], Arc::new(())));
        assert!(matches!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        wait_entered.recv().unwrap();
    }
    leave.send(()).unwrap();
    // When all turns are free again, the tokenizer is done with it.
    let turns = std::thread::available_parallelism().map_or(1, usize::from).min(4);
    let free: Vec<_> = (0..turns).map(|_| runtime.block_on(shared.turns.of(Class::Short)).unwrap()).collect();
    assert_eq!(free.len(), turns);
    assert_eq!((calls.load(Ordering::SeqCst), held(&shared)), (0, [(0, 0); 3]));
}

#[test]
fn a_request_of_too_many_tokens_is_given_up_at_the_text_that_makes_it_so() {
    let (runtime, shared, calls) = (runtime(), shared(), Arc::new(AtomicUsize::new(0)));
    let texts = (0..10).map(|_| {
        let calls = calls.clone();
        unread(10, 30_000, move || _ = calls.fetch_add(1, Ordering::SeqCst))
    });
    let error = runtime.block_on(shared.ask(texts.collect(), Arc::new(()))).err().unwrap();
    assert_eq!(error.code, Code::Invalid);
    assert!(
        error.body().contains("at most 65536 tokens in a request, found 90000 in 3 of its 10 parts"),
        "{}",
        error.body()
    );
    assert_eq!((calls.load(Ordering::SeqCst), held(&shared)), (3, [(0, 0); 3]));
}

#[test]
fn a_text_far_longer_than_it_looked_is_refused_where_its_class_is_full() {
    let (runtime, shared) = (runtime(), shared());
    let _long = runtime.block_on(shared.ask(vec![unread(30_000, 45_000, || ())], Arc::new(()))).unwrap();
    let error = runtime.block_on(shared.ask(vec![unread(10, 5_000, || ())], Arc::new(()))).err().unwrap();
    assert_eq!(error.code, Code::Overloaded);
    let text = shared.metrics.text();
    assert!(text.contains("polyhead_refusals_total{reason=\"underestimated\",class=\"long\"} 1"), "{text}");
    assert_eq!(held(&shared), [(0, 0), (0, 0), (1, 45_000)]);
}

#[test]
fn a_closed_queue_takes_nothing() {
    let (runtime, shared) = (runtime(), shared());
    shared.state().queue.closed = true;
    let error = runtime.block_on(shared.ask(vec![unread(10, 15, || ())], Arc::new(()))).err().unwrap();
    assert_eq!((error.code, held(&shared)), (Code::Unavailable, [(0, 0); 3]));
}

#[test]
fn a_request_at_which_the_model_panics_fails_alone() {
    let (shared, model) = (shared(), Arc::new(()));
    let mut receivers = Vec::new();
    let queue = &mut shared.state().queue;
    for id in [1, 2, 3] {
        let window = Features { ids: vec![id; 4], types: vec![0; 4], ..Features::default() };
        let query = Query::new(vec![window.clone(), window], |windows| windows.len().into());
        let (sender, receiver) = oneshot::channel();
        let held = queue.admission.admit(8, 0.0).unwrap();
        let turn = queue.turn(held);
        queue.add(model.clone(), vec![Asked { task: 0, query }], turn, sender);
        receivers.push(receiver);
    }
    let compute = |windows: &[(usize, &Features)]| {
        assert!(windows.iter().all(|(_, window)| window.ids != [2; 4]), "at the second request");
        Ok(windows.iter().map(|_| Logits::new(vec![1.0], 1)).collect())
    };
    let batch = queue.batch(100).unwrap();
    assert_eq!(batch.windows.len(), 6, "all of them in one batch");
    let results = results(&batch, &compute);
    queue.put(batch, results);
    let replies: Vec<_> = receivers.iter_mut().map(oneshot::Receiver::try_recv).collect();
    assert!(matches!(&replies[..], [Ok(Ok(_)), Ok(Err(error)), Ok(Ok(_))] if error.code == Code::Internal));
    assert!(queue.batch(100).is_none(), "nothing is left");
}
