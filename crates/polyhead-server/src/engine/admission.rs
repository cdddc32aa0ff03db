//! Who may wait: tokens by class, against each class's own part of the queue and the part that all share.
//!
//! ```text
//! estimate -> admit (or refuse: Full) -> correct, once it is tokenised -> served, a window at a time -> leave
//! ```
//!
//! Nothing here knows of threads, clocks or models: times are given, as seconds since some start.

use crate::limits::{Class, Limits};
use std::time::Duration;

/// Rates are those of about the last so many seconds.
const MEMORY: f64 = 2.0;

/// A client is never asked to wait for longer, in seconds: who ignores it must not make others wait for ever.
const LONGEST: f64 = 60.0;

/// An estimate may be off by this factor, and by this many tokens, before it is held against the request.
const GRACE: usize = 2;
const FEW: usize = 32;

/// What waits, by class.
pub struct Admission {
    limits: Limits,
    classes: [Waiting; Class::ALL.len()],
    /// Tokens a second of all classes.
    rate: Rate,
}

#[derive(Default)]
struct Waiting {
    tokens: usize,
    requests: usize,
    rate: Rate,
    /// When the last of the clients that were told to come again will have come, in seconds since the start.
    promised: f64,
}

/// Tokens a second, smoothed; zero where nothing is known.
#[derive(Default)]
struct Rate(f64);

impl Rate {
    fn observe(&mut self, tokens: usize, seconds: f64) {
        let now = tokens as f64 / seconds;
        self.0 = if self.0 > 0.0 { self.0 + (1.0 - (-seconds / MEMORY).exp()) * (now - self.0) } else { now };
    }
}

/// No room: the class's own part of the queue is taken, and the shared one too.
#[derive(Debug, PartialEq, Eq)]
pub struct Full {
    pub class: Class,
    /// Tokens of the class that wait.
    pub tokens: usize,
    /// Until there is room, if all goes on as it does and those who were told so before come first.
    pub seconds: u64,
}

/// A place among those that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub class: Class,
    pub tokens: usize,
}

impl Admission {
    pub fn new(limits: Limits) -> Self {
        Self { limits, classes: Default::default(), rate: Rate::default() }
    }

    /// Takes a place for a request of about so many tokens.
    pub fn admit(&mut self, tokens: usize, now: f64) -> Result<Held, Full> {
        let class = self.limits.class(tokens);
        if let Some(full) = self.full(class, tokens, now) {
            return Err(full);
        }
        self.enter(class, tokens);
        Ok(Held { class, tokens })
    }

    /// The request turned out to be of so many tokens. Its work is half done by then, so that it keeps its place where it
    /// can: it is refused only if it is far longer than was estimated and its class is full. The old place is kept then.
    pub fn correct(&mut self, held: Held, tokens: usize, now: f64) -> Result<Held, Full> {
        let class = self.limits.class(tokens);
        self.leave(held);
        if tokens > GRACE * held.tokens.max(FEW)
            && let Some(full) = self.full(class, tokens, now)
        {
            self.enter(held.class, held.tokens);
            return Err(full);
        }
        self.enter(class, tokens);
        Ok(Held { class, tokens })
    }

    /// A request is answered or gone, with so many tokens that had still to go.
    pub fn leave(&mut self, held: Held) {
        let of = self.of(held.class);
        of.tokens = of.tokens.saturating_sub(held.tokens);
        of.requests = of.requests.saturating_sub(1);
    }

    /// Tokens of a request went through the model; more of it may wait.
    pub fn served(&mut self, class: Class, tokens: usize) {
        let of = self.of(class);
        of.tokens = of.tokens.saturating_sub(tokens);
    }

    /// A batch with so many tokens of each class took so long.
    pub fn took(&mut self, tokens: [usize; Class::ALL.len()], time: Duration) {
        let seconds = time.as_secs_f64().max(1e-6);
        self.rate.observe(tokens.iter().sum(), seconds);
        for (of, tokens) in self.classes.iter_mut().zip(tokens) {
            // A class that had nothing to do is not slow.
            if tokens > 0 || of.requests > 0 {
                of.rate.observe(tokens, seconds);
            }
        }
    }

    /// Tokens of a class that wait.
    pub fn tokens(&self, class: Class) -> usize {
        self.classes.get(class as usize).map_or(0, |of| of.tokens)
    }

    /// Requests of a class that wait.
    pub fn requests(&self, class: Class) -> usize {
        self.classes.get(class as usize).map_or(0, |of| of.requests)
    }

    /// Whether there is no room, and when a request of so many tokens may come again. Clients are told one time after the
    /// other: if all came at once, all but few would be refused again.
    fn full(&mut self, class: Class, tokens: usize, now: f64) -> Option<Full> {
        let own = self.limits.set_aside(class);
        let above_own = self.tokens(class).checked_sub(own)? + 1;
        let (shared, rate_of_shared) = self.shared();
        let above_shared = shared.checked_sub(self.limits.shared())? + 1;
        let overall = self.rate.0;
        let or_overall = |rate: f64| if rate > 0.0 { rate } else { overall };
        let rate_of_shared = or_overall(rate_of_shared);
        let of = self.of(class);
        let rate = or_overall(of.rate.0);
        let mut seconds = 1.0; // where nothing is known yet
        if rate > 0.0 {
            let room = (above_own as f64 / rate).min(above_shared as f64 / rate_of_shared);
            let at = (now + room).max(of.promised);
            seconds = at - now;
            if seconds < LONGEST {
                // Clients wait for whole seconds: no more may come at one of them than find room then.
                of.promised = at + tokens as f64 / rate.min(own.max(tokens) as f64);
            }
        }
        Some(Full { class, tokens: of.tokens, seconds: seconds.ceil().clamp(1.0, LONGEST) as u64 })
    }

    /// Tokens beyond the parts of their classes, and how many of them go in a second, beside the others.
    fn shared(&self) -> (usize, f64) {
        let mut all = (0, 0.0);
        for (of, class) in self.classes.iter().zip(Class::ALL) {
            let beyond = of.tokens.saturating_sub(self.limits.set_aside(class));
            if beyond > 0 {
                all = (all.0 + beyond, all.1 + of.rate.0);
            }
        }
        all
    }

    fn enter(&mut self, class: Class, tokens: usize) {
        let of = self.of(class);
        of.tokens += tokens;
        of.requests += 1;
    }

    fn of(&mut self, class: Class) -> &mut Waiting {
        &mut self.classes[class as usize]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    /// Short: to 512 tokens, 4,096 are kept for them; medium: to 4,096 tokens, 2,048 are; long: 2,048 are; shared: 8,192.
    fn admission() -> Admission {
        Admission::new(Limits::default())
    }

    /// How many requests of so many tokens are taken, one after the other.
    fn taken(admission: &mut Admission, tokens: usize) -> usize {
        (0..100_000).take_while(|_| admission.admit(tokens, 0.0).is_ok()).count()
    }

    #[test]
    fn no_class_takes_the_places_of_another() {
        for first in [25, 600, 45_000] {
            let mut admission = admission();
            let all = taken(&mut admission, first);
            assert_eq!(
                all,
                if first == 25 {
                    492
                } else if first == 600 {
                    18
                } else {
                    1
                },
                "its own part and the shared one"
            );
            for (other, expected) in [(25, 164), (600, 4), (45_000, 1)] {
                if other != first {
                    assert_eq!(taken(&mut admission, other), expected, "{other} after {first}");
                }
            }
        }
    }

    #[test]
    fn a_long_request_counts_for_what_it_costs_and_the_next_is_taken_when_it_is_nearly_done() {
        let mut admission = admission();
        let held = admission.admit(45_000, 0.0).unwrap();
        assert_eq!(admission.tokens(Class::Long), 45_000);
        admission.served(held.class, 34_760);
        assert!(admission.admit(5_000, 0.0).is_err(), "10,240 are left: 2,048 and 8,192");
        admission.served(held.class, 1);
        assert!(admission.admit(60_000, 0.0).is_ok(), "of whatever length");
    }

    #[test]
    fn what_was_estimated_is_corrected_and_only_a_gross_error_is_refused() {
        let mut admission = admission();
        let held = admission.admit(400, 0.0).unwrap();
        let held = admission.correct(held, 700, 0.0).unwrap();
        assert_eq!(held, Held { class: Class::Medium, tokens: 700 });
        assert_eq!((admission.tokens(Class::Short), admission.tokens(Class::Medium)), (0, 700));
        // Now medium requests have no room left.
        assert_eq!(taken(&mut admission, 4_000), 3);
        let near = admission.admit(400, 0.0).unwrap();
        assert!(admission.correct(near, 800, 0.0).is_ok(), "its work is half done");
        let far = admission.admit(400, 0.0).unwrap();
        assert_eq!(admission.correct(far, 801, 0.0).unwrap_err().class, Class::Medium);
        admission.leave(far);
        assert_eq!((admission.tokens(Class::Short), admission.requests(Class::Short)), (0, 0));
    }

    #[test]
    fn retry_after_is_the_time_until_there_is_room_at_the_rate_of_the_class() {
        let mut admission = admission();
        let held = admission.admit(64_096, 0.0).unwrap();
        assert_eq!(admission.admit(50_000, 0.0).unwrap_err().seconds, 1, "nothing is known yet");
        // The machine does 10,000 tokens a second; long requests get 3,000 of them.
        for _ in 0..100 {
            admission.took([700, 0, 300], Duration::from_millis(100));
            admission.served(Class::Long, 300);
        }
        // 34,096 are left, and 10,239 may be: the next is taken after 23,857 tokens at 3,000 a second.
        let full = admission.admit(50_000, 0.0).unwrap_err();
        assert_eq!((full.tokens, full.seconds), (34_096, 8));
        // After so long there is room, if all goes on as it does: and a second before, there is none.
        admission.served(Class::Long, 7 * 3_000);
        assert!(admission.admit(50_000, 0.0).is_err());
        admission.served(Class::Long, 3_000);
        assert!(admission.admit(50_000, 0.0).is_ok());
        admission.leave(held);
    }

    #[test]
    fn the_rate_of_a_class_is_of_the_time_when_it_had_something_to_do() {
        let mut admission = admission();
        admission.took([0, 0, 1_000], Duration::from_millis(100));
        let held = admission.admit(10_000, 0.0).unwrap();
        admission.leave(held);
        for _ in 0..1_000 {
            admission.took([1_000, 0, 0], Duration::from_millis(100));
        }
        admission.admit(24_096, 0.0).unwrap();
        assert_eq!(admission.admit(5_000, 0.0).unwrap_err().seconds, 2, "13,857 tokens at 10,000 a second");
    }

    #[test]
    fn clients_who_wait_as_long_as_they_are_told_find_room_when_they_come() {
        let mut admission = admission();
        let (mut time, mut now) = (Vec::new(), 0_u64);
        let (mut queue, mut refused, mut refused_again) = (std::collections::VecDeque::new(), 0, 0);
        admission.took([0, 0, 1_000], Duration::from_millis(100));
        // Twelve come at once, each with 5,000 tokens; the machine does 10,000 a second.
        for client in 0..12 {
            time.push((0, client));
        }
        while !time.is_empty() || !queue.is_empty() {
            for (at, client) in std::mem::take(&mut time) {
                if at > now {
                    time.push((at, client));
                    continue;
                }
                match admission.admit(5_000, now as f64 / 10.0) {
                    Ok(held) => queue.push_back(held),
                    Err(full) => {
                        refused += 1;
                        refused_again += usize::from(at > 0);
                        time.push((now + 10 * full.seconds, client));
                    }
                }
            }
            // A tenth of a second.
            if let Some(held) = queue.front_mut() {
                admission.took([0, 0, 1_000], Duration::from_millis(100));
                admission.served(Class::Long, 1_000);
                held.tokens -= 1_000;
                if held.tokens == 0 {
                    admission.leave(*held);
                    queue.pop_front();
                }
            }
            now += 1;
            assert!(now < 130, "one a second, which is what Retry-After can say");
        }
        assert_eq!(refused - refused_again, 9, "three are taken at once");
        assert_eq!(refused_again, 0, "nobody waited in vain");
    }

    #[test]
    fn who_comes_again_too_soon_does_not_make_others_wait_for_ever() {
        let mut admission = admission();
        admission.took([0, 0, 1_000], Duration::from_millis(100));
        let held = admission.admit(20_000, 0.0).unwrap();
        let told = (0..10_000).map(|_| admission.admit(5_000, 0.0).unwrap_err().seconds).max().unwrap();
        assert_eq!(told, 60);
        admission.leave(held);
        assert!(admission.admit(20_000, 10.0).is_ok(), "whoever comes when there is room is taken");
        assert_eq!(admission.admit(5_000, 61.0).unwrap_err().seconds, 1, "a minute later all of it is forgotten");
    }

    proptest! {
        #[test]
        fn the_account_is_what_waits_and_the_bound_of_every_class_holds(steps in prop::collection::vec((0..4u8, 1..70_000usize, any::<prop::sample::Index>()), 0..200)) {
            let limits = Limits::default();
            let mut admission = admission();
            let mut held: Vec<Held> = Vec::new();
            for (what, tokens, which) in steps {
                let at = if held.is_empty() { None } else { Some(which.index(held.len())) };
                match (what, at) {
                    (0, Some(at)) => admission.leave(held.swap_remove(at)),
                    (1, Some(at)) => {
                        let part = held[at].tokens.min(tokens);
                        admission.served(held[at].class, part);
                        held[at].tokens -= part;
                    }
                    (2, Some(at)) => {
                        if let Ok(corrected) = admission.correct(held[at], tokens, 0.0) {
                            held[at] = corrected;
                        }
                    }
                    _ => {
                        let before = admission.tokens(limits.class(tokens));
                        match admission.admit(tokens, 0.0) {
                            Ok(new) => {
                                prop_assert!(before < limits.set_aside(new.class) + limits.shared());
                                held.push(new);
                            }
                            Err(full) => prop_assert!(before >= limits.set_aside(full.class) && full.seconds >= 1),
                        }
                    }
                }
                for class in Class::ALL {
                    let own: Vec<&Held> = held.iter().filter(|held| held.class == class).collect();
                    prop_assert_eq!(admission.requests(class), own.len());
                    prop_assert_eq!(admission.tokens(class), own.iter().map(|held| held.tokens).sum::<usize>());
                }
            }
        }
    }
}
