//! The loops, as plain Rust: the specification that every other level must equal bit for bit.
//!
//! They are `inline(always)` so that a level which differs only in its instruction set can compile the same body again.

use half::slice::HalfFloatSliceExt;

use super::{Affine, Taps, YuvToRgb};

/// `out = a + (b - a) * weight` over 8-bit samples.
#[inline(always)]
pub fn blend_u8(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]) {
    for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (f32::from(a), f32::from(b));
        *out = a + (b - a) * weight;
    }
}

/// `out = a + (b - a) * weight` over little-endian 16-bit samples, each shifted right by `shift` first.
#[inline(always)]
pub fn blend_u16(a: &[u8], b: &[u8], shift: u32, weight: f32, out: &mut [f32]) {
    let sample = |bytes: &[u8; 2]| f32::from(u16::from_le_bytes(*bytes) >> (shift & 15));
    let (a, b) = (a.as_chunks::<2>().0, b.as_chunks::<2>().0);
    for ((out, a), b) in out.iter_mut().zip(a).zip(b) {
        let (a, b) = (sample(a), sample(b));
        *out = a + (b - a) * weight;
    }
}

/// Interpolates `line` at every tap: `out[i] = l[at] + (l[at + step] - l[at]) * weight`.
///
/// `line` must be longer than the taps reach.
#[inline(always)]
pub fn resample(line: &[f32], taps: &Taps, out: &mut [f32]) {
    let step = taps.step();
    for ((out, &at), &weight) in out.iter_mut().zip(taps.index()).zip(taps.weight()) {
        let (a, b) = (line[at as usize], line[at as usize + step]);
        *out = a + (b - a) * weight;
    }
}

/// Turns lines of Y, U, V into normalised lines of R, G, B, in place.
#[inline(always)]
pub fn yuv_to_rgb(c: &YuvToRgb, norm: &[Affine; 3], y: &mut [f32], u: &mut [f32], v: &mut [f32]) {
    for ((y, u), v) in y.iter_mut().zip(u).zip(v) {
        let luma = *y * c.y_scale;
        let red = luma + *v * c.v_red + c.offset[0];
        let green = luma + *u * c.u_green + *v * c.v_green + c.offset[1];
        let blue = luma + *u * c.u_blue + c.offset[2];
        *y = norm[0].apply(saturate(red));
        *u = norm[1].apply(saturate(green));
        *v = norm[2].apply(saturate(blue));
    }
}

/// Maps codes to 0..=255 by `level`, then normalises, in place.
#[inline(always)]
pub fn map_line(level: Affine, norm: Affine, line: &mut [f32]) {
    for value in line {
        *value = norm.apply(saturate(level.apply(*value)));
    }
}

/// Turns lines of R, G, B into one normalised line of luma, in place of R.
#[inline(always)]
pub fn rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]) {
    for ((r, &g), &b) in r.iter_mut().zip(g).zip(b) {
        *r = norm.apply(saturate(*r * weights[0] + g * weights[1] + b * weights[2]));
    }
}

/// Interleaves three lines into pixels.
#[inline(always)]
pub fn interleave(lines: [&[f32]; 3], out: &mut [f32]) {
    let pixels = out.as_chunks_mut::<3>().0;
    for (((pixel, &a), &b), &c) in pixels.iter_mut().zip(lines[0]).zip(lines[1]).zip(lines[2]) {
        *pixel = [a, b, c];
    }
}

/// Stores 32-bit floats, at any alignment.
#[inline(always)]
pub fn store_f32(values: &[f32], out: &mut [u8]) {
    for (out, value) in out.as_chunks_mut::<4>().0.iter_mut().zip(values) {
        *out = value.to_ne_bytes();
    }
}

/// Stores half floats, rounded to nearest even, at any alignment.
#[inline(always)]
pub fn store_f16(values: &[f32], out: &mut [u8]) {
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
pub fn store_u8(values: &[f32], out: &mut [u8]) {
    // Adding 1.5 * 2^23 leaves the rounded integer in the low bits: no conversion that must check its range.
    const ROUND: f32 = 12_582_912.0;
    for (out, &value) in out.iter_mut().zip(values) {
        *out = (saturate(value) + ROUND).to_bits() as u8;
    }
}

/// Clamps to 0..=255. Comparisons rather than `clamp`, which costs more for the sake of values that are not numbers.
#[inline(always)]
fn saturate(value: f32) -> f32 {
    let value = if value > 0.0 { value } else { 0.0 };
    if value < 255.0 { value } else { 255.0 }
}
