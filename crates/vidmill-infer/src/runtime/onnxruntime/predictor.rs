//! [`TensorPredictor`] by an ONNX Runtime session.

use half::f16;
use ort::session::Session;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use vidmill_image::ElementType;

use super::call::{Call, Numbers};
use super::guarded;
use crate::runtime::{Fed, Feed};
use crate::side::SideInput;
use crate::{Element, Error, Outputs, TensorPredictor, TensorView};

/// One session, fed with tensors of any shape.
pub(super) struct OrtTensors {
    call: Call,
    outputs: Vec<Output>,
    fed: Fed<DynValue>,
}

/// One output of the latest batch. The runtime owns its memory; numbers that are not f32 are converted once.
struct Output {
    name: String,
    shape: Vec<usize>,
    converted: Vec<f32>,
}

impl OrtTensors {
    pub(super) fn new(session: Session, feed: Feed) -> Self {
        let output = |name: &str| Output { name: name.to_owned(), shape: Vec::new(), converted: Vec::new() };
        let outputs = session.outputs().iter().map(|outlet| output(outlet.name())).collect();
        Self { call: Call::new(session), outputs, fed: Fed::new(feed) }
    }
}

/// What a side input gets.
fn tensor(side: &SideInput, shape: Vec<usize>, numbers: &[f64]) -> Result<DynValue, String> {
    fn of<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
        shape: Vec<usize>,
        numbers: &[f64],
        convert: impl Fn(f64) -> T,
    ) -> ort::Result<DynValue> {
        let data: Vec<T> = numbers.iter().map(|&number| convert(number)).collect();
        Ok(Tensor::from_array((shape, data))?.into_dyn())
    }
    let value = match side.element {
        Element::F32 => of(shape, numbers, |n| n as f32),
        Element::F16 => of(shape, numbers, f16::from_f64),
        Element::F64 => of(shape, numbers, |n| n),
        Element::I32 => of(shape, numbers, |n| n as i32),
        Element::I64 => of(shape, numbers, |n| n as i64),
        Element::U8 => of(shape, numbers, |n| n as u8),
        Element::Bool => of(shape, numbers, |n| n != 0.0),
        other => return Err(format!("input '{}' is {other}, which vidmill cannot feed", side.name)),
    };
    value.map_err(|error| format!("input '{}': {error}", side.name))
}

impl TensorPredictor for OrtTensors {
    fn run(&mut self, element: ElementType, shape: &[usize], input: &[u8]) -> Result<Outputs<'_>, Error> {
        if input.as_ptr().align_offset(element.bytes()) != 0 {
            return Err(Error::InputAlignment { needed: element.bytes() });
        }
        let failed = |reason| Error::Predict { reason };
        let Self { call, outputs, fed } = self;
        let (at, sides) = (fed.at(), fed.beside(shape, tensor)?);
        guarded(|| call.run(at, element, shape, input, sides)).map_err(failed)?;
        let views = outputs.iter_mut().enumerate().map(|(number, output)| output.view(call, number));
        let views = views.collect::<Result<_, _>>().map_err(failed)?;
        Ok(Outputs::of(shape.first().copied().unwrap_or(1), views))
    }
}

impl Output {
    /// What the runtime gave as output `number`, converted if it is not f32.
    fn view<'a>(&'a mut self, call: &'a Call, number: usize) -> Result<TensorView<'a>, String> {
        let Self { name, shape, converted } = self;
        let Some(numbers) = call.output(number, shape)? else {
            return Err(format!("output '{name}' is not a tensor"));
        };
        let data = match numbers {
            Numbers::F32(numbers) => numbers,
            Numbers::F16(numbers) => convert(converted, numbers, |number| number.to_f32()),
            Numbers::Bf16(numbers) => convert(converted, numbers, |number| number.to_f32()),
            Numbers::F64(numbers) => convert(converted, numbers, |number| number as f32),
            Numbers::I64(numbers) => convert(converted, numbers, |number| number as f32),
            Numbers::I32(numbers) => convert(converted, numbers, |number| number as f32),
            Numbers::I8(numbers) => convert(converted, numbers, f32::from),
            Numbers::U8(numbers) => convert(converted, numbers, f32::from),
            Numbers::Other => {
                return Err(format!("output '{name}' holds elements of a type that vidmill does not read"));
            }
        };
        Ok(TensorView { name, shape, data })
    }
}

/// The same numbers as f32.
fn convert<'a, T: Copy>(converted: &'a mut Vec<f32>, numbers: &[T], to_f32: impl Fn(T) -> f32) -> &'a [f32] {
    converted.clear();
    converted.extend(numbers.iter().map(|&number| to_f32(number)));
    converted
}
