//! `polyhead serve`: a model over HTTP, until a signal.

use super::Precision;
use crate::out::Out;
use polyhead::Result;
use polyhead::tasks::TASKS;
use polyhead_server::{ApiKey, Event, Exposure, Limits, LogFormat, LogOptions, Options};
use std::path::{Path, PathBuf};
use std::time::Duration;

const HELP: &str = "\
Examples:
  polyhead serve runs/quickstart
  polyhead serve runs/quickstart/best --port 8080 --allow-origin https://example.org
  POLYHEAD_API_KEY=$(openssl rand -hex 32) polyhead serve runs/quickstart --host 0.0.0.0

  curl localhost:8080 -H 'content-type: application/json' -d '{\"inputs\": \"Ada Lovelace was born in London.\"}'

Standard output has one line once it listens. SIGHUP takes the model again, SIGTERM and Ctrl-C answer what was accepted and
end with 0. A server that other machines reach needs an API key (POLYHEAD_API_KEY, or --api-key-file), or --no-auth.
The access log has the time, method, route, status, milliseconds, tokens, bytes and identifier of each request, and nothing of
what was asked; SIGHUP opens its file again.
docs/http.md describes the API, docs/security.md what it guards against.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// A model folder, or a run folder: then its best model
    model: PathBuf,
    /// Where to listen: an address or a name of this machine, as in ::1, localhost, 0.0.0.0
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,
    /// Which port; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// A file whose first line is the API key that requests must bring
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,
    /// Let others ask without an API key
    #[arg(long, conflicts_with = "api_key_file")]
    no_auth: bool,
    /// A host name by which the server is asked, besides those of this machine, as in ner.example.org
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// A site whose pages may ask it, as in https://example.org
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Write down each request at the end of this file, without what was asked; `-` is standard error
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// How each is written down
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", requires = "access_log")]
    access_log_format: Format,
    /// Bytes of a body
    #[arg(long, value_name = "BYTES", default_value_t = Limits::default().body_bytes, value_parser = positive)]
    max_body: usize,
    /// Texts of a request
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().texts, value_parser = positive)]
    max_texts: usize,
    /// Tokens of a request
    #[arg(long, value_name = "TOKENS", default_value_t = Limits::default().tokens, value_parser = positive)]
    max_tokens: usize,
    /// Tokens that may wait before requests are turned away; a part of them is kept for short requests
    #[arg(long, value_name = "TOKENS", default_value_t = Limits::default().queue_tokens, value_parser = positive)]
    max_queue: usize,
    /// Tokens that go through the model at a time
    #[arg(long, value_name = "TOKENS", default_value_t = Limits::default().batch_tokens, value_parser = positive)]
    batch_tokens: usize,
    /// Open connections
    #[arg(long, value_name = "COUNT", default_value_t = Limits::default().connections, value_parser = positive)]
    max_connections: usize,
    /// Seconds that accepted requests have when the server is asked to stop
    #[arg(long, value_name = "SECONDS", default_value_t = Limits::default().drain.as_secs())]
    drain: u64,
    #[command(flatten)]
    precision: Precision,
    /// No notes
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// name=value, with spaces between
    Text,
    /// A JSON object a line
    Json,
}

fn positive(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(0) => Err("expected at least 1".into()),
        parsed => parsed.map_err(|cause| cause.to_string()),
    }
}

pub fn run(args: Args, out: &mut Out) -> Result<()> {
    let from_environment = std::env::var("POLYHEAD_API_KEY").ok().filter(|_| !args.no_auth);
    let key = match (&args.api_key_file, from_environment) {
        (Some(file), _) => Some(ApiKey::read(file)?),
        (None, Some(key)) => Some(ApiKey::new(&key)?),
        (None, None) => None,
    };
    let limits = Limits {
        body_bytes: args.max_body,
        texts: args.max_texts,
        tokens: args.max_tokens,
        queue_tokens: args.max_queue,
        batch_tokens: args.batch_tokens,
        connections: args.max_connections,
        drain: Duration::from_secs(args.drain),
        ..Limits::default()
    };
    let options = Options {
        model: args.model.clone(),
        kinds: TASKS,
        precision: args.precision.resolve(),
        host: args.host,
        port: args.port,
        key,
        exposure: if args.no_auth { Exposure::Open } else { Exposure::NeedsKey },
        hosts: args.allow_host,
        origins: args.allow_origin,
        log: args.access_log.map(|file| LogOptions {
            file: (file != Path::new("-")).then_some(file),
            format: match args.access_log_format {
                Format::Text => LogFormat::Text,
                Format::Json => LogFormat::Json,
            },
        }),
        limits,
    };
    let mut told = Ok(());
    polyhead_server::serve(options, &mut |event| {
        let note = |out: &Out, text: String| {
            if !args.quiet {
                out.note(text);
            }
        };
        match event {
            Event::Listening(address) => {
                told = out.line(format!("listening on http://{address}")).and_then(|()| out.flush());
                note(out, format!("model {}; try it at http://{address}/", args.model.display()));
            }
            Event::Reloaded => note(out, format!("took {} again", args.model.display())),
            Event::NotReloaded(error) => note(out, format!("goes on with the model it has: {error}")),
            Event::LogLost(error) => note(out, format!("goes on with the access log it has: {error}")),
            Event::Stopping => note(out, "stopping: what was accepted is answered".into()),
        }
    })?;
    told
}
