//! How many threads compute: `--threads`, else `RAYON_NUM_THREADS`, else one for each processor.
//!
//! All parallel work is rayon's, in its global pool, so that this is the one place for every command. What is computed does
//! not depend on it: work is split by shapes (ARCHITECTURE.md, determinism).

use polyhead::{Error, Result};
use std::num::NonZeroUsize;

/// What rayon reads by itself where no pool was made before.
const VARIABLE: &str = "RAYON_NUM_THREADS";

/// Makes the pool of the process.
pub fn start(asked: Option<NonZeroUsize>) -> Result<()> {
    let threads = match asked {
        Some(threads) => threads.get(),
        None => from_environment(std::env::var(VARIABLE).ok().as_deref())?,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
    pool.map_err(|cause| Error::internal(format!("can't start {threads} threads: {cause}")))
}

/// 0 is one for each processor, as rayon has it.
fn from_environment(value: Option<&str>) -> Result<usize> {
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else { return Ok(0) };
    value.parse().map_err(|_| {
        Error::usage(format!("{VARIABLE}: expected a number of threads, found `{value}`"))
            .hint("unset it for one thread for each processor, or give --threads")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_environment_has_a_number_or_nothing() {
        for (value, expected) in [(None, Some(0)), (Some(""), Some(0)), (Some("0"), Some(0)), (Some(" 3 "), Some(3))] {
            assert_eq!(from_environment(value).ok(), expected, "{value:?}");
        }
        for value in ["two", "-1", "1.5", "1,2"] {
            assert!(from_environment(Some(value)).unwrap_err().to_string().contains(value));
        }
    }
}
