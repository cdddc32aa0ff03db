//! `polyhead import`: a model folder out of a single-task folder of transformers, or of folders of PEFT.

use super::Overwrite;
use crate::out::Out;
use crate::progress::downloads;
use polyhead::hub::{self, HubOptions};
use polyhead::model::Model;
use polyhead::peft::{self, Folder};
use polyhead::tasks::TASKS;
use polyhead::{Error, Result};
use std::path::{Path, PathBuf};

const HELP: &str = "\
Examples:
  polyhead import exported/ner --to models/ner
  polyhead import owner/name --to models/ner
  polyhead predict models/ner \"Ada Lovelace was born in London.\"

  polyhead import ner=adapters/ner qa=adapters/qa --to models/both --labels ner=O,B-PER,I-PER      of PEFT, a task each
  polyhead import sentiment=adapters/sentiment --into models/both --to models/three

Read are folders of ...ForTokenClassification, ...ForQuestionAnswering and ...ForSequenceClassification with an encoder that polyhead
knows, and folders of PEFT with LoRA and the head of such a class. PEFT does not store what labels are called: those of the encoder's
config.json are taken if there are as many.";

#[derive(clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    /// The folder (config.json, model.safetensors, tokenizer.json), or a name on the Hub; or folders of PEFT, [NAME=]DIR
    #[arg(required = true, value_name = "FROM")]
    from: Vec<String>,
    /// The model folder to write
    #[arg(long, value_name = "MODEL")]
    to: PathBuf,
    /// Of PEFT: the encoder, a folder or a name on the Hub, in place of the one that the folders name
    #[arg(long, value_name = "ENCODER")]
    base: Option<String>,
    /// Of PEFT: a model with LoRA that the tasks are added to; its own answer the same as before
    #[arg(long, value_name = "MODEL", conflicts_with = "base")]
    into: Option<PathBuf>,
    /// Of PEFT: what the labels of a task are called, in order
    #[arg(long, value_name = "TASK=LABEL,...")]
    labels: Vec<String>,
    #[command(flatten)]
    overwrite: Overwrite,
}

impl Args {
    /// The folders of PEFT, if these are some.
    fn of_peft(&self) -> Result<Option<Vec<Folder>>> {
        let named = |from: &String| match from.split_once('=') {
            Some((task, path)) if !peft::is_folder(Path::new(from)) => (Some(task.to_owned()), PathBuf::from(path)),
            _ => (None, PathBuf::from(from)),
        };
        let named: Vec<(Option<String>, PathBuf)> = self.from.iter().map(named).collect();
        match named.iter().find(|(_, path)| !peft::is_folder(path)) {
            None => {}
            Some(_) if self.from.len() == 1 && self.base.is_none() && self.into.is_none() && self.labels.is_empty() => {
                return Ok(None);
            }
            Some((_, path)) => {
                let message = format!("expected a folder of PEFT, found no {} in {}", peft::CONFIG, path.display());
                return Err(Error::usage(message));
            }
        }
        let mut labels: Vec<(&str, Vec<String>)> = Vec::new();
        for of_task in &self.labels {
            let Some((task, names)) = of_task.split_once('=') else {
                return Err(Error::usage(format!("--labels: expected TASK=LABEL,LABEL,..., found `{of_task}`")));
            };
            labels.push((task, names.split(',').map(str::to_owned).collect()));
        }
        let folders = named.into_iter().map(|(task, path)| {
            let is_its = |named: &str| task.as_deref() == Some(named);
            let labels = labels.iter().find(|(named, _)| is_its(named)).map(|(_, labels)| labels.clone());
            Folder { path, task, labels }
        });
        let folders: Vec<Folder> = folders.collect();
        match labels.iter().find(|(named, _)| !folders.iter().any(|folder| folder.task.as_deref() == Some(named))) {
            Some((named, _)) => Err(Error::usage(format!("--labels: there is no task `{named}`"))
                .hint(format!("{named}=DIR names the task of a folder"))),
            None => Ok(Some(folders)),
        }
    }

    /// The encoder that all of these folders belong to.
    fn base_of(&self, folders: &[Folder]) -> Result<String> {
        if let Some(base) = &self.base {
            return Ok(base.clone());
        }
        let base_of = |folder: &Folder| -> Result<_> { Ok((peft::base_of(&folder.path)?, folder.path.clone())) };
        let mut bases = folders.iter().map(base_of);
        let Some((base, first)) = bases.next().transpose()? else {
            return Err(Error::usage("expected a folder of PEFT, found none"));
        };
        for other in bases {
            let (other, path) = other?;
            if other != base {
                let [first, path] = [first.display(), path.display()];
                let message =
                    format!("expected folders of one encoder, found `{base}` of {first} and `{other}` of {path}");
                return Err(
                    Error::usage(message).hint("--base names the one that all belong to, if these are the same")
                );
            }
        }
        Ok(base)
    }
}

pub fn run(args: &Args, out: &mut Out) -> Result<()> {
    let folders = args.of_peft()?;
    let mut model = match (&folders, args.from.as_slice()) {
        (Some(folders), _) => match &args.into {
            Some(model) => peft::added(model, folders, TASKS)?,
            None => from_source(&args.base_of(folders)?, out, |base| peft::read(base, folders, TASKS))?,
        },
        (None, [from]) => from_source(from, out, |folder| Model::load(folder, TASKS))?,
        (None, _) => return Err(Error::usage("expected one folder, or folders of PEFT")),
    };
    model.about = model.about.without_paths();
    let names: Vec<&str> = model.tasks.iter().map(|task| task.name.as_str()).collect();
    super::save(&model, &args.to, args.overwrite, &names.join(", "), out)
}

/// A model out of what a folder or a name on the Hub stands for, which is kept as its origin.
fn from_source(from: &str, out: &mut Out, open: impl FnOnce(&Path) -> Result<Model>) -> Result<Model> {
    let checkpoint = hub::encoder(from, &HubOptions::from_env(), &mut downloads(out))?;
    let mut model = open(&checkpoint.folder)?;
    model.about.source.get_or_insert(checkpoint.source);
    Ok(model)
}
