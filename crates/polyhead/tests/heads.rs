//! What a head may read and make, proven by a task that is none of ours: words and pairs of words as its input; rows of logits for
//! words, pairs and sequences; targets that are classes, numbers and sets. And that heads which share a batch share the encoder's
//! pass, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;
mod small;

use candle_core::Tensor;
use common::{Tensors, error, gradients, largest};
use polyhead::batch::{Batch, Features, Merge, Padding, Targets, WindowedExample};
use polyhead::data::{Layout, Read};
use polyhead::encoders::Pass;
use polyhead::model::NamedTask;
use polyhead::parameters::Weights;
use polyhead::recipe::Recipe;
use polyhead::tasks::answer::Labels;
use polyhead::tasks::{Answer, HeadShape, LinearHead, Logits, Purpose, Score, Shape, TASKS, Task, TaskKind, Window};
use polyhead::text::{TokenSequence, Tokenizer};
use polyhead::train::{Event, Prepared, Trainer, prepare};
use polyhead::{Error, Place, Result};
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::rng::Key;
use polyhead_kernels::{self as kernels, Activation, DropoutAt, Index, Offset, Ops, Segments};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

/// What is predicted of a line of words, all of which can be seen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum About {
    /// Of each pair of neighbours, whether the first comes before the second in the alphabet: a class a pair.
    Neighbours,
    /// Of each word, its first letter's place in the alphabet: a class a word.
    Words,
    /// The share of its words that are `ada`: a number.
    Share,
    /// Which of three words are in it: a set.
    Holds,
}

const HELD: [&str; 3] = ["ada", "mary", "london"];

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    about: About,
    #[serde(default = "length")]
    max_length: usize,
    #[serde(default)]
    dropout: f64,
}

fn length() -> usize {
    48
}

struct Line {
    place: Place,
    words: Vec<String>,
}

/// The best of each row, or the numbers of the one row.
type Found = Vec<Vec<u32>>;

impl Seen {
    fn outputs(&self) -> usize {
        match self.about {
            About::Neighbours => 2,
            About::Words => 26,
            About::Share => 1,
            About::Holds => HELD.len(),
        }
    }

    fn targets(&self, words: &[String]) -> Targets {
        let letter = |word: &String| i64::from(word.bytes().next().unwrap() - b'a');
        match self.about {
            About::Neighbours => Targets::Classes(words.windows(2).map(|pair| i64::from(pair[0] < pair[1])).collect()),
            About::Words => Targets::Classes(words.iter().map(letter).collect()),
            About::Share => {
                let held = words.iter().filter(|word| *word == "ada").count();
                Targets::Reals(vec![held as f32 / words.len() as f32])
            }
            About::Holds => {
                let held = |&at: &u32| words.iter().any(|word| word == HELD[at as usize]);
                Targets::Sets(vec![(0..3).filter(held).collect()])
            }
        }
    }

    /// What the rows of logits say, in the form of the targets; a number in hundredths.
    fn found(&self, window: &Window) -> Found {
        let best = |row: &[f32]| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0 as u32;
        let above = |row: &[f32]| (0..row.len() as u32).filter(|&at| row[at as usize] > 0.0).collect();
        let of = |row: &[f32]| match self.about {
            About::Neighbours | About::Words => vec![best(row)],
            About::Share => vec![(row[0] * 100.0).round() as u32],
            About::Holds => above(row),
        };
        window.logits.rows().map(of).collect()
    }

    fn gold(&self, words: &[String]) -> Found {
        match self.targets(words) {
            Targets::Classes(classes) => classes.into_iter().map(|class| vec![class as u32]).collect(),
            Targets::Reals(numbers) => {
                numbers.into_iter().map(|number| vec![(number * 100.0).round() as u32]).collect()
            }
            Targets::Sets(sets) => sets,
            Targets::Positions(_) => unreachable!(),
        }
    }
}

impl Task for Seen {
    const KIND: &'static str = "seen";
    const ABOUT: &'static str = "what can be seen in a line of words";
    type Example = Line;
    type Prediction = Found;
    /// Right rows, and all.
    type Counts = (usize, usize);
    type Head = Vec<LinearHead>;

    fn open(config: Value) -> Result<Self> {
        serde_json::from_value(config).map_err(|cause| Error::usage(cause.to_string()))
    }
    fn config(&self) -> Value {
        json!(self)
    }
    fn max_length(&self) -> usize {
        self.max_length
    }
    fn read(&self, path: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<Line>> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        let line = |(at, line): (usize, &str)| Line {
            place: Place::line(path, at + 1),
            words: line.split(' ').map(str::to_owned).collect(),
        };
        let examples = text.lines().enumerate().take(limit.unwrap_or(usize::MAX)).map(line).collect();
        Ok(Read { examples, skipped: Vec::new(), notes: Vec::new() })
    }
    fn place<'a>(&self, example: &'a Line) -> &'a Place {
        &example.place
    }
    fn distribution(&self, examples: &[Line]) -> Vec<(String, usize)> {
        vec![("words".to_owned(), examples.iter().map(|line| line.words.len()).sum())]
    }
    fn features(&self, example: &Line, tokenizer: &Tokenizer, _: Purpose) -> Result<WindowedExample> {
        let words: Vec<&str> = example.words.iter().map(String::as_str).collect();
        let pieces = tokenizer.words(&words)?;
        let TokenSequence { ids, types, texts: [text] } = tokenizer.single().window([&pieces]);
        let range = |word: usize| {
            let first = text.start + pieces.partition_point(|piece| piece.word < word);
            (first as u32, (text.start + pieces.partition_point(|piece| piece.word <= word)) as u32)
        };
        let features = Features {
            spans: vec![None; ids.len()],
            ids,
            types,
            ranges: (0..words.len()).map(range).collect(),
            pairs: (1..words.len() as u32).map(|second| (second - 1, second)).collect(),
            targets: self.targets(&example.words),
        };
        Ok(WindowedExample { windows: vec![features], ..WindowedExample::default() })
    }
    fn decode(&self, _: &Line, windows: &[Window]) -> Found {
        windows.iter().flat_map(|window| self.found(window)).collect()
    }
    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<Vec<LinearHead>> {
        let mut layer =
            |part: &str, outputs| LinearHead::open(weights, &format!("heads.{name}.{part}"), shape, outputs);
        let mut layers = vec![layer("out", self.outputs())?];
        if self.about == About::Neighbours {
            layers.extend([layer("first", shape.hidden)?, layer("second", shape.hidden)?]);
        }
        Ok(layers)
    }
    fn logits(&self, head: &Vec<LinearHead>, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let drop = |place| Some(DropoutAt::new(self.dropout, place));
        let rows = match self.about {
            About::Share | About::Holds => ops.select_rows(hidden, Index::FirstTokens)?,
            About::Words => ops.select_rows(hidden, Index::RangeStarts)?,
            About::Neighbours => {
                let words = ops.select_rows(hidden, Index::RangeStarts)?;
                let (one, other) =
                    (head[1].apply(ops, &words, drop("words"))?, head[2].apply(ops, &words, drop("words"))?);
                let one = ops.select_rows(&one, Index::PairFirsts)?;
                let other = ops.select_rows(&other, Index::PairSeconds)?;
                let both = ops.add(&one, &other)?;
                ops.activation(&both, Activation::Tanh)?
            }
        };
        head[0].apply(ops, &rows, drop("rows"))
    }
    fn loss(&self, logits: &Tensor, segments: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        assert_eq!((logits.dim(0)?, targets.len()), (segments.rows(), segments.len()));
        let device = logits.device();
        match self.about {
            About::Neighbours | About::Words => {
                let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
                Ok(token_cross_entropy(logits, &classes, count)?)
            }
            About::Share => {
                let numbers: Vec<f32> = targets.iter().flat_map(|targets| targets.reals()).copied().collect();
                let far = logits.sub(&Tensor::from_vec(numbers, logits.dims(), device)?)?;
                Ok((far.sqr()?.sum_all()? / count)?)
            }
            About::Holds => {
                let sets = targets.iter().flat_map(|targets| targets.sets());
                let held = sets.flat_map(|set| (0..3).map(|at| if set.contains(&at) { 1.0_f32 } else { 0.0 }));
                let held = Tensor::from_vec(held.collect::<Vec<f32>>(), logits.dims(), device)?;
                // ln(1 + exp(z)) - z for what holds, ln(1 + exp(z)) for what does not.
                let each = logits.exp()?.affine(1.0, 1.0)?.log()?.sub(&logits.mul(&held)?)?;
                Ok((each.sum_all()? / count)?)
            }
        }
    }
    fn counts(&self) -> (usize, usize) {
        (0, 0)
    }
    fn count(&self, example: &Line, prediction: &Found, counts: &mut (usize, usize)) {
        let gold = self.gold(&example.words);
        assert_eq!(prediction.len(), gold.len(), "{:?}: rows for {:?}", self.about, example.words);
        let near = |(found, gold): &(&Vec<u32>, &Vec<u32>)| match self.about {
            About::Share => found[0].abs_diff(gold[0]) <= 5,
            _ => found == gold,
        };
        counts.0 += prediction.iter().zip(&gold).filter(near).count();
        counts.1 += gold.len();
    }
    fn score(&self, (right, all): &(usize, usize)) -> Score {
        let accuracy = 100.0 * *right as f64 / (*all).max(1) as f64;
        let values = [("accuracy".to_owned(), json!(accuracy))].into_iter().collect();
        Score { headline: "accuracy".into(), values, types: Vec::new() }
    }
    fn request(&self, request: &Value, place: Place) -> Result<Line> {
        let text = request["text"].as_str().ok_or_else(|| Error::data("expected `text`").at(place.clone()))?;
        Ok(Line { words: text.split(' ').map(str::to_owned).collect(), place })
    }
    const SHAPE: Shape = Shape::Labels;
    fn answer(&self, _: &Line, prediction: &Found) -> Answer {
        Answer::Labels(Labels { label: format!("{prediction:?}"), score: 1.0, labels: Vec::new() })
    }
    fn asked(&self, example: &Line) -> String {
        example.words.join(" ")
    }
}

fn kinds() -> Vec<TaskKind> {
    TASKS.iter().copied().chain([TaskKind::of::<Seen>()]).collect()
}

const WORDS: [&str; 9] = ["ada", "mary", "london", "river", "book", "queen", "war", "north", "paris"];

/// Lines of two to seven words.
fn lines(count: usize, seed: u64) -> String {
    let word = |key: Key, at: u64| WORDS[(key.bits(at) >> 8) as usize % WORDS.len()];
    let line = |index: usize| {
        let key = Key::seed(seed).with(index as u64);
        (0..2 + (index % 6) as u64).map(|at| word(key, at)).collect::<Vec<_>>().join(" ")
    };
    (0..count).map(|index| line(index) + "\n").collect()
}

/// A recipe with these tasks of ours, each on the same lines, and NER.
fn recipe(folder: &Path, abouts: &[About], dropout: f64, train: &str) -> Recipe {
    let data = folder.join("lines.txt");
    std::fs::write(&data, lines(36, 1)).unwrap();
    let ner = small::write_data(small::kind("ner"), "train", &[5; 6], folder);
    let mut text = format!(
        "name = 'heads'\noutput = {:?}\nencoder = {{ checkpoint = {:?}, dropout = {dropout:?}, attention_dropout = {dropout:?} }}\ntrain = {{ {train} }}\n",
        folder.join("runs"),
        small::fixture("tiny-bert"),
    );
    for about in abouts {
        let name = name(*about);
        text +=
            &format!("tasks.{name} = {{ kind = 'seen', about = '{name}', dropout = {dropout:?}, batch_size = 12 }}\n");
        text += &format!("data.{name} = {{ train = {data:?}, validation = {data:?} }}\n");
    }
    text += &format!(
        "tasks.ner = {{ max_length = 48, stride = 12, dropout = 0.0 }}\ndata.ner = {{ train = {ner:?}, validation = {ner:?} }}\n"
    );
    Recipe::parse(&text, &folder.join("heads.toml"), &[]).unwrap()
}

const ALL: [About; 4] = [About::Neighbours, About::Words, About::Share, About::Holds];

#[test]
fn every_kind_of_row_and_target_can_be_learnt() {
    for about in ALL {
        let folder = tempfile::tempdir().unwrap();
        let train = "epochs = 40, learning_rate = 3e-3";
        let recipe = recipe(folder.path(), &[about], 0.0, train);
        let (mut best, name) = (0.0_f64, name(about));
        for event in Trainer::with_tasks(recipe, &kinds(), &mut |_| {}).unwrap() {
            if let Event::Evaluated(end) = event.unwrap() {
                best = best.max(end.scores[&name].get("accuracy").unwrap());
            }
        }
        assert!(best >= 95.0, "{name}: {best} % of the rows");
    }
}

/// Dropout of words, pairs and sequences knows where in the batch a part begins.
#[test]
fn a_batch_in_parts_has_the_gradients_of_one_batch_for_every_kind_of_row() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &ALL, 0.2, "");
    let Prepared { model, task_data, .. } = prepare(&recipe, &kinds(), &mut |_| {}).unwrap();
    let key = Key::seed(5);
    for data in task_data.iter().filter(|data| data.name != "ner") {
        let task = model.task(&data.name).unwrap();
        let windows: Vec<&Features> = data.windows.iter().take(12).map(|window| &window.features).collect();
        let count = windows.iter().map(|window| task.task.target_count(&window.targets)).sum();
        let want = gradients(&model, "", &model.loss(task, &windows, Padding::Packed, Pass::train(key)).unwrap().value);
        let scale = want.values().map(largest).fold(0.0, f64::max);
        for size in [1, 5] {
            let (mut begins, mut sum) = (Offset::default(), Tensors::new());
            for part in windows.chunks(size) {
                let loss = model.loss_of_part(task, part, Padding::Packed, Pass::Train { key, begins }, count).unwrap();
                add(&mut sum, gradients(&model, "", &loss.value));
                begins = begins.after(&loss.inputs);
            }
            assert_same(&sum, &want, scale, &data.name);
        }
    }
}

/// Three tasks read the same lines, NER reads sentences of its own: one pass of the encoder over what there is of both.
#[test]
fn heads_that_share_a_batch_have_the_losses_and_gradients_that_they_have_alone() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = recipe(folder.path(), &ALL[..3], 0.0, "precision = 'f32'");
    let Prepared { model, task_data, .. } = prepare(&recipe, &kinds(), &mut |_| {}).unwrap();
    let windows = |name: &str, count: usize| -> Vec<&Features> {
        let data = task_data.iter().find(|data| data.name == name).unwrap();
        data.windows.iter().take(count).map(|window| &window.features).collect()
    };
    let tasks: Vec<(&NamedTask, Vec<&Features>)> = [("neighbours", 8), ("ner", 4), ("share", 5), ("words", 8)]
        .map(|(name, count)| (model.task(name).unwrap(), windows(name, count)))
        .to_vec();
    let rows = |windows: &[&Features]| windows.iter().map(|window| window.ids.len()).sum::<usize>();
    let heads: Vec<Vec<&Features>> = tasks.iter().map(|(_, windows)| windows.clone()).collect();
    let batch = Batch::shared(&heads, Merge::AcrossHeads, None, Padding::Packed, 0, 0);
    assert_eq!(batch.segments().rows(), rows(&tasks[0].1) + rows(&tasks[1].1), "each line once");

    let together = model.losses_together(&tasks, Padding::Packed, common::TRAIN()).unwrap();
    let mut sum = Tensors::new();
    for ((task, windows), together) in tasks.iter().zip(&together) {
        assert_eq!(together.inputs.segments.rows(), rows(windows), "{}: its own rows alone", task.name);
        let alone = model.loss(task, windows, Padding::Packed, common::TRAIN()).unwrap().value;
        assert!(error(&together.value.detach(), &alone.detach()) <= 1e-6, "{}", task.name);
        add(&mut sum, gradients(&model, "", &alone));
    }
    let all = together.iter().skip(1).fold(together[0].value.clone(), |sum, loss| (sum + &loss.value).unwrap());
    let scale = sum.values().map(largest).fold(0.0, f64::max);
    assert_same(&gradients(&model, "", &all), &sum, scale, "together");

    // And in evaluation, in any order of windows.
    let mixed: Vec<(usize, &Features)> = (0..8)
        .flat_map(|at| tasks.iter().filter_map(move |(task, windows)| Some((task, *windows.get(at)?))))
        .map(|(task, window)| (model.tasks.iter().position(|other| other.name == task.name).unwrap(), window))
        .collect();
    for ((task, window), found) in mixed.iter().zip(model.logits_together(&mixed).unwrap()) {
        let alone = model.logits(&model.tasks[*task], &[window]).unwrap().remove(0);
        let flat = |logits: &Logits| logits.rows().flatten().copied().collect::<Vec<f32>>();
        let (found, alone) = (flat(&found), flat(&alone));
        assert_eq!(found.len(), alone.len(), "{}", model.tasks[*task].name);
        assert!(found.iter().zip(&alone).all(|(a, b)| (a - b).abs() <= 1e-5), "{found:?} for {alone:?}");
    }
}

/// A pair of sequences of one token each: rows that are tokens, and as many that are sequences.
#[test]
fn rows_are_told_by_what_they_stand_for_and_not_by_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let Prepared { model, .. } =
        prepare(&recipe(folder.path(), &[About::Words, About::Share], 0.0, ""), &kinds(), &mut |_| {}).unwrap();
    let window = |ranges| Features { ids: vec![5], types: vec![0], ranges, ..Features::default() };
    let (none, three) = (window(vec![]), window(vec![(0, 1); 3]));
    let counts = |task: &str| {
        let logits = model.logits(model.task(task).unwrap(), &[&none, &three]).unwrap();
        logits.iter().map(|logits| logits.rows().len()).collect::<Vec<_>>()
    };
    assert_eq!((counts("words"), counts("share")), (vec![0, 3], vec![1, 1]));
}

fn name(about: About) -> String {
    json!(about).as_str().unwrap().to_owned()
}

fn add(sum: &mut Tensors, gradients: Tensors) {
    for (name, gradient) in gradients {
        let gradient = sum.get(&name).map(|before| (before + &gradient).unwrap()).unwrap_or(gradient);
        sum.insert(name, gradient);
    }
}

fn assert_same(found: &Tensors, want: &Tensors, scale: f64, what: &str) {
    assert!(want.len() > 40 && found.keys().eq(want.keys()), "{what}: {} gradients", want.len());
    for (name, want) in want {
        let far = error(&found[name], want) * largest(want);
        assert!(far <= 1e-5 * largest(want).max(1e-2 * scale), "{what}, {name}: {far:e} of {:e}", largest(want));
    }
}
