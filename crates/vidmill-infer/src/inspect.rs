//! What a model file says about itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::Cards;
use serde::{Deserialize, Serialize};

/// One dimension of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Dim {
    /// Always this many.
    Fixed(u64),
    /// Chosen at run time; the model's name for it, or "?" when it has none.
    Dynamic(String),
}

/// Type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
#[non_exhaustive]
pub enum Element {
    F32,
    F16,
    Bf16,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    Bool,
    String,
    /// Some type that no vidmill task works on.
    Other,
}

/// Name, type and shape of an input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInfo {
    /// As the model calls it.
    pub name: String,
    /// Type of its elements.
    pub element: Element,
    /// Outermost dimension first.
    pub shape: Vec<Dim>,
}

/// What a model file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal. Of a model that has [`data`](Self::data) beside it: the SHA-256 of the hexadecimal
    /// hashes of the model's file and of these, in this order, one a line, as `sha256sum FILE... | cut -d' ' -f1 | sha256sum`
    /// gives it.
    pub sha256: String,
    /// Other files that hold weights (ONNX's external data), in the order of their names.
    #[serde(default)]
    pub data: Vec<PathBuf>,
    /// The program that wrote it; empty when it does not say.
    pub producer: String,
    /// Version of the default operator set.
    pub opset: Option<u32>,
    /// Inputs that must be given, in the model's order.
    pub inputs: Vec<TensorInfo>,
    /// Outputs, in the model's order.
    pub outputs: Vec<TensorInfo>,
    /// The model's metadata entries.
    pub metadata: BTreeMap<String, String>,
    /// What files beside the model say of it; it counts like its metadata.
    #[serde(default)]
    pub cards: Cards,
    /// How often each operator stands in the graph; empty when the file's format hides it.
    pub operators: BTreeMap<String, usize>,
    /// Type that most of the weights have.
    pub weights: Option<Element>,
}

impl Dim {
    /// The number, when it is fixed.
    pub fn fixed(&self) -> Option<usize> {
        match self {
            Self::Fixed(size) => usize::try_from(*size).ok(),
            Self::Dynamic(_) => None,
        }
    }
}

impl TensorInfo {
    /// The dimensions, `None` for dynamic ones.
    pub fn dims(&self) -> Vec<Option<usize>> {
        self.shape.iter().map(Dim::fixed).collect()
    }
}

impl ModelInfo {
    /// What its card says, or else its metadata, under a key such as `vidmill.then`.
    pub fn said(&self, key: &str) -> Option<&str> {
        let card = self.cards.card.as_ref().and_then(|card| card.entries.get(key));
        card.or_else(|| self.metadata.get(key)).map(String::as_str)
    }
    /// Inputs and outputs, one a line, for messages.
    pub fn signature(&self) -> String {
        let lines = |what: &str, tensors: &[TensorInfo]| -> String {
            tensors.iter().map(|tensor| format!("  {what} {tensor}\n")).collect()
        };
        let mut text = lines("input ", &self.inputs) + &lines("output", &self.outputs);
        text.truncate(text.trim_end().len());
        text
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Dynamic(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::F64 => "f64",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::I16 => "i16",
            Self::U16 => "u16",
            Self::I32 => "i32",
            Self::U32 => "u32",
            Self::I64 => "i64",
            Self::U64 => "u64",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Other => "other",
        })
    }
}

impl fmt::Display for TensorInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        write!(f, "'{}' {} [{}]", self.name, self.element, dims.join(", "))
    }
}
