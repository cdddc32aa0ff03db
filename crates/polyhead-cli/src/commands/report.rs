//! `polyhead report`: what came of a run, or of several side by side, as one HTML file and as Markdown.

use crate::out::Out;
use polyhead::io::write_atomic;
use polyhead::report::{self, Depth, html, markdown};
use polyhead::tasks::TASKS;
use polyhead::{Error, Place, Result};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  polyhead report runs/quickstart
  polyhead report runs/seed42 runs/seed43 runs/seed44 --output reports/seeds
  polyhead report runs/quickstart --no-analysis

It writes report.html and report.md: into the run folder; for several runs, into the folder that holds them all.
The validation data and the kept model are used again where they are still there; what is missing is said.
--no-analysis takes only what the run recorded.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// Run folders: one, or several to compare
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where to write, instead of the run folder
    #[arg(long, short, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Do not open the kept model and the data: no predictions, no suite, no distributions
    #[arg(long)]
    no_analysis: bool,
    /// No notes on the way
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let depth = if args.no_analysis { Depth::Records } else { Depth::Everything };
    let folder = folder(args)?;
    let document = report::report(&args.runs, TASKS, depth, &mut |note| {
        if !args.quiet {
            out.note(note);
        }
    })?;
    std::fs::create_dir_all(&folder).map_err(|cause| Error::writing(&folder, cause))?;
    for (name, text) in [("report.html", html::page(&document)), ("report.md", markdown::page(&document))] {
        let path = folder.join(name);
        write_atomic(&path, text)?;
        out.line(path.display())?;
    }
    Ok(())
}

/// Where the report goes: as asked, into the only run, or beside several that lie together.
fn folder(args: &Args) -> Result<PathBuf> {
    if let Some(folder) = &args.output {
        return Ok(folder.clone());
    }
    let [first, rest @ ..] = args.runs.as_slice() else {
        return Err(Error::usage("expected a run folder, found none"));
    };
    if rest.is_empty() {
        return Ok(first.clone());
    }
    let parent = |run: &Path| run.canonicalize().ok().and_then(|run| run.parent().map(Path::to_owned));
    match parent(first) {
        Some(folder) if rest.iter().all(|run| parent(run).as_ref() == Some(&folder)) => Ok(folder),
        _ => Err(Error::usage("these runs do not lie in one folder")
            .at(Place::file(first))
            .hint("--output says where to write")),
    }
}
