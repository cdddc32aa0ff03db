//! Vectors around a linear layer: what it reads and what it makes, times and plus what all tasks have, or the task of each row.
//!
//! ```text
//! x -> around(reads) -> product, x Wᵀ + b -> around(makes) -> y
//! ```

use super::Linear;
use crate::affine::Affine;

/// What is done to the columns of a value.
#[derive(Clone, Default)]
pub enum Around {
    /// Nothing.
    #[default]
    Nothing,
    /// The same in all rows.
    AllTasks(Affine),
    /// In the rows of each task, by its number.
    EachTask(Vec<Affine>),
}

impl Around {
    fn affines(&self) -> &[Affine] {
        match self {
            Self::Nothing => &[],
            Self::AllTasks(affine) => std::slice::from_ref(affine),
            Self::EachTask(affines) => affines,
        }
    }

    /// Those of one part of a layer alone.
    fn of_part(&self, part: usize) -> Self {
        let only = |affine: &Affine| Affine(affine.0.get(part).cloned().into_iter().collect());
        match self {
            Self::Nothing => Self::Nothing,
            Self::AllTasks(affine) => Self::AllTasks(only(affine)),
            Self::EachTask(affines) => Self::EachTask(affines.iter().map(only).collect()),
        }
    }
}

/// The vectors around a linear layer.
#[derive(Clone, Default)]
pub struct Vectors {
    /// Of its input.
    pub reads: Around,
    /// Of its output, a part for each part of the layer.
    pub makes: Around,
}

impl Vectors {
    fn are_private(&self) -> bool {
        [&self.reads, &self.makes].into_iter().any(|around| matches!(around, Around::EachTask(_)))
    }
}

impl Linear {
    /// The same with vectors around it.
    #[must_use]
    pub fn with_vectors(self, vectors: Vectors) -> Self {
        let is_nothing = vectors.reads.affines().is_empty() && vectors.makes.affines().is_empty();
        Self { vectors: Some(vectors).filter(|_| !is_nothing), ..self }
    }

    /// The vectors around it, if there are any.
    pub fn vectors(&self) -> Option<&Vectors> {
        self.vectors.as_ref()
    }

    /// One of its parts as a layer of its own.
    #[must_use]
    pub fn part_alone(&self, part: usize) -> Self {
        let alone = Self::new(self.parts.get(part).cloned().into_iter().collect());
        match &self.vectors {
            Some(Vectors { reads, makes }) => {
                alone.with_vectors(Vectors { reads: reads.clone(), makes: makes.of_part(part) })
            }
            None => alone,
        }
    }

    /// Whether what it makes of a row depends on whose the row is.
    pub fn is_private_inside(&self) -> bool {
        let of_a_task = self.parts.iter().flat_map(|part| &part.low_rank).any(|low_rank| low_rank.task.is_some());
        of_a_task || self.vectors.as_ref().is_some_and(Vectors::are_private)
    }
}
