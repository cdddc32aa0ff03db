//! The engine: requests of different lengths, tasks and clients, in batches without padding, on the model's own thread.
//!
//! ```text
//! Job (queries with their windows) -> Queue -> a batch of windows -> logits -> back to their queries -> Job answered
//! ```
//!
//! A batch has at most `batch_tokens`, taken from the waiting jobs in turn, a window each: a short text never waits for
//! more of a long one than what is in the model at the moment. A job whose client has gone is dropped.

mod queue;

use crate::error::{ApiError, Code};
use crate::limits::Limits;
use crate::loaded::Loaded;
use crate::metrics::Metrics;
use polyhead::batch::Features;
use polyhead::tasks::{Logits, Query};
use queue::Queue;
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

/// A query for the task of this index.
pub struct Asked {
    /// The task, by its place in the model.
    pub task: usize,
    /// What is asked of it.
    pub query: Query,
}

/// Where answers come from.
pub struct Engine {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue<Loaded>>,
    wake: Condvar,
    limits: Limits,
    metrics: Metrics,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue<Loaded>> {
        // Nothing panics while it holds the lock, and if it did, what waits would still be answered.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Starts the thread that computes.
    pub fn start(limits: Limits, metrics: Metrics) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { queue: Mutex::default(), wake: Condvar::new(), limits, metrics });
        let own = shared.clone();
        let thread = std::thread::Builder::new().name("model".into()).spawn(move || own.work())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Lets queries go through a model; the answers come when all of them have.
    ///
    /// # Errors
    /// They are too long, or too much waits already.
    pub fn submit(&self, loaded: &Arc<Loaded>, asked: Vec<Asked>) -> Result<oneshot::Receiver<Reply>, ApiError> {
        let tokens: usize = asked.iter().map(|asked| asked.query.tokens()).sum();
        let limits = &self.shared.limits;
        if tokens > limits.tokens {
            let message = format!("expected at most {} tokens in a request, found {tokens}", limits.tokens);
            return Err(ApiError::invalid(message).hint("send the text in parts; /info states the limits"));
        }
        let (sender, receiver) = oneshot::channel();
        let mut queue = self.shared.queue();
        if queue.closed {
            return Err(ApiError::new(Code::Unavailable, "the server is stopping"));
        }
        let weight = limits.weight(tokens);
        if queue.weight > 0 && queue.weight + weight > limits.queue_tokens {
            let seconds = queue.seconds_of_work().ceil().clamp(1.0, 60.0);
            let message = format!("{} tokens wait already, and at most {} may", queue.weight, limits.queue_tokens);
            let error = ApiError::new(Code::Overloaded, message).retry_after(seconds as u64);
            return Err(error.hint("try again after the seconds of Retry-After"));
        }
        queue.add(loaded.clone(), asked, weight, sender);
        self.shared.metrics.queue_tokens.set(queue.tokens as i64);
        drop(queue);
        self.shared.wake.notify_one();
        Ok(receiver)
    }

    /// Answers what waits, and ends; nothing more is taken.
    pub fn close(&self) {
        self.shared.queue().closed = true;
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

impl Shared {
    fn work(&self) {
        while let Some(batch) = self.next() {
            self.metrics.batch_tokens.observe(batch.tokens as f64);
            batch.waited.iter().for_each(|wait| self.metrics.queue_wait.observe(wait.as_secs_f64()));
            let began = Instant::now();
            let results = results(&batch, &|windows| batch.model.model().logits_together(windows));
            self.told(&batch, began.elapsed());
            let mut queue = self.queue();
            queue.took(batch.tokens, began.elapsed());
            queue.put(batch, results);
            self.metrics.queue_tokens.set(queue.tokens as i64);
        }
    }

    fn next(&self) -> Option<Batch> {
        let mut queue = self.queue();
        loop {
            queue.drop_abandoned();
            if let Some(batch) = queue.batch(self.limits.batch_tokens) {
                return Some(batch);
            }
            if queue.closed {
                return None;
            }
            // Clients go without a word: what waits is looked through now and then.
            queue = self.wake.wait_timeout(queue, Duration::from_secs(1)).unwrap_or_else(PoisonError::into_inner).0;
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
mod tests {
    use super::*;

    #[test]
    fn a_request_at_which_the_model_panics_fails_alone() {
        let mut queue: queue::Queue<()> = queue::Queue::default();
        let model = Arc::new(());
        let mut receivers = Vec::new();
        for id in [1, 2, 3] {
            let window = Features { ids: vec![id; 4], types: vec![0; 4], ..Features::default() };
            let query = Query::new(vec![window.clone(), window], |windows| windows.len().into());
            let (sender, receiver) = oneshot::channel();
            queue.add(model.clone(), vec![Asked { task: 0, query }], 8, sender);
            receivers.push(receiver);
        }
        let compute = |windows: &[(usize, &Features)]| {
            assert!(windows.iter().all(|(_, window)| window.ids != [2; 4]), "at the second request");
            Ok(windows.iter().map(|_| Logits::new(vec![1.0], 1)).collect())
        };
        if let Some(batch) = queue.batch(100) {
            assert_eq!(batch.windows.len(), 6, "all of them in one batch");
            let results = results(&batch, &compute);
            queue.put(batch, results);
        }
        let replies: Vec<_> = receivers.iter_mut().map(oneshot::Receiver::try_recv).collect();
        assert!(matches!(&replies[..], [Ok(Ok(_)), Ok(Err(error)), Ok(Ok(_))] if error.code == Code::Internal));
        assert!(queue.batch(100).is_none(), "nothing is left");
    }
}
