//! What heads began with, where training began with a model that had some: part of the event `planned`, and of a model's provenance.

use serde::{Deserialize, Serialize};

/// So many labels are listed in a line.
const LISTED: usize = 10;

/// What became of a head: of a task of the recipe, or of the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadStart {
    /// The task; of a head that no task of the recipe has, its own name.
    pub head: String,
    /// How it began.
    #[serde(default)]
    pub begins: Begins,
    /// The name of the checkpoint's head, where it had another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// The labels whose rows came from the checkpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// The labels whose rows began as those of a new head.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// The labels of the checkpoint that this head has not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Why it is new or dropped, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// How a head began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begins {
    /// As the checkpoint's, whole.
    Kept,
    /// As the checkpoint's, with the rows of the labels that both have.
    ByLabel,
    /// New.
    New,
    /// It stays in the model as it came, untrained.
    Untrained,
    /// It is not in the model.
    Dropped,
    /// In a way that only a later version knows.
    #[default]
    #[serde(other)]
    Other,
}

impl HeadStart {
    /// One line for people.
    pub fn line(&self) -> String {
        let Self { head, kept, new, dropped, why, .. } = self;
        let of = self.of.as_ref().map_or_else(String::new, |of| format!(" `{of}`"));
        match self.begins {
            Begins::Kept => {
                let labels = if kept.is_empty() { String::new() } else { format!(" with its {} labels", kept.len()) };
                format!("tasks.{head}: the head{of} of the checkpoint is kept{labels}")
            }
            Begins::ByLabel => {
                let part = |what: &str, labels: &[String]| match labels {
                    [] => format!("{what} none"),
                    some => format!("{what} {} ({})", some.len(), listed(some)),
                };
                let parts = [part("kept", kept), part("new", new), part("dropped", dropped)].join("; ");
                format!("tasks.{head}: the head{of} of the checkpoint, label by label: {parts}")
            }
            Begins::New => format!("tasks.{head}: the head is new: {why}"),
            Begins::Untrained => {
                format!("head `{head}` of the checkpoint is kept as it is, untrained (encoder.keep_heads)")
            }
            Begins::Dropped => format!("head `{head}` of the checkpoint is dropped: {why}"),
            Begins::Other => format!("head `{head}`: {why}"),
        }
    }
}

/// Names with commas between, the first few of many.
pub fn listed(names: &[String]) -> String {
    let shown = names.get(..LISTED).unwrap_or(names).join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
