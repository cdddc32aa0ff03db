//! `environment.json`: what a run was made with, as far as it can decide a result: versions, the machine, the checkpoint, and
//! a fingerprint of every data file.
//!
//! What the system does not tell is `null`. The names of the machine and of the user are left out: runs are shown around.

use crate::error::{Error, Place, Result};
use crate::hub::Source;
use crate::io::{Mark, mark_of, write_atomic};
use crate::recipe::Recipe;
use crate::train::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::Path;

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
    pub data: Vec<DataFile>,
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
    /// The best of its instruction sets that products are written for, and so use: `amx_bf16`, `avx512_bf16`, `avx512`,
    /// `avx2` or `portable`.
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

/// A data file that a run reads, with its fingerprint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
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

impl DataFile {
    /// Reads a file to its end; a download lies elsewhere than its path in the recipe says.
    pub fn read(task: &str, split: &str, path: &str, file: &Path, examples: usize) -> Result<Self> {
        let Mark { bytes, sha256 } = mark_of(file)?;
        Ok(Self { task: task.to_owned(), split: split.to_owned(), path: path.to_owned(), bytes, sha256, examples })
    }
}

impl Environment {
    /// This process on this machine with this data.
    pub fn new(recipe: &Recipe, plan: &Plan, source: Option<&Source>, data: &[DataFile]) -> Self {
        let said = |word: &str| (!word.is_empty()).then(|| word.to_owned());
        let processors = system_file("/proc/cpuinfo");
        Self {
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
            memory_bytes: system_file("/proc/meminfo").as_deref().and_then(|text| meminfo(text, "MemTotal")),
            precision: plan.precision.clone(),
            checkpoint: Checkpoint { name: recipe.encoder.checkpoint.clone(), source: source.cloned() },
            data: data.to_vec(),
        }
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

/// Memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::train) struct Memory {
    /// What this process may have.
    pub all: u64,
    /// What of it is free.
    pub free: u64,
    /// What this process holds.
    pub held: u64,
}

/// The memory that this process may have, and what of it is free: that of the machine, or of its control group where that has less.
pub(in crate::train) fn memory() -> Option<Memory> {
    let text = system_file("/proc/meminfo")?;
    let held = system_file("/proc/self/status").and_then(|text| meminfo(&text, "VmRSS")).unwrap_or(0);
    let machine = Memory { all: meminfo(&text, "MemTotal")?, free: meminfo(&text, "MemAvailable")?, held };
    // Version 2 and version 1; one without a bound says `max`, or more than any machine has.
    let groups = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ];
    let number = |path: &str| system_file(path)?.trim().parse::<u64>().ok();
    let group = groups.iter().find_map(|(all, used)| Some((number(all)?, number(used)?)));
    Some(match group {
        Some((all, used)) if all < machine.all => {
            Memory { all, free: machine.free.min(all.saturating_sub(used)), held }
        }
        _ => machine,
    })
}

fn meminfo(text: &str, key: &str) -> Option<u64> {
    let kilobytes = values(text, key).next()?.strip_suffix(" kB")?;
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
        assert_eq!(meminfo("MemTotal:       16384 kB\nMemFree: 1 kB\n", "MemTotal"), Some(16384 * 1024));
        assert_eq!(meminfo("MemTotal: many", "MemTotal"), None);
        let release = "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n";
        assert_eq!(distribution(release).as_deref(), Some("Debian GNU/Linux 13 (trixie)"));
    }

    #[test]
    fn an_environment_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("train.conll");
        std::fs::write(&file, "abc").unwrap();
        let text = "name = 'x'\nencoder.checkpoint = 'some/encoder'\ntasks.ner = {}\ndata.ner.train = 'x'";
        let recipe = Recipe::parse(text, Path::new("x.toml"), &[]).unwrap();
        let plan = Plan { precision: "bf16".to_owned(), ..Plan::default() };
        let data = DataFile::read("ner", "train", "hf://train.conll", &file, 7).unwrap();
        let written = Environment::new(&recipe, &plan, None, std::slice::from_ref(&data));
        // FIPS 180-2, appendix B.1.
        assert_eq!(data.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!((data.bytes, data.examples), (3, 7));
        assert_eq!((written.precision.as_str(), written.checkpoint.name.as_str()), ("bf16", "some/encoder"));
        assert!(written.polyhead.target.as_ref().is_some_and(|target| target.contains(std::env::consts::ARCH)));
        written.write(folder.path()).unwrap();
        assert_eq!(Environment::read(folder.path()).unwrap(), written);
    }

    #[test]
    fn a_torn_file_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{\n").unwrap();
        let error = Environment::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("environment.json:2"), "{error}");
    }
}
