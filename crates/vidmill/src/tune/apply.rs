//! What was found, put into a run.

use std::borrow::Cow;
use std::time::Duration;

use vidmill_infer::runtime::{onnxruntime, openvino};
use vidmill_infer::{Device, LoadOptions, Precision};

use super::{Request, Tuned, devices, tune};
use crate::error::RunError;
use crate::options::{Options, Tuning};
use crate::predictor::runs_in_python;
use crate::progress::Stop;

/// How long tuning before a run takes.
const BUDGET: Duration = Duration::from_secs(60);

/// The options with what was found for the model in place of what they leave open: device, workers, threads and batch must all be
/// vidmill's to choose, and the precision must be, or be the one that was found best.
pub(crate) fn applied<'o>(options: &'o Options, stop: &Stop) -> Result<Cow<'o, Options>, RunError> {
    let kept = match options.tuning {
        Tuning::Ignore | Tuning::Done => return Ok(Cow::Borrowed(options)),
        _ if !is_open(options) => None,
        Tuning::Use => Tuned::find(&options.model),
        Tuning::Find => Some(find_or_tune(options, &[Precision::Auto], BUDGET, stop, &mut |_| {})?),
    };
    let mut applied = Options { tuning: Tuning::Ignore, ..options.clone() };
    if let Some(best) = kept.as_ref().and_then(|tuned| tuned.report.best()) {
        let asked = options.load.precision;
        if asked == Precision::Auto || asked == best.setting.precision {
            check_runtime(&best.runtime, best.setting.device, options)?;
            best.setting.put_into(&mut applied);
            applied.tuning = Tuning::Done;
        }
    }
    Ok(Cow::Owned(applied))
}

/// What is kept for the options' model; if there is nothing, it is tuned now, on the first source, and the result is kept.
///
/// # Errors
/// As [`tune`]; and when the first source is a stream, which cannot be read several times.
pub fn find_or_tune(
    options: &Options,
    precisions: &[Precision],
    budget: Duration,
    stop: &Stop,
    tell: &mut dyn FnMut(&super::Trial),
) -> Result<Tuned, RunError> {
    if let Some(tuned) = Tuned::find(&options.model) {
        return Ok(tuned);
    }
    let is_stream = |name: &str| name == "-" || name.contains("://");
    let Some(first) = options.sources.first().filter(|name| !is_stream(name)) else {
        return Err(RunError::Tune(
            "settings are measured on the first source, which is read several times and must be a file for that: \
             run `vidmill tune MODEL FILE` before"
                .into(),
        ));
    };
    let run = Options { sources: vec![first.clone()], tuning: Tuning::Ignore, ..options.clone() };
    let request = Request { devices: devices(&run.load), precisions: precisions.to_vec(), budget, run };
    let tuned = tune(&request, stop, tell)?;
    if let Err(error) = tuned.keep() {
        tracing::warn!("what was found by tuning cannot be kept for later runs: {error}");
    }
    Ok(tuned)
}

fn is_open(options: &Options) -> bool {
    let Options { load, workers, batch, model, .. } = options;
    let is_open = load.device == Device::Auto && load.threads == 0 && workers.is_none() && batch.is_none();
    is_open && !runs_in_python(model)
}

/// Whether the runtime is here in the version that was measured: another may be slower, or give other results.
fn check_runtime(measured: &str, device: Device, options: &Options) -> Result<(), RunError> {
    let here = runtime_version(device, &options.load);
    if here.as_deref() == Some(measured) {
        return Ok(());
    }
    let here = here.unwrap_or_else(|| "none".to_owned());
    Err(RunError::Tune(format!(
        "the model was tuned with {measured}, and there is {here} now: run `vidmill tune` again, or leave its settings out by --no-tune"
    )))
}

/// Name and version of the runtime of a device, as it is found here now.
fn runtime_version(device: Device, load: &LoadOptions) -> Option<String> {
    let (name, found) = match device {
        Device::OpenVino => ("openvino", openvino::load(load.openvino_library.as_deref())),
        Device::Auto | Device::Cpu | Device::Cuda(_) | Device::TensorRt(_) => {
            ("onnxruntime", onnxruntime::load(load.runtime_library.as_deref()))
        }
    };
    Some(format!("{name} {}", found.ok()?.0.version))
}
