//! Keeps what only the build knows for `environment.json`: the target and the compiler's version.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let asked = Command::new(variable("RUSTC")).arg("--version").output();
    let version = asked.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    println!("cargo::rustc-env=POLYHEAD_TARGET={}", variable("TARGET"));
    println!("cargo::rustc-env=POLYHEAD_RUSTC={version}");
}
