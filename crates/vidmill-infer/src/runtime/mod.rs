//! The engines that run models, each found at run time.

pub mod onnxruntime;
