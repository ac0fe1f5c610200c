//! Sizes, rotations, and the map between the displayed frame and the model's input.

use serde::Serialize;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Size {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
}

impl Size {
    /// A size of `width` by `height` pixels.
    pub const fn new(width: u32, height: u32) -> Self {
        Self { width, height }
    }
    /// The size after `rotation`.
    pub fn rotated(self, rotation: Rotation) -> Self {
        match rotation {
            Rotation::None | Rotation::Half => self,
            Rotation::Clockwise | Rotation::CounterClockwise => Self::new(self.height, self.width),
        }
    }
}

/// What must be done to the decoded picture to display it upright.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rotation {
    /// Shown as decoded.
    #[default]
    None,
    /// Turned by 90 degrees clockwise: the decoded left edge is shown on top.
    Clockwise,
    /// Turned by 180 degrees.
    Half,
    /// Turned by 90 degrees counter-clockwise (270 clockwise): the decoded right edge is shown on top.
    CounterClockwise,
}

/// How a picture of any size is fitted into the model's input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeMode {
    /// Aspect kept, padded on both sides (Ultralytics' letterbox: scale by the smaller ratio, sizes rounded,
    /// padding halved with the odd pixel at the right and bottom).
    Letterbox,
    /// Aspect kept, padded at the right and bottom only (YOLOX).
    LetterboxTopLeft,
    /// Aspect ignored.
    Stretch,
    /// Aspect kept, the shorter side fitted, the rest cut equally (classification models).
    CenterCrop,
}

/// An axis-aligned box: left, top, right, bottom in pixels, `x1 <= x2`, `y1 <= y2`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x1: f32,
    /// Top edge.
    pub y1: f32,
    /// Right edge.
    pub x2: f32,
    /// Bottom edge.
    pub y2: f32,
}

/// Where a displayed frame lies in the model's input: `input = displayed * scale + offset`, per axis, in pixel-edge coordinates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Geometry {
    /// Size of the displayed frame (rotation applied).
    pub displayed: Size,
    /// Size of the model's input.
    pub input: Size,
    /// Horizontal and vertical scale from displayed frame to input.
    pub scale: [f64; 2],
    /// Left and top offset in input pixels (negative when cropped).
    pub offset: [f64; 2],
}
