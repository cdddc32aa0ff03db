//! Brings an encoder (or a data file) to this machine as a run would, and says where it came from.
//!
//! `cargo run --release -p polyhead --example hub_fetch -- sentence-transformers/all-MiniLM-L6-v2`

use polyhead::hub::{self, HubEvent, HubOptions};

fn main() {
    let name = std::env::args().nth(1).unwrap_or_else(|| "sentence-transformers/all-MiniLM-L6-v2".to_owned());
    let options = HubOptions::from_env();
    let mut tell = |event: HubEvent| match event {
        HubEvent::Note(line) => eprintln!("{line}"),
        HubEvent::Started { file, bytes, already } => eprintln!("{file}: {bytes:?} bytes, {already} are here"),
        HubEvent::Progress { .. } => {}
        HubEvent::Finished { file } => eprintln!("{file}: here, its digest is right"),
    };
    let started = std::time::Instant::now();
    let found = match name.starts_with("hf://") {
        true => hub::dataset_file(&name, &options, &mut tell).map(|path| println!("{}", path.display())),
        false => hub::encoder(&name, &options, &mut tell).map(|checkpoint| {
            println!("{}", checkpoint.folder.display());
            println!("{:#?}", checkpoint.source);
        }),
    };
    eprintln!("{:.2} s", started.elapsed().as_secs_f64());
    if let Err(error) = found {
        eprintln!("error: {error}\nhint: {}", error.hint_text().unwrap_or("none"));
        std::process::exit(error.kind().exit_code().into());
    }
}
