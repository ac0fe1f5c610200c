//! What can go wrong, with what, and what to do about it.

#![expect(missing_docs, reason = "fields are named for what the messages show")]

use std::path::PathBuf;

use vidmill_image::MaskError;

use crate::runtime::Names;

/// A model, a runtime or a choice that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name that is none of the choices.
    #[error("unknown {what} '{given}'; choose one of: {choices}")]
    Choice { what: &'static str, given: String, choices: String },
    /// No usable library of a runtime.
    #[error(
        "{}'s library was not found; install it by\n  {}\nor set {} to the path of {}.so; looked in:\n  {}{}",
        .library.runtime, .library.install, .library.variable, .library.stem, .searched.join("\n  "), rejected_text(.rejected)
    )]
    RuntimeMissing { library: &'static Names, searched: Vec<String>, rejected: Vec<String> },
    /// A named library file that does not serve.
    #[error("cannot use {path} ({how}) as {runtime}'s library: {reason}", path = .path.display())]
    RuntimeFile { runtime: &'static str, path: PathBuf, how: String, reason: String },
    /// A library older than what this build calls.
    #[error(
        "{runtime} {found} in {path} ({how}) is too old: {needed} or newer is needed; install one by\n  {install}",
        path = .path.display(), runtime = .library.runtime, install = .library.install
    )]
    RuntimeTooOld { library: &'static Names, path: PathBuf, how: String, found: String, needed: String },
    /// A process has one library of a runtime; another one was asked for later.
    #[error("{runtime} is already loaded from {}; {} cannot be loaded beside it", .loaded.display(), .asked.display())]
    RuntimeLoaded { runtime: &'static str, loaded: PathBuf, asked: PathBuf },
    /// The library was found but does not start.
    #[error("{runtime} in {} does not start: {reason}", .path.display())]
    RuntimeStart { runtime: &'static str, path: PathBuf, reason: String },
    /// A file cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// The model does not load.
    #[error("cannot load the model {}: {reason}", .path.display())]
    Model { path: PathBuf, reason: String },
    /// The device asked for cannot run the model.
    #[error("device {device} cannot be used: {reason}; {remedy}")]
    Device { device: String, reason: String, remedy: String },
    /// The precision asked for is not to be had.
    #[error("precision {precision} is not available: {reason}; {remedy}")]
    Precision { precision: String, reason: String, remedy: String },
    /// A metadata entry of the model says something impossible.
    #[error("the model's metadata entry {key} = '{value}' is invalid: {reason}")]
    Metadata { key: String, value: String, reason: String },
    /// A line of a card says something impossible.
    #[error("the card {}: {key} = '{value}' is invalid: {reason}", .path.display())]
    Card { path: PathBuf, key: String, value: String, reason: String },
    /// A card that cannot be read.
    #[error("cannot use {} as a model card: {reason}", .path.display())]
    NoCard { path: PathBuf, reason: String },
    /// A labels file that does not serve.
    #[error("cannot use the labels in {}: {reason}", .path.display())]
    Labels { path: PathBuf, reason: String },
    /// A class that the model does not know.
    #[error("unknown class '{given}'; {hint}")]
    Class { given: String, hint: String },
    /// An option that does not fit the model.
    #[error("{option} does not fit the model: {reason}")]
    Option { option: String, reason: String },
    /// An input that vidmill cannot feed.
    #[error("cannot feed this model: {reason}\n{signature}")]
    Input { reason: String, signature: String },
    /// Outputs that no known task explains.
    #[error(
        "this model is not recognised: {reason}\n{signature}\nname its kind with --task; choices: {choices}"
    )]
    Unrecognised { reason: String, signature: String, choices: String },
    /// A batch that the model does not take.
    #[error("the model takes batches of {expected}, not of {found}")]
    BatchSize { expected: String, found: usize },
    /// Input bytes that do not make up the batch.
    #[error("a batch of {batch} takes {expected} bytes of input, not {found}")]
    InputBytes { batch: usize, expected: usize, found: usize },
    /// Input bytes at an address that does not suit their type.
    #[error("the input must be aligned to {needed} bytes")]
    InputAlignment { needed: usize },
    /// The runtime failed on a batch.
    #[error("inference failed: {reason}")]
    Predict { reason: String },
}

/// Outputs of one item that cannot be turned into detections: the frame has failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// NaN or infinity; `index` counts elements of this item's part of the output.
    #[error("model output '{output}' holds {value} at element {index} of the item")]
    NonFinite { output: String, index: usize, value: f32 },
    /// Another shape than planned.
    #[error("model output '{output}' has shape {found:?}, expected {expected}")]
    Shape { output: String, expected: String, found: Vec<usize> },
    /// An output is missing.
    #[error("the model gave no output '{output}'")]
    Missing { output: String },
    /// More than certain.
    #[error(
        "confidence {confidence} is not in 0..=1: the model's last sigmoid is missing, or another --task is meant"
    )]
    Confidence { confidence: f32 },
    /// A mask that cannot be put in the frame.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// A number that should be a class.
    #[error("model output '{output}' holds {value} at element {index} of the item, which is no class number")]
    Class { output: String, index: usize, value: f32 },
    /// Names that do not belong to detections.
    #[error("{names} class names for {detections} detections")]
    Names { names: usize, detections: usize },
    /// The item is not in the batch.
    #[error("item {item} is not in a batch of {batch}")]
    Item { item: usize, batch: usize },
}

fn rejected_text(rejected: &[String]) -> String {
    match rejected {
        [] => String::new(),
        _ => format!("\nfound but not usable:\n  {}", rejected.join("\n  ")),
    }
}
