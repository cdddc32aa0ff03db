//! TensorBoard's event file: every number of a run that makes a curve.
//!
//! ```text
//! file    a sequence of TFRecords: length u64 | masked crc32c of the length u32 | data | masked crc32c of the data u32
//! data    the protobuf `Event`:   1 wall_time double, 2 step int64, 3 file_version string, 5 summary
//! summary the protobuf `Summary`: 1 repeated value { 1 tag string, 2 simple_value float }
//! ```
//!
//! All numbers are little-endian. The formats are those of `tensorflow/core/lib/io/record_writer.h`,
//! `tensorflow/core/util/event.proto` and `tensorflow/core/framework/summary.proto`.
//!
//! | tag | of |
//! |---|---|
//! | `train/loss`, `train/learning_rate`, `train/grad_norm`, `train/tokens_per_second` | each step |
//! | `loss/TASK`, `grad_norm/TASK` | each step of the task |
//! | `group_norm/GROUP` | the layer groups, where a step has their norms |
//! | `epoch_loss/TASK`, `eval/TASK/MEASURE`, `eval/value` | each evaluation |
//! | `encoder_grad_norm/TASK`, `gradient_cosine/TASK_vs_TASK` | each diagnosis |

use super::numbers;
use crate::error::{Error, Result};
use crate::events::{Event, Line};
use crate::io::AppendFile;
use std::fs::{read_dir, remove_file};
use std::path::{Path, PathBuf};

/// What the names of our event files begin and go on with. TensorFlow has the name of the machine for the latter; runs
/// are shown around, so it is left out.
const PREFIX: &str = "events.out.tfevents.";
const HOST: &str = ".polyhead.";

/// What event files say first: the version of their format.
const FILE_VERSION: &str = "brain.Event:2";

/// After so many seconds, by the times of the events, everything so far goes to the file.
const FLUSH_EVERY: f64 = 5.0;

/// The writer of an event file.
pub struct TensorBoard {
    path: PathBuf,
    file: AppendFile,
    /// What is not in the file yet.
    records: Vec<u8>,
    /// Those of the last line that had them.
    step: u64,
    time: f64,
    flushed: f64,
}

impl TensorBoard {
    /// Begins the event file of a run folder; `started` is its time in Unix seconds. Event files that an earlier part of the
    /// run left are removed: TensorBoard would show their steps twice.
    pub fn create(folder: &Path, started: f64) -> Result<Self> {
        for entry in read_dir(folder).map_err(|cause| Error::reading(folder, cause))? {
            let entry = entry.map_err(|cause| Error::reading(folder, cause))?;
            let name = entry.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.contains(HOST)) {
                remove_file(entry.path()).map_err(|cause| Error::writing(entry.path(), cause))?;
            }
        }
        let name = format!("{PREFIX}{:010}{HOST}{}.0", started as u64, std::process::id());
        let path = folder.join(name);
        let file = AppendFile::create(&path)?;
        let mut board = Self { path, file, records: Vec::new(), step: 0, time: started, flushed: started };
        let mut version = Vec::new();
        put_bytes(&mut version, 3, FILE_VERSION.as_bytes());
        board.add(&version);
        board.flush()?;
        Ok(board)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of `metrics.jsonl`. One without a time has that of the line before it, and so has an evaluation without a
    /// step.
    pub fn record(&mut self, line: &Line) -> Result<()> {
        self.time = line.time.unwrap_or(self.time);
        self.step = step(&line.event).unwrap_or(self.step);
        let scalars = scalars(&line.event);
        if !scalars.is_empty() {
            let mut summary = Vec::new();
            for (tag, value) in scalars {
                let mut scalar = Vec::new();
                put_bytes(&mut scalar, 1, tag.as_bytes());
                scalar.push(2 << 3 | FIXED_32);
                scalar.extend((value as f32).to_le_bytes());
                put_bytes(&mut summary, 1, &scalar);
            }
            let mut event = Vec::new();
            if self.step > 0 {
                event.push(2 << 3 | VARINT);
                put_varint(&mut event, self.step);
            }
            put_bytes(&mut event, 5, &summary);
            self.add(&event);
        }
        if !matches!(line.event, Event::Step(_)) || self.time - self.flushed >= FLUSH_EVERY {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Hands everything so far to the system, where TensorBoard sees it.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = self.time;
        self.file.add(&std::mem::take(&mut self.records))
    }

    /// One record: an `Event` of the current time and these fields.
    fn add(&mut self, fields: &[u8]) {
        let mut data = vec![1 << 3 | FIXED_64];
        data.extend(self.time.to_le_bytes());
        data.extend(fields);
        let length = (data.len() as u64).to_le_bytes();
        self.records.extend(length);
        self.records.extend(masked_crc32c(&length).to_le_bytes());
        self.records.extend(&data);
        self.records.extend(masked_crc32c(&data).to_le_bytes());
    }
}

/// The steps that were taken when it happened, where an event says so.
fn step(event: &Event) -> Option<u64> {
    let step = match event {
        Event::Step(of) => of.step,
        Event::Diagnosed(of) => of.step,
        Event::Evaluated(of) => of.step,
        Event::Saved(of) | Event::Resumed(of) | Event::Stopped(of) => of.step,
        Event::Planned(_) | Event::Finished(_) | Event::Unknown => 0,
    };
    (step > 0).then_some(step as u64)
}

/// The tags and values of an event.
fn scalars(event: &Event) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    let mut add = |tag: String, value: Option<f64>| found.extend(value.map(|value| (tag, value)));
    match event {
        Event::Step(step) => {
            let losses: Vec<f64> = step.tasks.iter().filter_map(|task| task.loss).collect();
            let mean = (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / losses.len() as f64);
            add("train/loss".to_owned(), mean);
            step.tasks.iter().for_each(|task| add(format!("loss/{}", task.task), task.loss));
            add("train/learning_rate".to_owned(), Some(step.lr));
            add("train/grad_norm".to_owned(), step.grad_norm);
            // The norm of a step of several tasks is none of theirs.
            if let [task] = step.tasks.as_slice() {
                add(format!("grad_norm/{}", task.task), step.grad_norm);
            }
            let rate = (step.seconds > 0.0).then(|| step.tokens() as f64 / step.seconds);
            add("train/tokens_per_second".to_owned(), rate);
            let weighed = step.tasks.iter().filter(|task| task.weight != 1.0);
            weighed.for_each(|task| add(format!("loss_weight/{}", task.task), Some(task.weight)));
            step.group_norms.0.iter().for_each(|(group, norm)| add(format!("group_norm/{group}"), Some(*norm)));
        }
        Event::Evaluated(evaluated) => {
            evaluated.losses.iter().for_each(|(task, loss)| add(format!("epoch_loss/{task}"), Some(*loss)));
            numbers(&evaluated.scores).for_each(|(task, name, value)| add(format!("eval/{task}/{name}"), Some(value)));
            add("eval/value".to_owned(), evaluated.value);
        }
        Event::Diagnosed(diagnosed) => {
            let diagnosis = &diagnosed.diagnosis;
            diagnosis.norms.0.iter().for_each(|(task, norm)| add(format!("encoder_grad_norm/{task}"), Some(*norm)));
            diagnosis
                .cosines
                .iter()
                .for_each(|pair| add(format!("gradient_cosine/{}_vs_{}", pair.a, pair.b), pair.cosine));
        }
        _ => {}
    }
    found
}

// How protobuf lays out a field, in the low bits of its key.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const BYTES: u8 = 2;
const FIXED_32: u8 = 5;

fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn put_bytes(to: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    to.push(field << 3 | BYTES);
    put_varint(to, bytes.len() as u64);
    to.extend(bytes);
}

/// The checksum of TFRecords: a CRC of data that hold CRCs would be weak, so it is turned and shifted.
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli, reflected), a byte at a time: a few hundred bytes a step need no faster one.
fn crc32c(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut crc = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[((crc ^ u32::from(byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::events::{Checkpoint, Cosine, Diagnosed, Diagnosis, Evaluated, Norms, Step, StepTask};
    use crate::io::hex;
    use serde_json::json;

    fn part(task: &str) -> StepTask {
        StepTask {
            task: task.to_owned(),
            loss: Some(2.5),
            weight: 1.0,
            tokens: 300,
            shared_tokens: 0,
            examples: Vec::new(),
        }
    }

    fn at(time: f64, event: Event) -> Line {
        Line { event, time: Some(time) }
    }

    fn norms<const N: usize>(named: [(&str, f64); N]) -> Norms {
        Norms(named.map(|(name, norm)| (name.to_owned(), norm)).into())
    }

    fn step(step: usize, task: &str) -> Step {
        Step {
            step,
            steps: 300,
            epoch: 1,
            tasks: vec![part(task)],
            lr: 1e-5,
            grad_norm: Some(0.75),
            group_norms: Default::default(),
            seconds: 0.1,
            balance_seconds: 0.0,
        }
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }

    /// Records that the package `tensorboard` wrote (`RecordWriter`, `Event.SerializeToString`), of the same content.
    const VERSION: &str = "1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe9";
    const STEP: &str = "d6000000000000004d151adf0900006040fc54d94110ac022ac7010a110a0a747261696e2f6c6f7373150000204\
        00a0f0a086c6f73732f6e657215000020400a1a0a13747261696e2f6c6561726e696e675f7261746515acc527370a160a0f747261696e2\
        f677261645f6e6f726d150000403f0a140a0d677261645f6e6f726d2f6e6572150000403f0a1e0a17747261696e2f746f6b656e735f706\
        5725f7365636f6e641500803b450a1c0a1567726f75705f6e6f726d2f656d62656464696e677315000000000a190a1267726f75705f6e6\
        f726d2f6c617965722e30150000003f409111ca";
    const DIAGNOSED: &str = "6b0000000000000087efa6e10900008040fc54d94110ac022a5d0a1c0a15656e636f6465725f677261645f6e6f\
        726d2f6e6572150000003f0a1b0a14656e636f6465725f677261645f6e6f726d2f7161150000803e0a200a196772616469656e745f636f\
        73696e652f6e65725f76735f716115000000beab50c6cd";

    #[test]
    fn records_are_to_the_byte_those_of_the_tensorboard_package() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(folder.path(), 1_700_000_000.25).unwrap();
        let with_groups = Step { group_norms: norms([("embeddings", 0.0), ("layer.0", 0.5)]), ..step(300, "ner") };
        board.record(&at(1_700_000_001.5, Event::Step(with_groups))).unwrap();
        let pair = |b: &str, cosine| Cosine { a: "ner".to_owned(), b: b.to_owned(), cosine };
        let cosines = vec![pair("qa", Some(-0.125)), pair("new", None)];
        let diagnosis = Diagnosis { norms: norms([("ner", 0.5), ("qa", 0.25)]), cosines };
        let diagnosed = Event::Diagnosed(Diagnosed { step: 300, diagnosis, seconds: 0.1 });
        board.record(&at(1_700_000_002.0, diagnosed)).unwrap();
        let saved = Event::Saved(Checkpoint { step: 300, checkpoint: "x".into() });
        board.record(&at(1_700_000_003.0, saved)).unwrap();
        let bytes = hex(&std::fs::read(board.path()).unwrap());
        assert_eq!(bytes, [VERSION, STEP, DIAGNOSED].concat());
    }

    #[test]
    fn lines_of_metrics_jsonl_give_the_bytes_that_their_events_gave() {
        let score = crate::tasks::Score {
            headline: "f1".into(),
            values: json!({ "f1": 200.0 / 3.0, "questions": 3.0 }).as_object().unwrap().clone(),
            types: Vec::new(),
        };
        let evaluated = Evaluated {
            epoch: 1,
            step: 2,
            losses: [("qa".to_owned(), 0.1 + 0.2)].into(),
            scores: [("qa".to_owned(), score)].into(),
            counts: Default::default(),
            calibration: Default::default(),
            value: Some(200.0 / 3.0),
            improved: true,
            since_best: 0,
            seconds: 1.0,
            samples: Vec::new(),
        };
        let events = [Event::Step(step(1, "ner")), Event::Step(step(2, "qa")), Event::Evaluated(evaluated)];
        let folder = tempfile::tempdir().unwrap();
        let started = 1_700_000_000.0;
        let mut board = TensorBoard::create(folder.path(), started).unwrap();
        let mut metrics = String::new();
        for (at, event) in events.iter().enumerate() {
            let time = started + 1.0 / (3.0 + at as f64);
            let line = Line { event: event.clone(), time: Some(time) };
            board.record(&line).unwrap();
            metrics += &format!("{}\n", serde_json::to_string(&line).unwrap());
        }
        let first = std::fs::read(board.path()).unwrap();
        let mut board = TensorBoard::create(folder.path(), started).unwrap();
        for line in metrics.lines() {
            board.record(&serde_json::from_str(line).unwrap()).unwrap();
        }
        assert_eq!(std::fs::read(board.path()).unwrap(), first);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the first file is gone");
    }

    #[test]
    fn steps_reach_the_file_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = TensorBoard::create(folder.path(), 100.0).unwrap();
        let length = |board: &TensorBoard| std::fs::metadata(board.path()).unwrap().len();
        let empty = length(&board);
        board.record(&at(101.0, Event::Step(step(1, "ner")))).unwrap();
        assert_eq!(length(&board), empty, "a write for every step would be wasteful");
        board.record(&at(106.0, Event::Step(step(2, "ner")))).unwrap();
        assert!(length(&board) > empty);
    }

    #[test]
    fn what_other_programs_put_into_the_folder_stays() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("events.out.tfevents.1.host.2.0");
        std::fs::write(&theirs, "theirs").unwrap();
        TensorBoard::create(folder.path(), 1.0).unwrap();
        assert!(theirs.exists());
    }
}
