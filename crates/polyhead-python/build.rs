//! On macOS the linker has to be told that symbols may be missing: Python's come with the process that loads the module.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    pyo3_build_config::add_extension_module_link_args();
}
