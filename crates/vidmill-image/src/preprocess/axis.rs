//! The positions that an axis of the output samples, in the decoded picture's own direction.

use crate::geometry::AxisFit;
use crate::kernel::Position;

/// Where chroma samples stand between luma samples, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Siting {
    /// On the first of the luma samples they share (MPEG-2, H.264 and later, horizontally).
    Left,
    /// In the middle of them (MPEG-1, JPEG; vertically also H.264).
    Center,
}

/// One axis of a resize, as seen from the decoded picture.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Luma samples along it.
    pub(super) length: u32,
    /// How the displayed axis that shows it is fitted.
    pub(super) fit: AxisFit,
    /// Length of that axis in the model's input.
    pub(super) input: u32,
    /// It runs against the displayed axis.
    pub(super) flip: bool,
}

impl Axis {
    /// Luma coordinates of the visible outputs (0 is the centre of the first sample), in displayed order.
    ///
    /// Pixel centres lie at halves and edges repeat, as in OpenCV's `resize(INTER_LINEAR)`.
    pub(super) fn coordinates(self) -> Vec<f64> {
        let (from, to) = self.fit.visible(self.input);
        let scale = f64::from(self.length) / f64::from(self.fit.resized);
        let last = f64::from(self.length - 1);
        let source = |output: u32| {
            let resized = f64::from(output) - self.fit.offset as f64;
            let at = ((resized + 0.5) * scale - 0.5).clamp(0.0, last);
            if self.flip { last - at } else { at }
        };
        (from..to).map(source).collect()
    }
}

/// Positions in a plane whose samples each stand for `1 << log2` luma samples.
pub(super) fn positions(luma: &[f64], length: u32, log2: u8, siting: Siting) -> Vec<Position> {
    let last = f64::from(length.div_ceil(1 << log2) - 1);
    let ratio = f64::from(1u32 << log2);
    let place = |&at: &f64| {
        let at = match siting {
            Siting::Left => at / ratio,
            Siting::Center => (at + 0.5) / ratio - 0.5,
        };
        let at = at.clamp(0.0, last);
        Position { index: at.floor() as usize, weight: at.fract() as f32 }
    };
    luma.iter().map(place).collect()
}
