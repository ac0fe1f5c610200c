//! [`TensorPredictor`] by an ONNX Runtime session.

use half::slice::HalfBitsSliceExt;
use half::{bf16, f16};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType, TensorRef, ValueType};
use vidmill_image::ElementType;

use super::guarded;
use crate::runtime::{Fed, Feed};
use crate::side::SideInput;
use crate::{Element, Error, Outputs, TensorPredictor, TensorView};

/// One session, fed with tensors of any shape.
pub(super) struct OrtTensors {
    session: Session,
    outputs: Vec<Output>,
    fed: Fed<DynValue>,
}

/// One output of the latest batch. The runtime owns its memory; numbers that are not f32 are converted once.
struct Output {
    name: String,
    shape: Vec<usize>,
    value: Option<DynValue>,
    converted: Vec<f32>,
}

impl OrtTensors {
    pub(super) fn new(session: Session, feed: Feed) -> Self {
        let output = |name: &str| Output {
            name: name.to_owned(),
            shape: Vec::new(),
            value: None,
            converted: Vec::new(),
        };
        let outputs = session.outputs().iter().map(|outlet| output(outlet.name())).collect();
        Self { session, outputs, fed: Fed::new(feed) }
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
        let value = borrow(element, shape, input)?;
        // The runtime gets the memory of the last outputs back before it asks for more.
        for output in &mut self.outputs {
            output.value = None;
        }
        let Self { session, outputs, fed } = self;
        let at = fed.at();
        let sides = fed.beside(shape, tensor)?;
        guarded(|| {
            let mut values: Vec<SessionInputValue<'_>> = sides.map(|(_, value)| value.into()).collect();
            values.insert(at, value);
            let found = session.run(values.as_slice()).map_err(|error| error.to_string())?;
            for (output, (name, value)) in outputs.iter_mut().zip(found) {
                debug_assert_eq!(output.name, name);
                output.take(value)?;
            }
            Ok(())
        })
        .map_err(|reason| Error::Predict { reason })?;
        let views = self.outputs.iter().map(Output::view).collect::<Result<_, _>>();
        let batch = shape.first().copied().unwrap_or(1);
        Ok(Outputs::new(batch, views.map_err(|reason| Error::Predict { reason })?))
    }
}

/// A tensor over the caller's bytes.
fn borrow<'a>(
    element: ElementType,
    shape: &'a [usize],
    input: &'a [u8],
) -> Result<SessionInputValue<'a>, Error> {
    let unaligned = |_| Error::InputAlignment { needed: element.bytes() };
    let value = match element {
        ElementType::F32 => {
            let data: &[f32] = bytemuck::try_cast_slice(input).map_err(unaligned)?;
            TensorRef::from_array_view((shape, data)).map(SessionInputValue::from)
        }
        ElementType::F16 => {
            let data: &[u16] = bytemuck::try_cast_slice(input).map_err(unaligned)?;
            let halves: &[f16] = data.reinterpret_cast();
            TensorRef::from_array_view((shape, halves)).map(SessionInputValue::from)
        }
        ElementType::U8 => TensorRef::from_array_view((shape, input)).map(SessionInputValue::from),
    };
    value.map_err(|error| Error::Predict { reason: error.to_string() })
}

impl Output {
    /// Keeps what the runtime gave, converted if it is not f32.
    fn take(&mut self, value: DynValue) -> Result<(), String> {
        let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
            return Err(format!("output '{}' is not a tensor", self.name));
        };
        let kind = *ty;
        self.shape.clear();
        self.shape.extend(shape.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)));
        self.converted.clear();
        // The runtime gives no address for an empty tensor.
        if self.shape.contains(&0) {
            return Ok(());
        }
        match kind {
            TensorElementType::Float32 => {}
            TensorElementType::Float16 => self.convert(&value, f16::to_f32)?,
            TensorElementType::Bfloat16 => self.convert(&value, bf16::to_f32)?,
            TensorElementType::Float64 => self.convert(&value, |v: f64| v as f32)?,
            TensorElementType::Int64 => self.convert(&value, |v: i64| v as f32)?,
            TensorElementType::Int32 => self.convert(&value, |v: i32| v as f32)?,
            TensorElementType::Int8 => self.convert(&value, |v: i8| f32::from(v))?,
            TensorElementType::Uint8 => self.convert(&value, |v: u8| f32::from(v))?,
            other => {
                return Err(format!(
                    "output '{}' holds {other}, which is no number vidmill reads",
                    self.name
                ));
            }
        }
        self.value = (kind == TensorElementType::Float32).then_some(value);
        Ok(())
    }

    fn convert<T: ort::value::PrimitiveTensorElementType + Copy>(
        &mut self,
        value: &DynValue,
        to_f32: impl Fn(T) -> f32,
    ) -> Result<(), String> {
        let (_, data) = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?;
        self.converted.extend(data.iter().map(|&v| to_f32(v)));
        Ok(())
    }

    fn view(&self) -> Result<TensorView<'_>, String> {
        let data = match &self.value {
            Some(value) => value.try_extract_tensor::<f32>().map_err(|error| error.to_string())?.1,
            None => &self.converted,
        };
        Ok(TensorView { name: &self.name, shape: &self.shape, data })
    }
}
