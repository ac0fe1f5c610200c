//! The loops, as plain Rust: the specification that every other level must equal bit for bit.
//!
//! They are `inline(always)` so that a level which differs only in its instruction set can compile the same body again.

use std::hint::black_box;
use std::ops::Range;

use half::slice::HalfFloatSliceExt;

use super::{Affine, Between, BitPlace, Picks, RGB_UNIT, YuvToRgb};
use crate::ElementType;

/// `out = a + (b - a) * weight` over 8-bit samples.
#[inline(always)]
pub(crate) fn blend_u8(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (f32::from(a), f32::from(b));
        *out = a + (b - a) * weight;
    }
}

/// `out = a + (b - a) * weight` over little-endian 16-bit samples, each shifted right by `shift` first.
#[inline(always)]
pub(crate) fn blend_u16(a: &[u8], b: &[u8], shift: u32, weight: f32, out: &mut [f32]) {
    let sample = |bytes: &[u8; 2]| f32::from(u16::from_le_bytes(*bytes) >> (shift & 15));
    let (a, b) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0);
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (sample(a), sample(b));
        *out = a + (b - a) * weight;
    }
}

/// `a * b / 2^16`, rounded down.
#[inline(always)]
fn scale(a: i16, b: i16) -> i16 {
    ((i32::from(a) * i32::from(b)) >> 16) as i16
}

/// `eighths / 8` of the way from code `a` to code `b`. At most one half, so that the product fits 16 bits: a plain
/// 16-bit multiplication, which every instruction set has.
#[inline(always)]
fn lerp(a: i16, b: i16, eighths: i16) -> i16 {
    a.wrapping_add(b.wrapping_sub(a).wrapping_mul(eighths) >> 3)
}

#[inline(always)]
fn codes<const BYTES: usize>(rows: Between<&[u8]>, out: &mut [i16], code: impl Fn([u8; BYTES]) -> i16) {
    let (near, far) = (rows.near.as_chunks::<BYTES>().0, rows.far.as_chunks::<BYTES>().0);
    let eighths = rows.eighths();
    if eighths == 0 {
        for (out, &near) in out.iter_mut().zip(near) {
            *out = code(near);
        }
        return;
    }
    for ((out, &near), &far) in out.iter_mut().zip(near).zip(far) {
        *out = lerp(code(near), code(far), eighths);
    }
}

/// Codes of 12 bits between two rows of 8-bit samples, in eighths.
#[inline(always)]
pub(crate) fn codes_u8(rows: Between<&[u8]>, out: &mut [i16]) {
    codes(rows, out, |[byte]| i16::from(byte) << 4);
}

/// Codes of 12 bits between two rows of 16-bit samples, in eighths.
#[inline(always)]
pub(crate) fn codes_u16(rows: Between<&[u8]>, place: BitPlace, out: &mut [i16]) {
    codes(rows, out, |bytes| {
        let sample = u16::from_le_bytes(bytes) >> (place.shift & 15);
        ((sample << (place.unused & 15)) >> 4) as i16
    });
}

/// Doubles a line of codes: even outputs lie at their sample, `before` eighths of the way to the one before it; odd ones
/// `after` eighths of the way to the next.
///
/// Samples stand `STEP` apart in `line`, whose first and last sample repeat their neighbours.
#[inline(always)]
fn double<const STEP: usize>(line: &[i16], before: i16, after: i16, out: &mut [i16]) {
    let pairs = out.as_chunks_mut::<2>().0;
    let count = pairs.len().min((line.len().saturating_sub(2 * STEP)).div_ceil(STEP));
    // Equal lengths, said once, let the loop run without checks.
    let (pairs, line) = (&mut pairs[..count], &line[..(count + 1) * STEP + 1]);
    for (k, out) in pairs.iter_mut().enumerate() {
        let (left, middle, right) = (line[k * STEP], line[(k + 1) * STEP], line[(k + 2) * STEP]);
        *out = [lerp(middle, left, before), lerp(middle, right, after)];
    }
}

/// [`double`] over samples that stand side by side.
#[inline(always)]
pub(crate) fn double_single(line: &[i16], before: i16, after: i16, out: &mut [i16]) {
    double::<1>(line, before, after, out);
}

/// [`double`] over every other sample.
#[inline(always)]
pub(crate) fn double_paired(line: &[i16], before: i16, after: i16, out: &mut [i16]) {
    double::<2>(line, before, after, out);
}

/// Takes samples out of a line.
#[inline(always)]
pub(crate) fn pick(line: &[u8], picks: &Picks, out: &mut [u8]) {
    if picks.sample() == 1 {
        for (out, &at) in out.iter_mut().zip(picks.index()) {
            *out = line[at as usize];
        }
        return;
    }
    let line = line.as_chunks::<2>().0;
    for (out, &at) in out.as_chunks_mut::<2>().0.iter_mut().zip(picks.index()) {
        *out = line[at as usize];
    }
}

/// [`lerp`] from codes that are picked to others.
#[inline(always)]
pub(crate) fn pick_between(line: &[i16], picks: [&Picks; 2], eighths: &[i16], out: &mut [i16]) {
    let picks = picks[0].index().iter().zip(picks[1].index());
    for ((out, &eighths), (&a, &b)) in out.iter_mut().zip(eighths).zip(picks) {
        *out = lerp(line[a as usize], line[b as usize], eighths);
    }
}

/// Codes within every pair.
#[inline(always)]
pub(crate) fn lerp_pairs(line: &[i16], weights: &[f32], out: &mut [i16]) {
    for ((out, &[a, b]), &weight) in out.iter_mut().zip(line.as_chunks().0).zip(weights) {
        let (a, b) = (f32::from(a), f32::from(b));
        *out = (a + (b - a) * weight) as i32 as i16;
    }
}

/// A row of Y, U and V codes, all of full width.
#[derive(Clone, Copy)]
pub(crate) struct YuvRow<'a> {
    pub(crate) y: &'a [i16],
    pub(crate) u: &'a [i16],
    pub(crate) v: &'a [i16],
}

impl<'a> YuvRow<'a> {
    #[inline(always)]
    fn cut(self, columns: Range<usize>) -> [&'a [i16]; 3] {
        [&self.y[columns.clone()], &self.u[columns.clone()], &self.v[columns]]
    }
}

/// R, G, B of one pixel in steps of 1 / [`RGB_UNIT`], clamped to 0..=255 as a picture of bytes would be.
#[inline(always)]
fn rgb(c: &YuvToRgb, y: i16, u: i16, v: i16) -> [i16; 3] {
    let luma = scale(y << 3, c.y);
    let (u, v) = (u.wrapping_sub(1 << 11) << 4, v.wrapping_sub(1 << 11) << 4);
    let red = luma + scale(v, c.v_red) + c.offset[0];
    let green = luma + (scale(u, c.u_green) + scale(v, c.v_green)) + c.offset[1];
    let blue = luma + scale(u, c.u_blue) + c.offset[2];
    [red, green, blue].map(|value| value.clamp(0, 255 * RGB_UNIT))
}

/// Converts both rows to R, G, B and blends them; with a share of 0 the far one is not looked at.
#[inline(always)]
pub(crate) fn yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]) {
    yuv_to_rgb_by::<16>(rows, c, out);
}

/// [`yuv_to_rgb`] by so many columns.
#[inline(always)]
pub(super) fn yuv_to_rgb_by<const LANES: usize>(
    rows: Between<YuvRow<'_>>,
    c: &YuvToRgb,
    out: &mut [Vec<i16>; 3],
) {
    let width = out[0].len();
    let whole = width / LANES * LANES;
    // Equal lengths, said once, let the loop run without checks.
    let count = whole / LANES;
    let [near, far] =
        [rows.near, rows.far].map(|row| row.cut(0..whole).map(|line| &line.as_chunks::<LANES>().0[..count]));
    let [red, green, blue] =
        out.each_mut().map(|line| &mut line[..whole].as_chunks_mut::<LANES>().0[..count]);
    for k in 0..count {
        // Only factors that are read where they multiply are seen to have 16 bits, and SSE2 has a vector multiplication for these
        // alone; left to themselves, compilers widen them before the loop.
        let (c, share) = (black_box(c), black_box(rows.share));
        let mut block = rgb_block(c, near.map(|line| &line[k]));
        if share != 0 {
            let far = rgb_block(c, far.map(|line| &line[k]));
            for (near, far) in block.as_flattened_mut().iter_mut().zip(far.as_flattened()) {
                *near += scale(far - *near, share);
            }
        }
        [red[k], green[k], blue[k]] = block;
    }
    yuv_to_rgb_one_by_one(rows, c, whole..width, out);
}

/// [`yuv_to_rgb`] of these columns, one after the other: for AVX2, which has multiplications of 32 bits too, compilers make the most
/// of this.
#[inline(always)]
pub(super) fn yuv_to_rgb_one_by_one(
    rows: Between<YuvRow<'_>>,
    c: &YuvToRgb,
    columns: Range<usize>,
    out: &mut [Vec<i16>; 3],
) {
    let count = columns.len();
    // As above.
    let [red, green, blue] = out.each_mut().map(|line| &mut line[columns.clone()][..count]);
    let [y, u, v] = rows.near.cut(columns.clone()).map(|line| &line[..count]);
    if rows.share == 0 {
        for x in 0..count {
            [red[x], green[x], blue[x]] = rgb(c, y[x], u[x], v[x]);
        }
        return;
    }
    let [far_y, far_u, far_v] = rows.far.cut(columns).map(|line| &line[..count]);
    for x in 0..count {
        let near = rgb(c, y[x], u[x], v[x]);
        let far = rgb(c, far_y[x], far_u[x], far_v[x]);
        red[x] = near[0] + scale(far[0] - near[0], rows.share);
        green[x] = near[1] + scale(far[1] - near[1], rows.share);
        blue[x] = near[2] + scale(far[2] - near[2], rows.share);
    }
}

#[inline(always)]
fn rgb_block<const LANES: usize>(c: &YuvToRgb, [y, u, v]: [&[i16; LANES]; 3]) -> [[i16; LANES]; 3] {
    let mut block = [[0; LANES]; 3];
    for i in 0..LANES {
        [block[0][i], block[1][i], block[2][i]] = rgb(c, y[i], u[i], v[i]);
    }
    block
}

/// A row of 8-bit luma, and codes of the chroma that every two columns share, with a sample more at both ends.
#[derive(Clone, Copy)]
pub(crate) struct HalfRow<'a> {
    pub(crate) y: &'a [u8],
    pub(crate) u: &'a [i16],
    pub(crate) v: &'a [i16],
    /// As in [`double_single`].
    pub(crate) before: i16,
    pub(crate) after: i16,
}

/// Pixels of bytes from a row as it is decoded: what [`codes_u8`], [`double_single`], [`yuv_to_rgb`] and [`store_pixels`] give,
/// in one step.
#[inline(always)]
pub(crate) fn convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    let HalfRow { y, u, v, before, after } = row;
    let pixels = out.as_chunks_mut::<3>().0;
    for (k, (pixels, y)) in pixels.chunks_mut(2).zip(y.chunks(2)).enumerate() {
        let [u, v] = [u, v].map(|line| {
            let (left, middle, right) = (line[k], line[k + 1], line[k + 2]);
            [lerp(middle, left, before), lerp(middle, right, after)]
        });
        for (i, (pixel, &y)) in pixels.iter_mut().zip(y).enumerate() {
            *pixel = rgb(c, i16::from(y) << 4, u[i], v[i]).map(nearest);
        }
    }
}

/// Interpolates within every pair.
#[inline(always)]
pub(crate) fn resample(line: &[f32], weights: &[f32], out: &mut [f32]) {
    for ((out, &[a, b]), &weight) in out.iter_mut().zip(line.as_chunks().0).zip(weights) {
        *out = a + (b - a) * weight;
    }
}

/// [`resample`] of pairs that are picked.
#[inline(always)]
pub(crate) fn resample_picked(line: &[f32], picks: &Picks, weights: &[f32], out: &mut [f32]) {
    for ((out, [a, b]), &weight) in out.iter_mut().zip(picks.twos(line)).zip(weights) {
        *out = a + (b - a) * weight;
    }
}

/// Normalises a line of integers and stores it.
#[inline(always)]
pub(crate) fn store_codes(line: &[i16], norm: Affine, element: ElementType, out: &mut [u8]) {
    store_each(line.len(), |i| norm.apply(f32::from(line[i])), element, out);
}

/// Interpolates within every pair of integers, normalises and stores.
#[inline(always)]
pub(crate) fn store_pairs(line: &[i16], weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]) {
    let count = weights.len();
    // Equal lengths, said once, let the loops run without checks.
    let (pairs, weights) = (&line.as_chunks::<2>().0[..count], &weights[..count]);
    let value = |i: usize| {
        let (a, b) = (f32::from(pairs[i][0]), f32::from(pairs[i][1]));
        norm.apply(a + (b - a) * weights[i])
    };
    store_each(count, value, element, out);
}

/// [`store_pairs`] of neighbours that are picked.
///
/// # Panics
/// When the picks are no [pairs](Picks::pairs) of codes.
#[inline(always)]
pub(crate) fn store_picked_pairs(
    line: &[i16],
    picks: &Picks,
    weights: &[f32],
    norm: Affine,
    element: ElementType,
    out: &mut [u8],
) {
    let count = weights.len();
    let pair = picks.pairs(line, count);
    let value = |i: usize| {
        let [a, b] = pair(i).map(f32::from);
        norm.apply(a + (b - a) * weights[i])
    };
    store_each(count, value, element, out);
}

/// Maps codes to 0..=255 by `level`, then normalises, in place.
#[inline(always)]
pub(crate) fn map_line(level: Affine, norm: Affine, line: &mut [f32]) {
    for value in line {
        *value = norm.apply(saturate(level.apply(*value)));
    }
}

/// Turns lines of R, G, B into one normalised line of luma, in place of R.
#[inline(always)]
pub(crate) fn rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]) {
    for ((r, &g), &b) in r.iter_mut().zip(g).zip(b) {
        *r = norm.apply(saturate(*r * weights[0] + g * weights[1] + b * weights[2]));
    }
}

/// Interleaves three lines of elements of so many bytes (1, 2 or 4) into pixels.
#[inline(always)]
pub(crate) fn interleave(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]) {
    match bytes {
        1 => interleave_of::<1>(lines, out),
        2 => interleave_of::<2>(lines, out),
        _ => interleave_of::<4>(lines, out),
    }
}

#[inline(always)]
fn interleave_of<const BYTES: usize>(lines: [&[u8]; 3], out: &mut [u8]) {
    let pixels = out.as_chunks_mut::<BYTES>().0.as_chunks_mut::<3>().0;
    let [a, b, c] = lines.map(|line| &line.as_chunks::<BYTES>().0[..pixels.len()]);
    for (x, pixel) in pixels.iter_mut().enumerate() {
        *pixel = [a[x], b[x], c[x]];
    }
}

/// Stores floats as elements, at any alignment.
#[inline(always)]
pub(crate) fn store(values: &[f32], element: ElementType, out: &mut [u8]) {
    store_each(values.len(), |i| values[i], element, out);
}

/// Stores values number 0 to `count`, at any alignment: floats as they are, halves rounded to nearest even, bytes rounded to
/// nearest even and clamped to 0..=255.
#[inline(always)]
fn store_each(count: usize, value: impl Fn(usize) -> f32, element: ElementType, out: &mut [u8]) {
    // As many halves as are worth one look at what the processor can do.
    const LANES: usize = 256;
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits: no conversion that must check its range.
    const ROUND: f32 = 12_582_912.0;
    match element {
        ElementType::F32 => {
            for (i, out) in out.as_chunks_mut::<4>().0[..count].iter_mut().enumerate() {
                *out = value(i).to_ne_bytes();
            }
        }
        ElementType::F16 => {
            let mut values = [0.0; LANES];
            let mut halves = [half::f16::ZERO; LANES];
            for (block, out) in out[..2 * count].chunks_mut(2 * LANES).enumerate() {
                let (values, halves) = (&mut values[..out.len() / 2], &mut halves[..out.len() / 2]);
                for (i, out) in values.iter_mut().enumerate() {
                    *out = value(block * LANES + i);
                }
                halves.convert_from_f32_slice(values);
                for (out, half) in out.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
                    *out = half.to_ne_bytes();
                }
            }
        }
        ElementType::U8 => {
            for (i, out) in out[..count].iter_mut().enumerate() {
                *out = (saturate(value(i)) + ROUND).to_bits() as u8;
            }
        }
    }
}

/// Stores lines in steps of 1 / [`RGB_UNIT`] as pixels of bytes: what resampling where nothing is resized, interleaving and
/// bytes give, in one step. Values are 0 to 255.
#[inline(always)]
pub(crate) fn store_pixels(lines: [&[i16]; 3], out: &mut [u8]) {
    let pixels = out.as_chunks_mut::<3>().0;
    // Equal lengths, said once, let the loop run without checks.
    let [a, b, c] = lines.map(|line| &line[..pixels.len()]);
    for (x, pixel) in pixels.iter_mut().enumerate() {
        *pixel = [a[x], b[x], c[x]].map(nearest);
    }
}

/// Rounded to nearest even.
#[inline(always)]
fn nearest(value: i16) -> u8 {
    const SHIFT: u32 = RGB_UNIT.trailing_zeros();
    ((value + (RGB_UNIT / 2 - 1) + ((value >> SHIFT) & 1)) >> SHIFT) as u8
}

/// Clamps to 0..=255. Comparisons rather than `clamp`, which costs more for the sake of values that are not numbers.
#[inline(always)]
fn saturate(value: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < 255.0 { value } else { 255.0 }
}
