//! The same loops, compiled for AVX2 and F16C; but two, which compilers do not find the shuffles for, by hand.
//!
//! FMA is left out on purpose: every operation stays a separate, correctly rounded one, so the bits equal the scalar ones.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_add_epi16, _mm_loadu_si128, _mm_mullo_epi16, _mm_or_si128, _mm_setzero_si128,
    _mm_shuffle_epi8, _mm_srai_epi16, _mm_storeu_si128, _mm_sub_epi16, _mm256_add_epi16, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_loadu_si256, _mm256_mulhi_epi16, _mm256_mulhrs_epi16,
    _mm256_mullo_epi16, _mm256_or_si256, _mm256_packus_epi16, _mm256_permute2x128_si256,
    _mm256_permute4x64_epi64, _mm256_set1_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_srai_epi16, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_sub_epi16,
    _mm256_unpackhi_epi8, _mm256_unpackhi_epi16, _mm256_unpacklo_epi8, _mm256_unpacklo_epi16,
};

use super::picks::{Block, as_bytes, as_bytes_mut};
use super::{Affine, Between, BitPlace, HalfRow, Picks, RGB_UNIT, Shape, YuvRow, YuvToRgb, scalar};
use crate::ElementType;

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

#[target_feature(enable = "avx2,f16c")]
pub(super) fn yuv_to_rgb(rows: Between<YuvRow<'_>>, c: &YuvToRgb, out: &mut [Vec<i16>; 3]) {
    scalar::yuv_to_rgb_one_by_one(rows, c, 0..out[0].len(), out);
}

/// Of shuffles: one register makes another.
pub(super) const SHAPE: Shape = Shape { block: 16, window: 16 };

#[target_feature(enable = "avx2,f16c")]
pub(super) fn pick(line: &[u8], picks: &Picks, out: &mut [u8]) {
    let Some(blocks) = picks.blocks::<16>(line.len(), out.len()) else {
        return scalar::pick(line, picks, out);
    };
    for block in blocks {
        store_half(shuffle(line, block), out[block.at..].first_chunk_mut().expect("a block of the output"));
    }
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn pick_between(line: &[i16], picks: [&Picks; 2], eighths: &[i16], out: &mut [i16]) {
    let (line_bytes, out_bytes) = (as_bytes(line), as_bytes_mut(out));
    let [Some(a), Some(b)] = picks.map(|picks| picks.blocks::<16>(line_bytes.len(), out_bytes.len())) else {
        return scalar::pick_between(line, picks, eighths, out);
    };
    for (a, b) in a.zip(b) {
        let at = a.at;
        let (a, b) = (shuffle(line_bytes, a), shuffle(line_bytes, b));
        let eighths = load_half(as_bytes(eighths)[at..].first_chunk().expect("as many as codes"));
        let part = _mm_mullo_epi16(_mm_sub_epi16(b, a), eighths);
        let code = _mm_add_epi16(a, _mm_srai_epi16::<3>(part));
        store_half(code, out_bytes[at..].first_chunk_mut().expect("a block of the output"));
    }
}

/// The bytes of one block.
#[inline]
#[target_feature(enable = "avx2")]
fn shuffle(line: &[u8], block: Block<'_, 16>) -> __m128i {
    let mut bytes = _mm_setzero_si128();
    for (&start, places) in block.starts.iter().zip(block.places) {
        let window = load_half(line[start as usize..].first_chunk().expect("a window of the line"));
        bytes = _mm_or_si128(bytes, _mm_shuffle_epi8(window, load_half(places)));
    }
    bytes
}

/// Pixels that are made at once.
const LANES: usize = 32;
/// Samples of chroma that they share, and one more at both ends.
const SPAN: usize = LANES / 2 + 2;

/// Where each byte of 16 pixels comes from, 16 bytes and a channel at a time: an index into the channel, or 128 for another's.
const PLACES: [[[u8; 16]; 3]; 3] = {
    let mut places = [[[128; 16]; 3]; 3];
    let mut byte = 0;
    while byte < 3 * 16 {
        places[byte / 16][byte % 3][byte % 16] = (byte / 3) as u8;
        byte += 1;
    }
    places
};

#[target_feature(enable = "avx2,f16c")]
pub(super) fn interleave(lines: [&[u8]; 3], bytes: usize, out: &mut [u8]) {
    if bytes != 1 {
        return scalar::interleave(lines, bytes, out);
    }
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let [a, b, c] = lines.map(|line| line[..whole].as_chunks::<LANES>().0);
    for (((block, a), b), c) in blocks.iter_mut().zip(a).zip(b).zip(c) {
        store_interleaved(load_bytes(a), load_bytes(b), load_bytes(c), block);
    }
    scalar::interleave(lines.map(|line| &line[whole..]), bytes, rest);
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn store_pixels(lines: [&[i16]; 3], out: &mut [u8]) {
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let [a, b, c] = lines.map(|line| line[..whole].as_chunks::<LANES>().0);
    for (((block, a), b), c) in blocks.iter_mut().zip(a).zip(b).zip(c) {
        store_interleaved(channel_of(a), channel_of(b), channel_of(c), block);
    }
    scalar::store_pixels(lines.map(|line| &line[whole..]), rest);
}

#[target_feature(enable = "avx2,f16c")]
pub(super) fn convert_pixels(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    match (row.before, row.after) {
        (0, 4) => convert_pixels_of::<true>(row, c, out),
        _ => convert_pixels_of::<false>(row, c, out),
    }
}

/// `FIRST` says that chroma stands on the left one of every two columns.
#[target_feature(enable = "avx2,f16c")]
fn convert_pixels_of<const FIRST: bool>(row: HalfRow<'_>, c: &YuvToRgb, out: &mut [u8]) {
    let HalfRow { y, u, v, before, after } = row;
    let (blocks, rest) = out.as_chunks_mut::<{ 3 * LANES }>();
    let whole = blocks.len() * LANES;
    let zero = _mm256_setzero_si256();
    for (((block, y), u), v) in blocks.iter_mut().zip(y.as_chunks().0).zip(spans(u)).zip(spans(v)) {
        // Chroma's part in the left and in the right pixel of every pair.
        let (left_u, right_u) = double::<FIRST>(u, before, after);
        let (left_v, right_v) = double::<FIRST>(v, before, after);
        let (left, right) = (differences(left_u, left_v, c), differences(right_u, right_v, c));
        // Unpacking gives pixels 0 to 7 and 16 to 23, then the others; packing puts them in order again.
        let y = load_bytes(y);
        let some = luma(_mm256_unpacklo_epi8(zero, y), c);
        let others = luma(_mm256_unpackhi_epi8(zero, y), c);
        let channel = |left, right| {
            let some = _mm256_add_epi16(some, _mm256_unpacklo_epi16(left, right));
            let others = _mm256_add_epi16(others, _mm256_unpackhi_epi16(left, right));
            _mm256_packus_epi16(nearest(some), nearest(others))
        };
        let red = channel(left.red, right.red);
        let green = channel(left.green, right.green);
        let blue = channel(left.blue, right.blue);
        store_interleaved(red, green, blue, block);
    }
    let chroma = whole / 2;
    let row = HalfRow { y: &y[whole..], u: &u[chroma..], v: &v[chroma..], before, after };
    scalar::convert_pixels(row, c, rest);
}

/// The samples of one block after the other.
fn spans(line: &[i16]) -> impl Iterator<Item = &[i16; SPAN]> {
    (0..).step_by(LANES / 2).map_while(|at| line.get(at..)?.first_chunk())
}

/// As [`scalar::double_single`]: the left and the right of every two columns.
#[inline]
#[target_feature(enable = "avx2")]
fn double<const FIRST: bool>(span: &[i16; SPAN], before: i16, after: i16) -> (__m256i, __m256i) {
    let (left, middle, right) = (load_at::<0>(span), load_at::<1>(span), load_at::<2>(span));
    if FIRST {
        return (middle, _mm256_srai_epi16::<1>(_mm256_add_epi16(middle, right)));
    }
    (lerp(middle, left, before), lerp(middle, right, after))
}

#[inline]
#[target_feature(enable = "avx2")]
fn lerp(a: __m256i, b: __m256i, eighths: i16) -> __m256i {
    let part = _mm256_mullo_epi16(_mm256_sub_epi16(b, a), _mm256_set1_epi16(eighths));
    _mm256_add_epi16(a, _mm256_srai_epi16::<3>(part))
}

/// What chroma adds to luma, less 1 for the sake of [`nearest`].
struct Differences {
    red: __m256i,
    green: __m256i,
    blue: __m256i,
}

#[inline]
#[target_feature(enable = "avx2")]
fn differences(u: __m256i, v: __m256i, c: &YuvToRgb) -> Differences {
    // The middle of the codes becomes 0.
    let centred = |codes| _mm256_slli_epi16::<4>(_mm256_sub_epi16(codes, _mm256_set1_epi16(1 << 11)));
    let scaled = |codes, gain| _mm256_mulhi_epi16(codes, _mm256_set1_epi16(gain));
    let offset = |i: usize| _mm256_set1_epi16(c.offset[i] - 1);
    let (u, v) = (centred(u), centred(v));
    let green = _mm256_add_epi16(scaled(u, c.u_green), scaled(v, c.v_green));
    Differences {
        red: _mm256_add_epi16(scaled(v, c.v_red), offset(0)),
        green: _mm256_add_epi16(green, offset(1)),
        blue: _mm256_add_epi16(scaled(u, c.u_blue), offset(2)),
    }
}

/// Luma's part, from samples in the upper halves of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn luma(samples: __m256i, c: &YuvToRgb) -> __m256i {
    _mm256_mulhi_epi16(_mm256_srli_epi16::<1>(samples), _mm256_set1_epi16(c.y))
}

/// As in the scalar loop, in order.
#[inline]
#[target_feature(enable = "avx2")]
fn channel_of(values: &[i16; LANES]) -> __m256i {
    let one = _mm256_set1_epi16(1);
    let [some, others] = [load_at::<0>(values), load_at::<16>(values)].map(|v| _mm256_sub_epi16(v, one));
    _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi16(nearest(some), nearest(others)))
}

/// As in the scalar loop, from 1 less: multiplying rounds halves up, and what is odd but for one half gets there only with 1 more.
/// What lies outside 0 to 255 is for packing to clamp.
#[inline]
#[target_feature(enable = "avx2")]
fn nearest(less: __m256i) -> __m256i {
    const SHIFT: i32 = RGB_UNIT.trailing_zeros() as i32;
    let odd = _mm256_and_si256(_mm256_srli_epi16::<SHIFT>(less), _mm256_set1_epi16(1));
    _mm256_mulhrs_epi16(_mm256_add_epi16(less, odd), _mm256_set1_epi16(i16::MAX / RGB_UNIT + 1))
}

/// Three channels as pixels.
#[inline]
#[target_feature(enable = "avx2")]
fn store_interleaved(a: __m256i, b: __m256i, c: __m256i, out: &mut [u8; 3 * LANES]) {
    let third = |places: &[[u8; 16]; 3]| {
        let [a, b, c] = [(a, places[0]), (b, places[1]), (c, places[2])]
            .map(|(channel, from)| _mm256_shuffle_epi8(channel, load_twice(&from)));
        _mm256_or_si256(a, _mm256_or_si256(b, c))
    };
    // Shuffles stay within halves: these are the first, second and third 16 bytes of the first 48 and of the last 48.
    let [x, y, z] = [third(&PLACES[0]), third(&PLACES[1]), third(&PLACES[2])];
    let [first, second, last] = out.as_chunks_mut().0 else { return };
    store_bytes(_mm256_permute2x128_si256::<0x20>(x, y), first);
    store_bytes(_mm256_permute2x128_si256::<0x30>(z, x), second);
    store_bytes(_mm256_permute2x128_si256::<0x31>(y, z), last);
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn load_bytes(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: an array of 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn load_half(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: an array of 16 bytes; the load needs no alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn store_half(vector: __m128i, bytes: &mut [u8; 16]) {
    // SAFETY: an array of 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(bytes.as_mut_ptr().cast(), vector) };
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_twice(bytes: &[u8; 16]) -> __m256i {
    _mm256_broadcastsi128_si256(load_half(bytes))
}

/// Sixteen values, from number `AT` on.
#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn load_at<const AT: usize>(values: &[i16]) -> __m256i {
    let values: &[i16; 16] = values[AT..].first_chunk().expect("sixteen values");
    // SAFETY: an array of 32 bytes; the load needs no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

#[inline]
#[expect(unsafe_code, reason = "vectors are loaded and stored through pointers")]
#[target_feature(enable = "avx2")]
fn store_bytes(vector: __m256i, bytes: &mut [u8; 32]) {
    // SAFETY: an array of 32 bytes; the store needs no alignment.
    unsafe { _mm256_storeu_si256(bytes.as_mut_ptr().cast(), vector) };
}
