//! The same loops, compiled for AVX2 and F16C.
//!
//! FMA is left out on purpose: every operation stays a separate, correctly rounded one, so the bits equal the scalar ones.

use super::{Affine, Between, BitPlace, Taps, YuvRow, YuvToRgb, scalar};

/// Whether this processor has what the functions of this file are compiled for.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("f16c")
}

macro_rules! compile {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[target_feature(enable = "avx2,f16c")]
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
    widen(line: &[i16], taps: &Taps, out: &mut [i16]);
    yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]);
    resample(line: &[f32], taps: &Taps, out: &mut [f32]);
    resample_i16(line: &[i16], taps: &Taps, norm: Affine, out: &mut [f32]);
    map_line(level: Affine, norm: Affine, line: &mut [f32]);
    rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]);
    interleave(lines: [&[f32]; 3], out: &mut [f32]);
    store_f32(values: &[f32], out: &mut [u8]);
    store_f16(values: &[f32], out: &mut [u8]);
    store_u8(values: &[f32], out: &mut [u8]);
    store_pixels(lines: [&[i16]; 3], out: &mut [u8]);
}
