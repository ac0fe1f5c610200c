//! Models that place a picture in a space: one vector for each.

use std::sync::Arc;

use super::classify::{imagenet_input, vector};
use super::family::{Certainty, Clue, Decode, Family, Head, Look, Scope, Task};
use super::found::Found;
use super::item::Expected;
use crate::{DecodeError, Outputs};

/// An output `[n, numbers]` (or `[n, numbers, 1, 1]`). Where there are several, the one whose name has "embed" in it.
pub(super) struct Embedding;

impl Family for Embedding {
    fn names(&self) -> &'static [&'static str] {
        &["embedding"]
    }
    fn task(&self) -> Task {
        Task::Embed
    }

    /// Only where somebody says so: the scores of a classifier look no different.
    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let is_said = look.task == Some(Task::Embed);
        is_said.then(|| Clue::new(Certainty::Said, "its output is said to be a vector"))?
    }

    fn head(&self, look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        let vectors = || look.info.outputs.iter().filter_map(|output| Some((output, vector(output)?.0)));
        let named = vectors().find(|(output, _)| output.name.to_lowercase().contains("embed"));
        let (output, dims) =
            named.or_else(|| vectors().next()).ok_or("an embedding is an output [n, numbers]")?;
        let output = Expected { name: output.name.clone(), batched: true, dims };
        let is_normalised = look.metadata.normalize == Some(true);
        Ok(Head {
            decoder: Arc::new(Vector { output, is_normalised }),
            classes: None,
            usual: imagenet_input(look.size),
        })
    }
}

#[derive(Debug)]
struct Vector {
    output: Expected,
    /// Whether the metadata wants vectors of length 1.
    is_normalised: bool,
}

impl Decode for Vector {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.output.table(outputs, item)?;
        let embedding = match self.is_normalised || scope.thresholds.normalize {
            true => normalised(table.data),
            false => table.data.to_vec(),
        };
        Ok(Found { embedding: Some(embedding), ..Found::default() })
    }
}

/// The same direction with length 1, as PyTorch's `normalize` does it: nothing is divided by less than 1e-12.
fn normalised(vector: &[f32]) -> Vec<f32> {
    let square: f64 = vector.iter().map(|number| f64::from(*number) * f64::from(*number)).sum();
    let length = square.sqrt().max(1e-12);
    vector.iter().map(|number| (f64::from(*number) / length) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_become_one() {
        assert_eq!(normalised(&[3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(normalised(&[0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(normalised(&[f32::MAX, 0.0]), [1.0, 0.0]);
    }
}
