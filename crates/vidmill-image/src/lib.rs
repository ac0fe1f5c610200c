//! The nouns of a picture and the passes over its pixels.
//!
//! In: [`Planes`], as a decoder left them (YUV, grey or RGB; 8 to 16 bits; any subsampling), with their
//! [`ColorSpec`] and [`Rotation`]. Out: a model's input tensor as [`TensorSpec`] describes it, written in one fused
//! pass into memory that the caller owns; and the [`Geometry`] that maps boxes back to the displayed frame. Beside it,
//! [`Picture`]: an owned picture to [`draw`] results on, and [`Mask`]: which pixels belong to an object.

mod color;
mod crop;
pub mod draw;
mod geometry;
mod kernel;
mod mask;
mod picture;
mod planes;
mod preprocess;
mod tensor;

pub use color::{ChromaSiting, ColorMatrix, ColorRange, ColorSpec};
pub use crop::{Crop, CropError, Cutter, Quad, QuadError};
pub use geometry::{Geometry, Rect, ResizeMode, Rotation, Size};
pub use mask::{Mask, MaskError, Span};
pub use picture::Picture;
pub use planes::{Layout, PixelFormat, Planes, PlanesError};
pub use preprocess::{MAX_SIDE, PlanError, Preprocess, PreprocessError};
pub use tensor::{ChannelOrder, ElementType, TensorLayout, TensorSpec};
