//! The strategies of a recipe, opened: which tasks a step takes, and how their losses and gradients come together.

use super::{Recipe, fault, keys, unknown, words};
use crate::balance::{BALANCERS, Balancer, Needs};
use crate::error::{Error, Result};
use crate::sample::{SAMPLERS, Sampler, StepOf};
use crate::sharing::{self, SHARINGS};
use crate::strategy::{Registered, Strategy, find};

impl Recipe {
    /// What chooses the tasks of each step.
    pub fn sampler(&self) -> Result<Box<dyn Sampler>> {
        self.open_strategy("train.sample", SAMPLERS, &self.train.sample)
    }

    /// What weighs the tasks of a step.
    pub fn balancer(&self) -> Result<Box<dyn Balancer>> {
        self.open_strategy("train.balance", BALANCERS, &self.train.balance)
    }

    /// Whether nothing of the encoder's own weights is trained.
    pub fn freezes_encoder(&self) -> bool {
        let by_sharing = sharing::open(&self.sharing).is_ok_and(|sharing| sharing.freezes_encoder());
        by_sharing || self.encoder.lora.is_some()
    }

    /// The peak of the learning rate, for an encoder with hidden states of so many numbers.
    pub fn learning_rate(&self, width: usize) -> f64 {
        self.train.learning_rate.of_encoder(width, self.freezes_encoder())
    }

    /// Refuses strategies that are none, and those that can't work together.
    pub(super) fn check_strategies(&self) -> Result<()> {
        self.open_strategy("sharing", SHARINGS, &self.sharing)?;
        let (sampler, balancer) = (self.sampler()?, self.balancer()?);
        let of_sampler =
            sampler.named_tasks().into_iter().map(|(option, task)| (format!("train.sample.{option}"), task));
        let of_balancer = balancer.target().map(|task| ("train.balance.target".to_owned(), task));
        if let Some((key, task)) = of_sampler.chain(of_balancer).find(|(_, task)| !self.tasks.contains_key(*task)) {
            let tasks: Vec<&str> = self.tasks.keys().map(String::as_str).collect();
            let message = format!("{key}: expected one of the tasks {}, found `{task}`", tasks.join(", "));
            return Err(Error::usage(message).at(self.place(&key)));
        }
        if balancer.needs() == Needs::HiddenGradients && self.tasks.len() > 1 {
            return self.check_one_batch();
        }
        if balancer.needs() == Needs::Nothing || sampler.step_of() == StepOf::SeveralTasks || self.tasks.len() < 2 {
            return Ok(());
        }
        let (name, sampler) = (&self.train.balance.name, &self.train.sample.name);
        let several = SAMPLERS.iter().filter(|kind| {
            (kind.open)(&toml::Table::new()).is_ok_and(|sampler| sampler.step_of() == StepOf::SeveralTasks)
        });
        let several: Vec<String> = several.map(|kind| format!("train.sample = \"{}\"", kind.name)).collect();
        let expected = "a strategy that works with one task a step";
        Err(Error::usage(format!(
            "train.balance: expected {expected}, which is what `{sampler}` takes, found `{name}`"
        ))
        .at(self.place("train.balance"))
        .hint(format!("`{name}` compares the tasks of a step: add {}", several.join(" or "))))
    }

    /// Refuses a balancer by the gradients on hidden states where no batch feeds all tasks.
    fn check_one_batch(&self) -> Result<()> {
        let name = &self.train.balance.name;
        let (found, hint) = match (self.train.shared_pass, self.train.accumulate) {
            (true, 1) => return Ok(()),
            (true, parts) => (format!("steps of {parts} parts (train.accumulate)"), "leave train.accumulate out"),
            (false, _) => (
                "batches of each task's own".to_owned(),
                "tasks that train on the same files can share their batches: train.shared_pass = true",
            ),
        };
        let message = format!("train.balance: `{name}` expected one batch that feeds all tasks, found {found}");
        Err(Error::usage(message).at(self.place("train.balance")).hint(hint))
    }

    fn open_strategy<T: ?Sized>(&self, key: &str, all: &[Registered<T>], named: &Strategy) -> Result<Box<T>> {
        let Strategy { name, options } = named;
        let Some(entry) = find(all, name) else {
            let known: Vec<&str> = all.iter().map(|entry| entry.name).collect();
            let error = Error::usage(format!("{key}: expected one of {}, found `{name}`", known.join(", ")));
            let error = error.at(self.place(key));
            return Err(match words::nearest(name, known.into_iter()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            });
        };
        let known = keys::of_strategy(entry);
        if let Some(option) = options.keys().find(|option| !known.contains(option)) {
            let error = unknown::unknown(key, option, &known, &self.as_table());
            return Err(error.at(self.place(&keys::dotted(key, option))));
        }
        (entry.open)(options).map_err(|error| {
            let message = error.to_string();
            // A range names its option; a wrong type is found as the value that fails alone in the same way.
            let ranged =
                message.split_once(": ").map(|(option, _)| option).filter(|option| options.contains_key(*option));
            if let Some(option) = ranged {
                return Error::usage(format!("{key}.{message}")).at(self.place(&keys::dotted(key, option)));
            }
            let alone = |(option, value): (&String, &toml::Value)| {
                let alone = toml::Table::from_iter([(option.clone(), value.clone())]);
                let refused = (entry.open)(&alone).err()?;
                (refused.to_string() == message).then(|| (keys::dotted(key, option), fault::shown(value)))
            };
            let (key, found) = options.iter().find_map(alone).unwrap_or_else(|| (key.to_owned(), "a table".to_owned()));
            Error::usage(format!("{key}: {}", fault::reworded(&message, &found))).at(self.place(&key))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    const TWO: &str = "name = 'x'\nencoder.checkpoint = 'x'\ntasks = { ner = {}, qa = {} }\ndata = { ner.train = 'x', qa.train = 'x' }\n";

    fn parse(train: &str) -> Result<Recipe> {
        Recipe::parse(&format!("{TWO}[train]\n{train}\n"), Path::new("x.toml"), &[])
    }

    #[test]
    fn what_compares_the_tasks_of_a_step_is_refused_where_a_step_has_one() {
        let error = parse("balance = 'pcgrad'").unwrap_err();
        let message = "x.toml:6:1: train.balance: expected a strategy that works with one task a step, which is what \
                       `round_robin` takes, found `pcgrad`";
        assert_eq!(error.to_string(), message);
        assert!(error.hint_text().unwrap().ends_with("add train.sample = \"joint\""), "{error:?}");
        assert!(parse("balance = 'pcgrad'\nsample = 'joint'").is_ok());
        assert!(parse("balance = 'uncertainty'").is_ok());
    }

    #[test]
    fn what_needs_one_batch_for_all_tasks_is_refused_where_there_is_none() {
        for (train, found) in [
            ("balance = 'graddrop'", "found batches of each task's own"),
            ("balance = 'mgda_ub'\nsample = 'joint'", "found batches of each task's own"),
            ("balance = 'mgda_ub'\nshared_pass = true\naccumulate = 2", "found steps of 2 parts (train.accumulate)"),
        ] {
            let error = parse(train).unwrap_err().to_string();
            assert!(error.contains("expected one batch that feeds all tasks") && error.ends_with(found), "{error}");
        }
        assert!(parse("balance = 'graddrop'\nshared_pass = true").is_ok());
    }

    #[test]
    fn a_target_must_be_a_task() {
        let error = parse("balance = { name = 'gradient_similarity', target = 'x' }\nsample = 'joint'").unwrap_err();
        assert!(error.to_string().contains("train.balance.target: expected one of the tasks ner, qa, found `x`"));
        let error = parse("sample = { name = 'mixing_ratio', ratio = { ner = 2, q = 1 } }").unwrap_err();
        assert!(error.to_string().contains("train.sample.ratio: expected one of the tasks ner, qa, found `q`"));
    }

    #[test]
    fn options_of_a_strategy_are_refused_where_they_stand() {
        for (train, what) in [
            (
                "sample = { name = 'temperature', temprature = 3 }",
                "x.toml:6:34: unknown key `temprature` in [train.sample]; known: name, temperature, cap",
            ),
            (
                "sample = { name = 'temperature', temperature = 'x' }",
                "x.toml:6:34: train.sample.temperature: expected a number, found \"x\"",
            ),
            (
                "balance = { name = 'uncertainty', form = 'x' }",
                "x.toml:6:35: train.balance.form: expected kendall or liebel, found \"x\"",
            ),
            ("sample = { name = 'joint', cap = 1 }", "x.toml:6:28: unknown key `cap` in [train.sample]; known: name"),
            (
                "mix = 'joint'\nsample = 'joint'",
                "x.toml:6:1: train.mix: expected nothing beside train.sample, whose old name it is",
            ),
            (
                "mix = 'join'",
                "x.toml:6:1: train.sample: expected one of round_robin, proportional, temperature, annealed, mixing_ratio, joint, score_gap, exp3, prediction_gain, autosem, dga, multidds, found `join`",
            ),
        ] {
            let error = parse(train).unwrap_err().to_string();
            assert!(error.starts_with(what), "{train}: {error}");
        }
        assert_eq!(parse("mix = 'joint'").unwrap().train.sample.name, "joint");
    }
}
