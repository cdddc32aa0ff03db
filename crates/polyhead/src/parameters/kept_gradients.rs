//! Gradients of the shared encoder that are kept from step to step, one for each task, and their file in a checkpoint.
//!
//! ```text
//! TASK/NAME        the numbers of a parameter's gradient, f32: [all], or [rows, columns] of a table
//! TASK/NAME/rows   which rows these are, u32
//! ```
//!
//! Tables stay sparse in the file too: sums over a gradient depend on its form, and a resumed run has the same bits.

use super::safetensors_file::{Numbers, write};
use super::{Gradients, Owner, Parameter, Parameters};
use crate::error::{Error, Place, Result};
use polyhead_kernels::Gradient;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::Path;

const ROWS: &str = "/rows";

/// A gradient of the shared encoder for each task, by its index.
#[derive(Default)]
pub struct KeptGradients(pub BTreeMap<usize, Gradients>);

impl KeptGradients {
    /// Writes them.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self, path: &Path, parameters: &Parameters) -> Result<()> {
        let all = self.0.iter().flat_map(|(task, gradients)| {
            let named = gradients.of(parameters).filter_map(|(parameter, gradient)| Some((parameter, gradient?)));
            named.map(move |(parameter, gradient)| (format!("{task}/{}", parameter.name), gradient))
        });
        let all: Vec<(String, &Gradient, Vec<usize>)> = all
            .map(|(name, gradient)| {
                let dims = match gradient {
                    Gradient::Dense(values) => vec![values.len()],
                    Gradient::Rows { rows, columns, .. } => vec![rows.len(), *columns],
                };
                (name, gradient, dims)
            })
            .collect();
        let mut tensors = Vec::with_capacity(all.len());
        for (name, gradient, dims) in &all {
            tensors.push((name.clone(), &dims[..], Numbers::F32(gradient.values())));
            if let Gradient::Rows { rows, .. } = gradient {
                tensors.push((format!("{name}{ROWS}"), &dims[..1], Numbers::U32(rows)));
            }
        }
        write(path, tensors)
    }

    /// Reads what [`KeptGradients::save`] wrote.
    ///
    /// # Errors
    /// They are not those of these parameters.
    pub fn restore(path: &Path, parameters: &Parameters) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|cause| Error::reading(path, cause))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|cause| Error::data(format!("not a safetensors file: {cause}")).at(Place::file(path)))?;
        let views: BTreeMap<String, TensorView> = file.iter().map(|(name, view)| (name.to_owned(), view)).collect();
        let task = |name: &String| name.split_once('/')?.0.parse::<usize>().ok();
        let tasks: std::collections::BTreeSet<usize> = views.keys().filter_map(task).collect();
        let of = |task: usize, parameter: &Parameter| -> Result<Option<Gradient>> {
            let name = format!("{task}/{}", parameter.name);
            let Some(view) = views.get(&name) else { return Ok(None) };
            let gradient = read(view, views.get(&format!("{name}{ROWS}")), parameter);
            let other = || {
                Error::data("expected a gradient of this model's parameters, found that of another")
                    .at(Place::tensor(path, &name))
            };
            gradient.ok_or_else(other).map(Some)
        };
        let gradients = |task: usize| {
            let all = parameters.iter().map(|parameter| of(task, parameter)).collect::<Result<_>>()?;
            Ok((task, Gradients(all)))
        };
        Ok(Self(tasks.into_iter().map(gradients).collect::<Result<_>>()?))
    }
}

/// A gradient of the file, if it is one of this parameter.
fn read(view: &TensorView, rows: Option<&TensorView>, parameter: &Parameter) -> Option<Gradient> {
    let words = |view: &TensorView, dtype| -> Option<Vec<[u8; 4]>> {
        (view.dtype() == dtype).then(|| view.data().as_chunks::<4>().0.to_vec())
    };
    let values: Vec<f32> = words(view, Dtype::F32)?.into_iter().map(f32::from_le_bytes).collect();
    if parameter.owner != Owner::Encoder {
        return None;
    }
    let Some(rows) = rows else {
        return (values.len() == parameter.weight.count()).then(|| Gradient::dense(&values));
    };
    let rows: Vec<u32> = words(rows, Dtype::U32)?.into_iter().map(u32::from_le_bytes).collect();
    let &[table_rows, columns] = parameter.weight.dims() else { return None };
    let rising = rows.windows(2).all(|pair| pair[0] < pair[1]);
    let known = rows.last().is_none_or(|&last| (last as usize) < table_rows);
    (rising && known && values.len() == rows.len() * columns).then(|| Gradient::of_rows(rows, columns, &values))
}
