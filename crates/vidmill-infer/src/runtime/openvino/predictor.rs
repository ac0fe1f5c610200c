//! [`TensorPredictor`] by a request of a compiled model.

use std::sync::Arc;

use bytemuck::AnyBitPattern;
use half::{bf16, f16};
use vidmill_image::ElementType;

use super::Runtime;
use super::handles::{Request, Tensor};
use super::open::Shared;
use crate::runtime::{Fed, Feed};
use crate::side::SideInput;
use crate::{Element, Error, Outputs, TensorPredictor, TensorView};

/// One request, which has a stream to itself.
pub(super) struct Session {
    // Fields are dropped in this order: the request goes before the stream is free for another.
    request: Request,
    fed: Fed<Tensor>,
    outputs: Vec<Output>,
    runtime: &'static Runtime,
    _stream: Arc<Shared>,
}

/// One output of the latest batch. The request owns its memory; numbers that are not f32 are converted once.
struct Output {
    name: String,
    shape: Vec<usize>,
    is_f32: bool,
    converted: Vec<f32>,
}

impl Session {
    pub(super) fn new(
        runtime: &'static Runtime,
        stream: Arc<Shared>,
        request: Request,
        outputs: &[String],
        feed: Feed,
    ) -> Self {
        let output = |name: &String| Output {
            name: name.clone(),
            shape: Vec::new(),
            is_f32: false,
            converted: Vec::new(),
        };
        let outputs = outputs.iter().map(output).collect();
        Self { request, fed: Fed::new(feed), outputs, runtime, _stream: stream }
    }

    fn try_run(&mut self, element: Element, shape: &[usize], input: &[u8]) -> Result<(), String> {
        let at = self.fed.at();
        self.request.run(at, element, shape, input, self.outputs.len())?;
        for (at, output) in self.outputs.iter_mut().enumerate() {
            let tensor = self.request.output(at).ok_or("an output is missing")?;
            output.take(tensor)?;
        }
        Ok(())
    }
}

impl TensorPredictor for Session {
    fn run(&mut self, element: ElementType, shape: &[usize], input: &[u8]) -> Result<Outputs<'_>, Error> {
        let failed = |reason: String| Error::Predict { reason };
        if input.as_ptr().align_offset(element.bytes()) != 0 {
            return Err(Error::InputAlignment { needed: element.bytes() });
        }
        let element = match element {
            ElementType::F32 => Element::F32,
            ElementType::F16 => Element::F16,
            ElementType::U8 => Element::U8,
        };
        let core = &self.runtime.core;
        let make = |side: &SideInput, shape: Vec<usize>, numbers: &[f64]| {
            Tensor::holding(core, side.element, &shape, &encode(side.element, numbers)?)
                .map_err(|reason| format!("input '{}': {reason}", side.name))
        };
        self.fed.beside(shape, make)?;
        for (at, tensor) in self.fed.values() {
            self.request.set_input(at, tensor).map_err(failed)?;
        }
        self.try_run(element, shape, input).map_err(failed)?;
        let views = self.outputs.iter().enumerate().map(|(at, output)| output.view(self.request.output(at)));
        let views = views.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Outputs::of(shape.first().copied().unwrap_or(1), views))
    }
}

/// Numbers as elements in native byte order.
fn encode(element: Element, numbers: &[f64]) -> Result<Vec<u8>, String> {
    fn of<const N: usize>(numbers: &[f64], convert: impl Fn(f64) -> [u8; N]) -> Vec<u8> {
        numbers.iter().flat_map(|&number| convert(number)).collect()
    }
    Ok(match element {
        Element::F32 => of(numbers, |n| (n as f32).to_ne_bytes()),
        Element::F16 => of(numbers, |n| f16::from_f64(n).to_ne_bytes()),
        Element::F64 => of(numbers, f64::to_ne_bytes),
        Element::I32 => of(numbers, |n| (n as i32).to_ne_bytes()),
        Element::I64 => of(numbers, |n| (n as i64).to_ne_bytes()),
        Element::U8 => of(numbers, |n| [n as u8]),
        Element::Bool => of(numbers, |n| [u8::from(n != 0.0)]),
        other => return Err(format!("it is {other}, which vidmill cannot feed")),
    })
}

impl Output {
    /// Notes what the last run gave, and converts it if it is not f32.
    fn take(&mut self, tensor: &Tensor) -> Result<(), String> {
        tensor.shape(&mut self.shape)?;
        self.converted.clear();
        let element = tensor.element()?;
        self.is_f32 = element == Element::F32;
        match element {
            Element::F32 => Ok(()),
            Element::F16 => self.convert(tensor, |bits: u16| f16::from_bits(bits).to_f32()),
            Element::Bf16 => self.convert(tensor, |bits: u16| bf16::from_bits(bits).to_f32()),
            Element::F64 => self.convert(tensor, |v: f64| v as f32),
            Element::I64 => self.convert(tensor, |v: i64| v as f32),
            Element::I32 => self.convert(tensor, |v: i32| v as f32),
            Element::I8 => self.convert(tensor, |v: i8| f32::from(v)),
            Element::U8 => self.convert(tensor, |v: u8| f32::from(v)),
            other => Err(format!("output '{}' holds {other}, which is no number vidmill reads", self.name)),
        }
    }

    fn convert<T: AnyBitPattern>(
        &mut self,
        tensor: &Tensor,
        to_f32: impl Fn(T) -> f32,
    ) -> Result<(), String> {
        self.converted.extend(elements::<T>(tensor)?.iter().map(|&v| to_f32(v)));
        Ok(())
    }

    fn view<'a>(&'a self, tensor: Option<&'a Tensor>) -> Result<TensorView<'a>, String> {
        let data = match tensor {
            Some(tensor) if self.is_f32 => elements(tensor)?,
            _ => &self.converted,
        };
        Ok(TensorView { name: &self.name, shape: &self.shape, data })
    }
}

fn elements<T: AnyBitPattern>(tensor: &Tensor) -> Result<&[T], String> {
    let bytes = tensor.bytes()?;
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|error| format!("an output is out of line: {error}"))
}
