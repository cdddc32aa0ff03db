//! The windows of a task's training examples: what steps are made of, and what the feature cache keeps.

use crate::batch::Features;
use crate::events::Lost;

/// A window and the example that it is of.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct TrainingWindow {
    /// The index of its example.
    pub example: usize,
    /// The window.
    pub features: Features,
}

/// The windows of all training examples of a task, in order, and what did not fit into them.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(super) struct TrainingWindows {
    pub windows: Vec<TrainingWindow>,
    pub lost: Lost,
}
