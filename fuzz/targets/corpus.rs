//! The inputs that fuzzing is kept for: `fuzz/corpus/TARGET/INPUT`, each given to its target again.

use std::path::{Path, PathBuf};

/// No input may take longer, in seconds.
const LONGEST: u64 = 20;

/// Where the inputs of a target lie.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target)
}

/// Runs a target on every input that is kept for it. The input at which it panics is named.
pub fn replay(name: &str, target: fn(&[u8])) {
    let folder = folder(name);
    let mut inputs: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    for input in inputs {
        let data = std::fs::read(&input).unwrap();
        let began = std::time::Instant::now();
        if let Err(panic) = std::panic::catch_unwind(|| target(&data)) {
            eprintln!("on {}", input.display());
            std::panic::resume_unwind(panic);
        }
        assert!(began.elapsed().as_secs() < LONGEST, "{} takes {:?}", input.display(), began.elapsed());
    }
}
