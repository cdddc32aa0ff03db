//! The order of the queue, without threads and clocks: whose windows go when, in tokens served.
#![allow(clippy::unwrap_used)]

use super::*;
use polyhead::tasks::Query;
use proptest::prelude::*;

/// A queue, and what its requests would be answered through.
struct World {
    queue: Queue<()>,
    model: Arc<()>,
    receivers: HashMap<u64, oneshot::Receiver<Reply>>,
    came: u64,
}

/// A window that went: whose it is, and its tokens.
type Went = (u64, usize);

impl World {
    fn new() -> Self {
        let queue = Queue::new(Limits::default());
        Self { queue, model: Arc::new(()), receivers: HashMap::new(), came: 0 }
    }

    /// A request whose texts have windows of these lengths, if there is room for it; its number.
    fn ask(&mut self, texts: &[&[usize]]) -> Option<u64> {
        let tokens = texts.iter().copied().flatten().sum();
        let held = self.queue.admission.admit(tokens, 0.0).ok()?;
        let window = |&length: &usize| Features { ids: vec![1; length], types: vec![0; length], ..Features::default() };
        let asked = texts.iter().map(|lengths| {
            let windows = lengths.iter().map(window).collect();
            Asked { task: 0, query: Query::new(windows, |windows| windows.len().into()) }
        });
        let (sender, receiver) = oneshot::channel();
        let (turn, asked) = (self.queue.turn(held), asked.collect());
        self.queue.add(self.model.clone(), asked, turn, sender);
        self.receivers.insert(self.came, receiver);
        self.came += 1;
        Some(self.came - 1)
    }

    /// Lets one batch through; what went, in the order of the requests.
    fn batch(&mut self, room: usize) -> Vec<Went> {
        let Some(batch) = self.queue.batch(room) else { return Vec::new() };
        let went = batch.windows.iter().map(|part| (part.job, part.features.ids.len())).collect();
        let results = batch.windows.iter().map(|_| Ok(Logits::new(vec![0.0], 1))).collect();
        self.queue.put(batch, results);
        went
    }

    fn answered(&mut self, id: u64) -> bool {
        self.receivers.get_mut(&id).is_some_and(|receiver| receiver.try_recv().is_ok_and(|reply| reply.is_ok()))
    }

    /// Batches until a request is answered; the tokens that went meanwhile, its own included.
    fn until(&mut self, id: u64, room: usize, mut each: impl FnMut(&mut Self)) -> u64 {
        let from = self.queue.served;
        while !self.answered(id) {
            each(self);
            assert!(!self.batch(room).is_empty(), "something waits");
        }
        self.queue.served - from
    }

    /// Tokens that wait, those in the model included.
    fn waiting(&self) -> usize {
        Class::ALL.iter().map(|&class| self.queue.admission.tokens(class)).sum()
    }
}

/// The room of a batch of the server.
const ROOM: usize = 1_024;

#[test]
fn a_short_text_goes_before_all_that_is_left_of_long_ones() {
    let mut world = World::new();
    let long = world.ask(&[&[128; 350]]).unwrap();
    world.batch(ROOM);
    for _ in 0..4 {
        world.ask(&[&[128; 5]]).unwrap();
    }
    let short = world.ask(&[&[25]]).unwrap();
    assert!(world.batch(ROOM).contains(&(short, 25)));
    assert!(world.answered(short) && !world.answered(long));
}

#[test]
fn eight_short_texts_in_one_request_wait_little_longer_than_one() {
    let wait = |texts: &[&[usize]]| {
        let mut world = World::new();
        while world.ask(&[&[25]]).is_some() {}
        world.batch(ROOM);
        let asked = world.ask(texts).unwrap();
        // As many come as there is room for.
        world.until(asked, ROOM, |world| while world.ask(&[&[25]]).is_some() {})
    };
    let (one, eight) = (wait(&[&[25]]), wait(&[&[25][..]; 8]));
    assert!(eight <= one + ROOM as u64, "{one} tokens until one is answered, {eight} until eight are");
}

#[test]
fn a_long_text_gets_its_part_of_the_model_among_short_ones_that_never_end() {
    let mut world = World::new();
    while world.ask(&[&[25]]).is_some() {}
    let backlog = world.waiting() as u64;
    let long = world.ask(&[&[128; 350]]).unwrap();
    let tokens = world.until(long, ROOM, |world| while world.ask(&[&[25]]).is_some() {});
    // Before its last window went what waited when that was due: short ones, and windows of its own.
    let bound = PACE * 128 * 350 + backlog * PACE / (PACE - 1) + 2 * ROOM as u64;
    assert!(tokens <= bound, "{tokens} tokens went until it was answered, and at most {bound} may");
    assert!(tokens > 2 * 128 * 350, "the short ones had their part meanwhile");
}

#[test]
fn a_long_window_that_finds_no_room_is_not_overtaken_for_ever() {
    let mut world = World::new();
    world.ask(&[&[60]]);
    let long = world.ask(&[&[100]]).unwrap();
    let tokens = world.until(long, 100, |world| {
        world.ask(&[&[60]]);
        world.ask(&[&[30]]);
    });
    assert!(tokens <= 100 * (PACE + 4), "{tokens}");
}

#[test]
fn every_window_comes_back_to_its_own_query() {
    let mut world = World::new();
    world.ask(&[&[10, 20], &[30]]);
    world.ask(&[&[5]]);
    while !world.batch(35).is_empty() {}
    for (id, expected) in [(0, vec![2, 1]), (1, vec![1])] {
        let done = world.receivers.get_mut(&id).unwrap().try_recv().unwrap().unwrap();
        let windows: Vec<usize> = done.iter().map(|(query, _)| query.windows.len()).collect();
        let logits: Vec<usize> = done.iter().map(|(_, logits)| logits.len()).collect();
        assert_eq!((windows, logits), (expected.clone(), expected));
    }
    assert_eq!(world.waiting(), 0);
}

#[test]
fn who_has_gone_is_forgotten_and_gives_the_place_back() {
    let mut world = World::new();
    let gone = world.ask(&[&[128; 350]]).unwrap();
    world.ask(&[&[20]]);
    world.batch(ROOM);
    assert!(world.ask(&[&[128; 40]]).is_none(), "one long text leaves no room for the next");
    world.receivers.remove(&gone);
    world.queue.drop_abandoned();
    assert_eq!(world.waiting(), 0, "the short one is answered");
    assert!(world.ask(&[&[128; 40]]).is_some());
    while !world.batch(ROOM).is_empty() {}
    assert_eq!((world.waiting(), world.queue.jobs.len(), world.queue.order.len()), (0, 0, 0));
}

#[test]
fn who_goes_while_the_model_has_the_last_window_leaves_nothing_behind() {
    let mut world = World::new();
    let gone = world.ask(&[&[20]]).unwrap();
    let batch = world.queue.batch(ROOM).unwrap();
    world.receivers.remove(&gone);
    world.queue.drop_abandoned();
    world.queue.put(batch, vec![Ok(Logits::new(vec![0.0], 1))]);
    assert_eq!((world.waiting(), world.queue.jobs.len()), (0, 0));
}

#[test]
fn a_failure_is_of_its_own_job() {
    let mut world = World::new();
    for tokens in [10, 20] {
        world.ask(&[&[tokens]]);
    }
    let batch = world.queue.batch(100).unwrap();
    world.queue.put(batch, vec![Err(ApiError::invalid("fault")), Ok(Logits::new(vec![0.0], 1))]);
    assert!(!world.answered(0) && world.answered(1));
    assert_eq!(world.waiting(), 0);
}

#[test]
fn windows_of_another_model_wait_for_a_batch_of_their_own() {
    let mut world = World::new();
    world.ask(&[&[10]]);
    world.model = Arc::new(());
    world.ask(&[&[10]]);
    world.ask(&[&[10]]);
    assert_eq!(world.batch(100), [(0, 10)]);
    assert_eq!(world.batch(100), [(1, 10), (2, 10)]);
}

/// Requests as they come, one lot before each batch: the windows of each.
fn arrivals() -> impl Strategy<Value = Vec<Vec<Vec<usize>>>> {
    let request = prop_oneof![
        4 => prop::collection::vec(3..=40usize, 1..=8),
        2 => prop::collection::vec(100..=128usize, 4..=30),
        1 => prop::collection::vec(100..=384usize, 31..=150),
    ];
    prop::collection::vec(prop::collection::vec(request, 0..40), 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The bound of the whole scheme. A window goes before more tokens were served than it was due after, plus what waited
    /// then; twice of that, because batches are filled with what fits. What waits is bounded by admission, so that neither
    /// long nor short requests starve.
    #[test]
    fn no_window_is_later_than_its_due_time_by_more_than_what_waits(arrivals in arrivals(), room in 64..2_048usize) {
        let mut world = World::new();
        // When each request came, and its tokens that went.
        let mut requests: HashMap<u64, (u64, u64)> = HashMap::new();
        let (mut lots, mut most) = (arrivals.iter(), 0);
        loop {
            let lot = lots.next();
            for request in lot.into_iter().flatten() {
                if let Some(id) = world.ask(&[request.as_slice()]) {
                    requests.insert(id, (world.queue.served, 0));
                }
            }
            most = most.max(world.waiting() as u64);
            let went = world.batch(room);
            for &(id, tokens) in &went {
                let (came, taken) = requests.get_mut(&id).unwrap();
                *taken += tokens as u64;
                let bound = *came + PACE * *taken + 2 * (most + room.max(384) as u64);
                prop_assert!(world.queue.served <= bound, "{} > {}", world.queue.served, bound);
            }
            if lot.is_none() && went.is_empty() {
                break;
            }
        }
        for &id in requests.keys() {
            prop_assert!(world.answered(id));
        }
        prop_assert_eq!(world.waiting(), 0);
    }

    /// Whatever waits, a short request is answered before any but the next windows of long ones: it never waits for more
    /// than the short and medium requests that are due, and so long ones can't hold it up.
    #[test]
    fn however_many_long_texts_wait_a_short_one_waits_for_two_batches_at_most(windows in prop::collection::vec(100..=128usize, 40..500), before in 0..4usize, tokens in 3..=128usize) {
        let mut world = World::new();
        world.ask(&[windows.as_slice()]).unwrap();
        for _ in 0..before {
            world.batch(ROOM);
        }
        let short = world.ask(&[&[tokens]]).unwrap();
        let served = world.until(short, ROOM, |_| {});
        prop_assert!(served <= 2 * ROOM as u64, "{}", served);
    }
}
