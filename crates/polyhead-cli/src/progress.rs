//! Progress on standard error: bars on a terminal, now and then a plain line elsewhere, nothing when asked to be quiet.

use crate::out::{Out, printable};
use crate::scores::words;
use crate::sparkline::Sparkline;
use crate::table::{count, counted, decimal};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use polyhead::hub::HubEvent;
use polyhead::train::{Evaluated, Plan, Step, TaskPlan};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Without a terminal, a line at most so often ...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ... and at least after this share of the steps (one in twenty).
const LINES: usize = 20;

/// Between two states of the spinner.
const TICK: Duration = Duration::from_millis(200);

/// A counter of things without a known end. It is on the terminal only.
pub fn counter(what: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    bar.set_style(style(&format!("{{spinner}} {{human_pos}} {what} {{elapsed}}")));
    bar
}

/// Tells what the Hub tells: a bar for each file on a terminal, a line elsewhere.
pub fn downloads(out: &Out) -> impl FnMut(HubEvent) + '_ {
    transfers(out, "downloading")
}

/// The same of what goes to the Hub.
pub fn uploads(out: &Out) -> impl FnMut(HubEvent) + '_ {
    transfers(out, "sending")
}

fn transfers<'a>(out: &'a Out, doing: &'a str) -> impl FnMut(HubEvent) + 'a {
    let mut bar = ProgressBar::hidden();
    move |event| match event {
        HubEvent::Note(note) => bar.suspend(|| out.note(note)),
        HubEvent::Started { file, bytes, .. } => {
            bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr());
            bar.set_style(style("{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} {msg}"));
            bar.set_message(printable(&file));
            if !std::io::stderr().is_terminal() {
                out.note(format!("{doing} {file}"));
            }
        }
        HubEvent::Progress { done, .. } => bar.set_position(done),
        HubEvent::Finished { .. } => bar.finish_and_clear(),
    }
}

fn style(template: &str) -> ProgressStyle {
    // A template is a constant of this file, and one that does not parse would only look plain.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Whether progress is shown at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// It is.
    Progress,
    /// It is not.
    Nothing,
}

/// The progress of a training run: on a terminal a few lines that stay in place, elsewhere a line now and then.
///
/// ```text
/// ━━━━━━━━━━━━━━━━━━━━━━━━╸───────────────  54%
/// ⠙ step 412/756  epoch 2/3  ETA 3 min 12 s
///   1,362 tokens/s  learning rate 2.41e-5
///   ner  loss 0.1775  micro F1 83.20 (+12.41)  weight 0.83 ▇▇▆▅▅▄  200 batches ████▇▇
///   qa   loss 2.9008  F1 45.20 (+29.68)        weight 1.17 ▅▅▆▇▇█  212 batches ████▇█
/// ```
pub struct Training {
    show: Show,
    screen: Option<Screen>,
    steps: usize,
    epochs: usize,
    steps_per_epoch: usize,
    tasks: Vec<Task>,
    tokens: usize,
    /// Seconds spent in steps.
    seconds: f64,
    /// Seconds of the last evaluation.
    evaluation: f64,
    said: Instant,
    said_step: usize,
}

/// What is known of a task.
struct Task {
    name: String,
    /// Its batches in an epoch.
    batches: usize,
    /// Its loss, smoothed over about its last ten steps.
    loss: Option<f64>,
    steps: usize,
    seconds: f64,
    /// Its weight in its steps, and whether it was ever another than 1.
    weights: Sparkline,
    weight: f64,
    is_weighted: bool,
    /// Whether each step had a batch of it.
    shares: Sparkline,
    /// What decides, with its last value and the one before.
    score: Option<(String, f64, Option<f64>)>,
}

/// The lines on a terminal; each is cut at its width.
struct Screen {
    all: MultiProgress,
    bar: ProgressBar,
    /// Where the run is, how fast it goes, then one a task.
    lines: Vec<ProgressBar>,
}

impl Screen {
    fn new(steps: usize, tasks: usize, out: &Out) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let colour = if out.colours_stderr() { ":.green/dim" } else { "" };
        let bar = all.add(ProgressBar::new(steps as u64));
        bar.set_style(style(&format!("{{wide_bar{colour}}} {{percent:>3}}%")).progress_chars("━╸─"));
        let line = |at: usize| {
            let line = all.add(ProgressBar::no_length());
            line.set_style(style(if at == 0 { "{spinner} {wide_msg}" } else { "  {wide_msg}" }));
            line
        };
        let lines: Vec<ProgressBar> = (0..2 + tasks).map(line).collect();
        // Life where nothing else moves: steps may take seconds, and evaluations minutes.
        lines.iter().take(1).for_each(|line| line.enable_steady_tick(TICK));
        Self { all, bar, lines }
    }

    fn tell(&self, lines: impl IntoIterator<Item = String>) {
        for (line, text) in self.lines.iter().zip(lines) {
            line.set_message(text);
        }
    }
}

impl Training {
    /// Before the first step.
    pub fn new(show: Show) -> Self {
        Self {
            show,
            screen: None,
            steps: 0,
            epochs: 0,
            steps_per_epoch: 1,
            tasks: Vec::new(),
            tokens: 0,
            seconds: 0.0,
            evaluation: 0.0,
            said: Instant::now(),
            said_step: 0,
        }
    }

    /// What will be done: the bar begins.
    pub fn plan(&mut self, plan: &Plan, out: &Out) {
        (self.steps, self.epochs, self.steps_per_epoch) = (plan.steps, plan.epochs, plan.steps_per_epoch.max(1));
        let task = |task: &TaskPlan| Task {
            name: task.name.clone(),
            batches: task.batches,
            loss: None,
            steps: 0,
            seconds: 0.0,
            weights: Sparkline::default(),
            weight: 1.0,
            is_weighted: false,
            shares: Sparkline::default(),
            score: None,
        };
        self.tasks = plan.tasks.iter().map(task).collect();
        if self.show == Show::Progress && terminal() {
            self.screen = Some(Screen::new(plan.steps, plan.tasks.len(), out));
        }
    }

    /// A step was taken.
    pub fn step(&mut self, step: &Step, out: &Out) {
        self.saw(step);
        if let Some(screen) = &self.screen {
            screen.bar.set_position(step.step as u64);
            let evaluates = step.step.is_multiple_of(self.steps_per_epoch) || step.step == step.steps;
            let position = match evaluates {
                true => format!("evaluating after epoch {} of {}", step.epoch, self.epochs),
                false => self.position(step),
            };
            screen.tell([position, self.speed(step)].into_iter().chain(self.task_lines(out)));
            return;
        }
        let due = self.said.elapsed() >= LINE_EVERY || step.step - self.said_step >= step.steps.div_ceil(LINES);
        if self.show == Show::Progress && (due || self.said_step == 0 || step.step == step.steps) {
            out.note(self.plain(step));
            (self.said, self.said_step) = (Instant::now(), step.step);
        }
    }

    /// An epoch was evaluated.
    pub fn evaluated(&mut self, evaluated: &Evaluated, out: &Out) {
        self.evaluation = evaluated.seconds;
        for task in &mut self.tasks {
            if let Some(score) = evaluated.scores.get(&task.name) {
                let before = task.score.as_ref().map(|(_, value, _)| *value);
                task.score = Some((score.headline.to_string(), score.headline_value(), before));
            }
        }
        if let Some(screen) = &self.screen {
            let place = format!("epoch {} of {} is done", evaluated.epoch, self.epochs);
            screen.tell([place, String::new()].into_iter().chain(self.task_lines(out)));
        }
    }

    fn saw(&mut self, step: &Step) {
        self.tokens += step.tokens();
        self.seconds += step.seconds;
        for task in &mut self.tasks {
            task.shares.push(f64::from(u8::from(step.of(&task.name).is_some())));
        }
        for part in &step.tasks {
            let Some(task) = self.tasks.iter_mut().find(|task| task.name == part.task) else { continue };
            task.steps += 1;
            task.weight = part.weight;
            task.is_weighted |= part.weight != 1.0;
            task.weights.push(part.weight);
            // A step of several tasks takes as long as all of them: each is as good a guess at the next one.
            task.seconds += step.seconds;
            if let Some(loss) = part.loss {
                let smooth = task.loss.get_or_insert(loss);
                *smooth += 0.2 * (loss - *smooth);
            }
        }
    }

    /// Seconds until the end: a step of a task takes what its steps took so far, and those to come are spread over the tasks
    /// as in a whole epoch; evaluations take what the last one took.
    fn left(&self, step: usize) -> f64 {
        let (mut seconds, mut batches) = (0.0, 0);
        for task in self.tasks.iter().filter(|task| task.steps > 0) {
            seconds += task.seconds / task.steps as f64 * task.batches as f64;
            batches += task.batches;
        }
        let steps = self.steps.saturating_sub(step);
        let evaluations = steps.div_ceil(self.steps_per_epoch);
        seconds / batches.max(1) as f64 * steps as f64 + self.evaluation * evaluations as f64
    }

    fn rate(&self) -> String {
        format!("{} tokens/s", count((self.tokens as f64 / self.seconds.max(1e-9)) as usize))
    }

    fn position(&self, step: &Step) -> String {
        let Step { step, steps, epoch, .. } = step;
        let (left, epochs) = (duration(self.left(*step)), self.epochs);
        format!("step {}/{}  epoch {epoch}/{epochs}  ETA {left}", count(*step), count(*steps))
    }

    fn speed(&self, step: &Step) -> String {
        format!("{}  learning rate {:.2e}", self.rate(), step.lr)
    }

    fn task_lines(&self, out: &Out) -> Vec<String> {
        let width = self.tasks.iter().map(|task| task.name.chars().count()).max().unwrap_or(0);
        let line = |task: &Task| {
            let name = out.strong(&format!("{:width$}", task.name));
            let loss = task.loss.map_or_else(String::new, |loss| format!("  loss {loss:.4}"));
            let score = task.score.as_ref().map_or_else(String::new, |(measure, value, before)| {
                let change = before.map_or_else(String::new, |before| format!(" ({:+.2})", value - before));
                format!("  {} {}{change}", words(measure), decimal(*value))
            });
            let weight = match task.is_weighted {
                true => format!("  weight {:.2} {}", task.weight, task.weights.text()),
                false => String::new(),
            };
            // Of one task all batches are its own.
            let batches = match self.tasks.len() > 1 && task.steps > 0 {
                true => format!("  {} {}", counted(task.steps, "batch"), task.shares.text()),
                false => String::new(),
            };
            format!("{name}{loss}{score}{weight}{batches}").trim_end().to_owned()
        };
        self.tasks.iter().map(line).collect()
    }

    /// All of it on one line.
    fn plain(&self, step: &Step) -> String {
        let losses = self.tasks.iter().filter_map(|task| Some(format!(" {} {:.2}", task.name, task.loss?)));
        let score = |task: &Task| {
            let (measure, value, _) = task.score.as_ref()?;
            Some(format!(", {} {} {}", task.name, words(measure), decimal(*value)))
        };
        format!(
            "step {}/{}, epoch {}/{}, loss{}, learning rate {:.2e}{}, {}, ETA {}",
            step.step,
            step.steps,
            step.epoch,
            self.epochs,
            losses.collect::<String>(),
            step.lr,
            self.tasks.iter().filter_map(score).collect::<String>(),
            self.rate(),
            duration(self.left(step.step)),
        )
    }

    /// Says something without disturbing the bar.
    pub fn say(&self, f: impl FnOnce()) {
        match (self.show, &self.screen) {
            (Show::Nothing, _) => {}
            (Show::Progress, Some(screen)) => screen.all.suspend(f),
            (Show::Progress, None) => f(),
        }
    }

    /// The end.
    pub fn finish(&self) {
        if let Some(screen) = &self.screen {
            screen.lines.iter().chain([&screen.bar]).for_each(ProgressBar::finish_and_clear);
        }
    }

    /// What was done, for the last line.
    pub fn summary(&self, steps: usize) -> String {
        format!(
            "{} and {} in {} of training: {}",
            counted(steps, "step"),
            counted(self.tokens, "token"),
            duration(self.seconds),
            self.rate()
        )
    }
}

/// Whether standard error is a terminal whose lines can be written over.
fn terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// A duration for people: `7 s`, `2 min 05 s`, `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { 0 };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyhead::train::StepTask;

    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in [(0.2, "0 s"), (59.4, "59 s"), (125.0, "2 min 05 s"), (3720.0, "1 h 02 min")] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::NAN), "0 s");
    }

    fn plan() -> Plan {
        let task = |name: &str, batches| TaskPlan {
            name: name.to_owned(),
            examples: 0,
            windows: 0,
            batches,
            tokens: 0,
            validation: 0,
            ..TaskPlan::default()
        };
        let tasks = vec![task("ner", 1), task("qa", 3)];
        Plan { tasks, epochs: 2, steps_per_epoch: 4, steps: 8, ..Plan::default() }
    }

    fn step(step: usize, task: &str, seconds: f64) -> Step {
        let loss = Some(if step == 1 { 2.0 } else { 1.0 });
        let tasks = vec![StepTask {
            task: task.to_owned(),
            loss,
            weight: 1.0,
            tokens: 1000,
            shared_tokens: 0,
            examples: Vec::new(),
        }];
        let group_norms = Default::default();
        Step {
            step,
            steps: 8,
            epoch: 1,
            tasks,
            lr: 2.5e-5,
            grad_norm: Some(1.0),
            group_norms,
            seconds,
            balance_seconds: 0.0,
        }
    }

    fn evaluated(epoch: usize, f1: f64) -> Evaluated {
        let values = serde_json::json!({ "f1": f1 }).as_object().cloned().unwrap_or_default();
        let score = polyhead::tasks::Score { headline: "f1".into(), values, types: Vec::new() };
        let scores = [("qa".to_owned(), score)].into();
        let (step, losses, counts, samples) = Default::default();
        let (value, since_best) = (Some(f1), 0);
        let (calibration, improved, seconds) = (Default::default(), true, 10.0);
        Evaluated { epoch, step, counts, losses, scores, calibration, value, improved, since_best, seconds, samples }
    }

    #[test]
    fn lines_say_where_the_run_is_and_how_each_task_fares() {
        let out = Out::new(crate::out::Color::Never);
        let mut training = Training::new(Show::Nothing);
        training.plan(&plan(), &out);
        training.saw(&step(1, "ner", 1.0));
        assert_eq!(training.task_lines(&out), ["ner  loss 2.0000  1 batch", "qa"]);
        training.saw(&step(2, "qa", 3.0));
        let at = step(2, "qa", 3.0);
        // Six steps, a quarter of them of one second and the rest of three.
        assert_eq!(training.position(&at), "step 2/8  epoch 1/2  ETA 15 s");
        assert_eq!(training.speed(&at), "500 tokens/s  learning rate 2.50e-5");
        training.evaluated(&evaluated(1, 40.0), &out);
        training.evaluated(&evaluated(2, 45.5), &out);
        assert_eq!(
            training.task_lines(&out),
            ["ner  loss 2.0000  1 batch █▁", "qa   loss 1.0000  F1 45.50 (+5.50)  1 batch ▁█"]
        );
        // And two evaluations of ten.
        let plain =
            "step 2/8, epoch 1/2, loss ner 2.00 qa 1.00, learning rate 2.50e-5, qa F1 45.50, 500 tokens/s, ETA 35 s";
        assert_eq!(training.plain(&at), plain);
        training.saw(&step(3, "ner", 1.0));
        assert_eq!(training.task_lines(&out)[0], "ner  loss 1.8000  2 batches █▁█", "smoothed");
        let mut weighted = step(4, "qa", 1.0);
        weighted.tasks[0].weight = 0.5;
        training.saw(&weighted);
        assert!(training.task_lines(&out)[1].contains("  weight 0.50 █▅  2 batches ▁█▁█"));
        assert_eq!(training.summary(4), "4 steps and 4,000 tokens in 6 s of training: 666 tokens/s");
    }

    #[test]
    fn the_time_that_is_left_counts_the_steps_that_were_seen_not_those_before_a_resume() {
        let out = Out::new(crate::out::Color::Never);
        let mut training = Training::new(Show::Nothing);
        training.plan(&plan(), &out);
        training.saw(&step(7, "qa", 3.0));
        assert_eq!(training.left(7), 3.0);
    }
}
