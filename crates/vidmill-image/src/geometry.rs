//! Sizes, rotations, and the map between the displayed frame and the model's input.

use serde::{Deserialize, Serialize};

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Aspect kept, fitted so to this larger size, of which the input is the middle (torchvision's `Resize(256)` and
    /// `CenterCrop(224)`).
    CenterCropFrom(Size),
    /// Height fitted, and width by aspect, rounded up, or squeezed where that is too wide; at the right all values of the input are
    /// 0, after normalisation (PaddleOCR's `resize_norm_img`, for lines of text).
    FitHeight,
}

/// An axis-aligned box: left, top, right, bottom in pixels, `x1 <= x2`, `y1 <= y2`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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

/// One axis of a fit: `resized` pixels that start at `offset` in the input (negative when cut off).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AxisFit {
    /// Length of the whole displayed axis after resizing, at least 1.
    pub(crate) resized: u32,
    /// Where it starts in the input.
    pub(crate) offset: i64,
}

impl AxisFit {
    fn padded_evenly(resized: u32, input: u32) -> Self {
        let half = (f64::from(input) - f64::from(resized)) / 2.0;
        Self { resized, offset: (half - 0.1).round_ties_even() as i64 }
    }
    fn cut_evenly(resized: u32, input: u32) -> Self {
        let half = (f64::from(resized) - f64::from(input)) / 2.0;
        Self { resized, offset: -(half.round_ties_even() as i64) }
    }
    fn at_start(resized: u32) -> Self {
        Self { resized, offset: 0 }
    }
    /// First and one past the last input pixel that show the picture.
    pub(crate) fn visible(self, input: u32) -> (u32, u32) {
        let end = (self.offset + i64::from(self.resized)).clamp(0, i64::from(input));
        (self.offset.clamp(0, i64::from(input)) as u32, end as u32)
    }
}

/// The integer placement of a `displayed` picture in an `input`, horizontally and vertically.
///
/// Sizes follow the programs that models are trained with: Ultralytics' `LetterBox` (round half to even), YOLOX's
/// `preproc` (truncation), torchvision's `Resize` and `CenterCrop` (truncation, then round half to even).
pub(crate) fn fit(displayed: Size, input: Size, mode: ResizeMode) -> [AxisFit; 2] {
    let (w, h) = (f64::from(displayed.width), f64::from(displayed.height));
    let (iw, ih) = (f64::from(input.width), f64::from(input.height));
    // A side never vanishes, however thin the picture, and never outgrows its box.
    let inside = |value: f64, limit: u32| (value as u32).clamp(1, limit.max(1));
    match mode {
        ResizeMode::Letterbox => {
            let ratio = (ih / h).min(iw / w);
            let width = inside((w * ratio).round_ties_even(), input.width);
            let height = inside((h * ratio).round_ties_even(), input.height);
            [AxisFit::padded_evenly(width, input.width), AxisFit::padded_evenly(height, input.height)]
        }
        ResizeMode::LetterboxTopLeft => {
            let ratio = (ih / h).min(iw / w);
            [
                AxisFit::at_start(inside(w * ratio, input.width)),
                AxisFit::at_start(inside(h * ratio, input.height)),
            ]
        }
        ResizeMode::Stretch => [AxisFit::at_start(input.width), AxisFit::at_start(input.height)],
        ResizeMode::FitHeight => {
            let width = inside((ih * (w / h)).ceil(), input.width);
            [AxisFit::at_start(width), AxisFit::at_start(input.height)]
        }
        ResizeMode::CenterCrop => covering(displayed, input, input),
        ResizeMode::CenterCropFrom(from) => covering(displayed, from, input),
    }
}

/// The placement of a picture that is fitted to `from` by its shorter side, and of which the middle is cut.
fn covering(displayed: Size, from: Size, input: Size) -> [AxisFit; 2] {
    let (w, h) = (f64::from(displayed.width), f64::from(displayed.height));
    let (fw, fh) = (f64::from(from.width.max(input.width)), f64::from(from.height.max(input.height)));
    let covering = |value: f64, least: f64| (value as u32).max(least as u32);
    let (width, height) = if fw / w >= fh / h {
        (fw as u32, covering(fw * h / w, fh))
    } else {
        (covering(fh * w / h, fw), fh as u32)
    };
    [AxisFit::cut_evenly(width, input.width), AxisFit::cut_evenly(height, input.height)]
}

impl Geometry {
    /// Fits a `displayed` frame into an `input` of a model.
    ///
    /// The scale is the one that the resize really uses, per axis: whole pixels after rounding over whole pixels before.
    /// Both sizes are expected to hold at least one pixel; a side of 0 is taken as 1.
    pub fn new(displayed: Size, input: Size, mode: ResizeMode) -> Self {
        let displayed = Size::new(displayed.width.max(1), displayed.height.max(1));
        let input = Size::new(input.width.max(1), input.height.max(1));
        let [x, y] = fit(displayed, input, mode);
        Self {
            displayed,
            input,
            scale: [
                f64::from(x.resized) / f64::from(displayed.width),
                f64::from(y.resized) / f64::from(displayed.height),
            ],
            offset: [x.offset as f64, y.offset as f64],
        }
    }
    /// A point of the displayed frame in the input.
    pub fn point_to_input(&self, point: [f32; 2]) -> [f32; 2] {
        let axis = |i: usize| (f64::from(point[i]) * self.scale[i] + self.offset[i]) as f32;
        [axis(0), axis(1)]
    }
    /// A point of the input in the displayed frame.
    pub fn point_to_displayed(&self, point: [f32; 2]) -> [f32; 2] {
        let axis = |i: usize| ((f64::from(point[i]) - self.offset[i]) / self.scale[i]) as f32;
        [axis(0), axis(1)]
    }
    /// A box of the displayed frame in the input; not clipped.
    pub fn to_input(&self, rect: Rect) -> Rect {
        rect.map(|point| self.point_to_input(point))
    }
    /// A box of the input in the displayed frame; not clipped, see [`Rect::clip`].
    pub fn to_displayed(&self, rect: Rect) -> Rect {
        rect.map(|point| self.point_to_displayed(point))
    }
}

impl Rect {
    /// A box from its corners.
    pub const fn new(x1: f32, y1: f32, x2: f32, y2: f32) -> Self {
        Self { x1, y1, x2, y2 }
    }
    /// The smallest upright box that has all four points.
    pub fn around(points: &[[f32; 2]; 4]) -> Self {
        let axis = |axis: usize| points.iter().map(move |point| point[axis]);
        let least = |of: usize| axis(of).fold(f32::INFINITY, f32::min);
        let most = |of: usize| axis(of).fold(f32::NEG_INFINITY, f32::max);
        Self::new(least(0), least(1), most(0), most(1))
    }
    /// Pixels across, 0 at least.
    pub fn width(self) -> f32 {
        (self.x2 - self.x1).max(0.0)
    }
    /// Pixels down, 0 at least.
    pub fn height(self) -> f32 {
        (self.y2 - self.y1).max(0.0)
    }
    /// Pixels covered.
    pub fn area(self) -> f32 {
        self.width() * self.height()
    }
    /// The part inside a picture of `size`; a box outside becomes empty, at the nearest edge.
    pub fn clip(self, size: Size) -> Self {
        let (w, h) = (size.width as f32, size.height as f32);
        Self::new(self.x1.clamp(0.0, w), self.y1.clamp(0.0, h), self.x2.clamp(0.0, w), self.y2.clamp(0.0, h))
    }
    /// Whether all four numbers are finite.
    pub fn is_finite(self) -> bool {
        [self.x1, self.y1, self.x2, self.y2].iter().all(|value| value.is_finite())
    }
    /// The box as it stands after a picture of `size` was turned by `rotation`.
    pub fn rotate(self, size: Size, rotation: Rotation) -> Self {
        let (w, h) = (size.width as f32, size.height as f32);
        let Self { x1, y1, x2, y2 } = self;
        match rotation {
            Rotation::None => self,
            Rotation::Clockwise => Self::new(h - y2, x1, h - y1, x2),
            Rotation::Half => Self::new(w - x2, h - y2, w - x1, h - y1),
            Rotation::CounterClockwise => Self::new(y1, w - x2, y2, w - x1),
        }
    }
    fn map(self, point: impl Fn([f32; 2]) -> [f32; 2]) -> Self {
        let [x1, y1] = point([self.x1, self.y1]);
        let [x2, y2] = point([self.x2, self.y2]);
        Self { x1, y1, x2, y2 }
    }
}

impl Rotation {
    /// The rotation that undoes this one.
    pub const fn inverse(self) -> Self {
        match self {
            Self::Clockwise => Self::CounterClockwise,
            Self::CounterClockwise => Self::Clockwise,
            same => same,
        }
    }
    /// How the displayed axes run over the decoded picture.
    pub(crate) const fn orientation(self) -> Orientation {
        let (transposed, flip_x, flip_y) = match self {
            Self::None => (false, false, false),
            Self::Clockwise => (true, false, true),
            Self::Half => (false, true, true),
            Self::CounterClockwise => (true, true, false),
        };
        Orientation { transposed, flip_x, flip_y }
    }
}

/// A rotation as what is done to the decoded picture: mirror its axes, then swap them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Orientation {
    /// Decoded rows are shown as columns.
    pub(crate) transposed: bool,
    /// The decoded x axis runs against the displayed axis that shows it.
    pub(crate) flip_x: bool,
    /// The decoded y axis runs against the displayed axis that shows it.
    pub(crate) flip_y: bool,
}

#[cfg(test)]
mod tests;
