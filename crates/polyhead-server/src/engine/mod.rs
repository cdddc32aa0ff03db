//! The engine: requests of different lengths, tasks and clients, in batches without padding, on the model's own thread.
//!
//! ```text
//! Unread -> reserve (or 429) -> tokenise -> Queue -> a batch of windows -> logits -> back to their queries -> answered
//! ```
//!
//! | file | what |
//! |---|---|
//! | `estimate` | what a request will cost, before it is tokenised |
//! | `admission` | who may wait: a part of the queue for each class |
//! | `reading` | tokenising, few requests at a time |
//! | `queue` | the order of windows, and batches of at most `batch_tokens` |
//!
//! A job whose client has gone is dropped, wherever it is.

mod admission;
mod estimate;
mod queue;
mod reading;

pub use reading::{Asked, Unread};

use crate::error::{ApiError, Code};
use crate::limits::{Class, Limits};
use crate::loaded::Loaded;
use crate::metrics::{Metrics, Refusal};
use admission::{Admission, Full};
use estimate::Ratios;
use polyhead::batch::Features;
use polyhead::tasks::{Logits, Query};
use queue::{Queue, Turn};
use reading::{Size, Turns};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

type Batch = queue::Batch<Loaded>;

/// A query that has been through the model.
pub type Done = (Query, Vec<Logits>);

/// What becomes of a job.
pub type Reply = Result<Vec<Done>, ApiError>;

/// Where answers come from.
pub struct Engine {
    shared: Arc<Shared<Loaded>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// `M` is the model.
struct Shared<M> {
    state: Mutex<State<M>>,
    turns: Turns,
    wake: Condvar,
    limits: Limits,
    metrics: Metrics,
    started: Instant,
}

struct State<M> {
    queue: Queue<M>,
    ratios: Ratios,
}

/// A place in the queue for a request that is still to be tokenised. Dropped, it is free again.
struct Reservation<M> {
    shared: Arc<Shared<M>>,
    size: Size,
    turn: Option<Turn>,
}

impl<M> Drop for Reservation<M> {
    fn drop(&mut self) {
        if let Some(turn) = self.turn.take() {
            let mut state = self.shared.state();
            state.queue.admission.leave(turn.held);
            waiting(&self.shared.metrics, &state.queue.admission);
        }
    }
}

/// Tells the metrics what waits.
fn waiting(metrics: &Metrics, admission: &Admission) {
    Class::ALL.into_iter().for_each(|class| metrics.waiting(class, admission.tokens(class), admission.requests(class)));
}

impl<M> Shared<M> {
    fn new(limits: Limits, metrics: Metrics) -> Self {
        let state = State { queue: Queue::new(limits.clone()), ratios: Ratios::default() };
        waiting(&metrics, &state.queue.admission);
        Self {
            state: Mutex::new(state),
            turns: Turns::new(),
            wake: Condvar::new(),
            limits,
            metrics,
            started: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<M>> {
        // Nothing panics while it holds the lock, and if it did, what waits would still be answered.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Takes a place by the size of the texts, or refuses.
    fn reserve(self: &Arc<Self>, unread: &[Unread<M>]) -> Result<Reservation<M>, ApiError> {
        let size = Size::of(unread);
        let mut state = self.state();
        if state.queue.closed {
            return Err(stopping());
        }
        let tokens = size.tokens(&state.ratios);
        let held =
            state.queue.admission.admit(tokens, self.now()).map_err(|full| self.refused(&full, Refusal::Full))?;
        let turn = Some(state.queue.turn(held));
        waiting(&self.metrics, &state.queue.admission);
        drop(state);
        Ok(Reservation { shared: self.clone(), size, turn })
    }

    /// Says no, and counts it.
    fn refused(&self, full: &Full, why: Refusal) -> ApiError {
        self.metrics.refused(why, Some(full.class));
        let (own, shared) = (self.limits.set_aside(full.class), self.limits.shared());
        let message = format!(
            "too much waits already: {} tokens of {} requests; {own} are kept for them, and the {shared} for all are taken",
            full.tokens,
            full.class.name()
        );
        let error = ApiError::new(Code::Overloaded, message).retry_after(full.seconds);
        match full.class {
            Class::Short => error.hint("try again after the seconds of Retry-After"),
            Class::Medium | Class::Long => error.hint(format!(
                "try again after the seconds of Retry-After; requests of at most {} tokens have a part of the queue for themselves",
                self.limits.most(Class::Short)
            )),
        }
    }

    /// The next batch, without those who have gone.
    fn take(&self, queue: &mut Queue<M>) -> Option<queue::Batch<M>> {
        queue.drop_abandoned();
        waiting(&self.metrics, &queue.admission);
        queue.batch(self.limits.batch_tokens)
    }

    /// Tokenises a request and lets it go through the model; the answers come when all of it has. Refused before it is
    /// tokenised if too much waits.
    async fn ask(self: &Arc<Self>, unread: Vec<Unread<M>>, model: Arc<M>) -> Result<oneshot::Receiver<Reply>, ApiError>
    where
        M: Send + Sync + 'static,
    {
        let mut reservation = self.reserve(&unread)?;
        let class = reservation.turn.as_ref().map_or(Class::Long, |turn| turn.held.class);
        let turn = self.turns.of(class).await?;
        let began = Instant::now();
        let asked = reading::read(unread, model.clone(), &self.limits, turn).await;
        self.metrics.tokenized(class, began.elapsed().as_secs_f64());
        let asked = asked?;
        let tokens = asked.iter().map(|asked| asked.query.tokens()).sum();
        let mut state = self.state();
        let State { queue, ratios } = &mut *state;
        reservation.size.learn(&asked, ratios);
        if queue.closed {
            drop(state);
            return Err(stopping());
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(mut turn) = reservation.turn.take() {
            match queue.admission.correct(turn.held, tokens, self.now()) {
                Ok(held) => turn.held = held,
                Err(full) => {
                    reservation.turn = Some(turn);
                    drop(state);
                    return Err(self.refused(&full, Refusal::Underestimated));
                }
            }
            queue.add(model, asked, turn, sender);
        }
        waiting(&self.metrics, &queue.admission);
        drop(state);
        self.wake.notify_one();
        Ok(receiver)
    }
}

fn stopping() -> ApiError {
    ApiError::new(Code::Unavailable, "the server is stopping")
}

impl Engine {
    /// Starts the thread that computes.
    pub fn start(limits: Limits, metrics: Metrics) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(limits, metrics));
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("model".into()).spawn(move || own.work())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Tokenises what is asked of a model and computes it; what comes back is still to be decoded.
    ///
    /// # Errors
    /// It is too long, or too much waits already; or its texts can't be read.
    pub async fn ask(&self, unread: Vec<Unread<Loaded>>, loaded: &Arc<Loaded>) -> Reply {
        let receiver = self.shared.ask(unread, loaded.clone()).await?;
        receiver.await.map_err(|_| ApiError::new(Code::Internal, "the model is gone"))?
    }

    /// Answers what waits, and ends; nothing more is taken.
    pub fn close(&self) {
        self.shared.state().queue.closed = true;
        self.shared.wake.notify_all();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It catches what panics while computing; there is nothing to be learnt from its end.
            let _ = thread.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared<Loaded> {
    fn work(&self) {
        while let Some(batch) = self.next() {
            self.metrics.batch_tokens.observe(batch.tokens as f64);
            batch.waited.iter().for_each(|(class, wait)| self.metrics.waited(*class, wait.as_secs_f64()));
            let began = Instant::now();
            let results = results(&batch, &|windows| batch.model.model().logits_together(windows));
            self.told(&batch, began.elapsed());
            let queue = &mut self.state().queue;
            queue.admission.took(batch.by_class(), began.elapsed());
            queue.put(batch, results);
            waiting(&self.metrics, &queue.admission);
        }
    }

    fn next(&self) -> Option<Batch> {
        let mut state = self.state();
        loop {
            if let Some(batch) = self.take(&mut state.queue) {
                return Some(batch);
            }
            if state.queue.closed {
                return None;
            }
            // Clients go without a word: what waits is looked through now and then.
            state = self.wake.wait_timeout(state, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The time of a batch, shared out among its tasks by their tokens.
    fn told(&self, batch: &Batch, took: Duration) {
        for (index, named) in batch.model.model().tasks.iter().enumerate() {
            let tokens: usize = batch
                .windows
                .iter()
                .filter(|window| window.task == index)
                .map(|window| window.features.ids.len())
                .sum();
            if tokens > 0 {
                let share = tokens as f64 / batch.tokens.max(1) as f64;
                self.metrics.inference(&named.name, took.as_secs_f64() * share);
            }
        }
    }
}

/// What computes the logits of windows, each with its task.
type Compute<'a> = &'a dyn Fn(&[(usize, &Features)]) -> polyhead::Result<Vec<Logits>>;

/// The logits of each window. If the batch fails, each job goes alone, so that only the one at fault fails.
fn results<M>(batch: &queue::Batch<M>, compute: Compute) -> Vec<Result<Logits, ApiError>> {
    let run = |windows: &[(usize, &Features)]| -> Result<Vec<Logits>, ApiError> {
        match catch_unwind(AssertUnwindSafe(|| compute(windows))) {
            Ok(Ok(logits)) if logits.len() == windows.len() => Ok(logits),
            Ok(Err(error)) => Err(ApiError::new(Code::Internal, error.to_string())),
            Ok(Ok(_)) | Err(_) => Err(ApiError::new(Code::Internal, "the model failed at this request")),
        }
    };
    let all: Vec<(usize, &Features)> = batch.windows.iter().map(|window| (window.task, &window.features)).collect();
    if let Ok(logits) = run(&all) {
        return logits.into_iter().map(Ok).collect();
    }
    let mut results = Vec::with_capacity(all.len());
    for windows in batch.windows.chunk_by(|a, b| a.job == b.job) {
        let own: Vec<(usize, &Features)> = windows.iter().map(|window| (window.task, &window.features)).collect();
        match run(&own) {
            Ok(logits) => results.extend(logits.into_iter().map(Ok)),
            Err(error) => results.extend(own.iter().map(|_| Err(error.clone()))),
        }
    }
    results
}

#[cfg(test)]
mod tests;
