//! From a model file to a model that is compiled in the precision asked for, and to sessions of it.
//!
//! Sessions of one model share its weights: a compiled model has as many streams as sessions are expected, each with threads of
//! its own, and runs a request on the thread that asks. Sessions beyond these have the model compiled again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::handles::{Compiled, Read};
use super::predictor::Session;
use super::{CPU, Runtime};
use crate::model::RuntimeInfo;
use crate::onnx::Summary;
use crate::runtime::{About, Feed, Opened, Sessions};
use crate::{Element, Error, LoadOptions, Precision, TensorPredictor};

/// A model, and all that has been compiled of it.
struct Pool {
    runtime: &'static Runtime,
    recipe: Recipe,
    outputs: Vec<String>,
    state: Mutex<State>,
}

struct State {
    model: Read,
    all: Vec<Arc<Shared>>,
}

/// How to compile it.
struct Recipe {
    /// As the library calls it.
    precision: String,
    /// Threads of each session; 0 leaves it to the library.
    threads: usize,
    /// Sessions that one compilation is to serve.
    streams: usize,
}

/// A compilation. Each session holds it, so how many do is how many streams are taken.
pub(super) struct Shared {
    compiled: Compiled,
    streams: usize,
}

/// Opens a model on the CPU.
pub(in crate::runtime) fn open(
    path: &Path,
    options: &LoadOptions,
    summary: &Summary,
) -> Result<Opened, Error> {
    let flawed = |reason: String| Error::Model { path: path.to_owned(), reason };
    let runtime = Runtime::get(options.openvino_library.as_deref())?;
    let (asked, weights) = (options.precision, summary.weights);
    let recipe = Recipe {
        precision: hint(asked, weights, &runtime.capabilities)?,
        threads: options.threads,
        streams: options.sessions.max(1),
    };
    if summary.outputs.is_empty() {
        // The library would try its readers of other formats, some of which write to standard error.
        return Err(flawed("it is no ONNX file, or a damaged one".to_owned()));
    }
    let model = read(runtime, path).map_err(flawed)?;
    let first = recipe.compile(runtime, &model).map_err(flawed)?;
    let ran = first.compiled.property(PRECISION).map_err(flawed)?;
    if ran != recipe.precision {
        let reason = format!("OpenVINO has compiled the model for {ran}");
        return Err(unavailable(asked, reason));
    }
    let about = about(summary, &first.compiled).map_err(flawed)?;
    let info = RuntimeInfo {
        name: "openvino".to_owned(),
        version: runtime.found.version.clone(),
        library: runtime.found.path.clone(),
        available: vec![CPU.to_owned()],
        device_asked: options.device,
        provider: first.compiled.property("EXECUTION_DEVICES").map_err(flawed)?,
        nodes: BTreeMap::from([(CPU.to_owned(), summary.operators.values().sum())]),
        precision: weights.filter(|element| is_integer(*element)).map_or(ran, |own| own.to_string()),
        fallback: None,
    };
    let outputs = about.outputs.iter().map(|output| output.name.clone()).collect();
    let state = Mutex::new(State { model, all: vec![Arc::new(first)] });
    Ok(Opened { sessions: Box::new(Pool { runtime, recipe, outputs, state }), about, runtime: info })
}

/// The library refuses data that a link beside the model leads to elsewhere, unless the model is looked for there, too.
fn read(runtime: &Runtime, path: &Path) -> Result<Read, String> {
    runtime.core.read(path).or_else(|reason| {
        let real = path.canonicalize().ok().filter(|real| real != path).ok_or(reason)?;
        runtime.core.read(&real)
    })
}

const PRECISION: &str = "INFERENCE_PRECISION_HINT";

impl Recipe {
    fn compile(&self, runtime: &Runtime, model: &Read) -> Result<Shared, String> {
        // All that has a default which depends on the machine is set: left to itself, OpenVINO computes in bf16 on CPUs that have
        // it, and binds its threads to cores, which then compete with the decoder.
        let properties = [
            (PRECISION, self.precision.clone()),
            ("DYNAMIC_QUANTIZATION_GROUP_SIZE", "0".to_owned()),
            ("NUM_STREAMS", self.streams.to_string()),
            ("INFERENCE_NUM_THREADS", (self.threads * self.streams).to_string()),
            ("ENABLE_CPU_PINNING", "NO".to_owned()),
            ("ENABLE_HYPER_THREADING", "YES".to_owned()),
        ];
        let compiled = runtime.core.compile(model, CPU, properties)?;
        // The library makes no more streams than there are cores.
        let told = compiled.property("NUM_STREAMS")?;
        let streams = told.parse::<usize>().unwrap_or(1).max(1);
        Ok(Shared { compiled, streams })
    }
}

impl Sessions for Pool {
    fn session(&self, feed: Feed) -> Result<Box<dyn TensorPredictor>, Error> {
        let failed = |reason: String| Error::Predict { reason };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = |shared: &&Arc<Shared>| Arc::strong_count(shared) - 1 < shared.streams;
        let shared = match state.all.iter().find(has_room) {
            Some(shared) => Arc::clone(shared),
            None => {
                let another = Arc::new(self.recipe.compile(self.runtime, &state.model).map_err(failed)?);
                state.all.push(Arc::clone(&another));
                another
            }
        };
        let request = shared.compiled.request().map_err(failed)?;
        Ok(Box::new(Session::new(self.runtime, shared, request, &self.outputs, feed)))
    }
}

/// The precision to compile for.
fn hint(asked: Precision, weights: Option<Element>, capabilities: &[String]) -> Result<String, Error> {
    let unit = match asked {
        Precision::Auto => return Ok("f32".to_owned()),
        Precision::F32 => match weights.filter(|element| is_integer(*element)) {
            None => return Ok("f32".to_owned()),
            Some(own) => {
                let reason =
                    format!("the model's weights are {own}, and OpenVINO computes with them as such");
                return Err(unavailable(asked, reason));
            }
        },
        Precision::Bf16 => "BF16",
        Precision::F16 => "FP16",
    };
    if capabilities.iter().any(|known| known == unit) {
        return Ok(asked.to_string());
    }
    let reason =
        format!("this CPU has no units for it, as OpenVINO tells (it has {})", capabilities.join(", "));
    Err(unavailable(asked, reason))
}

fn is_integer(element: Element) -> bool {
    matches!(element, Element::I8 | Element::U8)
}

fn unavailable(asked: Precision, reason: String) -> Error {
    Error::Precision {
        precision: asked.to_string(),
        reason,
        remedy: "use --precision auto, which computes in f32".to_owned(),
    }
}

/// What the file says, completed by the sizes that the library infers.
fn about(summary: &Summary, compiled: &Compiled) -> Result<About, String> {
    let inferred = compiled.output_shapes()?;
    let (inputs, outputs) = (summary.inputs.len(), summary.outputs.len());
    let (found_inputs, found_outputs) = (compiled.input_count()?, inferred.len());
    if (inputs, outputs) != (found_inputs, found_outputs) {
        return Err(format!(
            "OpenVINO finds {found_inputs} inputs and {found_outputs} outputs in it, where the file has {inputs} and {outputs}"
        ));
    }
    let outputs = summary.outputs.iter().zip(&inferred);
    Ok(About {
        producer: summary.producer.clone(),
        opset: summary.opset,
        metadata: summary.metadata.clone(),
        inputs: summary.inputs.clone(),
        outputs: outputs.map(|(told, inferred)| told.clone().info(inferred.as_deref())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_precision_needs_the_units() {
        let has = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let all = has(&["FP32", "BF16", "FP16", "INT8"]);
        for (asked, expected) in [
            (Precision::Auto, "f32"),
            (Precision::F32, "f32"),
            (Precision::Bf16, "bf16"),
            (Precision::F16, "f16"),
        ] {
            assert_eq!(hint(asked, Some(Element::F32), &all).unwrap(), expected);
        }
        assert_eq!(hint(Precision::Auto, Some(Element::F16), &all).unwrap(), "f32");
        for asked in [Precision::Bf16, Precision::F16] {
            let message = hint(asked, None, &has(&["FP32", "INT8"])).unwrap_err().to_string();
            assert!(message.contains("FP32, INT8") && message.contains("--precision auto"), "{message}");
        }
        let message = hint(Precision::F32, Some(Element::I8), &all).unwrap_err().to_string();
        assert!(message.contains("weights are i8"), "{message}");
    }
}
