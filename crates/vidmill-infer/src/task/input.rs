//! The image input of a model.

use vidmill_image::{ElementType, Size, TensorLayout, TensorSpec};

use crate::metadata::Metadata;
use crate::{Element, Error, ModelInfo, TensorInfo};

/// An input that takes pictures; `None` where any number goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageInput {
    /// Its place among the model's inputs.
    pub at: usize,
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
    /// The model's image input: the one that the metadata names, or the only one that can be.
    pub(crate) fn of(info: &ModelInfo, metadata: &Metadata) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Input { reason, signature: info.signature() };
        let at = place(&info.inputs, metadata.image.as_deref()).map_err(unusable)?;
        let input = &info.inputs[at];
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
        let layout = match metadata.layout {
            Some(layout) => layout,
            None if is_channels(a) => TensorLayout::Nchw,
            None if is_channels(c) => TensorLayout::Nhwc,
            // Nothing is said of the channels: by far the most models are NCHW with three.
            None if a.is_none() && c.is_none_or(|c| c > 4) => TensorLayout::Nchw,
            None => {
                return Err(unusable(format!("its input '{name}' has no dimension of 1 or 3 channels")));
            }
        };
        let (channels, height, width) = match layout {
            TensorLayout::Nchw => (a, b, c),
            TensorLayout::Nhwc => (c, a, b),
        };
        if !channels.is_none_or(|channels| is_channels(Some(channels))) {
            let reason =
                format!("its input '{name}' is said to be {layout:?}, and has not 1 or 3 channels so");
            return Err(unusable(reason));
        }
        let sides_fit = [height, width].iter().flatten().all(|side| (1..=LONGEST_SIDE).contains(side));
        if batch == Some(0) || !sides_fit {
            return Err(unusable(format!("its input '{name}' has a size that is no picture's")));
        }
        Ok(Self { at, element, layout, channels: channels.unwrap_or(3), batch, height, width })
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

/// Which of the inputs takes the image.
fn place(inputs: &[TensorInfo], named: Option<&str>) -> Result<usize, String> {
    if let Some(name) = named {
        let at = inputs.iter().position(|input| input.name == name);
        return at.ok_or_else(|| format!("vidmill.image names the input '{name}', which it has not"));
    }
    let is_image = |input: &TensorInfo| {
        input.shape.len() == 4 && matches!(input.element, Element::F32 | Element::F16 | Element::U8)
    };
    let images: Vec<usize> =
        inputs.iter().enumerate().filter(|(_, input)| is_image(input)).map(|(at, _)| at).collect();
    match (inputs.len(), images.as_slice()) {
        (1, _) => Ok(0),
        (_, [at]) => Ok(*at),
        (0, _) => Err("it has no input".to_owned()),
        (count, []) => Err(format!("it has {count} inputs, none of which is an image of 4 dimensions")),
        (_, several) => {
            let names: Vec<String> = several.iter().map(|&at| format!("'{}'", inputs[at].name)).collect();
            Err(format!(
                "any of its inputs {} may be the image; say which in a model card, as in `image = \"{}\"`",
                names.join(", "),
                inputs[several[0]].name
            ))
        }
    }
}
