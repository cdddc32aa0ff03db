//! From a request's texts to queries: the tokenizer's work, done apart from the connections, few at a time.
//!
//! ```text
//! Unread (text, size) -> a turn of its class -> Asked (windows)
//! ```
//!
//! Tokenising takes a processor from the model (a second for a million characters), so that it waits for its turn. Each class
//! has turns of its own: a short text never waits for a long one to be tokenised.

use super::estimate::{Ratios, units_of};
use crate::error::{ApiError, Code};
use crate::limits::{Class, Limits};
use polyhead::tasks::Query;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many short requests are tokenised at a time, where there are processors for it; of the other classes, one each.
const SHORT: usize = 4;

/// What is asked of a task, before it is tokenised. `M` is the model.
pub struct Unread<M> {
    task: usize,
    value: Value,
    read: Read<M>,
}

type Read<M> = Box<dyn FnOnce(&M, &Value) -> Result<Query, ApiError> + Send>;

impl<M> Unread<M> {
    /// A query for the task of this place. `value` holds its texts, and `read` tokenises them.
    pub fn new(
        task: usize,
        value: Value,
        read: impl FnOnce(&M, &Value) -> Result<Query, ApiError> + Send + 'static,
    ) -> Self {
        Self { task, value, read: Box::new(read) }
    }

    /// The task, by its place in the model.
    pub fn task(&self) -> usize {
        self.task
    }
}

/// The size of an unread request: the task and the units of each of its queries.
pub struct Size(Vec<(usize, usize)>);

impl Size {
    pub fn of<M>(unread: &[Unread<M>]) -> Self {
        Self(unread.iter().map(|one| (one.task, units_of(&one.value))).collect())
    }

    /// About so many tokens.
    pub fn tokens(&self, ratios: &Ratios) -> usize {
        self.0.iter().map(|&(task, units)| ratios.tokens(task, units)).sum()
    }

    /// Lets the ratios know what it came to.
    pub fn learn(&self, asked: &[Asked], ratios: &mut Ratios) {
        for (&(task, units), asked) in self.0.iter().zip(asked) {
            ratios.learn(task, units, asked.query.tokens());
        }
    }
}

/// A query for the task of this index.
pub struct Asked {
    /// The task, by its place in the model.
    pub task: usize,
    /// What is asked of it.
    pub query: Query,
}

/// Whose turn it is to be tokenised.
pub struct Turns([Arc<Semaphore>; Class::ALL.len()]);

impl Turns {
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Class::ALL.map(|class| {
            let turns = if class == Class::Short { processors.min(SHORT) } else { 1 };
            Arc::new(Semaphore::new(turns))
        }))
    }

    /// Waits for a turn. Who stops waiting takes none.
    pub async fn of(&self, class: Class) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = self.0[class as usize].clone().acquire_owned().await;
        turn.map_err(|_| ApiError::new(Code::Unavailable, "the server is stopping"))
    }
}

/// Tokenises a request on a thread for such work. A client that goes before its turn, or between two texts, costs no more.
pub async fn read<M: Send + Sync + 'static>(
    unread: Vec<Unread<M>>,
    model: Arc<M>,
    limits: &Limits,
    turn: OwnedSemaphorePermit,
) -> Result<Vec<Asked>, ApiError> {
    let most = limits.tokens;
    let client = Arc::new(());
    let gone = Arc::downgrade(&client);
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let of = unread.len();
        let (mut asked, mut tokens) = (Vec::with_capacity(of), 0);
        for one in unread {
            if gone.strong_count() == 0 {
                return Err(ApiError::new(Code::Unavailable, "the client has gone"));
            }
            let query = (one.read)(&model, &one.value)?;
            tokens += query.tokens();
            asked.push(Asked { task: one.task, query });
            if tokens > most {
                let parts =
                    if asked.len() < of { format!(" in {} of its {of} parts", asked.len()) } else { String::new() };
                let message = format!("expected at most {most} tokens in a request, found {tokens}{parts}");
                return Err(ApiError::invalid(message).hint(
                    "send the text in parts; overlapping windows, each task and its question count too; /info states the limits",
                ));
            }
        }
        Ok(asked)
    });
    let read = reading.await.map_err(|_| ApiError::new(Code::Internal, "the request failed"))?;
    drop(client);
    read
}
