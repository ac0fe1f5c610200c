//! By hand, for AVX-512 with VBMI, what is worth it; the rest as for AVX2.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi16, _mm512_and_si512, _mm512_loadu_si512, _mm512_mask_permutexvar_epi8,
    _mm512_mulhi_epi16, _mm512_mulhrs_epi16, _mm512_mullo_epi16, _mm512_packus_epi16,
    _mm512_permutexvar_epi8, _mm512_set1_epi16, _mm512_setzero_si512, _mm512_slli_epi16, _mm512_srai_epi16,
    _mm512_srli_epi16, _mm512_storeu_si512, _mm512_sub_epi16, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16,
    _mm512_unpacklo_epi8, _mm512_unpacklo_epi16,
};

pub(super) use super::avx2::{
    blend_u8, blend_u16, codes_u8, codes_u16, double_paired, double_single, interleave, map_line, resample,
    resample_i16, rgb_to_gray, store_f16, store_f32, store_pixels, store_u8, widen, yuv_to_rgb,
};
use super::{HalfRow, RGB_UNIT, YuvToRgb, avx2};

/// Whether this processor has what the functions of this file are compiled for.
pub(super) fn is_available() -> bool {
    avx2::is_available()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

/// Pixels that are made at once.
const LANES: usize = 64;
/// Samples of chroma that they share, and one more at both ends.
const SPAN: usize = LANES / 2 + 2;

/// Which pixel every byte of them is of, 64 bytes at a time.
const PIXELS: [[u8; 64]; 3] = {
    let mut pixels = [[0; 64]; 3];
    let mut byte = 0;
    while byte < 3 * LANES {
        pixels[byte / 64][byte % 64] = (byte / 3) as u8;
        byte += 1;
    }
    pixels
};

/// Every third byte, from the first, the second or the third on.
const THIRDS: [u64; 3] = [0x9249_2492_4924_9249, 0x2492_4924_9249_2492, 0x4924_9249_2492_4924];

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vbmi")]
pub(super) fn convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    match (row.before, row.after) {
        (0, 4) => convert_pixels_of::<true>(row, c, out),
        _ => convert_pixels_of::<false>(row, c, out),
    }
}

/// `FIRST` says that chroma stands on the left one of every two columns.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512vbmi")]
fn convert_pixels_of<const FIRST: bool>(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    let HalfRow { y, u, v, before, after } = row;
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let zero = _mm512_setzero_si512();
    for (((block, y), u), v) in blocks.iter_mut().zip(y.as_chunks().0).zip(spans(u)).zip(spans(v)) {
        // Chroma's part in the left and in the right pixel of every pair.
        let (left_u, right_u) = double::<FIRST>(u, before, after);
        let (left_v, right_v) = double::<FIRST>(v, before, after);
        let (left, right) = (differences(left_u, left_v, c), differences(right_u, right_v, c));
        // Unpacking gives the first eight of every sixteen pixels, then the others; packing puts them in order again.
        let y = load_bytes(y);
        let some = luma(_mm512_unpacklo_epi8(zero, y), c);
        let others = luma(_mm512_unpackhi_epi8(zero, y), c);
        let channel = |left, right| {
            let some = _mm512_add_epi16(some, _mm512_unpacklo_epi16(left, right));
            let others = _mm512_add_epi16(others, _mm512_unpackhi_epi16(left, right));
            _mm512_packus_epi16(nearest(some), nearest(others))
        };
        let red = channel(left.red, right.red);
        let green = channel(left.green, right.green);
        let blue = channel(left.blue, right.blue);
        store_interleaved(red, green, blue, block);
    }
    let chroma = whole / 2;
    avx2::convert_pixels(
        HalfRow { y: &y[whole..], u: &u[chroma..], v: &v[chroma..], before, after },
        c,
        rest,
    );
}

/// The samples of one block after the other.
fn spans(line: &[i16]) -> impl Iterator<Item = &[i16; SPAN]> {
    (0..).step_by(LANES / 2).map_while(|at| line.get(at..)?.first_chunk())
}

/// As [`super::scalar::double_single`]: the left and the right of every two columns.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn double<const FIRST: bool>(span: &[i16; SPAN], before: i16, after: i16) -> (__m512i, __m512i) {
    let (left, middle, right) = (load_at::<0>(span), load_at::<1>(span), load_at::<2>(span));
    if FIRST {
        return (middle, _mm512_srai_epi16::<1>(_mm512_add_epi16(middle, right)));
    }
    (lerp(middle, left, before), lerp(middle, right, after))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn lerp(a: __m512i, b: __m512i, eighths: i16) -> __m512i {
    let part = _mm512_mullo_epi16(_mm512_sub_epi16(b, a), _mm512_set1_epi16(eighths));
    _mm512_add_epi16(a, _mm512_srai_epi16::<3>(part))
}

/// What chroma adds to luma, less 1 for the sake of [`nearest`].
struct Differences {
    red: __m512i,
    green: __m512i,
    blue: __m512i,
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn differences(u: __m512i, v: __m512i, c: &YuvToRgb) -> Differences {
    // The middle of the codes becomes 0.
    let centred = |codes| _mm512_slli_epi16::<4>(_mm512_sub_epi16(codes, _mm512_set1_epi16(1 << 11)));
    let scaled = |codes, gain| _mm512_mulhi_epi16(codes, _mm512_set1_epi16(gain));
    let offset = |i: usize| _mm512_set1_epi16(c.offset[i] - 1);
    let (u, v) = (centred(u), centred(v));
    let green = _mm512_add_epi16(scaled(u, c.u_green), scaled(v, c.v_green));
    Differences {
        red: _mm512_add_epi16(scaled(v, c.v_red), offset(0)),
        green: _mm512_add_epi16(green, offset(1)),
        blue: _mm512_add_epi16(scaled(u, c.u_blue), offset(2)),
    }
}

/// Luma's part, from samples in the upper halves of 16 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn luma(samples: __m512i, c: &YuvToRgb) -> __m512i {
    _mm512_mulhi_epi16(_mm512_srli_epi16::<1>(samples), _mm512_set1_epi16(c.y))
}

/// As for AVX2.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn nearest(less: __m512i) -> __m512i {
    const SHIFT: u32 = RGB_UNIT.trailing_zeros();
    let odd = _mm512_and_si512(_mm512_srli_epi16::<SHIFT>(less), _mm512_set1_epi16(1));
    _mm512_mulhrs_epi16(_mm512_add_epi16(less, odd), _mm512_set1_epi16(i16::MAX / RGB_UNIT + 1))
}

/// Three channels as pixels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
fn store_interleaved(a: __m512i, b: __m512i, c: __m512i, out: &mut [u8; 3 * LANES]) {
    for (third, (out, pixels)) in out.as_chunks_mut().0.iter_mut().zip(&PIXELS).enumerate() {
        let pixels = load_bytes(pixels);
        // A third of the bytes is one more than a whole number of pixels: it begins a channel later than the one before.
        let every = |channel: usize| THIRDS[(channel + 3 - third) % 3];
        let bytes = _mm512_permutexvar_epi8(pixels, a);
        let bytes = _mm512_mask_permutexvar_epi8(bytes, every(1), pixels, b);
        store(_mm512_mask_permutexvar_epi8(bytes, every(2), pixels, c), out);
    }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx512f")]
fn load_bytes(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: an array of 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Thirty-two values, from number `AT` on.
#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx512f")]
fn load_at<const AT: usize>(values: &[i16]) -> __m512i {
    let values: &[i16; 32] = values[AT..].first_chunk().expect("thirty-two values");
    // SAFETY: an array of 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx512f")]
fn store(vector: __m512i, bytes: &mut [u8; 64]) {
    // SAFETY: an array of 64 bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) };
}
