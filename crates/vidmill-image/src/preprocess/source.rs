//! Where the components of a pixel stand in the planes, for every layout. A new pixel format is one more row here.

use crate::{Layout, PixelFormat};

/// One component (Y, U, V, R, G or B) of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Component {
    /// The plane it is in.
    pub(super) plane: usize,
    /// Samples from one of its values to the next.
    pub(super) step: usize,
    /// Samples before its first value.
    pub(super) first: usize,
}

/// A layout, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Luma alone.
    Gray(Component),
    /// Red, green, blue.
    Rgb([Component; 3]),
    /// Luma, and chroma U and V shared by `1 << log2` luma columns and rows.
    Yuv { luma: Component, chroma: [Component; 2], log2: [u8; 2] },
}

impl Source {
    pub(super) fn new(format: PixelFormat) -> Self {
        let whole = |plane| Component { plane, step: 1, first: 0 };
        match format.layout {
            Layout::Gray => Self::Gray(whole(0)),
            Layout::YuvPlanar { log2_chroma_w, log2_chroma_h } => Self::Yuv {
                luma: whole(0),
                chroma: [whole(1), whole(2)],
                log2: [log2_chroma_w, log2_chroma_h],
            },
            Layout::YuvSemiPlanar { log2_chroma_w, log2_chroma_h, swap_uv } => {
                let chroma = |first| Component { plane: 1, step: 2, first };
                let v = usize::from(!swap_uv);
                Self::Yuv {
                    luma: whole(0),
                    chroma: [chroma(1 - v), chroma(v)],
                    log2: [log2_chroma_w, log2_chroma_h],
                }
            }
            Layout::RgbPlanar => Self::Rgb([whole(0), whole(1), whole(2)]),
            Layout::RgbPacked { channels, r, g, b } => {
                let step = usize::from(channels);
                Self::Rgb([r, g, b].map(|first| Component { plane: 0, step, first: usize::from(first) }))
            }
        }
    }
}
