//! The loops, as plain Rust: the specification that every other level must equal bit for bit.
//!
//! They are `inline(always)` so that a level which differs only in its instruction set can compile the same body again.

use half::slice::HalfFloatSliceExt;

use super::{Affine, Taps, YuvToRgb};

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

/// Doubles a line: even outputs lie at their sample, `before` of the way to the one before it; odd ones `after` of the
/// way to the next.
///
/// Samples stand `STEP` apart in `line`, whose first and last sample repeat their neighbours.
#[inline(always)]
fn double<const STEP: usize>(line: &[f32], before: f32, after: f32, out: &mut [f32]) {
    let pairs = out.as_chunks_mut::<2>().0;
    let count = pairs.len().min((line.len().saturating_sub(2 * STEP)).div_ceil(STEP));
    // Equal lengths, said once, let the loop run without checks.
    let (pairs, line) = (&mut pairs[..count], &line[..(count + 1) * STEP + 1]);
    for (k, out) in pairs.iter_mut().enumerate() {
        let (left, middle, right) = (line[k * STEP], line[(k + 1) * STEP], line[(k + 2) * STEP]);
        *out = [middle + (left - middle) * before, middle + (right - middle) * after];
    }
}

/// [`double`] over samples that stand side by side.
#[inline(always)]
pub(crate) fn double_single(line: &[f32], before: f32, after: f32, out: &mut [f32]) {
    double::<1>(line, before, after, out);
}

/// [`double`] over every other sample.
#[inline(always)]
pub(crate) fn double_paired(line: &[f32], before: f32, after: f32, out: &mut [f32]) {
    double::<2>(line, before, after, out);
}

/// Interpolates `line` at every tap, then normalises: `norm(l[at] + (l[at + step] - l[at]) * weight)`.
///
/// `line` must be longer than the taps reach.
#[inline(always)]
pub(crate) fn resample(line: &[f32], taps: &Taps, norm: Affine, out: &mut [f32]) {
    let step = taps.step();
    for ((out, &at), &weight) in out.iter_mut().zip(taps.index()).zip(taps.weight()) {
        let (a, b) = (line[at as usize], line[at as usize + step]);
        *out = norm.apply(a + (b - a) * weight);
    }
}

/// Two rows of Y, U, V of full width.
#[derive(Clone, Copy)]
pub(crate) struct YuvRows<'a> {
    /// Luma samples as stored.
    pub(crate) y: [&'a [u8]; 2],
    /// First chroma.
    pub(crate) u: [&'a [f32]; 2],
    /// Second chroma.
    pub(crate) v: [&'a [f32]; 2],
    /// How far from the first row to the second.
    pub(crate) weight: f32,
}

/// Converts both rows to R, G, B, clamped to 0..=255 as a picture of bytes would be, and blends them.
#[inline(always)]
fn yuv_to_rgb<const BYTES: usize>(
    rows: &YuvRows<'_>,
    c: &YuvToRgb,
    out: &mut [Vec<f32>; 3],
    sample: impl Fn([u8; BYTES]) -> f32,
) {
    let [red, green, blue] = out.each_mut().map(Vec::as_mut_slice);
    let y = rows.y.map(|y| y.as_chunks::<BYTES>().0);
    let width = y[0].len().min(red.len());
    // Equal lengths, said once, let the loop run without checks.
    let (y, u, v) = (y.map(|y| &y[..width]), rows.u.map(|u| &u[..width]), rows.v.map(|v| &v[..width]));
    let (red, green, blue) = (&mut red[..width], &mut green[..width], &mut blue[..width]);
    for x in 0..width {
        let a = c.apply(sample(y[0][x]), u[0][x], v[0][x]).map(saturate);
        let b = c.apply(sample(y[1][x]), u[1][x], v[1][x]).map(saturate);
        red[x] = a[0] + (b[0] - a[0]) * rows.weight;
        green[x] = a[1] + (b[1] - a[1]) * rows.weight;
        blue[x] = a[2] + (b[2] - a[2]) * rows.weight;
    }
}

/// [`yuv_to_rgb`] of 8-bit luma.
#[inline(always)]
pub(crate) fn yuv_to_rgb_u8(rows: &YuvRows<'_>, c: &YuvToRgb, out: &mut [Vec<f32>; 3]) {
    yuv_to_rgb(rows, c, out, |[byte]| f32::from(byte));
}

/// [`yuv_to_rgb`] of little-endian 16-bit luma, shifted right by `shift` first.
#[inline(always)]
pub(crate) fn yuv_to_rgb_u16(rows: &YuvRows<'_>, shift: u32, c: &YuvToRgb, out: &mut [Vec<f32>; 3]) {
    yuv_to_rgb(rows, c, out, |bytes| f32::from(u16::from_le_bytes(bytes) >> (shift & 15)));
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

/// Interleaves three lines into pixels.
#[inline(always)]
pub(crate) fn interleave(lines: [&[f32]; 3], out: &mut [f32]) {
    let pixels = out.as_chunks_mut::<3>().0;
    for (((pixel, &a), &b), &c) in pixels.iter_mut().zip(lines[0]).zip(lines[1]).zip(lines[2]) {
        *pixel = [a, b, c];
    }
}

/// Stores 32-bit floats, at any alignment.
#[inline(always)]
pub(crate) fn store_f32(values: &[f32], out: &mut [u8]) {
    for (out, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *out = value.to_ne_bytes();
    }
}

/// Stores half floats, rounded to nearest even, at any alignment.
#[inline(always)]
pub(crate) fn store_f16(values: &[f32], out: &mut [u8]) {
    const LANES: usize = 32;
    for (out, values) in out.chunks_mut(LANES * 2).zip(values.chunks(LANES)) {
        let mut halves = [half::f16::ZERO; LANES];
        halves[..values.len()].convert_from_f32_slice(values);
        for (out, half) in out.as_chunks_mut::<2>().0.iter_mut().zip(halves) {
            *out = half.to_ne_bytes();
        }
    }
}

/// Stores bytes, rounded to nearest even and clamped to 0..=255.
#[inline(always)]
pub(crate) fn store_u8(values: &[f32], out: &mut [u8]) {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits: no conversion that must check its range.
    const ROUND: f32 = 12_582_912.0;
    for (out, &value) in out.iter_mut().zip(values) {
        *out = (saturate(value) + ROUND).to_bits() as u8;
    }
}

/// Clamps to 0..=255. Comparisons rather than `clamp`, which costs more for the sake of values that are not numbers.
#[inline(always)]
pub(super) fn saturate(value: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < 255.0 { value } else { 255.0 }
}
