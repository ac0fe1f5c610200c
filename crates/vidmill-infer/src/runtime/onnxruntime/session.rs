//! From a model file and a device to a session that really runs there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::ErrorCode;
use ort::session::Session;
use ort::session::builder::{AutoDevicePolicy, GraphOptimizationLevel};
use ort::value::{Outlet, TensorElementType, ValueType};

use super::assignment::{self, Assigned};
use super::predictor::OrtTensors;
use super::provider::{AUTOMATIC, CPU, Provider};
use super::{Runtime, guarded, take_errors};
use crate::model::RuntimeInfo;
use crate::onnx::Summary;
use crate::runtime::{About, Feed, Opened, Sessions, one_line};
use crate::{Device, Dim, Element, Error, LoadOptions, Precision, TensorInfo, TensorPredictor};

/// Operators that providers themselves leave to the CPU because they compute shapes, not pixels: a provider that runs all
/// the others runs the model. (ONNX Runtime, `GetCpuPreferredNodes`.)
const SHAPE_OPERATORS: [&str; 16] = [
    "Shape",
    "Size",
    "Gather",
    "Concat",
    "Slice",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "Range",
    "ConstantOfShape",
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Floor",
    "Constant",
];

/// How to make a session of one model, again and again.
#[derive(Clone, Debug)]
struct Recipe {
    path: PathBuf,
    provider: Provider,
    precision: Precision,
    threads: usize,
}

/// A first session, and what is known now that it stands.
struct First {
    session: Session,
    recipe: Recipe,
    /// Nodes per provider.
    nodes: BTreeMap<String, usize>,
    precision: String,
    fallback: Option<String>,
}

/// A recipe, and the session that was made to look at the model, for the first who asks.
struct Ready {
    recipe: Recipe,
    first: Mutex<Option<Session>>,
}

impl Sessions for Ready {
    fn session(&self, feed: Feed) -> Result<Box<dyn TensorPredictor>, Error> {
        let ready = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let session = match ready {
            Some(session) => session,
            None => self.recipe.session(Runtime::get(None)?)?,
        };
        Ok(Box::new(OrtTensors::new(session, feed)))
    }
}

/// Why there is no session.
enum Failure {
    /// Whatever the device: the model is at fault.
    Model(String),
    /// The device is.
    Device { reason: String, remedy: String },
    /// Said already.
    Other(Error),
}

/// Opens a model on the device that the options name, or on the best one that works.
pub(crate) fn open(path: &Path, options: &LoadOptions, summary: &Summary) -> Result<Opened, Error> {
    let runtime = Runtime::get(options.runtime_library.as_deref())?;
    let First { session, recipe, nodes, precision, fallback } =
        first(runtime, path, options, summary.weights)?;
    let about =
        guarded(|| about(&session)).map_err(|reason| Error::Model { path: path.to_owned(), reason })?;
    let runtime = RuntimeInfo {
        name: "onnxruntime".to_owned(),
        version: runtime.found.version.clone(),
        library: runtime.found.path.clone(),
        available: runtime.providers.clone(),
        device_asked: options.device,
        provider: recipe.provider.name().to_owned(),
        nodes,
        precision,
        fallback,
    };
    Ok(Opened { sessions: Box::new(Ready { recipe, first: Mutex::new(Some(session)) }), about, runtime })
}

/// What the session says of its model. Shapes are those of the file, completed by what the runtime infers.
fn about(session: &Session) -> Result<About, String> {
    let metadata = session.metadata().map_err(|error| error.to_string())?;
    let keys = metadata.custom_keys().map_err(|error| error.to_string())?;
    let entries = keys.into_iter().filter_map(|key| {
        let value = metadata.custom(&key)?;
        Some((key, value))
    });
    Ok(About {
        producer: metadata.producer().unwrap_or_default(),
        opset: session.opset_for_domain(""),
        metadata: entries.collect(),
        inputs: describe(session.inputs()),
        outputs: describe(session.outputs()),
    })
}

fn first(
    runtime: &Runtime,
    path: &Path,
    options: &LoadOptions,
    weights: Option<Element>,
) -> Result<First, Error> {
    let attempt = |provider, strictness| {
        let recipe = Recipe {
            path: path.to_owned(),
            provider,
            precision: options.precision,
            threads: options.threads,
        };
        recipe.open(runtime, weights, strictness).map_err(|failure| failure.into_error(path, provider))
    };
    match options.device {
        Device::Cpu => attempt(Provider::Cpu, Strictness::Whole),
        Device::Cuda(index) => attempt(Provider::Cuda(index), Strictness::Whole),
        Device::TensorRt(index) => attempt(Provider::TensorRt(index), Strictness::Whole),
        Device::Auto | Device::OpenVino => {
            let mut refused = Vec::new();
            for provider in AUTOMATIC.into_iter().filter(|provider| runtime.has(*provider)) {
                match attempt(provider, Strictness::Partly) {
                    Ok(opened) => return Ok(opened.after(refused)),
                    Err(error @ (Error::Device { .. } | Error::Precision { .. })) => {
                        refused.push(error.to_string());
                    }
                    Err(error) => return Err(error),
                }
            }
            attempt(Provider::Cpu, Strictness::Whole).map(|opened| opened.after(refused))
        }
    }
}

/// Whether nodes may be left to the CPU.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strictness {
    Whole,
    Partly,
}

impl Runtime {
    fn has(&self, provider: Provider) -> bool {
        self.providers.iter().any(|name| name == provider.name())
    }
}

impl First {
    /// Records what better providers lacked.
    fn after(mut self, refused: Vec<String>) -> Self {
        let reasons: Vec<String> = refused.into_iter().chain(self.fallback.take()).collect();
        self.fallback = (!reasons.is_empty()).then(|| reasons.join("; "));
        self
    }
}

impl Failure {
    fn into_error(self, path: &Path, provider: Provider) -> Error {
        match self {
            Self::Model(reason) => Error::Model { path: path.to_owned(), reason },
            Self::Device { reason, remedy } => {
                Error::Device { device: provider.device().to_string(), reason, remedy }
            }
            Self::Other(error) => error,
        }
    }
}

impl Recipe {
    fn open(
        self,
        runtime: &Runtime,
        weights: Option<Element>,
        strictness: Strictness,
    ) -> Result<First, Failure> {
        let provider = self.provider;
        if !runtime.has(provider) {
            return Err(Failure::Device {
                reason: format!(
                    "the library {} has no {} (it has {})",
                    runtime.found.path.display(),
                    provider.name(),
                    runtime.providers.join(", ")
                ),
                remedy: provider.how_to_get().to_owned(),
            });
        }
        let precision = provider.precision(self.precision, weights).map_err(Failure::Other)?;
        let session = self.build(runtime)?;
        let assigned = guarded(|| assignment::assignment(&session)).map_err(Failure::Model)?;
        let fallback = check(provider, &assigned, strictness)?;
        let mut nodes = BTreeMap::new();
        for node in assigned {
            *nodes.entry(node.provider).or_default() += 1;
        }
        Ok(First { session, recipe: self, nodes, precision, fallback })
    }

    /// Another session, like the first.
    fn session(&self, runtime: &Runtime) -> Result<Session, Error> {
        self.build(runtime).map_err(|failure| failure.into_error(&self.path, self.provider))
    }

    fn build(&self, runtime: &Runtime) -> Result<Session, Failure> {
        take_errors();
        let mut code = ErrorCode::Ok;
        let session = guarded(|| {
            self.try_build(runtime).map_err(|error| {
                code = error.code();
                error.message().to_owned()
            })
        });
        session.map_err(|reason| {
            let mut reason = one_line(&reason);
            if self.provider == Provider::Cpu || is_the_models_fault(code) {
                return Failure::Model(reason);
            }
            for logged in take_errors().iter().map(|text| one_line(text)) {
                if !logged.contains(&reason) && !reason.contains(&logged) {
                    reason = format!("{reason}; {logged}");
                }
            }
            Failure::Device { reason, remedy: self.provider.how_to_start().to_owned() }
        })
    }

    fn try_build(&self, runtime: &Runtime) -> ort::Result<Session> {
        let builder = Session::builder(&runtime.environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(self.threads)?
            // Threads that spin between batches take the cores that the decoder needs.
            .with_intra_op_spinning(false)?
            .with_deterministic_compute(true)?
            // The binding's own default lets the runtime pick a device; only what is asked for may run.
            .with_auto_device(AutoDevicePolicy::PreferCPU)?
            .with_config_entry(assignment::RECORD.0, assignment::RECORD.1)?;
        let mut builder = match self.provider.registration(self.precision) {
            Some(provider) => builder.with_execution_providers([provider])?,
            None => builder,
        };
        builder.commit_from_file(&self.path)
    }
}

/// Whether the provider runs what it must; what it does not run, if that is allowed.
fn check(
    provider: Provider,
    assigned: &[Assigned],
    strictness: Strictness,
) -> Result<Option<String>, Failure> {
    let name = provider.name();
    let elsewhere: Vec<&Assigned> = assigned
        .iter()
        .filter(|node| node.provider != name)
        .filter(|node| node.provider != CPU || !SHAPE_OPERATORS.contains(&node.operator.as_str()))
        .collect();
    let runs_none = !assigned.is_empty() && assigned.iter().all(|node| node.provider != name);
    if elsewhere.is_empty() && !runs_none {
        return Ok(None);
    }
    let what = format!(
        "{} of the model's {} nodes would not run on the {name}: {}",
        elsewhere.len().max(if runs_none { assigned.len() } else { 0 }),
        assigned.len(),
        listing(&elsewhere)
    );
    if strictness == Strictness::Partly && !runs_none {
        return Ok(Some(what));
    }
    let remedy = "use --device auto to let them run on the CPU, or export the model without them".to_owned();
    Err(Failure::Device { reason: what, remedy })
}

/// The first few nodes, for a message.
fn listing(nodes: &[&Assigned]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = nodes
        .iter()
        .take(SHOWN)
        .map(|node| format!("{} '{}' ({})", node.operator, node.node, node.provider))
        .collect();
    if nodes.len() > SHOWN {
        names.push(format!("and {} more", nodes.len() - SHOWN));
    }
    names.join(", ")
}

fn is_the_models_fault(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NoSuchFile | ErrorCode::NoModel | ErrorCode::InvalidProtobuf | ErrorCode::InvalidGraph
    )
}

/// Name, type and shape of inputs or outputs.
fn describe(outlets: &[Outlet]) -> Vec<TensorInfo> {
    outlets
        .iter()
        .map(|outlet| {
            let (element, shape) = match outlet.dtype() {
                ValueType::Tensor { ty, shape, dimension_symbols } => {
                    (element(*ty), dims(shape, dimension_symbols))
                }
                _ => (Element::Other, Vec::new()),
            };
            TensorInfo { name: outlet.name().to_owned(), element, shape }
        })
        .collect()
}

fn dims(shape: &[i64], symbols: &[String]) -> Vec<Dim> {
    let name = |at: usize| symbols.get(at).filter(|name| !name.is_empty()).map_or("?", String::as_str);
    shape
        .iter()
        .enumerate()
        .map(|(at, &size)| u64::try_from(size).map_or_else(|_| Dim::Dynamic(name(at).to_owned()), Dim::Fixed))
        .collect()
}

fn element(kind: TensorElementType) -> Element {
    match kind {
        TensorElementType::Float32 => Element::F32,
        TensorElementType::Float16 => Element::F16,
        TensorElementType::Bfloat16 => Element::Bf16,
        TensorElementType::Float64 => Element::F64,
        TensorElementType::Int8 => Element::I8,
        TensorElementType::Uint8 => Element::U8,
        TensorElementType::Int16 => Element::I16,
        TensorElementType::Uint16 => Element::U16,
        TensorElementType::Int32 => Element::I32,
        TensorElementType::Uint32 => Element::U32,
        TensorElementType::Int64 => Element::I64,
        TensorElementType::Uint64 => Element::U64,
        TensorElementType::Bool => Element::Bool,
        TensorElementType::String => Element::String,
        _ => Element::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider: &str, operator: &str) -> Assigned {
        Assigned { provider: provider.to_owned(), operator: operator.to_owned(), node: "n".to_owned() }
    }

    const CUDA: &str = "CUDAExecutionProvider";

    #[test]
    fn a_provider_that_runs_everything_passes() {
        let nodes = [node(CUDA, "Conv"), node(CUDA, "Relu"), node(CPU, "Shape"), node(CPU, "Gather")];
        assert!(matches!(check(Provider::Cuda(0), &nodes, Strictness::Whole), Ok(None)));
        assert!(matches!(check(Provider::Cpu, &[node(CPU, "Conv")], Strictness::Whole), Ok(None)));
        assert!(matches!(check(Provider::Cpu, &[], Strictness::Whole), Ok(None)));
    }

    #[test]
    fn work_left_to_the_cpu_is_an_error_unless_allowed() {
        let nodes = [node(CUDA, "Conv"), node(CPU, "NonMaxSuppression")];
        match check(Provider::Cuda(0), &nodes, Strictness::Whole) {
            Err(Failure::Device { reason, remedy }) => {
                assert!(reason.starts_with("1 of the model's 2 nodes"), "{reason}");
                assert!(reason.contains("NonMaxSuppression"), "{reason}");
                assert!(remedy.contains("--device auto"), "{remedy}");
            }
            _ => panic!("accepted"),
        }
        let told = check(Provider::Cuda(0), &nodes, Strictness::Partly);
        assert!(matches!(told, Ok(Some(text)) if text.contains("NonMaxSuppression")));
    }

    #[test]
    fn a_provider_that_runs_nothing_is_never_accepted() {
        let nodes = [node(CPU, "Shape"), node(CPU, "Conv")];
        for strictness in [Strictness::Whole, Strictness::Partly] {
            assert!(check(Provider::Cuda(0), &nodes, strictness).is_err());
        }
        assert!(check(Provider::Cpu, &[node(CUDA, "Conv")], Strictness::Whole).is_err());
    }
}
