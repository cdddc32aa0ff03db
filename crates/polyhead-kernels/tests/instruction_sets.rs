//! Says which instruction sets the tests of this crate ran on, and which they did not: a processor runs its own alone, and a
//! test that passes because it did not run is to be seen.
//!
//! ```text
//! instruction sets that the tests run on here: avx512_bf16, avx512, avx2, portable
//! not run here, because this processor has none: amx_bf16 (its tiles are tested with the unit in plain Rust)
//! ```

use polyhead_kernels::{instruction_sets, instructions};

fn main() {
    // Asked which tests there are: none that a runner could choose.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    let sets = instruction_sets();
    assert_eq!(sets.here.first(), Some(&instructions()), "the best comes first, and is the one in use");
    assert!(sets.here.contains(&"portable"), "every processor has the portable one");
    assert!(sets.missing.iter().all(|name| !sets.here.contains(name)));
    println!("\ninstruction sets that the tests run on here: {}", sets.here.join(", "));
    let tested = |name: &&str| match *name {
        "amx_bf16" => format!("{name} (its tiles are tested with the unit in plain Rust)"),
        name => name.to_owned(),
    };
    if !sets.missing.is_empty() {
        let missing: Vec<String> = sets.missing.iter().map(tested).collect();
        println!("not run here, because this processor has none: {}", missing.join(", "));
    }
    if cfg!(target_arch = "x86_64") {
        println!("not run here, because it is of another kind of processor: NEON (64-bit Arm)");
    }
    println!();
}
