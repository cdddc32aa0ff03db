//! A new task in one file: text classification from the first token (`[CLS]`), trained beside named entities.
//!
//! `cargo run --release --example new_task -- [CHECKPOINT [KEY=VALUE ...]]` trains for a few epochs on sixteen questions, scores on eight others,
//! and then classifies one more. What follows the checkpoint changes the recipe: `train.epochs=20 data.question.train=FILE`.

use candle_core::Tensor;
use polyhead::batch::{Features, Targets, WindowedExample};
use polyhead::data::{Layout, Read};
use polyhead::infer::Session;
use polyhead::parameters::Weights;
use polyhead::recipe::Recipe;
use polyhead::tasks::answer::Labels;
use polyhead::tasks::{Answer, HeadShape, LinearHead, Purpose, Score, Shape, TASKS, Task, TaskKind, Window, softmax};
use polyhead::text::{TokenSequence, Tokenizer};
use polyhead::train::{Event, Trainer};
use polyhead::{Error, Place, Result};
use polyhead_kernels::cross_entropy::token_cross_entropy;
use polyhead_kernels::{self as kernels, Index, Ops, Segments};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::Path;

// Configuration: what a recipe says under [tasks.NAME], and the labels that the training data teach it.

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct QuestionType {
    max_length: usize,
    labels: Vec<String>,
}

impl Default for QuestionType {
    fn default() -> Self {
        Self { max_length: 64, labels: Vec::new() }
    }
}

struct Labelled {
    place: Place,
    text: String,
    label: Option<String>,
}

#[derive(Default)]
struct Counts {
    right: usize,
    all: usize,
}

impl Task for QuestionType {
    const KIND: &'static str = "question_type";
    const ABOUT: &'static str = "what a question asks for";
    type Example = Labelled;
    type Prediction = Labels;
    type Counts = Counts;
    type Head = LinearHead;

    fn open(config: Value) -> Result<Self> {
        serde_json::from_value(config).map_err(|cause| Error::usage(cause.to_string()))
    }
    fn config(&self) -> Value {
        json!(self)
    }
    fn max_length(&self) -> usize {
        self.max_length
    }
    fn labels(&self) -> &[String] {
        &self.labels
    }

    // Codec: text only. The file has a label, a tab and a text on each line.

    fn read(&self, path: &Path, limit: Option<usize>, _: &Layout) -> Result<Read<Labelled>> {
        let text = std::fs::read_to_string(path).map_err(|cause| Error::reading(path, cause))?;
        let lines = text.lines().enumerate().take(limit.unwrap_or(usize::MAX));
        let examples = lines.map(|(index, line)| {
            let place = Place::line(path, index + 1);
            let Some((label, text)) = line.split_once('\t') else {
                return Err(Error::data("expected a label, a tab and a text").at(place));
            };
            Ok(Labelled { place, text: text.to_owned(), label: Some(label.to_owned()) })
        });
        Ok(Read { examples: examples.collect::<Result<_>>()?, skipped: Vec::new(), notes: Vec::new() })
    }
    fn prepare(&mut self, train: &[Labelled]) -> Result<()> {
        self.labels = train.iter().filter_map(|example| example.label.clone()).collect();
        self.labels.sort();
        self.labels.dedup();
        Ok(())
    }
    fn place<'a>(&self, example: &'a Labelled) -> &'a Place {
        &example.place
    }
    fn distribution(&self, examples: &[Labelled]) -> Vec<(String, usize)> {
        let count = |label: &String| examples.iter().filter(|example| example.label.as_ref() == Some(label)).count();
        self.labels.iter().map(|label| (label.clone(), count(label))).collect()
    }
    fn features(&self, example: &Labelled, tokenizer: &Tokenizer, _: Purpose) -> Result<WindowedExample> {
        let mut pieces = tokenizer.text(&example.text)?;
        let room = tokenizer.single().room(self.max_length, 0)?;
        let lost_tokens = pieces.len().saturating_sub(room);
        pieces.truncate(room);
        let TokenSequence { ids, types, .. } = tokenizer.single().window([&pieces]);
        let label = self.labels.iter().position(|label| Some(label) == example.label.as_ref());
        let features = Features {
            spans: vec![None; ids.len()],
            targets: Targets::Classes(label.map(|label| label as i64).into_iter().collect()),
            ids,
            types,
            ..Features::default()
        };
        Ok(WindowedExample { windows: vec![features], lost_tokens, truncated_answers: 0 })
    }
    fn decode(&self, _: &Labelled, windows: &[Window]) -> Labels {
        Labels::ranked(&self.labels, &softmax(windows.first().map_or(&[], |window| window.logits.row(0))))
    }

    // Head: tensors only.

    fn head(&self, name: &str, shape: HeadShape, weights: &mut Weights) -> Result<LinearHead> {
        LinearHead::open_by_label(weights, &format!("heads.{name}"), shape, &self.labels)
    }
    fn logits(&self, head: &LinearHead, hidden: &kernels::Value, ops: &mut dyn Ops) -> Result<kernels::Value> {
        let first = ops.select_rows(hidden, Index::FirstTokens)?;
        head.apply(ops, &first, None)
    }
    fn loss(&self, logits: &Tensor, _: &Segments, targets: &[&Targets], count: f64) -> Result<Tensor> {
        let classes: Vec<i64> = targets.iter().flat_map(|targets| targets.classes()).copied().collect();
        Ok(token_cross_entropy(logits, &classes, count)?)
    }

    // Metric and requests.

    fn counts(&self) -> Counts {
        Counts::default()
    }
    fn count(&self, example: &Labelled, prediction: &Labels, counts: &mut Counts) {
        counts.all += 1;
        counts.right += usize::from(example.label.as_ref() == Some(&prediction.label));
    }
    fn score(&self, counts: &Counts) -> Score {
        let accuracy = 100.0 * counts.right as f64 / counts.all.max(1) as f64;
        let values = [("accuracy".to_owned(), json!(accuracy))].into_iter().collect();
        Score { headline: "accuracy".into(), values, types: Vec::new() }
    }
    fn request(&self, request: &Value, place: Place) -> Result<Labelled> {
        match request["text"].as_str() {
            Some(text) => Ok(Labelled { place, text: text.to_owned(), label: None }),
            None => Err(Error::data("expected {\"text\": \"...\"}").at(place)),
        }
    }
    const SHAPE: Shape = Shape::Labels;
    fn answer(&self, _: &Labelled, prediction: &Labels) -> Answer {
        Answer::Labels(prediction.clone())
    }
    fn gold_answer(&self, example: &Labelled) -> Option<Answer> {
        Some(Answer::Labels(Labels::ranked(std::slice::from_ref(example.label.as_ref()?), &[1.0])))
    }
    fn asked(&self, example: &Labelled) -> String {
        example.text.clone()
    }
}

const QUESTIONS: &str = "place\tWhere is the nearest pharmacy?
person\tWho wrote this letter?
number\tHow many stairs are there?
time\tWhen does the museum open?
place\tWhere did you park the car?
person\tWho is going to drive us home?
number\tHow many eggs does the cake need?
time\tWhen was the bridge built?
place\tWhere can I buy a ticket?
person\tWho painted the ceiling?
number\tHow much does the blue one cost?
time\tWhen is your birthday?
place\tWhere do the storks spend the winter?
person\tWho won the race last year?
number\tHow many people live here?
time\tWhen will the rain stop?
";

const OTHERS: &str = "place\tWhere is the key to the cellar?
person\tWho is that at the window?
number\tHow many pages does it have?
time\tWhen does the train leave?
place\tWhere did the cat go?
person\tWho sang the last song?
number\tHow many of them came back?
time\tWhen did you learn to swim?
";

fn main() -> Result<()> {
    // The one line that adds the task: the known ones and this one.
    let kinds: Vec<TaskKind> = TASKS.iter().copied().chain([TaskKind::of::<QuestionType>()]).collect();

    let mut arguments = std::env::args().skip(1);
    let checkpoint = arguments.next().unwrap_or_else(|| "sentence-transformers/all-MiniLM-L6-v2".to_owned());
    let overrides: Vec<String> = arguments.collect();
    let folder = std::env::temp_dir().join(format!("polyhead-new-task-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|cause| Error::writing(&folder, cause))?;
    let data = folder.join("questions.tsv");
    std::fs::write(&data, QUESTIONS).map_err(|cause| Error::writing(&data, cause))?;
    let others = folder.join("others.tsv");
    std::fs::write(&others, OTHERS).map_err(|cause| Error::writing(&others, cause))?;

    let recipe = format!(
        "name = 'new-task'\noutput = {folder:?}\nencoder.checkpoint = {checkpoint:?}\n\
         train = {{ epochs = 8, learning_rate = 3e-4 }}\n\
         tasks.question = {{ kind = 'question_type', batch_size = 4 }}\n\
         data.question = {{ train = {data:?}, validation = {others:?} }}\n"
    );
    let recipe = Recipe::parse(&recipe, Path::new("the recipe in this example"), &overrides)?;
    let mut model = None;
    for event in Trainer::with_tasks(recipe, &kinds, &mut |note| eprintln!("{note}"))? {
        match event? {
            Event::Evaluated(end) => println!("epoch {}: accuracy {:.0} %", end.epoch, end.value.unwrap_or(0.0)),
            Event::Finished(end) => model = Some(end.model),
            _ => {}
        }
    }

    let session = Session::open_with(model.unwrap_or_default(), &kinds)?;
    let text = "Who lives in the house next door?";
    let answer = session.ask("question", &json!({ "text": text }))?;
    println!("{text}\n  {} (score {:.2})", answer["label"], answer["score"].as_f64().unwrap_or(0.0));
    std::fs::remove_dir_all(&folder).map_err(|cause| Error::writing(&folder, cause))
}
