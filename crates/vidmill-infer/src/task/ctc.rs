//! Lines of text read by CTC, as PP-OCR's recognisers do.

use std::sync::Arc;

use vidmill_image::{ChannelOrder, ResizeMode, Size};

use super::Sizing;
use super::family::{
    CERTAIN, Certainty, Clue, Decode, Family, Head, Look, Scope, Task, Usual, Values, three_dims,
};
use super::found::{Found, Text};
use super::item::Expected;
use crate::{DecodeError, Outputs};

/// One output `[n, steps, characters]` after a softmax, the first character being the blank (Graves et al., "Connectionist temporal
/// classification", 2006).
pub(super) struct Ctc;

/// Size of the input where the model takes any: PP-OCR's height, and a line of 66 times that.
const LONGEST_LINE: Size = Size::new(3200, 48);
/// Shorter lines are given with nothing behind them up to this width: PP-OCR's `rec_img_shape`.
const LEAST_WIDTH: u32 = 320;

impl Family for Ctc {
    fn names(&self) -> &'static [&'static str] {
        &["ctc"]
    }
    fn task(&self) -> Task {
        Task::ReadText
    }

    fn recognise(&self, look: &Look<'_>) -> Option<Clue> {
        let [output] = look.info.outputs.as_slice() else { return None };
        if look.task == Some(Task::ReadText) && output.dims().len() == 3 {
            return Clue::new(Certainty::Said, format!("output '{}' is said to read text", output.name));
        }
        let characters = look.metadata.characters.as_ref()?.len();
        let fits = match *output.dims().as_slice() {
            [_, _, columns] => columns.is_none_or(|columns| spare(characters, columns).is_some()),
            _ => false,
        };
        let because = format!("output '{}' fits the {characters} characters in the metadata", output.name);
        fits.then(|| Clue::new(Certainty::Said, because))?
    }

    fn head(&self, look: &Look<'_>, why: &mut Vec<String>) -> Result<Head, String> {
        let (output, [_, columns]) = three_dims(self, look.info)?;
        let (characters, said) = match (look.labels, &look.metadata.characters) {
            // White characters cannot be told from each other in a file of names.
            (Some(labels), _) => {
                let names = labels.iter().map(|(_, name)| if name.is_empty() { " " } else { name });
                (names.map(str::to_owned).collect(), "the labels")
            }
            (None, Some(characters)) => (characters.clone(), "the model's metadata"),
            (None, None) => {
                return Err("the characters that it reads are not known; give a file of them, one a line, as --labels \
                            (--then-labels for a second model)"
                    .to_owned());
            }
        };
        let count = characters.len();
        if let Some(columns) = columns.filter(|&columns| spare(count, columns).is_none()) {
            return Err(format!(
                "{said} have {count} characters, and its output has {columns} columns: that is neither one more, for the blank, \
                 nor two, for the blank and a space"
            ));
        }
        why.push(format!("{count} characters: from {said}"));
        let table = Expected { name: output.name.clone(), batched: true, dims: vec![None, columns] };
        let values = Values { mean: [0.5; 3], std: [0.5; 3], ..Values::UNIT };
        let resize = ResizeMode::FitHeight;
        let usual = Usual { channels: ChannelOrder::Bgr, resize, pad: 0, values };
        Ok(Head { decoder: Arc::new(Reader { table, characters }), classes: None, usual })
    }

    fn sizing(&self) -> (Sizing, Option<Size>) {
        (Sizing::Line { least: LEAST_WIDTH }, Some(LONGEST_LINE))
    }
}

/// How many columns an output has beside the blank and the characters: 0, or 1 for a space, which PaddleOCR adds.
fn spare(characters: usize, columns: usize) -> Option<usize> {
    columns.checked_sub(characters + 1).filter(|&spare| spare <= 1)
}

#[derive(Debug)]
struct Reader {
    table: Expected,
    characters: Vec<String>,
}

impl Decode for Reader {
    fn is_batched(&self) -> bool {
        true
    }

    /// The best character of each step, repeated ones once, blanks left out; the confidence is the mean of theirs, 0 where there are
    /// none: PaddleOCR's `CTCLabelDecode`.
    fn decode(&self, outputs: &Outputs<'_>, item: usize, _scope: &Scope<'_>) -> Result<Found, DecodeError> {
        let table = self.table.table(outputs, item)?;
        if spare(self.characters.len(), table.columns).is_none() {
            let expected = format!("[.., .., {} or one more]", self.characters.len() + 1);
            let found = vec![outputs.batch(), table.rows, table.columns];
            return Err(DecodeError::Shape { output: self.table.name.clone(), expected, found });
        }
        let (mut text, mut sum, mut count, mut last) = (String::new(), 0.0_f64, 0_u32, 0);
        for step in 0..table.rows {
            let (column, confidence) = best(table.row(step));
            if confidence > CERTAIN {
                return Err(DecodeError::Confidence { confidence });
            }
            if column != 0 && column != last {
                text.push_str(self.characters.get(column - 1).map_or(" ", String::as_str));
                sum += f64::from(confidence);
                count += 1;
            }
            last = column;
        }
        let confidence = if count == 0 { 0.0 } else { (sum / f64::from(count)).clamp(0.0, 1.0) as f32 };
        Ok(Found { text: Some(Text { text, confidence }), ..Found::default() })
    }
}

/// The highest number and its place; the first of equals. In lanes that the compiler turns into vectors: there are thousands.
fn best(row: &[f32]) -> (usize, f32) {
    const LANES: usize = 16;
    let mut most = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = if value > *most { value } else { *most };
        }
    }
    let best = most.iter().chain(rest).fold(f32::NEG_INFINITY, |best, &value| best.max(value));
    (row.iter().position(|&value| value == best).unwrap_or(0), best)
}
