//! Inputs beside the image: its size, a scale, a mask. They are fed with the identity, so that boxes come out in pixels of the
//! input, and vidmill's own geometry takes them to the frame, whatever the batch.
//!
//! In: the model's inputs, and what `vidmill.inputs` says of them. Out: [`SideInput`]s, which know the shape and the numbers
//! to feed for a batch of pictures of some size.

use std::collections::BTreeMap;
use std::fmt;

use vidmill_image::Size;

use crate::{Element, Error, ModelInfo, TensorInfo};

/// One number that is fed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Given {
    Number(f64),
    /// The height of the image input, in pixels.
    Height,
    /// Its width.
    Width,
}

/// What to feed by the names of inputs: the numbers of one item, or one number that fills it.
pub(crate) type Told = BTreeMap<String, Vec<Given>>;

/// A further input, fed with the same numbers for each item of a batch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SideInput {
    /// Its place among the model's inputs.
    pub at: usize,
    pub name: String,
    pub element: Element,
    /// One item's shape, `None` for dimensions of any size.
    item: Vec<Option<usize>>,
    /// Whether the first dimension counts the batch.
    is_batched: bool,
    given: Vec<Given>,
    /// Where these are from.
    pub why: String,
}

impl Given {
    fn number(self, size: Size) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::Height => f64::from(size.height),
            Self::Width => f64::from(size.width),
        }
    }
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Height => f.write_str("height"),
            Self::Width => f.write_str("width"),
        }
    }
}

const ONE: Given = Given::Number(1.0);

/// What the authors' own programs feed under a name, where the picture is the frame itself; and whose name it is.
fn usual(name: &str) -> Option<(&'static [Given], &'static str)> {
    use Given::{Height, Width};
    Some(match name.to_ascii_lowercase().as_str() {
        // deploy/python/preprocess.py of PaddleDetection: scales of y and x, and the size as height and width.
        "scale_factor" => (&[ONE], "the identity, as PaddleDetection has it"),
        "im_shape" | "im_size" => (&[Height, Width], "the input's own size, as PaddleDetection has it"),
        "im_info" => (&[Height, Width, ONE], "the input's own size and scale 1, as Faster R-CNN has it"),
        // yolov3 of the ONNX model zoo.
        "image_shape" | "img_shape" => (&[Height, Width], "the input's own size, as YOLOv3 has it"),
        // Width first: the boxes x, y, x, y are multiplied by it, repeated (rtdetr_postprocessor.py of RT-DETR and D-FINE).
        "orig_target_sizes" => (&[Width, Height], "the input's own size, width first, as RT-DETR has it"),
        "pixel_mask" => (&[ONE], "all of the input is picture"),
        _ => return None,
    })
}

/// Names that stand for a size, but tell not which of its sides comes first.
const SIZES: [&str; 8] = [
    "orig_size",
    "orig_sizes",
    "original_size",
    "original_sizes",
    "target_size",
    "target_sizes",
    "image_size",
    "img_size",
];

impl SideInput {
    /// All inputs of a model but the one at `image`, which takes batches of `batch` pictures (of any number, if none) of `size`
    /// (of any size, if none).
    ///
    /// # Errors
    /// [`Error::Input`] with an input of which nobody says what to feed, or that does not take what is said.
    pub(crate) fn all(
        info: &ModelInfo,
        image: usize,
        batch: Option<usize>,
        size: Option<Size>,
        told: &Told,
    ) -> Result<Vec<Self>, Error> {
        let unusable = |reason: String| Error::Input { reason, signature: info.signature() };
        if let Some(name) = told.keys().find(|name| info.inputs.iter().all(|input| input.name != **name)) {
            return Err(unusable(format!("vidmill.inputs tells what to feed to '{name}', which it has not")));
        }
        let others = info.inputs.iter().enumerate().filter(|(at, _)| *at != image);
        others.map(|(at, input)| Self::of(at, input, batch, size, told).map_err(unusable)).collect()
    }

    fn of(
        at: usize,
        input: &TensorInfo,
        batch: Option<usize>,
        size: Option<Size>,
        told: &Told,
    ) -> Result<Self, String> {
        let name = &input.name;
        let (given, why) = match (told.get(name), usual(name)) {
            (Some(given), _) => (given.clone(), "as vidmill.inputs says".to_owned()),
            (None, Some((given, why))) => (given.to_vec(), why.to_owned()),
            (None, None) => {
                let is_size = SIZES.contains(&name.to_ascii_lowercase().as_str());
                let is_square = size.is_none_or(|size| size.width == size.height);
                if !is_size || !is_square {
                    let unknown = if is_size { "whether its height comes first" } else { "what to feed" };
                    return Err(format!(
                        "besides the image it has the input '{name}', and nothing says {unknown}; {}",
                        remedy(name)
                    ));
                }
                let why = "the input's own size, of which both sides are the same".to_owned();
                (vec![Given::Height, Given::Width], why)
            }
        };
        let dims = input.dims();
        let counts_batch = |first: Option<usize>| first.is_none() || (first == batch && batch.is_some());
        let is_batched = match dims.as_slice() {
            [None] => given.len() == 1,
            [first, _, ..] => counts_batch(*first),
            _ => false,
        };
        let item: Vec<Option<usize>> = dims.into_iter().skip(usize::from(is_batched)).collect();
        let input = Self { at, name: name.clone(), element: input.element, item, is_batched, given, why };
        input.check()?;
        Ok(input)
    }

    /// Whether the numbers make up an item.
    fn check(&self) -> Result<(), String> {
        let (name, element) = (&self.name, self.element);
        let takes = matches!(
            element,
            Element::F32
                | Element::F16
                | Element::F64
                | Element::I32
                | Element::I64
                | Element::U8
                | Element::Bool
        );
        if !takes {
            return Err(format!("its input '{name}' is {element}, which vidmill cannot feed"));
        }
        let numbers = self.given.len();
        let fits = match self.item.as_slice() {
            // Any number: as many as there are, or the picture's sides.
            [None] | [None, None] if numbers == 1 => true,
            [None] => true,
            dims => {
                let wanted = dims.iter().try_fold(1usize, |product, dim| product.checked_mul((*dim)?));
                wanted.is_some_and(|wanted| wanted > 0 && (numbers == 1 || numbers == wanted))
            }
        };
        if fits {
            return Ok(());
        }
        let dims: Vec<String> =
            self.item.iter().map(|dim| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string())).collect();
        let dims = dims.join(", ");
        Err(format!(
            "its input '{name}' takes [{dims}] for each frame, and {} {} does not make that up; {}",
            self.text(),
            self.why,
            remedy(name)
        ))
    }

    /// The shape of the whole input for `batch` pictures of `size`.
    pub(crate) fn shape(&self, batch: usize, size: Size) -> Vec<usize> {
        let sides = [size.height as usize, size.width as usize];
        let any = |at: usize| match self.item.len() {
            2 => sides[at],
            _ => self.given.len(),
        };
        let item = self.item.iter().enumerate().map(|(at, dim)| dim.unwrap_or_else(|| any(at)));
        self.is_batched.then_some(batch).into_iter().chain(item).collect()
    }

    /// All of its numbers.
    pub(crate) fn numbers(&self, batch: usize, size: Size) -> Vec<f64> {
        let count = self.shape(batch, size).iter().product();
        self.given.iter().map(|given| given.number(size)).cycle().take(count).collect()
    }

    /// What is fed, for a card: JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        let one = |given: &Given| match given {
            Given::Number(number) if number.fract() == 0.0 => serde_json::json!(*number as i64),
            Given::Number(number) => serde_json::json!(number),
            side => serde_json::json!(side.to_string()),
        };
        match self.given.as_slice() {
            [given] => one(given),
            several => several.iter().map(one).collect(),
        }
    }

    /// What is fed, for people.
    fn text(&self) -> String {
        let numbers: Vec<String> = self.given.iter().map(Given::to_string).collect();
        format!("[{}]", numbers.join(", "))
    }

    /// What is fed and why, in a sentence.
    pub(crate) fn told(&self) -> String {
        format!("side input '{}' {}: {}", self.name, self.text(), self.why)
    }
}

fn remedy(name: &str) -> String {
    format!(
        "say it in a model card, as in `inputs.{name} = [\"height\", \"width\"]` or `inputs.{name} = 1` (numbers, or the \
         input's sides)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dim;

    fn input(name: &str, element: Element, dims: &[u64]) -> TensorInfo {
        let dim = |&size: &u64| if size == 0 { Dim::Dynamic("n".into()) } else { Dim::Fixed(size) };
        TensorInfo { name: name.to_owned(), element, shape: dims.iter().map(dim).collect() }
    }

    /// What is fed to one input beside an image of 30x20, for two of them.
    fn fed(
        name: &str,
        dims: &[u64],
        batch: Option<usize>,
        told: &[(&str, &[Given])],
    ) -> Result<(Vec<usize>, Vec<f64>), String> {
        let told = told.iter().map(|&(name, given)| (name.to_owned(), given.to_vec())).collect();
        let inputs = vec![input("image", Element::F32, &[0, 3, 0, 0]), input(name, Element::F32, dims)];
        let info = ModelInfo { inputs, ..ModelInfo::default() };
        let size = Size::new(30, 20);
        let all = SideInput::all(&info, 0, batch, Some(size), &told).map_err(|error| error.to_string())?;
        let side = &all[0];
        Ok((side.shape(2, size), side.numbers(2, size)))
    }

    #[test]
    fn the_usual_inputs_get_the_identity() {
        for (name, dims, shape, numbers) in [
            ("scale_factor", &[0, 2][..], &[2, 2][..], &[1.0; 4][..]),
            ("im_shape", &[0, 2], &[2, 2], &[20.0, 30.0, 20.0, 30.0]),
            ("orig_target_sizes", &[0, 2], &[2, 2], &[30.0, 20.0, 30.0, 20.0]),
            ("image_shape", &[1, 2], &[1, 2], &[20.0, 30.0]),
            ("im_info", &[0, 3], &[2, 3], &[20.0, 30.0, 1.0, 20.0, 30.0, 1.0]),
            ("orig_target_sizes", &[2], &[2], &[30.0, 20.0]),
            ("pixel_mask", &[0, 1, 3], &[2, 1, 3], &[1.0; 6]),
        ] {
            assert_eq!(fed(name, dims, None, &[]).unwrap(), (shape.to_vec(), numbers.to_vec()), "{name}");
        }
        let (shape, numbers) = fed("pixel_mask", &[0, 0, 0], None, &[]).unwrap();
        assert_eq!((shape.as_slice(), numbers.len()), ([2, 20, 30].as_slice(), 1200));
        assert_eq!(fed("im_shape", &[2, 2], Some(2), &[]).unwrap().0, [2, 2]);
    }

    #[test]
    fn what_is_told_comes_first() {
        let told: [(&str, &[Given]); 1] = [("im_shape", &[Given::Width, Given::Number(0.5)])];
        assert_eq!(fed("im_shape", &[0, 2], None, &told).unwrap().1, [30.0, 0.5, 30.0, 0.5]);
        let told: [(&str, &[Given]); 1] = [("threshold", &[Given::Number(0.3)])];
        for (dims, shape) in [(&[][..], &[][..]), (&[1], &[1]), (&[0], &[2])] {
            let (found, numbers) = fed("threshold", dims, None, &told).unwrap();
            assert_eq!((found.as_slice(), numbers[0]), (shape, 0.3));
        }
    }

    #[test]
    fn unknown_and_unfit_inputs_are_named_with_the_remedy() {
        for (name, dims) in [
            ("mystery", &[0, 2][..]),
            ("im_shape", &[0, 3]),
            ("orig_size", &[0, 2]),
            ("scale_factor", &[0, 0, 0, 2]),
        ] {
            let error = fed(name, dims, None, &[]).unwrap_err();
            assert!(error.contains(&format!("'{name}'")) && error.contains("model card"), "{error}");
        }
        let told: [(&str, &[Given]); 1] = [("other", &[ONE])];
        assert!(fed("im_shape", &[0, 2], None, &told).unwrap_err().contains("'other'"));
    }
}
