//! What a model wants its input to look like.

use serde::Serialize;

use crate::{ResizeMode, Size};

/// Type of one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// 32-bit float.
    F32,
    /// 16-bit float (IEEE half).
    F16,
    /// Unsigned byte.
    U8,
}

/// Order of dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TensorLayout {
    /// `[n, c, h, w]`.
    Nchw,
    /// `[n, h, w, c]`.
    Nhwc,
}

/// Order of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChannelOrder {
    /// Red first.
    Rgb,
    /// Blue first (OpenCV's order).
    Bgr,
    /// One channel: luma, full range.
    Gray,
}

/// One item of a model's input: an image of `size`, and how its values are made.
///
/// A value is `(v * scale - mean[c]) / std[c]`, where `v` is 0..=255 and `c` is the channel in the tensor's own order.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorSpec {
    /// Width and height of the model's input.
    pub size: Size,
    /// Element type.
    pub element: ElementType,
    /// Dimension order.
    pub layout: TensorLayout,
    /// Channel order.
    pub channels: ChannelOrder,
    /// How the picture is fitted.
    pub resize: ResizeMode,
    /// Value of padding before normalisation, 0..=255 (114 for YOLO).
    pub pad: u8,
    /// Multiplied first (1/255 for 0..1 inputs).
    pub scale: f32,
    /// Subtracted after `scale`.
    pub mean: [f32; 3],
    /// Divided by last.
    pub std: [f32; 3],
}

impl ElementType {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::U8 => 1,
        }
    }
}

impl ChannelOrder {
    /// Channels in the tensor: 3 or 1.
    pub const fn count(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Gray => 1,
        }
    }
}

impl TensorSpec {
    /// The usual YOLO input: RGB, NCHW, f32 in 0..1, letterbox with 114.
    pub fn yolo(size: Size) -> Self {
        Self {
            size,
            element: ElementType::F32,
            layout: TensorLayout::Nchw,
            channels: ChannelOrder::Rgb,
            resize: ResizeMode::Letterbox,
            pad: 114,
            scale: 1.0 / 255.0,
            mean: [0.0; 3],
            std: [1.0; 3],
        }
    }
    /// Bytes of one item.
    pub fn item_bytes(&self) -> usize {
        self.size.width as usize * self.size.height as usize * self.channels.count() * self.element.bytes()
    }
}
