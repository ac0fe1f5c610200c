//! Masks as a sheer tint with a contour.

use super::canvas::{Area, Canvas, Paint, Shape};
use crate::{Mask, Size};

/// How much of a mask's colour lies on its pixels.
const TINT: u8 = 72;

/// Most pixels that are looked at on each side of one: a window of 15 by 15 has 225 pixels, which fits a byte.
const FARTHEST: usize = 7;

/// What is kept from mask to mask, to spare allocations.
#[derive(Debug, Default)]
pub(super) struct Film {
    bits: Vec<u8>,
}

impl Film {
    /// Paints `mask` with a contour that is `line` pixels wide.
    pub(super) fn paint(&mut self, canvas: &mut Canvas<'_>, mask: &Mask, line: f32, rgb: [u8; 3]) {
        let Some(bounds) = mask.bounds() else { return };
        let around = ((line / 2.0).ceil() as usize + 1).min(FARTHEST);
        let set = Area {
            left: bounds.x1 as i64,
            top: bounds.y1 as i64,
            right: bounds.x2 as i64,
            bottom: bounds.y2 as i64,
        };
        let area = set.grown(around as i64).intersect(canvas.area());
        if area.is_empty() {
            return;
        }
        let (at, part) = (
            [area.left as u32, area.top as u32],
            Size::new((area.right - area.left) as u32, (area.bottom - area.top) as u32),
        );
        mask.fill_part(at, part, &mut self.bits);
        let region = Region { area, bits: &self.bits, around, slope: Slope::new(around, line) };
        canvas.paint(&region, rgb, Paint::Sheer);
    }
}

/// A mask's pixels in an area, 1 where it is set.
///
/// Its contour is where about half of a pixel's neighbours are set: the share of a square window tells the distance from a straight
/// edge, and rounds the stairs that a mask of a lower resolution has.
struct Region<'a> {
    area: Area,
    bits: &'a [u8],
    /// Neighbours on each side.
    around: usize,
    slope: Slope,
}

/// From how many pixels of a window are set to the contour's coverage: `top - |2 set - pixels| * fall`, in sixteenths.
#[derive(Clone, Copy, Debug)]
struct Slope {
    pixels: i16,
    top: i16,
    fall: i16,
}

impl Slope {
    fn new(around: usize, line: f32) -> Self {
        let side = (2 * around + 1) as f32;
        // A step of one pixel across the edge changes 2 * set by 2 * side.
        Self {
            pixels: (side * side) as i16,
            top: ((line / 2.0 + 0.5) * 255.0).min(2000.0) as i16,
            fall: (255.0 * 16.0 / (2.0 * side)) as i16,
        }
    }
    fn coverage(self, set: u8) -> u8 {
        let from_edge = (2 * i16::from(set) - self.pixels).abs();
        (self.top - ((from_edge * self.fall) >> 4)).clamp(0, 255) as u8
    }
}

impl Region<'_> {
    fn bits_of(&self, y: i64) -> &[u8] {
        let width = (self.area.right - self.area.left) as usize;
        // Beyond the area it goes on as at its edge: either nothing is set there, or the picture ends.
        let y = y.clamp(self.area.top, self.area.bottom - 1);
        &self.bits[(y - self.area.top) as usize * width..][..width]
    }
}

impl Shape for Region<'_> {
    fn area(&self) -> Area {
        self.area
    }
    /// Expects `within` to be as wide as the area.
    fn row(&self, y: i64, within: Area, coverage: &mut Vec<u8>) -> i64 {
        let around = self.around as i64;
        let own = self.bits_of(y);
        let width = own.len();
        // The window's columns, with room for its width at both ends.
        let mut columns = vec![0u8; width + 2 * self.around];
        for y in y - around..=y + around {
            add(&mut columns[self.around..], self.bits_of(y));
        }
        let (first, last) = (columns[self.around], columns[self.around + width - 1]);
        columns[..self.around].fill(first);
        columns[self.around + width..].fill(last);
        coverage.resize(width, 0);
        for shift in 0..=2 * self.around {
            add(coverage, &columns[shift..]);
        }
        for (cover, bit) in coverage.iter_mut().zip(own) {
            *cover = self.slope.coverage(*cover).max(TINT * bit);
        }
        within.left
    }
}

fn add(sums: &mut [u8], values: &[u8]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += *value);
}
