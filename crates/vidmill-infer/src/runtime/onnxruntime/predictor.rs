//! [`Predictor`] by an ONNX Runtime session.

use half::f16;
use ort::session::Session;
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use vidmill_image::{ElementType, Size, TensorLayout, TensorSpec};

use super::call::{Call, Numbers};
use super::guarded;
use crate::side::SideInput;
use crate::{Element, Error, Outputs, Predictor, TensorPredictor, TensorView};

/// One session, fed by one worker.
pub(crate) struct OrtPredictor {
    tensors: OrtTensors,
    spec: TensorSpec,
    item: Item,
    fixed_batch: Option<usize>,
}

/// One session, fed with tensors of any shape.
pub(crate) struct OrtTensors {
    call: Call,
    outputs: Vec<Output>,
    /// The place of what is given among the model's inputs.
    at: usize,
    layout: TensorLayout,
    sides: Vec<SideInput>,
    /// What the side inputs get for batches of this many pictures of this size.
    fed: Option<Fed>,
}

struct Fed {
    batch: usize,
    size: Size,
    values: Vec<DynValue>,
}

/// One item of the input, as the runtime counts it.
struct Item {
    element: ElementType,
    dims: [usize; 3],
    bytes: usize,
}

/// One output of the latest batch. The runtime owns its memory; numbers that are not f32 are converted once.
struct Output {
    name: String,
    shape: Vec<usize>,
    converted: Vec<f32>,
}

impl Item {
    fn of(spec: &TensorSpec) -> Self {
        let (c, h, w) = (spec.channels.count(), spec.size.height as usize, spec.size.width as usize);
        let dims = match spec.layout {
            TensorLayout::Nchw => [c, h, w],
            TensorLayout::Nhwc => [h, w, c],
        };
        Self { element: spec.element, dims, bytes: spec.item_bytes() }
    }
}

impl OrtPredictor {
    /// A predictor for batches of items as `spec` says, of `fixed_batch` items if the model takes no other number.
    pub(crate) fn new(tensors: OrtTensors, spec: &TensorSpec, fixed_batch: Option<usize>) -> Self {
        Self { tensors, spec: spec.clone(), item: Item::of(spec), fixed_batch }
    }

    fn check(&self, input: &[u8], batch: usize) -> Result<(), Error> {
        if batch == 0 || self.fixed_batch.is_some_and(|fixed| fixed != batch) {
            let expected =
                self.fixed_batch.map_or_else(|| "at least 1".to_owned(), |fixed| fixed.to_string());
            return Err(Error::BatchSize { expected, found: batch });
        }
        let expected = self.item.bytes.saturating_mul(batch);
        if input.len() != expected {
            return Err(Error::InputBytes { batch, expected, found: input.len() });
        }
        Ok(())
    }
}

impl Predictor for OrtPredictor {
    fn predict(&mut self, input: &[u8], batch: usize) -> Result<Outputs<'_>, Error> {
        self.check(input, batch)?;
        let [a, b, c] = self.item.dims;
        self.tensors.run(self.item.element, &[batch, a, b, c], input)
    }

    fn set_size(&mut self, size: Size) {
        self.spec.size = size;
        self.item = Item::of(&self.spec);
    }
}

impl OrtTensors {
    /// What is given to it goes to input `at`, which has this layout where it is a picture; `sides` are all others.
    pub(crate) fn new(session: Session, at: usize, layout: TensorLayout, sides: Vec<SideInput>) -> Self {
        let output = |name: &str| Output { name: name.to_owned(), shape: Vec::new(), converted: Vec::new() };
        let outputs = session.outputs().iter().map(|outlet| output(outlet.name())).collect();
        Self { call: Call::new(session), outputs, at, layout, sides, fed: None }
    }

    /// Makes what the side inputs get, unless the last batch was like this one.
    fn feed(&mut self, shape: &[usize]) -> Result<(), Error> {
        if self.sides.is_empty() {
            return Ok(());
        }
        let side = |at: usize| shape.get(at).and_then(|&side| u32::try_from(side).ok()).unwrap_or(0);
        let size = match self.layout {
            TensorLayout::Nchw => Size::new(side(3), side(2)),
            TensorLayout::Nhwc => Size::new(side(2), side(1)),
        };
        let batch = shape.first().copied().unwrap_or(0);
        if !self.fed.as_ref().is_some_and(|fed| (fed.batch, fed.size) == (batch, size)) {
            let values = self.sides.iter().map(|side| tensor(side, batch, size)).collect::<Result<_, _>>();
            let values = values.map_err(|reason| Error::Predict { reason })?;
            self.fed = Some(Fed { batch, size, values });
        }
        Ok(())
    }
}

/// What a side input gets.
fn tensor(side: &SideInput, batch: usize, size: Size) -> Result<DynValue, String> {
    fn of<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
        shape: Vec<usize>,
        numbers: &[f64],
        convert: impl Fn(f64) -> T,
    ) -> ort::Result<DynValue> {
        let data: Vec<T> = numbers.iter().map(|&number| convert(number)).collect();
        Ok(Tensor::from_array((shape, data))?.into_dyn())
    }
    let (shape, numbers) = (side.shape(batch, size), side.numbers(batch, size));
    let value = match side.element {
        Element::F32 => of(shape, &numbers, |n| n as f32),
        Element::F16 => of(shape, &numbers, f16::from_f64),
        Element::F64 => of(shape, &numbers, |n| n),
        Element::I32 => of(shape, &numbers, |n| n as i32),
        Element::I64 => of(shape, &numbers, |n| n as i64),
        Element::U8 => of(shape, &numbers, |n| n as u8),
        Element::Bool => of(shape, &numbers, |n| n != 0.0),
        other => return Err(format!("input '{}' is {other}, which vidmill cannot feed", side.name)),
    };
    value.map_err(|error| format!("input '{}': {error}", side.name))
}

impl TensorPredictor for OrtTensors {
    fn run(&mut self, element: ElementType, shape: &[usize], input: &[u8]) -> Result<Outputs<'_>, Error> {
        if input.as_ptr().align_offset(element.bytes()) != 0 {
            return Err(Error::InputAlignment { needed: element.bytes() });
        }
        self.feed(shape)?;
        let failed = |reason| Error::Predict { reason };
        let sides = self.fed.as_ref().map_or(&[][..], |fed| &fed.values);
        guarded(|| self.call.run(self.at, element, shape, input, sides)).map_err(failed)?;
        let Self { call, outputs, .. } = self;
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
