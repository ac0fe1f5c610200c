//! By hand, for AVX-512 with VBMI, what is worth it; the rest as for AVX2.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi16, _mm512_and_si512, _mm512_loadu_si512, _mm512_mask_permutexvar_epi8,
    _mm512_maskz_permutex2var_epi8, _mm512_movepi8_mask, _mm512_mulhi_epi16, _mm512_mulhrs_epi16,
    _mm512_mullo_epi16, _mm512_or_si512, _mm512_packus_epi16, _mm512_permutexvar_epi8, _mm512_set1_epi16,
    _mm512_setzero_si512, _mm512_slli_epi16, _mm512_srai_epi16, _mm512_srli_epi16, _mm512_storeu_si512,
    _mm512_sub_epi16, _mm512_unpackhi_epi8, _mm512_unpackhi_epi16, _mm512_unpacklo_epi8,
    _mm512_unpacklo_epi16,
};

pub(super) use super::avx2::store_pixels;
use super::picks::{Block, as_bytes, as_bytes_mut};
use super::{Affine, Between, BitPlace, HalfRow, Picks, RGB_UNIT, Shape, YuvRow, YuvToRgb, avx2, scalar};
use crate::ElementType;

/// Whether this processor has what the functions of this file are compiled for.
pub(super) fn is_available() -> bool {
    avx2::is_available()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vbmi")
}

macro_rules! compile {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
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
    resample(line: &[f32], weights: &[f32], out: &mut [f32]);
    resample_picked(line: &[f32], picks: &Picks, weights: &[f32], out: &mut [f32]);
    store_codes(line: &[i16], norm: Affine, element: ElementType, out: &mut [u8]);
    store_pairs(line: &[i16], weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    store_picked_pairs(line: &[i16], picks: &Picks, weights: &[f32], norm: Affine, element: ElementType, out: &mut [u8]);
    map_line(level: Affine, norm: Affine, line: &mut [f32]);
    rgb_to_gray(weights: [f32; 3], norm: Affine, r: &mut [f32], g: &[f32], b: &[f32]);
    store(values: &[f32], element: ElementType, out: &mut [u8]);
}

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]) {
    scalar::yuv_to_rgb_by::<32>(rows, c, out);
}

/// Of shuffles: two registers make another. (From one each, more steps were slower.)
pub(super) const SHAPE: Shape = Shape { block: 64, window: 128 };

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn pick(line: &[u8], picks: &Picks, out: &mut [u8]) {
    let Some(blocks) = picks.blocks::<64>(line.len(), out.len()) else {
        return scalar::pick(line, picks, out);
    };
    for block in blocks {
        store_bytes(shuffle(line, block), out[block.at..].first_chunk_mut().expect("a block of the output"));
    }
}

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn pick_between(line: &[i16], picks: [&Picks; 2], eighths: &[i16], out: &mut [i16]) {
    let (line_bytes, out_bytes) = (as_bytes(line), as_bytes_mut(out));
    let [Some(a), Some(b)] = picks.map(|picks| picks.blocks::<64>(line_bytes.len(), out_bytes.len())) else {
        return scalar::pick_between(line, picks, eighths, out);
    };
    for (a, b) in a.zip(b) {
        let at = a.at;
        let (a, b) = (shuffle(line_bytes, a), shuffle(line_bytes, b));
        let eighths = load_bytes(as_bytes(eighths)[at..].first_chunk().expect("as many as codes"));
        let part = _mm512_mullo_epi16(_mm512_sub_epi16(b, a), eighths);
        let code = _mm512_add_epi16(a, _mm512_srai_epi16::<3>(part));
        store_bytes(code, out_bytes[at..].first_chunk_mut().expect("a block of the output"));
    }
}

/// The bytes of one block.
#[inline]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn shuffle(line: &[u8], block: Block<'_, 64>) -> __m512i {
    let mut bytes = _mm512_setzero_si512();
    for (&start, places) in block.starts.iter().zip(block.places) {
        let window: &[u8; 128] = line[start as usize..].first_chunk().expect("a window of the line");
        let [low, high] = window.as_chunks().0 else { continue };
        let places = load_bytes(places);
        // The highest bit says that a byte is elsewhere.
        let elsewhere = _mm512_movepi8_mask(places);
        let here = _mm512_maskz_permutex2var_epi8(!elsewhere, load_bytes(low), places, load_bytes(high));
        bytes = _mm512_or_si512(bytes, here);
    }
    bytes
}

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn interleave(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]) {
    if bytes != 1 {
        return interleave_wide(lines, bytes, out);
    }
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let [a, b, c] = lines.map(|line| line[..whole].as_chunks::<LANES>().0);
    for (((block, a), b), c) in blocks.iter_mut().zip(a).zip(b).zip(c) {
        store_interleaved(load_bytes(a), load_bytes(b), load_bytes(c), block);
    }
    scalar::interleave(lines.map(|line| &line[whole..]), bytes, rest);
}

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn interleave_wide(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]) {
    scalar::interleave(lines, bytes, out);
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

#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
pub(super) fn convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    match (row.before, row.after) {
        (0, 4) => convert_pixels_of::<true>(row, c, out),
        _ => convert_pixels_of::<false>(row, c, out),
    }
}

/// `FIRST` says that chroma stands on the left one of every two columns.
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
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
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn double<const FIRST: bool>(span: &[i16; SPAN], before: i16, after: i16) -> (__m512i, __m512i) {
    let (left, middle, right) = (load_at::<0>(span), load_at::<1>(span), load_at::<2>(span));
    if FIRST {
        return (middle, _mm512_srai_epi16::<1>(_mm512_add_epi16(middle, right)));
    }
    (lerp(middle, left, before), lerp(middle, right, after))
}

#[inline]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
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
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
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
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn luma(samples: __m512i, c: &YuvToRgb) -> __m512i {
    _mm512_mulhi_epi16(_mm512_srli_epi16::<1>(samples), _mm512_set1_epi16(c.y))
}

/// As for AVX2.
#[inline]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn nearest(less: __m512i) -> __m512i {
    const SHIFT: u32 = RGB_UNIT.trailing_zeros();
    let odd = _mm512_and_si512(_mm512_srli_epi16::<SHIFT>(less), _mm512_set1_epi16(1));
    _mm512_mulhrs_epi16(_mm512_add_epi16(less, odd), _mm512_set1_epi16(i16::MAX / RGB_UNIT + 1))
}

/// Three channels as pixels.
#[inline]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn store_interleaved(a: __m512i, b: __m512i, c: __m512i, out: &mut [u8; 3 * LANES]) {
    for (third, (out, pixels)) in out.as_chunks_mut().0.iter_mut().zip(&PIXELS).enumerate() {
        let pixels = load_bytes(pixels);
        // A third of the bytes is one more than a whole number of pixels: it begins a channel later than the one before.
        let every = |channel: usize| THIRDS[(channel + 3 - third) % 3];
        let bytes = _mm512_permutexvar_epi8(pixels, a);
        let bytes = _mm512_mask_permutexvar_epi8(bytes, every(1), pixels, b);
        store_bytes(_mm512_mask_permutexvar_epi8(bytes, every(2), pixels, c), out);
    }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn load_bytes(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: an array of 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Thirty-two values, from number `AT` on.
#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn load_at<const AT: usize>(values: &[i16]) -> __m512i {
    let values: &[i16; 32] = values[AT..].first_chunk().expect("thirty-two values");
    // SAFETY: an array of 64 bytes; the load needs no alignment.
    unsafe { _mm512_loadu_si512(values.as_ptr().cast()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
fn store_bytes(vector: __m512i, bytes: &mut [u8; 64]) {
    // SAFETY: an array of 64 bytes; the store needs no alignment.
    unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), vector) };
}
