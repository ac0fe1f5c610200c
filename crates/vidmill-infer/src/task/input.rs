//! The one image input of a model.

use vidmill_image::{ElementType, Size, TensorLayout, TensorSpec};

use crate::{Element, Error, ModelInfo};

/// An input that takes pictures; `None` where any number goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageInput {
    pub element: ElementType,
    pub layout: TensorLayout,
    pub channels: usize,
    pub batch: Option<usize>,
    pub height: Option<usize>,
    pub width: Option<usize>,
}

/// Sides over this are taken for a mistake.
const LONGEST_SIDE: usize = 16_384;

impl ImageInput {
    /// The model's input, if it has just one and that is a picture.
    pub(crate) fn of(info: &ModelInfo) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Input { reason, signature: info.signature() };
        let [input] = info.inputs.as_slice() else {
            return Err(unusable(format!("it has {} inputs, one image is expected", info.inputs.len())));
        };
        let name = &input.name;
        let element = match input.element {
            Element::F32 => ElementType::F32,
            Element::F16 => ElementType::F16,
            Element::U8 => ElementType::U8,
            other => {
                return Err(unusable(format!("its input '{name}' is {other}; f32, f16 or u8 is expected")));
            }
        };
        let dims = input.dims();
        let &[batch, a, b, c] = dims.as_slice() else {
            let reason = format!("its input '{name}' has {} dimensions, 4 are expected", dims.len());
            return Err(unusable(reason));
        };
        let is_channels = |dim: Option<usize>| matches!(dim, Some(1 | 3));
        let (layout, channels, height, width) = if is_channels(a) {
            (TensorLayout::Nchw, a, b, c)
        } else if is_channels(c) {
            (TensorLayout::Nhwc, c, a, b)
        } else if a.is_none() && c.is_none_or(|c| c > 4) {
            // Nothing is said of the channels: by far the most models are NCHW with three.
            (TensorLayout::Nchw, Some(3), b, c)
        } else {
            return Err(unusable(format!("its input '{name}' has no dimension of 1 or 3 channels")));
        };
        let sides_fit = [height, width].iter().flatten().all(|side| (1..=LONGEST_SIDE).contains(side));
        if batch == Some(0) || !sides_fit {
            return Err(unusable(format!("its input '{name}' has a size that is no picture's")));
        }
        Ok(Self { element, layout, channels: channels.unwrap_or(3), batch, height, width })
    }

    /// Whether items as `spec` says are what the model takes.
    pub(crate) fn check(&self, spec: &TensorSpec, info: &ModelInfo) -> Result<(), Error> {
        let Size { width, height } = spec.size;
        let side_fits = |own: Option<usize>, side: u32| own.is_none_or(|own| own == side as usize);
        let fits = spec.element == self.element
            && spec.layout == self.layout
            && spec.channels.count() == self.channels
            && side_fits(self.width, width)
            && side_fits(self.height, height)
            && width > 0
            && height > 0;
        if fits {
            return Ok(());
        }
        let reason = format!(
            "items of {width}x{height} pixels, {} channels, {:?}, {:?} were planned",
            spec.channels.count(),
            spec.element,
            spec.layout
        );
        Err(Error::Input { reason, signature: info.signature() })
    }
}
