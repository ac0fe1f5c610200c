//! Small ONNX models, written byte by byte (field numbers of onnx.proto), so that tests need no Python; and what runs a suite of
//! tests on each runtime.

#![allow(dead_code, unused_macros, unused_imports, reason = "each test file uses a part")]
#![allow(clippy::print_stdout, reason = "tools/run_tests.py counts what says that it is skipped")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use vidmill_infer::runtime::openvino;
use vidmill_infer::{Device, Error, LoadOptions, Model};

/// Makes of each function a test on each runtime, named by the device that means it.
macro_rules! on_every_runtime {
    ($($test:ident),* $(,)?) => {
        mod cpu {
            $(#[test] fn $test() { super::$test(vidmill_infer::Device::Cpu) })*
        }
        mod openvino {
            $(#[test] fn $test() {
                if $crate::common::has_openvino(stringify!($test)) {
                    super::$test(vidmill_infer::Device::OpenVino)
                }
            })*
        }
    };
}
pub(crate) use on_every_runtime;

/// Whether there is OpenVINO; says that `test` is skipped where there is none.
pub fn has_openvino(test: &str) -> bool {
    match openvino::load(None) {
        Ok(_) => true,
        Err(Error::RuntimeMissing { library, .. }) => {
            println!("skipped: {test}: OpenVINO is missing ({})", library.install);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

/// To run on `device`, and otherwise as usual.
pub fn on(device: Device) -> LoadOptions {
    LoadOptions { device, ..LoadOptions::default() }
}

pub fn open(device: Device, onnx: &Onnx) -> Model {
    Model::open(&onnx.save().0, &on(device)).unwrap_or_else(|error| panic!("{error}"))
}

/// ONNX's numbers of element types.
pub const F32: u64 = 1;
pub const U8: u64 = 2;
pub const INT32: u64 = 6;
pub const INT64: u64 = 7;
pub const F16: u64 = 10;
pub const F64: u64 = 11;

/// A dimension: a number, or a name for any number.
#[derive(Clone, Copy)]
pub enum D {
    N(u64),
    Any(&'static str),
}

/// A model under construction.
#[derive(Clone, Default)]
pub struct Onnx {
    graph: Vec<u8>,
    metadata: Vec<u8>,
}

impl Onnx {
    pub fn new() -> Self {
        let mut onnx = Self::default();
        bytes(&mut onnx.graph, 2, b"test");
        onnx
    }
    pub fn input(mut self, name: &str, element: u64, dims: &[D]) -> Self {
        bytes(&mut self.graph, 11, &value_info(name, element, dims));
        self
    }
    pub fn output(mut self, name: &str, element: u64, dims: &[D]) -> Self {
        bytes(&mut self.graph, 12, &value_info(name, element, dims));
        self
    }
    /// A node with integer attributes.
    pub fn node(mut self, operator: &str, inputs: &[&str], output: &str, attributes: &[(&str, u64)]) -> Self {
        let mut node = Vec::new();
        for input in inputs {
            bytes(&mut node, 1, input.as_bytes());
        }
        bytes(&mut node, 2, output.as_bytes());
        bytes(&mut node, 3, format!("{operator}_{output}").as_bytes());
        bytes(&mut node, 4, operator.as_bytes());
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            bytes(&mut attribute, 1, name.as_bytes());
            number(&mut attribute, 3, *value);
            number(&mut attribute, 20, 2);
            bytes(&mut node, 5, &attribute);
        }
        bytes(&mut self.graph, 1, &node);
        self
    }
    pub fn weights(mut self, name: &str, dims: &[u64], values: &[f32]) -> Self {
        assert_eq!(dims.iter().product::<u64>() as usize, values.len());
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, F32, dims, &raw);
        self
    }
    /// 64-bit integers, as shapes are.
    pub fn integers(mut self, name: &str, values: &[i64]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, INT64, &[values.len() as u64], &raw);
        self
    }
    pub fn half_weights(mut self, name: &str, dims: &[u64], values: &[half::f16]) -> Self {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.tensor(name, F16, dims, &raw);
        self
    }
    /// f32 weights that lie in another file, from byte `offset` on.
    pub fn external_weights(mut self, name: &str, dims: &[u64], location: &str, offset: u64) -> Self {
        let mut tensor = Vec::new();
        for dim in dims {
            number(&mut tensor, 1, *dim);
        }
        number(&mut tensor, 2, F32);
        bytes(&mut tensor, 8, name.as_bytes());
        let length = dims.iter().product::<u64>() * 4;
        let entries = [
            ("location", location.to_owned()),
            ("offset", offset.to_string()),
            ("length", length.to_string()),
        ];
        for (key, value) in entries {
            let mut entry = Vec::new();
            bytes(&mut entry, 1, key.as_bytes());
            bytes(&mut entry, 2, value.as_bytes());
            bytes(&mut tensor, 13, &entry);
        }
        number(&mut tensor, 14, 1);
        bytes(&mut self.graph, 5, &tensor);
        self
    }
    fn tensor(&mut self, name: &str, element: u64, dims: &[u64], raw: &[u8]) {
        let mut tensor = Vec::new();
        for dim in dims {
            number(&mut tensor, 1, *dim);
        }
        number(&mut tensor, 2, element);
        bytes(&mut tensor, 8, name.as_bytes());
        bytes(&mut tensor, 9, raw);
        bytes(&mut self.graph, 5, &tensor);
    }
    pub fn metadata(mut self, key: &str, value: &str) -> Self {
        let mut entry = Vec::new();
        bytes(&mut entry, 1, key.as_bytes());
        bytes(&mut entry, 2, value.as_bytes());
        bytes(&mut self.metadata, 14, &entry);
        self
    }
    pub fn build(&self) -> Vec<u8> {
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        bytes(&mut model, 2, b"vidmill tests");
        bytes(&mut model, 7, &self.graph);
        let mut opset = Vec::new();
        number(&mut opset, 2, 17);
        bytes(&mut model, 8, &opset);
        model.extend(&self.metadata);
        model
    }
    pub fn save(&self) -> File {
        File::with(&self.build())
    }
}

fn value_info(name: &str, element: u64, dims: &[D]) -> Vec<u8> {
    let mut shape = Vec::new();
    for dim in dims {
        let mut one = Vec::new();
        match dim {
            D::N(size) => number(&mut one, 1, *size),
            D::Any(name) => bytes(&mut one, 2, name.as_bytes()),
        }
        bytes(&mut shape, 1, &one);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, element);
    bytes(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    bytes(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

/// A value whose type is a sequence of sequences, which no runtime takes.
pub fn nested_sequence(name: &str) -> Vec<u8> {
    let mut tensor = Vec::new();
    number(&mut tensor, 1, F32);
    let wrap = |number: u64, inner: &[u8]| {
        let mut out = Vec::new();
        bytes(&mut out, number, inner);
        out
    };
    let sequence = |inner: &[u8]| wrap(4, &wrap(1, inner));
    let kind = sequence(&sequence(&wrap(1, &tensor)));
    let mut info = Vec::new();
    bytes(&mut info, 1, name.as_bytes());
    bytes(&mut info, 2, &kind);
    info
}

impl Onnx {
    /// Adds an output as raw bytes.
    pub fn raw_output(mut self, info: &[u8]) -> Self {
        bytes(&mut self.graph, 12, info);
        self
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, field: u64, value: u64) {
    varint(out, field << 3);
    varint(out, value);
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    varint(out, field << 3 | 2);
    varint(out, value.len() as u64);
    out.extend(value);
}

/// A file of its own that goes with its owner.
pub struct File(pub PathBuf);

impl File {
    pub fn with(bytes: &[u8]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("vidmill-infer-{}-{}.onnx", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).expect("the temporary directory can be written");
        Self(path)
    }
}

/// A folder of its own that goes with its owner.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vidmill-infer-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// xorshift64*: numbers that are the same on every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// f32 values as the bytes that a predictor takes.
pub fn as_bytes(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}
