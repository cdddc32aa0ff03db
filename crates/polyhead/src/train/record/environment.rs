//! `environment.json`: what a run was made with, as far as it can decide a result: versions, the machine, the checkpoint, and
//! a fingerprint of every data file.
//!
//! What the system does not tell is `null`. The names of the machine and of the user are left out: runs are shown around.

use crate::error::{Error, Place, Result};
use crate::hub::Source;
use crate::io::{sha256_file, write_atomic};
use crate::recipe::Recipe;
use crate::train::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The name of the file in a run folder.
const FILE: &str = "environment.json";

/// What a run was made with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The program.
    pub polyhead: Program,
    /// The operating system.
    pub system: System,
    /// The processor.
    pub processor: Processor,
    /// Threads that compute: those of the processor, or `RAYON_NUM_THREADS`.
    pub threads: usize,
    /// Memory of the machine.
    pub memory_bytes: Option<u64>,
    /// What matrix products are computed in: `f32` or `bf16`.
    pub precision: String,
    /// The encoder that training began with.
    pub checkpoint: Checkpoint,
    /// Every data file.
    pub data: Vec<DataPrint>,
}

/// The program that trained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// Its version.
    pub version: String,
    /// What it was compiled for, as Rust names it.
    pub target: Option<String>,
    /// The compiler, with its version.
    pub rustc: Option<String>,
}

/// The operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `linux`, `macos`, `windows`, ...
    pub os: String,
    /// The distribution, in its own words.
    pub name: Option<String>,
    /// The release of the kernel.
    pub kernel: Option<String>,
}

/// The processor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processor {
    /// `x86_64`, `aarch64`, ...
    pub architecture: String,
    /// Its model, in the maker's words.
    pub model: Option<String>,
    /// Cores that are there in silicon.
    pub cores: Option<usize>,
    /// Threads that the system lets this process run at a time.
    pub threads: Option<usize>,
    /// The best of its instruction sets that products are written for, and so use: `avx512_bf16`, `avx512`, `avx2` or
    /// `portable`.
    pub instructions: String,
}

/// The encoder that training began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Its name in the recipe.
    pub name: String,
    /// Where it came from, with its revision and the digest of each of its files.
    pub source: Option<Source>,
}

/// A data file that a run reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFile {
    /// The task's name.
    pub task: String,
    /// `train` or `validation`.
    pub split: &'static str,
    /// Its path in the recipe.
    pub path: String,
    /// The file that was read: a download has another path.
    pub file: PathBuf,
    /// Examples that were taken from it.
    pub examples: usize,
}

/// The fingerprint of a data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPrint {
    /// The task's name.
    pub task: String,
    /// `train` or `validation`.
    pub split: String,
    /// Its path in the recipe.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: String,
    /// Examples that were taken from it.
    pub examples: usize,
}

impl DataPrint {
    /// Reads a file to its end.
    pub fn of(file: &DataFile) -> Result<Self> {
        let DataFile { task, split, path, file, examples } = file;
        let bytes = std::fs::metadata(file).map_err(|cause| Error::reading(file, cause))?.len();
        let (task, split, path) = (task.clone(), (*split).to_owned(), path.clone());
        Ok(Self { task, split, path, bytes, sha256: sha256_file(file)?, examples: *examples })
    }
}

impl Environment {
    /// This process on this machine with this data, which is read to its end for its fingerprints.
    pub fn new(recipe: &Recipe, plan: &Plan, source: Option<&Source>, data: &[DataFile]) -> Result<Self> {
        let said = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let processors = system_file("/proc/cpuinfo");
        Ok(Self {
            polyhead: Program {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                target: said(env!("POLYHEAD_TARGET")),
                rustc: said(env!("POLYHEAD_RUSTC")),
            },
            system: System {
                os: std::env::consts::OS.to_owned(),
                name: system_file("/etc/os-release").as_deref().and_then(distribution),
                kernel: system_file("/proc/sys/kernel/osrelease").and_then(|release| said(release.trim())),
            },
            processor: Processor {
                architecture: std::env::consts::ARCH.to_owned(),
                model: processors.as_deref().and_then(model),
                cores: processors.as_deref().and_then(cores),
                threads: std::thread::available_parallelism().ok().map(Into::into),
                instructions: polyhead_kernels::instructions().to_owned(),
            },
            threads: rayon::current_num_threads(),
            memory_bytes: system_file("/proc/meminfo").as_deref().and_then(memory),
            precision: plan.precision.to_owned(),
            checkpoint: Checkpoint { name: recipe.encoder.checkpoint.clone(), source: source.cloned() },
            data: data.iter().map(DataPrint::of).collect::<Result<_>>()?,
        })
    }

    /// Writes `environment.json` into a run folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|cause| Error::internal(format!("the environment as JSON: {cause}")))?;
        write_atomic(folder.join(FILE), format!("{text}\n"))
    }

    /// Reads `environment.json` of a run folder.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|cause| Error::reading(&path, cause))?;
        serde_json::from_str(&text).map_err(|cause| Error::data(cause.to_string()).at(Place::line(&path, cause.line())))
    }

    /// Where the data is not what it was in an earlier environment, in words: a line for each file that changed, came or
    /// went. A run that goes on with other data is not the run that began.
    pub fn changed_data(&self, earlier: &Self) -> Vec<String> {
        fn of<'a>(prints: &'a [DataPrint], like: &DataPrint) -> Option<&'a DataPrint> {
            prints.iter().find(|print| print.task == like.task && print.split == like.split)
        }
        let name = |print: &DataPrint| format!("data.{}.{} ({})", print.task, print.split, print.path);
        let told = |now: &DataPrint| match of(&earlier.data, now) {
            None => Some(format!("{}: new", name(now))),
            Some(then) if then.sha256 != now.sha256 => Some(format!(
                "{}: other bytes: expected {} with the SHA-256 {}, found {} with {}",
                name(now),
                then.bytes,
                then.sha256,
                now.bytes,
                now.sha256
            )),
            Some(then) if then.examples != now.examples => {
                Some(format!("{}: expected {} examples, found {}", name(now), then.examples, now.examples))
            }
            Some(_) => None,
        };
        let gone = earlier.data.iter().filter(|then| of(&self.data, then).is_none());
        self.data.iter().filter_map(told).chain(gone.map(|then| format!("{}: gone", name(then)))).collect()
    }
}

/// A file by which Linux tells of itself; there is none on other systems.
fn system_file(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The values of `key: value` lines, in order.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim())
    })
}

fn model(cpuinfo: &str) -> Option<String> {
    values(cpuinfo, "model name").next().map(str::to_owned)
}

/// Each thread names its processor and its core; those of one core name the same.
fn cores(cpuinfo: &str) -> Option<usize> {
    let cores: BTreeSet<_> = values(cpuinfo, "physical id").zip(values(cpuinfo, "core id")).collect();
    (!cores.is_empty()).then_some(cores.len())
}

fn memory(meminfo: &str) -> Option<u64> {
    let kilobytes = values(meminfo, "MemTotal").next()?.strip_suffix(" kB")?;
    kilobytes.parse::<u64>().ok()?.checked_mul(1024)
}

fn distribution(os_release: &str) -> Option<String> {
    let name = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(name.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const CPUINFO: &str = "processor\t: 0\nmodel name\t: Some CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n\
        processor\t: 1\nmodel name\t: Some CPU @ 2.00GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n\
        processor\t: 2\nmodel name\t: Some CPU @ 2.00GHz\nphysical id\t: 1\ncore id\t\t: 0\n";

    #[test]
    fn what_linux_tells_is_read_and_what_it_does_not_tell_is_not_made_up() {
        assert_eq!((model(CPUINFO).as_deref(), cores(CPUINFO)), (Some("Some CPU @ 2.00GHz"), Some(2)));
        assert_eq!((model("processor: 0"), cores("processor: 0")), (None, None));
        assert_eq!(memory("MemTotal:       16384 kB\nMemFree: 1 kB\n"), Some(16384 * 1024));
        assert_eq!(memory("MemTotal: many"), None);
        let release = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(distribution(release).as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
    }

    fn environment(folder: &Path, data: &[(&str, &'static str, &str, usize)]) -> Environment {
        let text = "name = 'x'\nencoder.checkpoint = 'some/encoder'\ntasks.ner = {}\ndata.ner.train = 'x'";
        let recipe = Recipe::parse(text, Path::new("x.toml"), &[]).unwrap();
        let plan =
            Plan { tasks: Vec::new(), epochs: 1, steps_per_epoch: 1, steps: 1, warmup_steps: 0, precision: "bf16" };
        let file = |&(task, split, name, examples): &(&str, &'static str, &str, usize)| DataFile {
            task: task.into(),
            split,
            path: name.into(),
            file: folder.join(name),
            examples,
        };
        let files: Vec<DataFile> = data.iter().map(file).collect();
        Environment::new(&recipe, &plan, None, &files).unwrap()
    }

    #[test]
    fn an_environment_is_read_as_it_was_written_and_tells_what_changed() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        put("train.conll", "abc");
        put("valid.conll", "");
        let data = [("ner", "train", "train.conll", 7), ("ner", "validation", "valid.conll", 2)];
        let first = environment(folder.path(), &data);
        // FIPS 180-2, appendix B.1.
        assert_eq!(first.data[0].sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((first.data[0].bytes, first.data[0].examples), (3, 7));
        assert_eq!((first.precision.as_str(), first.checkpoint.name.as_str()), ("bf16", "some/encoder"));
        assert!(first.polyhead.target.as_ref().is_some_and(|target| target.contains(std::env::consts::ARCH)));
        first.write(folder.path()).unwrap();
        assert_eq!(Environment::read(folder.path()).unwrap(), first);
        assert!(first.changed_data(&first).is_empty());

        put("train.conll", "abd");
        let data = [("ner", "train", "train.conll", 7), ("qa", "train", "valid.conll", 2)];
        let changed = environment(folder.path(), &data).changed_data(&first);
        assert_eq!(changed.len(), 3, "{changed:?}");
        assert!(changed[0].starts_with("data.ner.train (train.conll): other bytes: expected 3 with"), "{changed:?}");
        assert_eq!(changed[1], "data.qa.train (valid.conll): new");
        assert_eq!(changed[2], "data.ner.validation (valid.conll): gone");
        let fewer = environment(folder.path(), &[("ner", "train", "train.conll", 6)]);
        let more = environment(folder.path(), &[("ner", "train", "train.conll", 7)]);
        assert_eq!(fewer.changed_data(&more), ["data.ner.train (train.conll): expected 7 examples, found 6"]);
    }

    #[test]
    fn a_torn_file_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{\n").unwrap();
        let error = Environment::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("environment.json:2"), "{error}");
    }
}
