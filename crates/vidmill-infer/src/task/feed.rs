//! What a model wants to see: size, fit and values of its input.

use vidmill_image::{ChannelOrder, ElementType, ResizeMode, Size, TensorLayout, TensorSpec};

use super::TaskOptions;
use super::classify::{cropped_from, vector};
use super::family::{TO_ONE, Usual, Values};
use super::input::ImageInput;
use super::recognise::{number, reason};
use crate::metadata::{COLORS, Metadata, RESIZES, Range};
use crate::{CardLine, Error, ModelInfo, TensorInfo};

/// The same of models that give a vector for the whole picture: what ImageNet's are trained with.
const USUAL_SIDE_OF_VECTORS: u32 = 224;

/// Side of the input where neither model nor user says one, and the step that sides are rounded up to.
const USUAL_SIDE: u32 = 640;
const USUAL_STRIDE: u32 = 32;
const LONGEST_SIDE: u32 = 16_384;

/// Size of the input: the model's own, else the user's, else the metadata's, else the usual.
pub(super) fn size(
    info: &ModelInfo,
    input: &ImageInput,
    metadata: &Metadata,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Size, Error> {
    let fixed = |side: Option<usize>| side.and_then(|side| u32::try_from(side).ok());
    let (width, height) = (fixed(input.width), fixed(input.height));
    if let Some(asked) = options.imgsz {
        let other = |own: Option<u32>, asked: u32| own.is_some_and(|own| own != asked);
        let shown = |own: Option<u32>| own.map_or_else(|| "any".to_owned(), |own| own.to_string());
        let option = format!("--imgsz {}x{}", asked.width, asked.height);
        if other(width, asked.width) || other(height, asked.height) {
            let reason = format!("its input is {}x{} pixels", shown(width), shown(height));
            return Err(Error::Option { option, reason });
        }
        if ![asked.width, asked.height].iter().all(|side| (1..=LONGEST_SIDE).contains(side)) {
            return Err(Error::Option { option, reason: format!("sides are 1 to {LONGEST_SIDE} pixels") });
        }
    }
    if let (None, Some(text), Some((tall, wide))) = (options.imgsz, metadata.own("imgsz"), metadata.imgsz)
        && (width.is_some_and(|width| width != wide) || height.is_some_and(|height| height != tall))
    {
        let any = |side: Option<u32>| side.map_or_else(|| "any".to_owned(), |side| side.to_string());
        return Err(Error::Metadata {
            key: "vidmill.imgsz".to_owned(),
            value: text.to_owned(),
            reason: format!("the model's input has height {} and width {}", any(height), any(width)),
        });
    }
    if let (Some(width), Some(height)) = (width, height) {
        why.push(format!("input {width}x{height}: fixed by the model"));
        return Ok(Size::new(width, height));
    }
    // Rows of six numbers are boxes.
    let is_vector =
        |output: &TensorInfo| vector(output).is_some_and(|(_, count)| count.is_some_and(|count| count != 6));
    let is_vector = !info.outputs.is_empty() && info.outputs.iter().all(is_vector);
    let (usual_side, usual_stride) =
        if is_vector { (USUAL_SIDE_OF_VECTORS, 1) } else { (USUAL_SIDE, USUAL_STRIDE) };
    let (asked, source) = match (options.imgsz, metadata.imgsz) {
        (Some(size), _) => (size, "by --imgsz".to_owned()),
        (None, Some((height, width))) => {
            (Size::new(width, height), format!("by {}", metadata.origin("imgsz").unwrap_or_default()))
        }
        (None, None) => {
            let source = "the usual, as the model takes any; see --imgsz".to_owned();
            (Size::new(usual_side, usual_side), source)
        }
    };
    // What somebody says just so is meant, unless somebody says steps too.
    let is_exact = options.imgsz.is_none() && metadata.own("imgsz").is_some();
    let stride = metadata.stride.unwrap_or(if is_exact { 1 } else { usual_stride });
    let round = |side: u32| side.div_ceil(stride) * stride;
    let size = Size::new(width.unwrap_or(round(asked.width)), height.unwrap_or(round(asked.height)));
    why.push(format!("input {}x{}: {source}, in steps of {stride}", size.width, size.height));
    Ok(size)
}

/// The size again, once the family is known that has a usual one; `size` stays where somebody says one.
pub(super) fn resized(
    size: Size,
    usual: Option<Size>,
    input: &ImageInput,
    metadata: &Metadata,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Size {
    let Some(usual) = usual.filter(|_| input.width.is_none() || input.height.is_none()) else { return size };
    // Of a line of text, only the width can be asked for.
    let is_line = usual.height * 4 < usual.width;
    let said = options.imgsz.or(metadata.imgsz.map(|(height, width)| Size::new(width, height)));
    let (width, height) = match said {
        Some(_) if !is_line => return size,
        Some(said) if said.width != said.height => (said.width, said.height),
        Some(said) => (said.width, usual.height),
        None => (usual.width, usual.height),
    };
    let resized =
        Size::new(input.width.map_or(width, |_| size.width), input.height.map_or(height, |_| size.height));
    why.retain(|line| !line.starts_with("input "));
    why.push(format!("input {}x{} at most: it follows the picture", resized.width, resized.height));
    resized
}

impl Values {
    /// For people.
    fn text(&self) -> String {
        let range = if self.scale == 1.0 { "0..255" } else { "0..1" };
        match (self.mean, self.std) {
            ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0]) => range.to_owned(),
            (mean, std) => format!("({range} - {mean:?}) / {std:?}"),
        }
    }
}

/// The whole input: what is usual for the kind, and over it what the metadata says.
pub(super) fn spec(
    kind: &str,
    usual: &Usual,
    input: &ImageInput,
    metadata: &Metadata,
    size: Size,
    why: &mut Vec<String>,
) -> Result<TensorSpec, Error> {
    let channels = channels(input, metadata, usual.channels)?;
    let values = values(input, metadata, usual.values)?;
    let resize = match (metadata.crop, metadata.resize.unwrap_or(usual.resize)) {
        (Some(fraction), ResizeMode::CenterCrop | ResizeMode::CenterCropFrom(_)) => {
            ResizeMode::CenterCropFrom(cropped_from(size, fraction))
        }
        (Some(fraction), other) => {
            return Err(Error::Metadata {
                key: "vidmill.crop".to_owned(),
                value: fraction.to_string(),
                reason: format!("the input is made by {other:?}; say vidmill.resize = center-crop as well"),
            });
        }
        (None, resize) => resize,
    };
    let pad = metadata.pad.unwrap_or(usual.pad);
    let said: Vec<&str> = VALUES.into_iter().filter(|key| metadata.own(key).is_some()).collect();
    let mut origins: Vec<&str> = said.iter().filter_map(|key| metadata.origin(key)).collect();
    origins.dedup();
    let source = match said.is_empty() {
        true => format!("the usual for {kind}"),
        false => {
            let (said, origins) = (said.join(", "), origins.join(" and "));
            format!("the usual for {kind}, with vidmill.{{{said}}} from {origins}")
        }
    };
    why.push(format!(
        "values {} {}, {resize:?}: {source}",
        format!("{channels:?}").to_uppercase(),
        values.text()
    ));
    Ok(TensorSpec {
        size,
        element: input.element,
        layout: input.layout,
        channels,
        resize,
        pad,
        scale: values.scale,
        mean: values.mean,
        std: values.std,
    })
}

fn name_of<T: PartialEq>(choices: &[(&'static str, T)], wanted: T) -> Option<&'static str> {
    choices.iter().find(|(_, choice)| *choice == wanted).map(|(name, _)| *name)
}

/// The keys that say how values are made.
const VALUES: [&str; 7] = ["color", "range", "mean", "std", "resize", "crop", "pad"];

/// What a card says of the input.
pub(super) fn lines(
    kind: &str,
    info: &ModelInfo,
    input: &ImageInput,
    metadata: &Metadata,
    spec: &TensorSpec,
    why: &[String],
) -> Vec<CardLine> {
    let source = |key: &str| match metadata.origin(key) {
        Some(origin) => format!("by {origin}"),
        None => format!("the usual for {kind}"),
    };
    let Size { width, height } = spec.size;
    let mut lines = vec![CardLine::new("imgsz", vec![height, width], reason(why, "input"))];
    let image = info.inputs.get(input.at);
    if let Some(image) = image.filter(|_| info.inputs.len() > 1) {
        lines.push(CardLine::new("image", image.name.as_str(), "the input that takes the image"));
    }
    let layout = match spec.layout {
        TensorLayout::Nchw => "nchw",
        TensorLayout::Nhwc => "nhwc",
    };
    lines.push(CardLine::new("layout", layout, image.map(ToString::to_string).unwrap_or_default()));
    lines.extend(name_of(COLORS, spec.channels).map(|name| CardLine::new("color", name, source("color"))));
    let range = [(TO_ONE, 1), (1.0, 255)].into_iter().find(|(scale, _)| *scale == spec.scale);
    if let Some((_, range)) = range {
        let one_or_three = |values: [f32; 3]| match values {
            [a, b, c] if a == b && b == c => number(a),
            values => values.map(number).to_vec().into(),
        };
        lines.push(CardLine::new("range", range, source("range")));
        lines.push(CardLine::new("mean", one_or_three(spec.mean), source("mean")));
        lines.push(CardLine::new("std", one_or_three(spec.std), source("std")));
    }
    match spec.resize {
        // The fraction that gives this size; where none does, neither line is written, and all is worked out anew.
        ResizeMode::CenterCropFrom(from) => {
            let ratio = width as f32 / from.width as f32;
            let mut fractions = metadata.crop.into_iter().chain([0.875, ratio]);
            if let Some(fraction) = fractions.find(|fraction| cropped_from(spec.size, *fraction) == from) {
                lines.push(CardLine::new("resize", "center-crop", source("resize")));
                lines.push(CardLine::new("crop", number(fraction), source("crop")));
            }
        }
        resize => {
            lines.extend(name_of(RESIZES, resize).map(|name| CardLine::new("resize", name, source("resize"))))
        }
    }
    if matches!(spec.resize, ResizeMode::Letterbox | ResizeMode::LetterboxTopLeft) {
        lines.push(CardLine::new("pad", spec.pad, source("pad")));
    }
    lines
}

fn channels(input: &ImageInput, metadata: &Metadata, usual: ChannelOrder) -> Result<ChannelOrder, Error> {
    let order = metadata.color.unwrap_or(if input.channels == 1 { ChannelOrder::Gray } else { usual });
    if order.count() == input.channels {
        return Ok(order);
    }
    Err(Error::Metadata {
        key: "vidmill.color".to_owned(),
        value: format!("{order:?}").to_lowercase(),
        reason: format!("the model's input has {} channels", input.channels),
    })
}

fn values(input: &ImageInput, metadata: &Metadata, usual: Values) -> Result<Values, Error> {
    let bytes = input.element == ElementType::U8;
    let usual = if bytes { Values::BYTES } else { usual };
    if metadata.range.is_none() && metadata.mean.is_none() && metadata.std.is_none() {
        return Ok(usual);
    }
    // Whoever says one of the three means all of them.
    let scale = match metadata.range {
        Some(Range::One) => TO_ONE,
        Some(Range::Byte) => 1.0,
        None => usual.scale,
    };
    let values =
        Values { scale, mean: metadata.mean.unwrap_or([0.0; 3]), std: metadata.std.unwrap_or([1.0; 3]) };
    if bytes && (values.scale != 1.0 || values.mean != [0.0; 3] || values.std != [1.0; 3]) {
        return Err(Error::Metadata {
            key: "vidmill.range, vidmill.mean, vidmill.std".to_owned(),
            value: format!("{}, {:?}, {:?}", values.scale, values.mean, values.std),
            reason: "the model's input is u8, which takes 0..255 as it is".to_owned(),
        });
    }
    Ok(values)
}
