//! What the numbers in a YUV plane mean.

use serde::{Deserialize, Serialize};

/// The matrix between YUV and RGB (ITU-T H.273, "MatrixCoefficients").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorMatrix {
    /// BT.601 (Kr 0.299, Kb 0.114), also SMPTE 170M and BT.470BG.
    Bt601,
    /// BT.709 (Kr 0.2126, Kb 0.0722).
    Bt709,
    /// BT.2020, non-constant luminance (Kr 0.2627, Kb 0.0593).
    Bt2020,
    /// FCC (Kr 0.30, Kb 0.11).
    Fcc,
    /// SMPTE 240M (Kr 0.212, Kb 0.087).
    Smpte240m,
}

/// Which codes stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorRange {
    /// 16..=235 for luma and 16..=240 for chroma, scaled to the bit depth ("tv", "mpeg").
    Limited,
    /// All codes ("pc", "jpeg").
    Full,
}

/// Where subsampled chroma stands between the luma samples that share it (ITU-T H.273, "ChromaLocType").
///
/// Streams say it, or their standard does: H.264, HEVC, MPEG-2 and MPEG-4 left, JPEG and MPEG-1 centre, HDR often top
/// left. Most streams do not say; like FFmpeg's swscale, vidmill takes these as centre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChromaSiting {
    /// On the first luma column, between the luma rows.
    Left,
    /// Between the luma columns and between the rows. Also the default.
    #[default]
    Center,
    /// On the first luma column and row.
    TopLeft,
    /// Between the luma columns, on the first row.
    Top,
}

/// How a picture's samples turn into RGB. RGB pictures ignore it all: they are taken as full range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ColorSpec {
    /// The YUV to RGB matrix.
    pub matrix: ColorMatrix,
    /// The range of codes.
    pub range: ColorRange,
    /// Where subsampled chroma stands.
    pub siting: ChromaSiting,
}

impl ColorSpec {
    /// The matrix and range, with chroma where it is taken to be when nothing says.
    pub const fn new(matrix: ColorMatrix, range: ColorRange) -> Self {
        Self { matrix, range, siting: ChromaSiting::Center }
    }
}

impl ColorMatrix {
    /// The luma weights (Kr, Kb); Kg is 1 - Kr - Kb.
    pub fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
            Self::Fcc => (0.30, 0.11),
            Self::Smpte240m => (0.212, 0.087),
        }
    }
}

impl Default for ColorSpec {
    /// BT.601, limited: what software takes untagged video for.
    fn default() -> Self {
        Self::new(ColorMatrix::Bt601, ColorRange::Limited)
    }
}
