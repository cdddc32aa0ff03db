//! What waits: jobs in the order of their turns, and the batches that are made of their windows.

use super::{Asked, Reply};
use crate::error::ApiError;
use polyhead::batch::Features;
use polyhead::tasks::Logits;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// A request that waits, or is partly done.
struct Job<M> {
    model: Arc<M>,
    queries: Vec<(Asked, Vec<Option<Logits>>)>,
    /// Its windows that are still to go: query and window.
    waiting: VecDeque<(usize, usize)>,
    /// Windows that are in the model.
    running: usize,
    tokens: usize,
    weight: usize,
    since: Option<Instant>,
    sender: oneshot::Sender<Reply>,
}

/// All jobs. `M` is the model that a job is for: it is handed on, and otherwise only told from another.
pub struct Queue<M> {
    jobs: HashMap<u64, Job<M>>,
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

/// What a batch took of a job.
enum Taken {
    /// A window, and more wait.
    One,
    /// Its last one; or it had none.
    Last,
    /// Nothing: there is no room.
    None,
}

/// Windows that go through the model together, those of one job side by side.
pub struct Batch<M> {
    pub model: Arc<M>,
    pub windows: Vec<Part>,
    pub tokens: usize,
    /// How long each job waited whose first windows these are.
    pub waited: Vec<Duration>,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        let (jobs, turns) = Default::default();
        Self { jobs, turns, next: 0, tokens: 0, weight: 0, closed: false, rate: 0.0 }
    }
}

impl<M> Queue<M> {
    pub fn add(&mut self, model: Arc<M>, asked: Vec<Asked>, weight: usize, sender: oneshot::Sender<Reply>) {
        let tokens = asked.iter().map(|asked| asked.query.tokens()).sum();
        let windows =
            |(query, asked): (usize, &Asked)| (0..asked.query.windows.len()).map(move |window| (query, window));
        let waiting = asked.iter().enumerate().flat_map(windows).collect();
        let empty = |asked: Asked| {
            let logits = vec![None; asked.query.windows.len()];
            (asked, logits)
        };
        let queries = asked.into_iter().map(empty).collect();
        let job = Job { model, queries, waiting, running: 0, tokens, weight, since: Some(Instant::now()), sender };
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

    fn remove(&mut self, id: u64) -> Option<Job<M>> {
        self.turns.retain(|other| *other != id);
        let job = self.jobs.remove(&id)?;
        self.tokens = self.tokens.saturating_sub(job.tokens);
        self.weight = self.weight.saturating_sub(job.weight);
        Some(job)
    }

    /// The next windows to go: one of each job in turn, and round again, as long as there is room. The first is taken however
    /// long it is; who finds no room keeps the place, and so is the first before long.
    pub fn batch(&mut self, room: usize) -> Option<Batch<M>> {
        let model = self.jobs.get(self.turns.front()?)?.model.clone();
        let mut batch = Batch { model, windows: Vec::new(), tokens: 0, waited: Vec::new() };
        let (mut kept, mut served) = (VecDeque::new(), VecDeque::new());
        let mut round = std::mem::take(&mut self.turns);
        while !round.is_empty() {
            let before = batch.windows.len();
            for id in round.drain(..) {
                match self.take(id, room, &mut batch) {
                    Taken::Last => {}
                    Taken::One => served.push_back(id),
                    Taken::None => kept.push_back(id),
                }
            }
            if batch.windows.len() > before {
                round.append(&mut served);
            }
        }
        kept.append(&mut served);
        self.turns = kept;
        // Windows of one job side by side: if the batch fails, each job goes alone.
        batch.windows.sort_by_key(|part| part.job);
        (!batch.windows.is_empty()).then_some(batch)
    }

    /// Takes the next window of a job, if there is room for it.
    fn take(&mut self, id: u64, room: usize, batch: &mut Batch<M>) -> Taken {
        let Some(job) = self.jobs.get_mut(&id) else { return Taken::Last };
        let next = job.waiting.front().copied();
        let found = next.and_then(|(query, window)| {
            let (asked, _) = job.queries.get(query)?;
            Some((query, window, asked.task, asked.query.windows.get(window)?))
        });
        let Some((query, window, task, features)) = found else { return Taken::Last };
        let tokens = features.ids.len();
        let fits = batch.windows.is_empty() || batch.tokens + tokens <= room;
        if !fits || !Arc::ptr_eq(&job.model, &batch.model) {
            return Taken::None;
        }
        // What maps back to the text stays with the query.
        let features = Features { ids: features.ids.clone(), types: features.types.clone(), ..Features::default() };
        batch.waited.extend(job.since.take().map(|since| since.elapsed()));
        batch.windows.push(Part { job: id, task, features, query, window });
        batch.tokens += tokens;
        job.waiting.pop_front();
        job.running += 1;
        if job.waiting.is_empty() { Taken::Last } else { Taken::One }
    }

    /// Gives the logits of a batch back to the jobs, and answers those that are whole.
    pub fn put(&mut self, batch: Batch<M>, results: Vec<Result<Logits, ApiError>>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use polyhead::tasks::Query;

    /// A queue of jobs whose windows have these lengths; what they would be answered through.
    fn queue(jobs: &[&[usize]]) -> (Queue<()>, Vec<oneshot::Receiver<Reply>>) {
        let model = Arc::new(());
        let mut queue = Queue::default();
        let window = |&length: &usize| Features { ids: vec![1; length], types: vec![0; length], ..Features::default() };
        let add = |lengths: &&[usize]| {
            let query = Query::new(lengths.iter().map(window).collect(), |windows| windows.len().into());
            let (sender, receiver) = oneshot::channel();
            queue.add(model.clone(), vec![Asked { task: 0, query }], 1, sender);
            receiver
        };
        let receivers = jobs.iter().map(add).collect();
        (queue, receivers)
    }

    /// The lengths of the windows of each batch until nothing is left.
    fn batches(queue: &mut Queue<()>, room: usize) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        while let Some(batch) = queue.batch(room) {
            all.push(batch.windows.iter().map(|part| part.features.ids.len()).collect());
            let results = batch.windows.iter().map(|_| Ok(Logits::new(vec![0.0], 1))).collect();
            queue.put(batch, results);
        }
        all
    }

    #[test]
    fn a_short_text_waits_for_no_more_than_one_batch_of_a_long_one() {
        let (mut queue, receivers) = queue(&[&[100; 5], &[10]]);
        assert_eq!(batches(&mut queue, 100), [vec![100], vec![10], vec![100], vec![100], vec![100], vec![100]]);
        assert_eq!((queue.tokens, queue.weight), (0, 0));
        for mut receiver in receivers {
            let done = receiver.try_recv().unwrap_or_else(|_| Ok(Vec::new())).unwrap_or_default();
            assert_eq!(done.len(), 1, "answered");
            let windows = done[0].0.windows.len();
            assert_eq!(done[0].1.len(), windows, "with the logits of every window");
        }
    }

    #[test]
    fn a_long_window_that_finds_no_room_is_not_overtaken_for_ever() {
        let (mut queue, _receivers) = queue(&[&[60], &[100], &[30], &[60], &[30], &[30]]);
        assert_eq!(batches(&mut queue, 100), [vec![60, 30], vec![100], vec![60, 30], vec![30]]);
    }

    #[test]
    fn who_has_gone_is_forgotten() {
        let (mut queue, mut receivers) = queue(&[&[10, 10], &[20]]);
        drop(receivers.remove(0));
        queue.drop_abandoned();
        assert_eq!((queue.tokens, queue.weight), (20, 1));
        assert_eq!(batches(&mut queue, 100), [vec![20]]);
    }

    #[test]
    fn a_failure_is_of_its_own_job() {
        let (mut queue, mut receivers) = queue(&[&[10], &[20]]);
        let batch = queue.batch(100);
        let fault = || Err(ApiError::invalid("fault"));
        if let Some(batch) = batch {
            queue.put(batch, vec![fault(), Ok(Logits::new(vec![0.0], 1))]);
        }
        let results: Vec<bool> =
            receivers.iter_mut().map(|receiver| receiver.try_recv().is_ok_and(|result| result.is_ok())).collect();
        assert_eq!(results, [false, true]);
        assert_eq!(queue.tokens, 0);
    }
}
