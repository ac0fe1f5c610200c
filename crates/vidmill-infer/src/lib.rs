//! From a model's input tensor to its outputs, and from these to what was found.
//!
//! In: a model file, the device asked for, and bytes that a [`TensorSpec`](vidmill_image::TensorSpec) describes. Out:
//! what was [`Found`] in the displayed frame, in its pixels.
//!
//! 1. [`Model::open`] finds the runtime's library ([`runtime::onnxruntime`], [`runtime::openvino`]), loads the model on the device that was asked
//!    for, or fails, and says in [`RuntimeInfo`] what really runs.
//! 2. [`TaskPlan::recognise`] works out, from metadata and shapes, what input the model wants and what its outputs mean,
//!    and says why.
//! 3. [`Model::session`] gives a [`Predictor`] with its own threads; [`Predictor::predict`] runs a batch, and
//!    [`TaskPlan::decode`] turns one item of its [`Outputs`] into what was found.

mod card;
mod device;
mod error;
mod files;
mod inspect;
mod labels;
mod metadata;
mod model;
mod nms;
mod onnx;
mod predictor;
pub mod runtime;
mod side;
mod task;

pub use card::{Card, CardLine, Cards, card_path};
pub use device::{Device, Precision};
pub use error::{DecodeError, Error};
pub use files::{sha256, sha256_of_model};
pub use inspect::{Dim, Element, ModelInfo, TensorInfo};
pub use labels::Labels;
pub use model::{Description, LoadOptions, Model, RuntimeInfo};
pub use nms::{Candidate, iou, suppress};
pub use predictor::{Outputs, Predictor, TensorPredictor, TensorView};
pub use task::{
    Batch, Class, Detection, Found, Keypoint, Memory, Region, Task, TaskOptions, TaskPlan, Text, Thresholds,
    families,
};
