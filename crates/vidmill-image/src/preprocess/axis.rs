//! The positions that an axis of the output samples, in the decoded picture's own direction.

use crate::ChromaSiting;
use crate::geometry::AxisFit;

/// A place between two samples: `weight` (0 to 1) of the way from `index` to `index + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Position {
    pub(super) index: usize,
    pub(super) weight: f32,
}

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

/// The columns of the picture that the values of a line lie on, or between.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Columns {
    /// One column for each value; or two, for where it lies between.
    pub(super) taken: Vec<usize>,
    /// How far from the first to the second; none when all lie on their column.
    pub(super) weights: Option<Vec<f32>>,
}

impl Columns {
    /// Columns of a picture that is `width` wide.
    pub(super) fn new(positions: &[Position], width: usize) -> Self {
        if positions.iter().all(|position| position.weight == 0.0) {
            return Self { taken: positions.iter().map(|position| position.index).collect(), weights: None };
        }
        let pair = |position: &Position| [position.index, (position.index + 1).min(width - 1)];
        Self {
            taken: positions.iter().flat_map(pair).collect(),
            weights: Some(positions.iter().map(|position| position.weight).collect()),
        }
    }

    /// Whether they are all columns, from the first to the last.
    pub(super) fn are_all(&self, width: usize) -> bool {
        self.taken.len() == width && self.taken.iter().enumerate().all(|(at, &column)| column == at)
    }
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
