//! What waits: windows in the order in which they are due, and the batches that are made of them.
//!
//! ```text
//! due(window) = tokens served when its request came + PACE x (tokens of the request up to its end)
//! ```
//!
//! Time is counted in tokens that went through the model. So a request goes before the rest of a longer one that came
//! before it, and after what came long before and is no longer than itself. No window is overtaken for ever: what comes
//! when it is due is due later. Under load that never ends, a long request gets at least one part in `PACE` of the model.

use super::admission::{Admission, Held};
use super::{Asked, Reply};
use crate::error::ApiError;
use crate::limits::{Class, Limits};
use polyhead::batch::Features;
use polyhead::tasks::Logits;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Tokens of others that may go before each of a request's own.
const PACE: u64 = 4;

/// A request that waits, or is partly done.
struct Job<M> {
    model: Arc<M>,
    queries: Vec<(Asked, Vec<Option<Logits>>)>,
    /// Its windows that are still to go: query and window.
    waiting: VecDeque<(usize, usize)>,
    /// Windows that are in the model.
    running: usize,
    /// Tokens that had been served when it came.
    came: u64,
    /// Its tokens that went into batches.
    taken: u64,
    /// Its class, and its tokens that are not done yet.
    held: Held,
    since: Option<Instant>,
    sender: oneshot::Sender<Reply>,
}

impl<M> Job<M> {
    /// The next of its windows, with its task.
    fn next(&self) -> Option<(usize, usize, usize, &Features)> {
        let &(query, window) = self.waiting.front()?;
        let (asked, _) = self.queries.get(query)?;
        Some((query, window, asked.task, asked.query.windows.get(window)?))
    }

    /// When the next of its windows is due.
    fn due(&self) -> Option<u64> {
        let (.., features) = self.next()?;
        Some(self.came.saturating_add(PACE.saturating_mul(self.taken + features.ids.len() as u64)))
    }
}

/// All jobs. `M` is the model that a job is for: it is handed on, and otherwise only told from another.
pub struct Queue<M> {
    jobs: HashMap<u64, Job<M>>,
    /// Jobs with windows to go, by when the next is due.
    order: BTreeSet<(u64, u64)>,
    next: u64,
    /// Tokens that went into batches since the start.
    served: u64,
    /// Who may wait.
    pub admission: Admission,
    /// Nothing more is taken.
    pub closed: bool,
}

/// A place in the queue, from when a request came.
pub struct Turn {
    pub held: Held,
    came: u64,
    since: Instant,
}

/// A window on its way through the model.
pub struct Part {
    pub job: u64,
    pub task: usize,
    pub class: Class,
    pub features: Features,
    query: usize,
    window: usize,
}

/// What a batch took of a job.
enum Taken {
    /// A window.
    One,
    /// Nothing: there is no room.
    None,
}

/// Windows that go through the model together, those of one job side by side.
pub struct Batch<M> {
    pub model: Arc<M>,
    pub windows: Vec<Part>,
    pub tokens: usize,
    /// How long each job waited whose first windows these are.
    pub waited: Vec<(Class, Duration)>,
}

impl<M> Queue<M> {
    pub fn new(limits: Limits) -> Self {
        let admission = Admission::new(limits);
        Self { jobs: HashMap::new(), order: BTreeSet::new(), next: 0, served: 0, admission, closed: false }
    }

    /// The turn of a request that has this place and came now.
    pub fn turn(&self, held: Held) -> Turn {
        Turn { held, came: self.served, since: Instant::now() }
    }

    /// Takes what was asked; its place has been corrected to its tokens.
    pub fn add(&mut self, model: Arc<M>, asked: Vec<Asked>, turn: Turn, sender: oneshot::Sender<Reply>) {
        let windows =
            |(query, asked): (usize, &Asked)| (0..asked.query.windows.len()).map(move |window| (query, window));
        let waiting = asked.iter().enumerate().flat_map(windows).collect();
        let empty = |asked: Asked| {
            let logits = vec![None; asked.query.windows.len()];
            (asked, logits)
        };
        let queries = asked.into_iter().map(empty).collect();
        let Turn { held, came, since } = turn;
        let job = Job { model, queries, waiting, running: 0, came, taken: 0, held, since: Some(since), sender };
        let (id, due) = (self.next, job.due());
        self.next += 1;
        self.jobs.insert(id, job);
        match due {
            Some(due) => _ = self.order.insert((due, id)),
            None => self.answer(id),
        }
    }

    /// Forgets jobs whose clients have gone.
    pub fn drop_abandoned(&mut self) {
        let gone: Vec<u64> = self.jobs.iter().filter(|(_, job)| job.sender.is_closed()).map(|(&id, _)| id).collect();
        gone.into_iter().for_each(|id| drop(self.remove(id)));
    }

    fn remove(&mut self, id: u64) -> Option<Job<M>> {
        let job = self.jobs.remove(&id)?;
        if let Some(due) = job.due() {
            self.order.remove(&(due, id));
        }
        self.admission.leave(job.held);
        Some(job)
    }

    /// The next windows to go, as they are due, as long as there is room. The first is taken however long it is; who finds no
    /// room keeps the place, and so is the first before long.
    pub fn batch(&mut self, room: usize) -> Option<Batch<M>> {
        let &(_, first) = self.order.first()?;
        let model = self.jobs.get(&first)?.model.clone();
        let mut batch = Batch { model, windows: Vec::new(), tokens: 0, waited: Vec::new() };
        let mut aside = Vec::new();
        while batch.tokens < room || batch.windows.is_empty() {
            let Some((due, id)) = self.order.pop_first() else { break };
            match self.take(id, room, &mut batch) {
                Taken::One => self.order.extend(self.jobs.get(&id).and_then(Job::due).map(|due| (due, id))),
                Taken::None => aside.push((due, id)),
            }
        }
        self.order.extend(aside);
        self.served += batch.tokens as u64;
        // Windows of one job side by side: if the batch fails, each job goes alone.
        batch.windows.sort_by_key(|part| part.job);
        (!batch.windows.is_empty()).then_some(batch)
    }

    /// Takes the next window of a job, if there is room for it.
    fn take(&mut self, id: u64, room: usize, batch: &mut Batch<M>) -> Taken {
        let Some(job) = self.jobs.get_mut(&id) else { return Taken::None };
        let Some((query, window, task, features)) = job.next() else { return Taken::None };
        let tokens = features.ids.len();
        let fits = batch.windows.is_empty() || batch.tokens + tokens <= room;
        if !fits || !Arc::ptr_eq(&job.model, &batch.model) {
            return Taken::None;
        }
        // What the encoder and the head read; what maps back to the text stays with the query.
        let Features { ids, types, ranges, pairs, .. } = features.clone();
        let features = Features { ids, types, ranges, pairs, ..Features::default() };
        let class = job.held.class;
        batch.waited.extend(job.since.take().map(|since| (class, since.elapsed())));
        batch.windows.push(Part { job: id, task, class, features, query, window });
        batch.tokens += tokens;
        job.waiting.pop_front();
        job.running += 1;
        job.taken += tokens as u64;
        Taken::One
    }

    /// Gives the logits of a batch back to the jobs, and answers those that are whole.
    pub fn put(&mut self, batch: Batch<M>, results: Vec<Result<Logits, ApiError>>) {
        for (part, result) in batch.windows.into_iter().zip(results) {
            // It failed or its client went in between.
            let Some(job) = self.jobs.get_mut(&part.job) else { continue };
            job.running -= 1;
            let tokens = part.features.ids.len().min(job.held.tokens);
            job.held.tokens -= tokens;
            self.admission.served(job.held.class, tokens);
            match result {
                Err(error) => {
                    if let Some(job) = self.remove(part.job) {
                        // Nobody may be listening any more.
                        let _ = job.sender.send(Err(error));
                    }
                }
                Ok(logits) => {
                    let slot = job.queries.get_mut(part.query).and_then(|(_, all)| all.get_mut(part.window));
                    if let Some(slot) = slot {
                        *slot = Some(logits);
                    }
                    if job.waiting.is_empty() && job.running == 0 {
                        self.answer(part.job);
                    }
                }
            }
        }
    }

    fn answer(&mut self, id: u64) {
        let Some(job) = self.remove(id) else { return };
        let done =
            |(asked, logits): (Asked, Vec<Option<Logits>>)| (asked.query, logits.into_iter().flatten().collect());
        let _ = job.sender.send(Ok(job.queries.into_iter().map(done).collect()));
    }
}

impl<M> Batch<M> {
    /// Its tokens, by class.
    pub fn by_class(&self) -> [usize; Class::ALL.len()] {
        Class::ALL.map(|class| {
            let own = self.windows.iter().filter(|part| part.class == class);
            own.map(|part| part.features.ids.len()).sum()
        })
    }
}

#[cfg(test)]
mod tests;
