//! Where the three components of a pixel stand in the planes, for every layout.

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

/// How a plane is subsampled, and how many samples a position holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaneShape {
    pub(super) log2_w: u8,
    pub(super) log2_h: u8,
    pub(super) step: usize,
}

/// What the components mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Model {
    Gray,
    Yuv,
    Rgb,
}

/// A layout, resolved: this table is all that a new pixel format adds to.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) model: Model,
    pub(super) components: Vec<Component>,
    pub(super) planes: Vec<PlaneShape>,
}

impl Source {
    pub(super) fn new(format: PixelFormat) -> Self {
        let component = |plane, step, first: u8| Component { plane, step, first: usize::from(first) };
        let full = |step| PlaneShape { log2_w: 0, log2_h: 0, step };
        match format.layout {
            Layout::Gray => {
                Self { model: Model::Gray, components: vec![component(0, 1, 0)], planes: vec![full(1)] }
            }
            Layout::YuvPlanar { log2_chroma_w: log2_w, log2_chroma_h: log2_h } => {
                let chroma = PlaneShape { log2_w, log2_h, step: 1 };
                Self {
                    model: Model::Yuv,
                    components: (0..3).map(|plane| component(plane, 1, 0)).collect(),
                    planes: vec![full(1), chroma, chroma],
                }
            }
            Layout::YuvSemiPlanar { log2_chroma_w: log2_w, log2_chroma_h: log2_h, swap_uv } => {
                let (u, v) = if swap_uv { (1, 0) } else { (0, 1) };
                Self {
                    model: Model::Yuv,
                    components: vec![component(0, 1, 0), component(1, 2, u), component(1, 2, v)],
                    planes: vec![full(1), PlaneShape { log2_w, log2_h, step: 2 }],
                }
            }
            Layout::RgbPlanar => Self {
                model: Model::Rgb,
                components: (0..3).map(|plane| component(plane, 1, 0)).collect(),
                planes: vec![full(1); 3],
            },
            Layout::RgbPacked { channels, r, g, b } => {
                let step = usize::from(channels);
                Self {
                    model: Model::Rgb,
                    components: [r, g, b].map(|first| component(0, step, first)).to_vec(),
                    planes: vec![full(step)],
                }
            }
        }
    }
    /// Keeps luma only: what a grey tensor needs of a YUV picture.
    pub(super) fn luma_only(mut self) -> Self {
        self.components.truncate(1);
        self.planes.truncate(1);
        self.model = Model::Gray;
        self
    }
}
