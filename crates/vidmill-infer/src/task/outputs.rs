//! Outputs as they are: for models whose outputs nobody decodes.

use std::sync::Arc;

use super::family::{Clue, Decode, Family, Head, Look, Scope, Task, Usual};
use super::found::Found;
use crate::{DecodeError, Outputs};

/// Any outputs whose first dimension is the batch. No model is recognised as one: whoever wants its outputs says so.
pub(super) struct Raw;

impl Family for Raw {
    fn names(&self) -> &'static [&'static str] {
        &["outputs"]
    }
    fn task(&self) -> Task {
        Task::Outputs
    }
    fn recognise(&self, _look: &Look<'_>) -> Option<Clue> {
        None
    }
    fn head(&self, _look: &Look<'_>, _why: &mut Vec<String>) -> Result<Head, String> {
        Ok(Head { decoder: Arc::new(AsTheyAre), classes: None, usual: Usual::LETTERBOX })
    }
}

#[derive(Debug)]
struct AsTheyAre;

impl Decode for AsTheyAre {
    fn is_batched(&self) -> bool {
        true
    }
    fn decode(&self, outputs: &Outputs<'_>, item: usize, _scope: &Scope<'_>) -> Result<Found, DecodeError> {
        Ok(Found { outputs: Some(to_json(outputs, item)?), ..Found::default() })
    }
}

/// Item `item`'s part of every output, as a JSON object of nested lists by the outputs' names.
fn to_json(outputs: &Outputs<'_>, item: usize) -> Result<String, DecodeError> {
    let batch = outputs.batch();
    let mut json = String::from("{");
    for (number, tensor) in outputs.iter().enumerate() {
        let missing = || DecodeError::Shape {
            output: tensor.name.to_owned(),
            expected: format!("[{batch}, ...]"),
            found: tensor.shape.to_vec(),
        };
        let [first, dims @ ..] = tensor.shape else { return Err(missing()) };
        if *first != batch {
            return Err(missing());
        }
        let size: usize = dims.iter().product();
        let data =
            tensor.data.get(item * size..(item + 1) * size).ok_or(DecodeError::Item { item, batch })?;
        if let Some(index) = data.iter().position(|value| !value.is_finite()) {
            return Err(DecodeError::NonFinite { output: tensor.name.to_owned(), index, value: data[index] });
        }
        json.push_str(if number == 0 { "" } else { "," });
        // Any string can be written as JSON.
        json.push_str(&serde_json::to_string(tensor.name).unwrap_or_default());
        json.push(':');
        nest(&mut json, dims, data);
    }
    json.push('}');
    Ok(json)
}

/// Finite numbers, in lists as deep as there are dimensions.
fn nest(json: &mut String, dims: &[usize], data: &[f32]) {
    use std::fmt::Write as _;
    let Some((&count, inner)) = dims.split_first() else {
        // Into a string nothing fails; `Debug` is the shortest text that reads back the same, and JSON where it is finite.
        let _ = data.first().map(|value| write!(json, "{value:?}"));
        return;
    };
    let size: usize = inner.iter().product();
    json.push('[');
    for part in 0..count {
        json.push_str(if part == 0 { "" } else { "," });
        nest(json, inner, &data[part * size..(part + 1) * size]);
    }
    json.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TensorView;

    #[test]
    fn an_item_is_nested_as_its_shape_says() {
        let data: Vec<f32> = (0..12).map(|n| n as f32 / 2.0).collect();
        let views = vec![
            TensorView { name: "a", shape: &[2, 3, 2], data: &data },
            TensorView { name: "b\"", shape: &[2], data: &[1e20, -0.5] },
            TensorView { name: "c", shape: &[2, 0], data: &[] },
        ];
        let outputs = Outputs::new(2, views);
        assert_eq!(
            to_json(&outputs, 1).unwrap(),
            r#"{"a":[[3.0,3.5],[4.0,4.5],[5.0,5.5]],"b\"":-0.5,"c":[]}"#
        );
        assert!(serde_json::from_str::<serde_json::Value>(&to_json(&outputs, 0).unwrap()).is_ok());
    }

    #[test]
    fn an_output_without_the_batch_or_with_nan_is_refused() {
        let one = |shape, data| Outputs::new(2, vec![TensorView { name: "a", shape, data }]);
        assert!(matches!(to_json(&one(&[3], &[0.0; 3]), 0), Err(DecodeError::Shape { .. })));
        assert!(matches!(to_json(&one(&[], &[0.0]), 0), Err(DecodeError::Shape { .. })));
        let nan = to_json(&one(&[2, 2], &[0.0, 0.0, 0.0, f32::NAN]), 1);
        assert!(matches!(nan, Err(DecodeError::NonFinite { index: 1, .. })));
    }
}
