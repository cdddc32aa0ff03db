//! Whose the parameters are, and what sharing the encoder saves against a model for each task.

use crate::document::number::{count, decimal, percent};
use crate::document::{Block, Cell, Table};
use crate::model::Share;
use crate::parameters::Owner;

/// Parameters of one shared encoder against those of a model for each task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sharing {
    /// All parameters.
    pub total: usize,
    /// Those of the encoder that all tasks share.
    pub shared: usize,
    /// Those that models of one task each would have together.
    pub separate: usize,
    /// How many tasks there are.
    pub tasks: usize,
}

impl Sharing {
    /// Counts.
    pub fn of(shares: &[Share]) -> Self {
        let total = shares.iter().map(|share| share.total).sum();
        let encoder = shares.iter().filter(|share| share.owner == Owner::Encoder).map(|share| share.total).sum();
        let tasks = shares.iter().filter(|share| matches!(share.owner, Owner::Head(_))).count();
        Self { total, shared: encoder, separate: tasks * encoder + (total - encoder), tasks }
    }

    /// What sharing saves, in per cent of separate models.
    pub fn saving(&self) -> f64 {
        percent(self.separate.saturating_sub(self.total), self.separate)
    }
}

/// The table, and what it says.
pub fn blocks(shares: &[Share]) -> Vec<Block> {
    let sharing = Sharing::of(shares);
    let trained: usize = shares.iter().map(|share| share.trained).sum();
    let mut table = Table::new("", &["part", "parameters", "share, %", "trained"]);
    for share in shares {
        let name = match &share.owner {
            Owner::Encoder => "shared encoder".to_owned(),
            Owner::Private(task) => format!("private to {task}"),
            Owner::Head(task) => format!("head of {task}"),
        };
        let share_of = percent(share.total, sharing.total);
        // A head is far below a hundredth of a per cent sometimes.
        let share_of = if share_of > 0.0 && share_of < 0.01 { format!("{share_of:.4}") } else { decimal(share_of) };
        table.row([Cell::from(name), count(share.total).into(), share_of.into(), count(share.trained).into()]);
    }
    table.strong([Cell::from("all"), count(sharing.total).into(), "100.00".into(), count(trained).into()]);
    let mut blocks = vec![Block::Table(table)];
    if sharing.tasks > 1 {
        let mut table = Table::new("", &["against separate models", "parameters"]);
        table.row(["one encoder, all heads".to_owned(), count(sharing.total)]);
        table.row([format!("{} models of one task each", sharing.tasks), count(sharing.separate)]);
        table.strong([
            format!("saved ({} %)", decimal(sharing.saving())),
            count(sharing.separate.saturating_sub(sharing.total)),
        ]);
        blocks.push(Block::Table(table));
    }
    if trained < sharing.total {
        blocks.push(Block::text(format!(
            "{} parameters are kept and not trained: they are frozen, or no task uses them (the pooler of BERT).",
            count(sharing.total - trained)
        )));
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separate_models_have_an_encoder_each() {
        let share = |owner, total| Share { owner, total, trained: total };
        let head = |name: &str, total| share(Owner::Head(name.into()), total);
        let sharing = Sharing::of(&[share(Owner::Encoder, 100), head("a", 10), head("b", 30)]);
        assert_eq!(sharing, Sharing { total: 140, shared: 100, separate: 240, tasks: 2 });
        assert!((sharing.saving() - 100.0 * 100.0 / 240.0).abs() < 1e-9);
    }
}
