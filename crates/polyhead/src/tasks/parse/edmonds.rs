//! The best tree over the words of a sentence, with exactly one root: maximum spanning arborescence by Chu and Liu (1965) and Edmonds
//! (1967), in the form of Tarjan (1977) for dense graphs, O(n²).
//!
//! ```text
//! score(head, word), heads 0 (the root) .. n, words 1 .. n  ->  the head of each word
//! ```
//!
//! From some word the best way up is followed. Where it meets itself, the circle becomes one node: of each arc into the circle the
//! score of the arc that it would replace is taken away. When all is one node, it is taken apart again, beginning with the root: what
//! enters a circle replaces the circle's arc to the same word. Of equals the lower head is taken.
//!
//! That the root has one word below it needs no second search: weights are pairs, of which the first counts arcs of the root, and
//! pairs are compared, added and subtracted as numbers are. A tree with fewer arcs of the root is better than any with more.

/// The weight of an arc: first how many arcs of the root it saves, then its score.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
struct Weight {
    level: i64,
    score: f64,
}

impl Weight {
    fn less(self, other: Self) -> Self {
        Self { level: self.level - other.level, score: self.score - other.score }
    }
}

/// An arc from a head to a word.
#[derive(Debug, Clone, Copy)]
struct Arc {
    head: usize,
    word: usize,
    weight: Weight,
}

/// Stands for a score that is no number, below all that are.
const LOWEST: f64 = -1e30;

/// The head of each of `words` words in the best tree; 0 is the root.
pub fn best_tree(words: usize, score: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let count = words + 1;
    let weight = |head: usize, word: usize| {
        let score = score(head, word);
        Weight { level: if head == 0 { -1 } else { 0 }, score: if score.is_finite() { score } else { LOWEST } }
    };
    // Of each node, the best arc into it from each head. No tree has arcs into the root: they are there so that everything comes
    // together.
    let none = Weight { level: 0, score: 0.0 };
    let into = |word: usize| (0..count).map(move |head| Arc { head, word, weight: none }).collect::<Vec<_>>();
    let mut arcs: Vec<Vec<Arc>> = (0..count).map(into).collect();
    for arc in arcs.iter_mut().skip(1).flatten().filter(|arc| arc.head != arc.word) {
        arc.weight = weight(arc.head, arc.word);
    }
    let mut forest =
        Forest { parents: vec![None; count], children: vec![Vec::new(); count], entered: vec![None; count] };
    // The node that a word is part of by now.
    let mut owners: Vec<usize> = (0..count).collect();
    let mut top = count - 1;
    loop {
        let outside = arcs[top].iter().filter(|arc| owners[arc.head] != top);
        let Some(best) = outside.copied().reduce(|best, arc| if arc.weight > best.weight { arc } else { best }) else {
            break;
        };
        forest.entered[top] = Some(best);
        let above = owners[best.head];
        if forest.entered[above].is_none() {
            top = above;
            continue;
        }
        let mut circle = vec![top];
        let mut at = above;
        while at != top {
            circle.push(at);
            at = forest.entered[at].map_or(top, |arc| owners[arc.head]);
        }
        circle.sort_unstable();
        let merged = (0..count).map(|head| best_into(&circle, head, &arcs, &forest)).collect();
        top = forest.join(circle.clone());
        owners.iter_mut().filter(|owner| circle.contains(owner)).for_each(|owner| *owner = top);
        circle.iter().for_each(|&member| arcs[member] = Vec::new());
        arcs.push(merged);
    }
    forest.take_apart();
    (1..count).map(|word| forest.entered[word].map_or(0, |arc| arc.head)).collect()
}

/// The best arc from a head into a circle, with what it costs to leave the circle's own arc to that word.
fn best_into(circle: &[usize], head: usize, arcs: &[Vec<Arc>], forest: &Forest) -> Arc {
    let loss = |member: usize| {
        let arc = arcs[member][head];
        let own = forest.entered[member].map_or(arc.weight, |own| own.weight);
        Arc { weight: arc.weight.less(own), ..arc }
    };
    let all = circle.iter().map(|&member| loss(member));
    all.reduce(|best, arc| if arc.weight > best.weight { arc } else { best }).unwrap_or(arcs[circle[0]][head])
}

/// Nodes and the circles that they are part of.
struct Forest {
    parents: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    /// The arc by which a node is entered.
    entered: Vec<Option<Arc>>,
}

impl Forest {
    /// A new node of these.
    fn join(&mut self, circle: Vec<usize>) -> usize {
        let new = self.parents.len();
        circle.iter().for_each(|&member| self.parents[member] = Some(new));
        self.parents.push(None);
        self.children.push(circle);
        self.entered.push(None);
        new
    }

    /// From the root on, the arc that enters a circle replaces the circle's own to the same word.
    fn take_apart(&mut self) {
        let mut circles = Vec::new();
        self.leave(0, &mut circles);
        while let Some(circle) = circles.pop() {
            if let Some(arc) = self.entered[circle] {
                self.entered[arc.word] = Some(arc);
                self.leave(arc.word, &mut circles);
            }
        }
    }

    /// Takes a node out of all circles around it; those beside it stand alone from then on.
    fn leave(&mut self, node: usize, circles: &mut Vec<usize>) {
        let mut at = node;
        while let Some(circle) = self.parents[at].take() {
            for member in std::mem::take(&mut self.children[circle]) {
                if member != at {
                    self.parents[member] = None;
                    if !self.children[member].is_empty() {
                        circles.push(member);
                    }
                }
            }
            at = circle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyhead_kernels::rng::Key;
    use proptest::prelude::*;

    /// Whether heads are a tree with one root.
    fn is_tree(heads: &[usize]) -> bool {
        let leads_up = |word: usize| {
            let mut at = word;
            (0..=heads.len()).any(|_| {
                at = if at == 0 { 0 } else { heads[at - 1] };
                at == 0
            })
        };
        heads.iter().filter(|head| **head == 0).count() == 1 && (1..=heads.len()).all(leads_up)
    }

    fn total(heads: &[usize], score: &impl Fn(usize, usize) -> f64) -> f64 {
        (1..).zip(heads).map(|(word, &head)| score(head, word)).sum()
    }

    /// Every tree over so many words.
    fn trees(words: usize) -> Vec<Vec<usize>> {
        let all = (0..(words + 1).pow(words as u32)).map(|mut number| {
            (0..words)
                .map(|_| {
                    let head = number % (words + 1);
                    number /= words + 1;
                    head
                })
                .collect::<Vec<_>>()
        });
        all.filter(|heads| is_tree(heads)).collect()
    }

    #[test]
    fn it_is_the_best_of_all_trees_of_up_to_six_words() {
        for words in 1..=6 {
            let trees = trees(words);
            // Cayley: (n + 1)^(n - 1) trees of n + 1 nodes, of which those with one root are n^(n - 1).
            assert_eq!(trees.len(), words.pow(words as u32 - 1));
            for case in 0..if words < 6 { 400 } else { 60 } {
                let key = Key::seed(3).with(words as u64).with(case);
                // Whole numbers of a small range, so that many trees are equal; numbers that differ; and roots that are far
                // better than anything else.
                let score = |head: usize, word: usize| {
                    let at = (head * (words + 1) + word) as u64;
                    match case % 3 {
                        0 => (key.bits(at) >> 8) as f64 % 4.0,
                        1 => key.normal(at),
                        _ => key.normal(at) + if head == 0 { 50.0 } else { 0.0 },
                    }
                };
                let found = best_tree(words, score);
                assert!(is_tree(&found), "{found:?}");
                let best = trees.iter().map(|heads| total(heads, &score)).fold(f64::MIN, f64::max);
                assert!((total(&found, &score) - best).abs() < 1e-9, "{found:?}: {} of {best}", total(&found, &score));
            }
        }
    }

    #[test]
    fn of_equals_the_lower_head_is_taken_and_one_word_is_the_root() {
        assert_eq!(best_tree(0, |_, _| 0.0), [] as [usize; 0]);
        assert_eq!(best_tree(1, |_, _| -3.0), [0]);
        let first = best_tree(4, |_, _| 0.0);
        assert!(is_tree(&first));
        assert_eq!(first, best_tree(4, |_, _| 0.0));
        // What is no number is no reason to stop.
        assert!(is_tree(&best_tree(5, |_, _| f64::NAN)));
        assert!(is_tree(&best_tree(5, |head, word| if head < word { f64::NEG_INFINITY } else { 1.0 })));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

        #[test]
        fn a_large_tree_can_be_made_no_better(words in 2..90_usize, seed in 0..1000_u64, spread in 0.0..8.0_f64) {
            let key = Key::seed(seed);
            let score = |head: usize, word: usize| spread * key.normal((head * 100 + word) as u64);
            let found = best_tree(words, score);
            prop_assert!(is_tree(&found));
            // No word has a better place below another word that is not below it.
            let is_below = |word: usize, other: usize| {
                let mut at = other;
                while at != 0 && at != word {
                    at = found[at - 1];
                }
                at == word
            };
            for (word, &own) in (1..).zip(&found) {
                for other in (1..=words).filter(|&other| own != 0 && !is_below(word, other)) {
                    prop_assert!(score(other, word) <= score(own, word) + 1e-9);
                }
            }
            // Words in another order have the same tree.
            let turned = best_tree(words, |head, word| score(if head == 0 { 0 } else { words + 1 - head }, words + 1 - word));
            let back: Vec<usize> =
                turned.iter().rev().map(|&head| if head == 0 { 0 } else { words + 1 - head }).collect();
            prop_assert!((total(&back, &score) - total(&found, &score)).abs() < 1e-9);
            // What is added to all heads of a word changes nothing.
            let moved = best_tree(words, |head, word| score(head, word) + 3.0 * word as f64);
            prop_assert!((total(&moved, &score) - total(&found, &score)).abs() < 1e-9);
            // A tree whose arcs stand out is found.
            let planted = best_tree(words, |head, word| if found[word - 1] == head { 1.0 } else { 0.0 });
            prop_assert_eq!(&planted, &found);
        }
    }
}
