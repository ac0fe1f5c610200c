//! What runs a model: bytes in, named tensors out.

use smallvec::SmallVec;
use vidmill_image::{ElementType, Size, TensorLayout, TensorSpec};

use crate::Error;

/// Runs a model on batches. One predictor belongs to one worker; several of them run side by side.
pub trait Predictor: Send {
    /// Runs one batch.
    ///
    /// `input` holds exactly `batch` items, one after the other, each as the
    /// [`TensorSpec`](vidmill_image::TensorSpec) given at the predictor's making describes it
    /// (`TensorSpec::item_bytes` bytes each). It is read where it lies, without a copy, so its address must be aligned
    /// to its element's size (4 bytes for f32). A model of fixed batch size takes that size only: the caller pads.
    ///
    /// The outputs are valid until the next call. The same input gives the same outputs, bit by bit, on the same
    /// machine, library and provider.
    ///
    /// # Errors
    /// [`Error::BatchSize`], [`Error::InputBytes`] and [`Error::InputAlignment`] before anything runs;
    /// [`Error::Predict`] when the runtime fails. The predictor can be used again after any of them.
    fn predict(&mut self, input: &[u8], batch: usize) -> Result<Outputs<'_>, Error>;

    /// From now on pictures in the input are of `size`, which the model must take (see [`crate::TaskPlan::spec_for`]).
    fn set_size(&mut self, size: Size);
}

/// Runs a model of one input on tensors as they are, whatever they mean.
pub trait TensorPredictor: Send {
    /// Runs the model on one tensor: `shape`, outermost dimension first, of which the first counts the batch, and its elements in
    /// native byte order, at an address that is aligned to them. It is read where it lies, without a copy.
    ///
    /// The outputs are valid until the next call.
    ///
    /// # Errors
    /// [`Error::InputAlignment`] before anything runs; [`Error::Predict`] when the bytes do not make up the shape, the model does
    /// not take it, or the runtime fails. It can be used again after any of them.
    fn run(&mut self, element: ElementType, shape: &[usize], input: &[u8]) -> Result<Outputs<'_>, Error>;
}

/// One output tensor as `f32` (other number types are converted).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// The model's name for it.
    pub name: &'a str,
    /// Outermost dimension first.
    pub shape: &'a [usize],
    /// As many elements as the shape says, last dimension fastest.
    pub data: &'a [f32],
}

/// The outputs of one batch, in the model's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs<'a> {
    batch: usize,
    tensors: Views<'a>,
}

/// Few models have more outputs than have their place in here.
pub(crate) type Views<'a> = SmallVec<[TensorView<'a>; 12]>;

impl<'a> Outputs<'a> {
    /// Outputs of a batch of `batch` items, from memory of whatever origin.
    pub fn new(batch: usize, tensors: Vec<TensorView<'a>>) -> Self {
        Self::of(batch, Views::from_vec(tensors))
    }
    pub(crate) fn of(batch: usize, tensors: Views<'a>) -> Self {
        debug_assert!(tensors.iter().all(|t| t.shape.iter().product::<usize>() == t.data.len()));
        Self { batch, tensors }
    }
    /// Items in the batch.
    pub fn batch(&self) -> usize {
        self.batch
    }
    /// The output called `name`.
    pub fn get(&self, name: &str) -> Option<&TensorView<'a>> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }
    /// All outputs.
    pub fn iter(&self) -> std::slice::Iter<'_, TensorView<'a>> {
        self.tensors.iter()
    }
}

impl<'o, 'a> IntoIterator for &'o Outputs<'a> {
    type Item = &'o TensorView<'a>;
    type IntoIter = std::slice::Iter<'o, TensorView<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// [`Predictor`] by any [`TensorPredictor`]: batches of items that a [`TensorSpec`] describes.
pub(crate) struct ItemPredictor {
    tensors: Box<dyn TensorPredictor>,
    spec: TensorSpec,
    item: Item,
    fixed_batch: Option<usize>,
}

/// One item of the input, as the runtime counts it.
struct Item {
    element: ElementType,
    dims: [usize; 3],
    bytes: usize,
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

impl ItemPredictor {
    /// A predictor for batches of items as `spec` says, of `fixed_batch` items if the model takes no other number.
    pub(crate) fn new(
        tensors: Box<dyn TensorPredictor>,
        spec: &TensorSpec,
        fixed_batch: Option<usize>,
    ) -> Self {
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

impl Predictor for ItemPredictor {
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
