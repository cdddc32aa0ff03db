//! What waits: jobs in the order of their turns, and the batches that are made of their windows.

use super::{Asked, Done};
use crate::error::ApiError;
use crate::loaded::Loaded;
use polyhead::batch::Features;
use polyhead::tasks::Logits;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A request that waits, or is partly done.
struct Job {
    loaded: Arc<Loaded>,
    queries: Vec<(Asked, Vec<Option<Logits>>)>,
    /// Its windows that are still to go: query and window.
    waiting: VecDeque<(usize, usize)>,
    /// Windows that are in the model.
    running: usize,
    tokens: usize,
    weight: usize,
    since: Option<Instant>,
    sender: oneshot::Sender<Result<Vec<Done>, ApiError>>,
}

/// All jobs.
#[derive(Default)]
pub struct Queue {
    jobs: HashMap<u64, Job>,
    /// Whose turn it is, and whose comes after.
    turns: VecDeque<u64>,
    next: u64,
    /// Tokens that are still to go.
    pub tokens: usize,
    /// The weights of all jobs.
    pub weight: usize,
    /// Nothing more is taken.
    pub closed: bool,
    /// Tokens a second, over the last batches.
    rate: f64,
}

/// A window on its way through the model.
pub struct Part {
    pub job: u64,
    pub task: usize,
    pub features: Features,
    query: usize,
    window: usize,
}

/// Windows that go through the model together, those of one job side by side.
pub struct Batch {
    pub loaded: Arc<Loaded>,
    pub windows: Vec<Part>,
    pub tokens: usize,
    /// How long each job waited whose first windows these are.
    pub waited: Vec<Duration>,
}

impl Queue {
    pub fn add(
        &mut self,
        loaded: Arc<Loaded>,
        asked: Vec<Asked>,
        weight: usize,
        sender: oneshot::Sender<Result<Vec<Done>, ApiError>>,
    ) {
        let tokens = asked.iter().map(|asked| asked.query.tokens()).sum();
        let windows =
            |(query, asked): (usize, &Asked)| (0..asked.query.windows.len()).map(move |window| (query, window));
        let waiting = asked.iter().enumerate().flat_map(windows).collect();
        let empty = |asked: Asked| {
            let logits = vec![None; asked.query.windows.len()];
            (asked, logits)
        };
        let queries = asked.into_iter().map(empty).collect();
        let job = Job { loaded, queries, waiting, running: 0, tokens, weight, since: Some(Instant::now()), sender };
        self.jobs.insert(self.next, job);
        self.turns.push_back(self.next);
        self.next += 1;
        self.tokens += tokens;
        self.weight += weight;
    }

    /// Forgets jobs whose clients have gone.
    pub fn drop_abandoned(&mut self) {
        let gone: Vec<u64> = self
            .turns
            .iter()
            .copied()
            .filter(|id| self.jobs.get(id).is_none_or(|job| job.sender.is_closed()))
            .collect();
        gone.into_iter().for_each(|id| drop(self.remove(id)));
    }

    fn remove(&mut self, id: u64) -> Option<Job> {
        self.turns.retain(|other| *other != id);
        let job = self.jobs.remove(&id)?;
        self.tokens = self.tokens.saturating_sub(job.tokens);
        self.weight = self.weight.saturating_sub(job.weight);
        Some(job)
    }

    /// The next windows to go: one of each job in turn, as long as there is room. At least one, however long.
    pub fn batch(&mut self, room: usize) -> Option<Batch> {
        let loaded = self.jobs.get(self.turns.front()?)?.loaded.clone();
        let mut batch = Batch { loaded, windows: Vec::new(), tokens: 0, waited: Vec::new() };
        // Jobs that can give nothing to this batch: of another model, or their next window does not fit.
        let mut passed = 0;
        while passed < self.turns.len() {
            let Some(&id) = self.turns.front() else { break };
            self.turns.rotate_left(1);
            let Some(job) = self.jobs.get_mut(&id) else { break };
            let next = job.waiting.front().copied();
            let found = next.and_then(|(query, window)| {
                let (asked, _) = job.queries.get(query)?;
                Some((query, window, asked.task, asked.query.windows.get(window)?))
            });
            let Some((query, window, task, features)) = found else {
                // All its windows are under way.
                self.turns.retain(|other| *other != id);
                continue;
            };
            let tokens = features.ids.len();
            let fits = batch.windows.is_empty() || batch.tokens + tokens <= room;
            if !fits || !Arc::ptr_eq(&job.loaded, &batch.loaded) {
                passed += 1;
                continue;
            }
            passed = 0;
            // What maps back to the text stays with the query.
            let features = Features { ids: features.ids.clone(), types: features.types.clone(), ..Features::default() };
            batch.waited.extend(job.since.take().map(|since| since.elapsed()));
            batch.windows.push(Part { job: id, task, features, query, window });
            batch.tokens += tokens;
            job.waiting.pop_front();
            job.running += 1;
        }
        batch.windows.sort_by_key(|part| part.job);
        (!batch.windows.is_empty()).then_some(batch)
    }

    /// Gives the logits of a batch back to the jobs, and answers those that are whole.
    pub fn put(&mut self, batch: Batch, results: Vec<Result<Logits, ApiError>>) {
        for (part, result) in batch.windows.into_iter().zip(results) {
            // It failed or its client went in between.
            let Some(job) = self.jobs.get_mut(&part.job) else { continue };
            job.running -= 1;
            let tokens = part.features.ids.len();
            job.tokens = job.tokens.saturating_sub(tokens);
            self.tokens = self.tokens.saturating_sub(tokens);
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

    /// How fast the last batch was.
    pub fn took(&mut self, tokens: usize, time: Duration) {
        let rate = tokens as f64 / time.as_secs_f64().max(1e-6);
        self.rate = if self.rate > 0.0 { 0.8 * self.rate + 0.2 * rate } else { rate };
    }

    /// How long what waits will take; a second where nothing is known yet.
    pub fn seconds_of_work(&self) -> f64 {
        if self.rate > 0.0 { self.tokens as f64 / self.rate } else { 1.0 }
    }
}
