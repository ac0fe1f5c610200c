//! Execution providers: how each is registered, which precision it can give, and what to do when it cannot be had.

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

use crate::{Device, Element, Error, Precision};

/// The provider that is to run the whole model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    Cpu,
    Cuda(u32),
    TensorRt(u32),
}

/// The CPU provider's name.
pub(super) const CPU: &str = ep::CPU::NAME;

/// What `--device auto` tries before the CPU. TensorRT is not among them: building its engine takes minutes, which must be
/// asked for.
pub(super) const AUTOMATIC: [Provider; 1] = [Provider::Cuda(0)];

impl Provider {
    /// The runtime's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cpu => CPU,
            Self::Cuda(_) => ep::CUDA::NAME,
            Self::TensorRt(_) => ep::TensorRT::NAME,
        }
    }

    /// The device choice that means it.
    pub(super) fn device(self) -> Device {
        match self {
            Self::Cpu => Device::Cpu,
            Self::Cuda(index) => Device::Cuda(index),
            Self::TensorRt(index) => Device::TensorRt(index),
        }
    }

    /// How to register it so that a failure is an error; the CPU needs no registration.
    pub(super) fn registration(self, precision: Precision) -> Option<ExecutionProviderDispatch> {
        let id = |index: u32| i32::try_from(index).unwrap_or(i32::MAX);
        let provider = match self {
            Self::Cpu => return None,
            Self::Cuda(index) => {
                let cuda = ep::CUDA::default().with_device_id(id(index));
                // TF32 rounds the factors of f32 products to 10 bits: not what `f32` says.
                if precision == Precision::F32 { cuda.with_tf32(false) } else { cuda }.build()
            }
            Self::TensorRt(index) => ep::TensorRT::default()
                .with_device_id(id(index))
                .with_fp16(precision == Precision::F16)
                .with_bf16(precision == Precision::Bf16)
                .build(),
        };
        Some(provider.error_on_failure())
    }

    /// The precision that will run, for the record, or why the one asked for cannot.
    pub(super) fn precision(self, asked: Precision, weights: Option<Element>) -> Result<String, Error> {
        let own = weights.map_or_else(|| "f32".to_owned(), |element| element.to_string());
        let own_matches = match asked {
            Precision::Auto => true,
            other => other.to_string() == own,
        };
        match (self, asked) {
            (Self::Cuda(_), Precision::Auto) if own == "f32" => Ok("f32 (tf32 products allowed)".to_owned()),
            _ if own_matches => Ok(own),
            (Self::TensorRt(_), Precision::F16 | Precision::Bf16) if own == "f32" => Ok(asked.to_string()),
            _ => Err(Error::Precision {
                precision: asked.to_string(),
                reason: format!(
                    "the model's weights are {own}, and the {} computes in the model's own precision",
                    self.name()
                ),
                remedy: "use --precision auto, or export the model in the precision you want".to_owned(),
            }),
        }
    }

    /// What to do when the library has no such provider.
    pub(super) fn how_to_get(self) -> &'static str {
        match self {
            Self::Cpu => "reinstall ONNX Runtime",
            Self::Cuda(_) => {
                "install the GPU build beside vidmill, for example by \
                 .venv/bin/pip uninstall -y onnxruntime; .venv/bin/pip install 'onnxruntime-gpu[cuda,cudnn]'"
            }
            Self::TensorRt(_) => {
                "install the GPU build, for example by \
                 .venv/bin/pip uninstall -y onnxruntime; .venv/bin/pip install 'onnxruntime-gpu[cuda,cudnn]', \
                 and TensorRT 10 (libnvinfer.so.10)"
            }
        }
    }

    /// What to do when the provider is in the library but does not start.
    pub(super) fn how_to_start(self) -> &'static str {
        match self {
            Self::Cpu => "see the reason",
            Self::Cuda(_) => {
                "check the driver with nvidia-smi, and that CUDA and cuDNN of the versions this build wants can be loaded \
                 (LD_LIBRARY_PATH)"
            }
            Self::TensorRt(_) => {
                "check the driver with nvidia-smi, and that CUDA, cuDNN and TensorRT 10 (libnvinfer.so.10) can be loaded \
                 (LD_LIBRARY_PATH)"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes_in_the_models_own_precision_only() {
        let on_cpu = |asked, weights| Provider::Cpu.precision(asked, weights);
        assert_eq!(on_cpu(Precision::Auto, Some(Element::F32)).unwrap(), "f32");
        assert_eq!(on_cpu(Precision::Auto, Some(Element::F16)).unwrap(), "f16");
        assert_eq!(on_cpu(Precision::F16, Some(Element::F16)).unwrap(), "f16");
        assert_eq!(on_cpu(Precision::F32, None).unwrap(), "f32");
        for (asked, weights) in [
            (Precision::F16, Some(Element::F32)),
            (Precision::Bf16, Some(Element::F32)),
            (Precision::F16, None),
            (Precision::F32, Some(Element::F16)),
        ] {
            let message = on_cpu(asked, weights).unwrap_err().to_string();
            assert!(message.contains("--precision auto"), "{message}");
        }
    }

    #[test]
    fn tensorrt_lowers_f32_models() {
        let rt = Provider::TensorRt(0);
        assert_eq!(rt.precision(Precision::F16, Some(Element::F32)).unwrap(), "f16");
        assert_eq!(rt.precision(Precision::Bf16, Some(Element::F32)).unwrap(), "bf16");
        assert!(rt.precision(Precision::Bf16, Some(Element::F16)).is_err());
    }
}
