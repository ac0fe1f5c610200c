//! Turning the planes of a picture.

use super::Picture;
use crate::Rotation;

/// Pixels along a side of the squares that are turned at a time, so that rows and columns both stay in the cache.
const SQUARE: usize = 32;

impl Picture {
    /// Becomes `source` turned by `rotation`.
    ///
    /// Where an axis of odd length is reversed, chroma pairs other pixels than before; the mean of the two
    /// neighbouring samples is taken then.
    pub fn rotate_from(&mut self, source: &Self, rotation: Rotation) {
        self.resize(source.size.rotated(rotation), source.color);
        for plane in 0..3 {
            let (width, height) = source.plane_size(plane);
            let odd = |side: u32| plane > 0 && side % 2 == 1;
            let turn = Turn {
                width,
                height,
                rotation,
                between_columns: odd(source.size.width),
                between_rows: odd(source.size.height),
            };
            turn.run(&source.planes[plane], &mut self.planes[plane]);
        }
    }
}

/// How one plane of `width` by `height` is turned.
#[derive(Clone, Copy, Debug)]
struct Turn {
    width: usize,
    height: usize,
    rotation: Rotation,
    /// When x is reversed, new samples lie between two old columns.
    between_columns: bool,
    /// When y is reversed, new samples lie between two old rows.
    between_rows: bool,
}

impl Turn {
    fn run(self, source: &[u8], out: &mut [u8]) {
        let orientation = self.rotation.orientation();
        if (orientation.flip_x && self.between_columns) || (orientation.flip_y && self.between_rows) {
            return self.averaged(source, out);
        }
        match self.rotation {
            Rotation::None => out.copy_from_slice(source),
            Rotation::Half => {
                for (out, &value) in out.iter_mut().rev().zip(source) {
                    *out = value;
                }
            }
            Rotation::Clockwise => self.transposed(source, out, |x, y| (self.height - 1 - y, x)),
            Rotation::CounterClockwise => self.transposed(source, out, |x, y| (y, self.width - 1 - x)),
        }
    }

    /// Moves the sample at (x, y) to `place`, square by square.
    fn transposed(self, source: &[u8], out: &mut [u8], place: impl Fn(usize, usize) -> (usize, usize)) {
        for top in (0..self.height).step_by(SQUARE) {
            for left in (0..self.width).step_by(SQUARE) {
                for y in top..(top + SQUARE).min(self.height) {
                    let right = (left + SQUARE).min(self.width);
                    let row = &source[y * self.width..][left..right];
                    for (x, &value) in (left..right).zip(row) {
                        let (to_x, to_y) = place(x, y);
                        out[to_y * self.height + to_x] = value;
                    }
                }
            }
        }
    }

    /// The slow way: every sample is the mean of the one or two it lies between, on both axes.
    fn averaged(self, source: &[u8], out: &mut [u8]) {
        let orientation = self.rotation.orientation();
        let out_width = if orientation.transposed { self.height } else { self.width };
        for (i, out) in out.iter_mut().enumerate() {
            let (mut x, mut y) = (i % out_width, i / out_width);
            if orientation.transposed {
                (x, y) = (y, x);
            }
            let (x0, x1) = reversed(x, self.width, orientation.flip_x, self.between_columns);
            let (y0, y1) = reversed(y, self.height, orientation.flip_y, self.between_rows);
            let at = |x: usize, y: usize| u32::from(source[y * self.width + x]);
            *out = ((at(x0, y0) + at(x1, y0) + at(x0, y1) + at(x1, y1) + 2) / 4) as u8;
        }
    }
}

/// The one or two old samples at a new position along an axis.
fn reversed(at: usize, length: usize, flip: bool, between: bool) -> (usize, usize) {
    if !flip {
        return (at, at);
    }
    let old = length - 1 - at;
    (old, if between { old.saturating_sub(1) } else { old })
}
