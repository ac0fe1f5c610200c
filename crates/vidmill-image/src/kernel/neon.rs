//! The same loops, compiled for NEON, which every 64-bit ARM has; but picking, which compilers find no table look-ups for, by hand.
//!
//! Checked on an emulated processor only: that the bytes are the scalar ones, not how fast they come.

use std::arch::aarch64::{
    int16x8_t, uint8x16_t, uint8x16x4_t, vaddq_s16, vdupq_n_u8, vld1q_u8, vmulq_s16, vorrq_u8, vqtbl4q_u8,
    vreinterpretq_s16_u8, vreinterpretq_u8_s16, vshrq_n_s16, vst1q_u8, vsubq_s16,
};

use super::picks::{Block, as_bytes, as_bytes_mut};
use super::{Affine, Between, BitPlace, HalfRow, Picks, Shape, YuvRow, YuvToRgb, scalar};
use crate::ElementType;

/// Whether this processor has what the functions of this file are compiled for.
pub(super) fn is_available() -> bool {
    std::arch::is_aarch64_feature_detected!("neon")
}

macro_rules! compile {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[target_feature(enable = "neon")]
        pub(super) fn $name($($arg: $type),*) {
            scalar::$name($($arg),*);
        }
    )*};
}

compile! {
    blend_u8(a: &[u8], b: &[u8], weight: f32, out: &mut [f32]);
    blend_u16(a: &[u8], b: &[u8], shift: u32, weight: f32, out: &mut [f32]);
    codes_u8(rows: Between<&[u8]>, out: &mut [i16]);
    codes_u16(rows: Between<&[u8]>, place: BitPlace, out: &mut [i16]);
    double_single(line: &[i16], before: i16, after: i16, out: &mut [i16]);
    double_paired(line: &[i16], before: i16, after: i16, out: &mut [i16]);
    lerp_pairs(line: &[i16], weights: &[f32], out: &mut [i16]);
    yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]);
    resample(line: &[f32], weights: &[f32], out: &mut [f32]);
    resample_picked(line: &[f32], picks: &Picks, weights: &[f32], out: &mut [f32]);
    store_codes(line: &[i16], norm: Affine, element: ElementType, out: &mut [u8]);
    store_pairs(line: &[i16], weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    store_picked_pairs(line: &[i16], picks: &Picks, weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    map_line(level: Affine, norm: Affine, line: &mut [f32]);
    rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]);
    interleave(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]);
    store(values: &[f32], element: ElementType, out: &mut [u8]);
    store_pixels(lines: [&[i16]; 3], out: &mut [u8]);
    convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]);
}

/// Of shuffles: four registers make another.
pub(super) const SHAPE: Shape = Shape { block: 16, window: 64 };

#[target_feature(enable = "neon")]
pub(super) fn pick(line: &[u8], picks: &Picks, out: &mut [u8]) {
    let Some(blocks) = picks.blocks::<16>(line.len(), out.len()) else {
        return scalar::pick(line, picks, out);
    };
    for block in blocks {
        store_bytes(shuffle(line, block), out[block.at..].first_chunk_mut().expect("a block of the output"));
    }
}

#[target_feature(enable = "neon")]
pub(super) fn pick_between(line: &[i16], picks: [&Picks; 2], eighths: &[i16], out: &mut [i16]) {
    let (line_bytes, out_bytes) = (as_bytes(line), as_bytes_mut(out));
    let [Some(a), Some(b)] = picks.map(|picks| picks.blocks::<16>(line_bytes.len(), out_bytes.len())) else {
        return scalar::pick_between(line, picks, eighths, out);
    };
    for (a, b) in a.zip(b) {
        let at = a.at;
        let (a, b) = (shuffle(line_bytes, a), shuffle(line_bytes, b));
        let eighths = load_bytes(as_bytes(eighths)[at..].first_chunk().expect("as many as codes"));
        let code = lerp(vreinterpretq_s16_u8(a), vreinterpretq_s16_u8(b), vreinterpretq_s16_u8(eighths));
        let place = out_bytes[at..].first_chunk_mut().expect("a block of the output");
        store_bytes(vreinterpretq_u8_s16(code), place);
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn lerp(a: int16x8_t, b: int16x8_t, eighths: int16x8_t) -> int16x8_t {
    vaddq_s16(a, vshrq_n_s16::<3>(vmulq_s16(vsubq_s16(b, a), eighths)))
}

/// The bytes of one block.
#[inline]
#[target_feature(enable = "neon")]
fn shuffle(line: &[u8], block: Block<'_, 16>) -> uint8x16_t {
    let mut bytes = vdupq_n_u8(0);
    for (&start, places) in block.starts.iter().zip(block.places) {
        let window: &[u8; 64] = line[start as usize..].first_chunk().expect("a window of the line");
        let [a, b, c, d] = window.as_chunks().0 else { continue };
        let window = uint8x16x4_t(load_bytes(a), load_bytes(b), load_bytes(c), load_bytes(d));
        // A place outside the window gives 0.
        bytes = vorrq_u8(bytes, vqtbl4q_u8(window, load_bytes(places)));
    }
    bytes
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "neon")]
fn load_bytes(bytes: &[u8; 16]) -> uint8x16_t {
    // SAFETY: an array of 16 bytes; the load needs no alignment.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "neon")]
fn store_bytes(vector: uint8x16_t, bytes: &mut [u8; 16]) {
    // SAFETY: an array of 16 bytes; the store needs no alignment.
    unsafe { vst1q_u8(bytes.as_mut_ptr(), vector) };
}
