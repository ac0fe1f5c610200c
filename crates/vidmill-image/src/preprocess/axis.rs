//! The positions that an axis of the output samples, in the decoded picture's own direction.

use crate::ChromaSiting;
use crate::geometry::AxisFit;
use crate::kernel::Position;

/// Where chroma samples stand between the luma samples they share, along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Siting {
    /// On the first of them.
    First,
    /// In the middle of them.
    Middle,
}

impl Siting {
    /// Siting along x and y.
    pub(super) fn of(chroma: ChromaSiting) -> [Self; 2] {
        match chroma {
            ChromaSiting::Left => [Self::First, Self::Middle],
            ChromaSiting::Center => [Self::Middle, Self::Middle],
            ChromaSiting::TopLeft => [Self::First, Self::First],
            ChromaSiting::Top => [Self::Middle, Self::First],
        }
    }
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

/// Positions among `length` luma samples.
pub(super) fn positions(luma: &[f64]) -> Vec<Position> {
    luma.iter().map(|&at| Position { index: at.floor() as usize, weight: at.fract() as f32 }).collect()
}

/// Where the chroma of luma sample `at` lies, among the chroma samples that `length` luma samples share by `1 << log2`.
pub(super) fn chroma_position(at: usize, length: u32, log2: u8, siting: Siting) -> Position {
    let last = f64::from(length.div_ceil(1 << log2) - 1);
    let (at, ratio) = (at as f64, f64::from(1u32 << log2));
    let at = match siting {
        Siting::First => at / ratio,
        Siting::Middle => (at + 0.5) / ratio - 0.5,
    };
    let at = at.clamp(0.0, last);
    Position { index: at.floor() as usize, weight: at.fract() as f32 }
}
