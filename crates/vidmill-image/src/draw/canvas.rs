//! Shapes onto planes: full-resolution luma, half-resolution chroma by coverage.

use crate::Picture;
use crate::picture::codes;

/// Whole pixels from `left`, `top` up to but not including `right`, `bottom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: i64,
    pub(super) top: i64,
    pub(super) right: i64,
    pub(super) bottom: i64,
}

impl Area {
    pub(super) fn intersect(self, other: Self) -> Self {
        Self {
            left: self.left.max(other.left),
            top: self.top.max(other.top),
            right: self.right.min(other.right),
            bottom: self.bottom.min(other.bottom),
        }
    }
    pub(super) fn is_empty(self) -> bool {
        self.left >= self.right || self.top >= self.bottom
    }
}

/// A shape as coverage: 0 (none of a pixel) to 255 (all), row by row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mask<'a> {
    pub(super) area: Area,
    pub(super) coverage: &'a [u8],
}

impl Mask<'_> {
    fn at(&self, x: i64, y: i64) -> u32 {
        let Area { left, top, right, bottom } = self.area;
        if x < left || x >= right || y < top || y >= bottom {
            return 0;
        }
        u32::from(self.coverage[((y - top) * (right - left) + x - left) as usize])
    }
}

/// A picture being drawn on.
pub(super) struct Canvas<'a> {
    picture: &'a mut Picture,
    area: Area,
}

impl<'a> Canvas<'a> {
    pub(super) fn new(picture: &'a mut Picture) -> Self {
        let size = picture.size();
        let area = Area { left: 0, top: 0, right: i64::from(size.width), bottom: i64::from(size.height) };
        Self { picture, area }
    }

    /// The whole picture.
    pub(super) fn area(&self) -> Area {
        self.area
    }

    /// Fills the part of `area` that is inside the picture.
    pub(super) fn fill(&mut self, area: Area, rgb: [u8; 3]) {
        let area = area.intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        let columns = area.left as usize..area.right as usize;
        for y in area.top as usize..area.bottom as usize {
            self.picture.planes_mut()[0][y * stride..][columns.clone()].fill(luma);
        }
        self.blend_chroma(area, [u, v], |x, y| {
            let across = (2 * x + 2).min(area.right) - (2 * x).max(area.left);
            let down = (2 * y + 2).min(area.bottom) - (2 * y).max(area.top);
            (across * down) as u32 * 255
        });
    }

    /// Paints a mask in one colour.
    pub(super) fn paint(&mut self, mask: Mask<'_>, rgb: [u8; 3]) {
        let area = mask.area.intersect(self.area);
        if area.is_empty() {
            return;
        }
        let [luma, u, v] = codes(rgb, self.picture.color());
        let stride = self.picture.stride(0);
        let plane = &mut *self.picture.planes_mut()[0];
        for y in area.top..area.bottom {
            for x in area.left..area.right {
                let value = &mut plane[y as usize * stride + x as usize];
                *value = mix(*value, luma, mask.at(x, y), 255);
            }
        }
        self.blend_chroma(area, [u, v], |x, y| {
            let (x, y) = (2 * x, 2 * y);
            mask.at(x, y) + mask.at(x + 1, y) + mask.at(x, y + 1) + mask.at(x + 1, y + 1)
        });
    }

    /// Blends chroma under `area`; `covered` gives the sum of the coverage of a sample's pixels, up to 255 each.
    fn blend_chroma(&mut self, area: Area, uv: [u8; 2], covered: impl Fn(i64, i64) -> u32) {
        let stride = self.picture.stride(1);
        let picture = self.area;
        let [_, u, v] = self.picture.planes_mut();
        for y in area.top / 2..(area.bottom + 1) / 2 {
            let rows = (picture.bottom - 2 * y).min(2);
            for x in area.left / 2..(area.right + 1) / 2 {
                // At an odd edge a chroma sample stands for fewer than four pixels.
                let whole = ((picture.right - 2 * x).min(2) * rows) as u32 * 255;
                let (part, at) = (covered(x, y), y as usize * stride + x as usize);
                u[at] = mix(u[at], uv[0], part, whole);
                v[at] = mix(v[at], uv[1], part, whole);
            }
        }
    }
}

/// `part` of `whole` of the way from `old` to `new`.
fn mix(old: u8, new: u8, part: u32, whole: u32) -> u8 {
    let part = part.min(whole);
    ((u32::from(old) * (whole - part) + u32::from(new) * part + whole / 2) / whole) as u8
}
