//! Colour tags, as FFmpeg numbers them (ITU-T H.273), to [`ColorSpec`], and the defaults for untagged streams.
//!
//! Defaults: the matrix is BT.709 from 720 lines on and BT.601 below (what players do), and always BT.601 for images;
//! the range is limited for YUV, and full for grey (as swscale takes it) and for FFmpeg's yuvj formats.
//! RGB is full range and has no matrix; the one given for it is what a conversion to YUV uses.

use vidmill_image::{ChromaSiting, ColorMatrix, ColorRange, ColorSpec};

use crate::ffi::RawColor;

/// Number of lines from which an untagged stream counts as high definition.
const HD_LINES: u32 = 720;

/// What pictures of a stream hold, as far as colour is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Yuv,
    /// FFmpeg's yuvj420p and its like.
    FullRangeYuv,
    Gray,
    Rgb,
}

/// Raw tags, and what decides where they are missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tags {
    /// AVColorSpace.
    pub matrix: i32,
    /// AVColorRange.
    pub range: i32,
    /// AVChromaLocation.
    pub chroma_location: i32,
    pub content: Content,
    pub lines: u32,
    pub is_image: bool,
}

/// A colour description, and which parts of it the stream did not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub spec: ColorSpec,
    pub matrix_assumed: bool,
    pub range_assumed: bool,
}

/// The description that is used for pictures with these tags.
pub(crate) fn resolve(tags: Tags) -> Resolved {
    let matrix = tagged_matrix(tags.matrix);
    let range = match (tags.content, tags.range) {
        (Content::Rgb | Content::FullRangeYuv, _) | (_, 2) => Some(ColorRange::Full),
        (_, 1) => Some(ColorRange::Limited),
        _ => None,
    };
    let default_range = if tags.content == Content::Gray { ColorRange::Full } else { ColorRange::Limited };
    let default_matrix =
        if tags.is_image || tags.lines < HD_LINES { ColorMatrix::Bt601 } else { ColorMatrix::Bt709 };
    Resolved {
        spec: ColorSpec {
            matrix: matrix.unwrap_or(default_matrix),
            range: range.unwrap_or(default_range),
            siting: siting(tags.chroma_location),
        },
        // Grey needs no matrix, RGB has none.
        matrix_assumed: matrix.is_none() && matches!(tags.content, Content::Yuv | Content::FullRangeYuv),
        range_assumed: range.is_none(),
    }
}

/// The matrix that a tag names. Constant-luminance BT.2020 is taken for the usual one, as swscale does; YCgCo, ICtCp and
/// the others that no [`ColorMatrix`] describes count as untagged.
fn tagged_matrix(tag: i32) -> Option<ColorMatrix> {
    match tag {
        1 => Some(ColorMatrix::Bt709),
        4 => Some(ColorMatrix::Fcc),
        5 | 6 => Some(ColorMatrix::Bt601),
        7 => Some(ColorMatrix::Smpte240m),
        9 | 10 => Some(ColorMatrix::Bt2020),
        _ => None,
    }
}

/// Where chroma stands by its tag; the two bottom positions, which hardly any stream has, by the nearest there is.
fn siting(tag: i32) -> ChromaSiting {
    match tag {
        1 | 5 => ChromaSiting::Left,
        3 => ChromaSiting::TopLeft,
        4 => ChromaSiting::Top,
        _ => ChromaSiting::Center,
    }
}

/// The tag of a matrix (AVColorSpace).
pub(crate) fn matrix_tag(matrix: ColorMatrix) -> i32 {
    match matrix {
        ColorMatrix::Bt709 => 1,
        ColorMatrix::Fcc => 4,
        ColorMatrix::Bt601 => 6,
        ColorMatrix::Smpte240m => 7,
        ColorMatrix::Bt2020 => 9,
    }
}

/// The description in FFmpeg's integers.
pub(crate) fn raw(spec: ColorSpec) -> RawColor {
    RawColor { matrix: matrix_tag(spec.matrix), full_range: spec.range == ColorRange::Full }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTAGGED: Tags =
        Tags { matrix: 2, range: 0, chroma_location: 0, content: Content::Yuv, lines: 1080, is_image: false };

    #[test]
    fn untagged_streams_get_the_defaults_and_say_so() {
        let hd = resolve(UNTAGGED);
        assert_eq!(hd.spec, ColorSpec::new(ColorMatrix::Bt709, ColorRange::Limited));
        assert!(hd.matrix_assumed && hd.range_assumed);
        assert_eq!(resolve(Tags { lines: 719, ..UNTAGGED }).spec.matrix, ColorMatrix::Bt601);
        assert_eq!(resolve(Tags { is_image: true, ..UNTAGGED }).spec.matrix, ColorMatrix::Bt601);
        assert_eq!(resolve(Tags { content: Content::Gray, ..UNTAGGED }).spec.range, ColorRange::Full);
    }

    #[test]
    fn tags_win() {
        let tagged = resolve(Tags { matrix: 9, range: 2, ..UNTAGGED });
        assert_eq!(tagged.spec, ColorSpec::new(ColorMatrix::Bt2020, ColorRange::Full));
        assert!(!tagged.matrix_assumed && !tagged.range_assumed);
        let gray = resolve(Tags { range: 1, content: Content::Gray, ..UNTAGGED });
        assert_eq!(gray.spec.range, ColorRange::Limited);
        let rgb = resolve(Tags { range: 1, content: Content::Rgb, ..UNTAGGED });
        assert_eq!(rgb.spec.range, ColorRange::Full, "a range tag means nothing for RGB");
    }

    #[test]
    fn chroma_stands_where_the_tag_says() {
        let sited = |chroma_location| resolve(Tags { chroma_location, ..UNTAGGED }).spec.siting;
        let all = [0, 1, 2, 3, 4].map(sited);
        use ChromaSiting::{Center, Left, Top, TopLeft};
        assert_eq!(all, [Center, Left, Center, TopLeft, Top]);
    }

    #[test]
    fn tags_survive_the_round_trip() {
        for matrix in [1, 4, 6, 7, 9] {
            assert_eq!(matrix_tag(tagged_matrix(matrix).unwrap()), matrix);
        }
        for unknown in [-1, 0, 2, 3, 8, 11, 14, 999] {
            assert_eq!(tagged_matrix(unknown), None);
        }
    }
}
