//! The same loops, compiled for AVX2 and F16C; but one, which compilers do not find the shuffles for, by hand.
//!
//! FMA is left out on purpose: every operation stays a separate, correctly rounded one, so the bits equal the scalar ones.

use std::arch::x86_64::{
    __m128i, _mm_add_epi16, _mm_and_si128, _mm_loadu_si128, _mm_or_si128, _mm_packus_epi16, _mm_set1_epi16,
    _mm_shuffle_epi8, _mm_srai_epi16, _mm_storeu_si128,
};

use super::{Affine, Between, BitPlace, RGB_UNIT, Taps, YuvRow, YuvToRgb, scalar};

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
}

/// Pixels that are made at once.
const LANES: usize = 16;

/// Where each byte of [`LANES`] pixels comes from, a channel and 16 bytes at a time: an index into the channel, or 128 for another's.
const PLACES: [[[u8; 16]; 3]; 3] = {
    let mut places = [[[128; 16]; 3]; 3];
    let mut byte = 0;
    while byte < 3 * LANES {
        places[byte / 16][byte % 3][byte % 16] = (byte / 3) as u8;
        byte += 1;
    }
    places
};

#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2,f16c")]
pub(super) fn store_pixels(lines: [&[i16]; 3], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let [a, b, c] = lines.map(|line| line[..whole].as_chunks::<LANES>().0);
    for (((block, a), b), c) in blocks.iter_mut().zip(a).zip(b).zip(c) {
        let (a, b, c) = (nearest(a), nearest(b), nearest(c));
        for (out, [from_a, from_b, from_c]) in block.as_chunks_mut::<16>().0.iter_mut().zip(&PLACES) {
            let a = _mm_shuffle_epi8(a, load(from_a));
            let b = _mm_shuffle_epi8(b, load(from_b));
            let c = _mm_shuffle_epi8(c, load(from_c));
            // SAFETY: an array of 16 bytes; the store needs no alignment.
            unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm_or_si128(a, _mm_or_si128(b, c))) };
        }
    }
    scalar::store_pixels(lines.map(|line| &line[whole..]), rest);
}

#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: an array of 16 bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// As in the scalar loop, sixteen at once.
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn nearest(values: &[i16; LANES]) -> __m128i {
    const SHIFT: i32 = RGB_UNIT.trailing_zeros() as i32;
    let eight = |from: usize| {
        // SAFETY: eight of the array's sixteen values, from the first or the ninth on; the load needs no alignment.
        let values = unsafe { _mm_loadu_si128(values.as_ptr().add(from).cast()) };
        let odd = _mm_and_si128(_mm_srai_epi16::<SHIFT>(values), _mm_set1_epi16(1));
        let sum = _mm_add_epi16(values, _mm_add_epi16(_mm_set1_epi16(RGB_UNIT / 2 - 1), odd));
        _mm_srai_epi16::<SHIFT>(sum)
    };
    _mm_packus_epi16(eight(0), eight(8))
}
