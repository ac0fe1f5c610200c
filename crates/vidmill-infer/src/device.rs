//! Which device and which precision to run in: the choices of `--device` and `--precision`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The device asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Device {
    /// The best of ONNX Runtime's that works; what better ones lacked is reported.
    #[default]
    Auto,
    /// ONNX Runtime's CPU provider, nothing else.
    Cpu,
    /// The CUDA provider on this GPU.
    Cuda(u32),
    /// The TensorRT provider on this GPU.
    TensorRt(u32),
    /// OpenVINO on the CPU.
    OpenVino,
}

/// The arithmetic asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// The model's own.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats (IEEE half).
    F16,
    /// 16-bit floats (bfloat16).
    Bf16,
}

impl Device {
    /// What [`FromStr`] takes.
    pub const CHOICES: &'static str = "auto, cpu, cuda, cuda:N, tensorrt, tensorrt:N, openvino";
}

impl Precision {
    /// What [`FromStr`] takes.
    pub const CHOICES: &'static str = "auto, f32, f16, bf16";
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown =
            || Error::Choice { what: "device", given: text.to_owned(), choices: Self::CHOICES.to_owned() };
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, Some(index.parse::<u32>().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (name, index) {
            ("auto", None) => Ok(Self::Auto),
            ("cpu", None) => Ok(Self::Cpu),
            ("openvino", None) => Ok(Self::OpenVino),
            ("cuda", index) => Ok(Self::Cuda(index.unwrap_or(0))),
            ("tensorrt", index) => Ok(Self::TensorRt(index.unwrap_or(0))),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::TensorRt(index) => write!(f, "tensorrt:{index}"),
            Self::OpenVino => f.write_str("openvino"),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "auto" => Ok(Self::Auto),
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            _ => Err(Error::Choice {
                what: "precision",
                given: text.to_owned(),
                choices: Self::CHOICES.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_device_reads_back_as_it_is_shown() {
        for device in [
            Device::Auto,
            Device::Cpu,
            Device::Cuda(0),
            Device::Cuda(3),
            Device::TensorRt(1),
            Device::OpenVino,
        ] {
            assert_eq!(device.to_string().parse::<Device>().unwrap(), device);
        }
        assert_eq!("cuda".parse::<Device>().unwrap(), Device::Cuda(0));
        assert_eq!("tensorrt".parse::<Device>().unwrap(), Device::TensorRt(0));
    }

    #[test]
    fn unknown_devices_are_refused_with_the_choices() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU", "openvino:1", "auto:0"] {
            let message = text.parse::<Device>().unwrap_err().to_string();
            assert!(message.contains("tensorrt:N"), "{text}: {message}");
        }
    }

    #[test]
    fn precisions_read_back_and_unknown_ones_are_refused() {
        for precision in [Precision::Auto, Precision::F32, Precision::F16, Precision::Bf16] {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
        }
        assert!("fp16".parse::<Precision>().unwrap_err().to_string().contains("bf16"));
    }
}
