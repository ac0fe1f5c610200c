//! Runs a session by ONNX Runtime's C API (onnxruntime_c_api.h). The binding's own way to do it takes memory for every name,
//! value, type and shape of every run; this one keeps its memory.

#![expect(unsafe_code, reason = "calls ONNX Runtime's C API")]

use std::ffi::{CString, c_char, c_void};
use std::{ptr, slice};

use half::{bf16, f16};
use ort::AsPointer;
use ort::memory::MemoryInfo;
use ort::session::Session;
use ort::sys::{ONNXTensorElementDataType as Kind, OrtStatusPtr, OrtTensorTypeAndShapeInfo, OrtValue};
use ort::value::DynValue;
use vidmill_image::ElementType;

/// A session with all that a run of it takes, and the outputs of the last one.
pub(super) struct Call {
    inputs: Names,
    outputs: Names,
    /// Of the run that is being prepared.
    values: Vec<*const OrtValue>,
    shape: Vec<i64>,
    /// A value for each output, or null. The session outlives them.
    results: Vec<*mut OrtValue>,
    memory: MemoryInfo<'static>,
    session: Session,
}

// SAFETY: the pointers lead to what is owned here: values, which any one thread may use at a time, and names, which nobody changes.
unsafe impl Send for Call {}

/// Names as the runtime takes them.
struct Names {
    pointers: Vec<*const c_char>,
    /// What these point to.
    _texts: Vec<CString>,
}

impl Names {
    fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        // The runtime gave them as C strings, which hold no zero.
        let texts: Vec<CString> = names.map(|name| CString::new(name).unwrap_or_default()).collect();
        Self { pointers: texts.iter().map(|text| text.as_ptr()).collect(), _texts: texts }
    }
}

/// The elements of a tensor.
#[derive(Clone, Copy)]
pub(super) enum Numbers<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
    F64(&'a [f64]),
    I64(&'a [i64]),
    I32(&'a [i32]),
    I8(&'a [i8]),
    U8(&'a [u8]),
    /// Of a type that is not read.
    Other,
}

impl Call {
    pub(super) fn new(session: Session) -> Self {
        let inputs = Names::of(session.inputs().iter().map(|input| input.name()));
        let outputs = Names::of(session.outputs().iter().map(|output| output.name()));
        let results = vec![ptr::null_mut(); outputs.pointers.len()];
        let (values, shape) = (Vec::new(), Vec::new());
        Self { inputs, outputs, values, shape, results, memory: MemoryInfo::default(), session }
    }

    /// Runs the session. Input `at` is the tensor of this shape over `bytes`, which are aligned to its elements; `others` are those
    /// before and after it.
    pub(super) fn run(
        &mut self,
        at: usize,
        element: ElementType,
        shape: &[usize],
        bytes: &[u8],
        others: &[DynValue],
    ) -> Result<(), String> {
        // The runtime gets the memory of the last outputs back before it asks for more.
        self.release();
        let lent = self.lend(element, shape, bytes)?;
        let (before, after) = others.split_at_checked(at).ok_or("there are too few inputs")?;
        self.values.clear();
        self.values.extend(before.iter().map(AsPointer::ptr));
        self.values.push(lent.0);
        self.values.extend(after.iter().map(AsPointer::ptr));
        if self.values.len() != self.inputs.pointers.len() {
            let (given, wanted) = (self.values.len(), self.inputs.pointers.len());
            return Err(format!("{given} inputs were given to a model of {wanted}"));
        }
        let Self { inputs, outputs, values, results, session, .. } = self;
        // SAFETY: the session is ours alone; there are as many names as values of either kind, and all of them live; outputs are
        // null, so the runtime makes them, and they are ours.
        check(unsafe {
            (ort::api().Run)(
                session.ptr().cast_mut(),
                ptr::null(),
                inputs.pointers.as_ptr(),
                values.as_ptr(),
                values.len(),
                outputs.pointers.as_ptr(),
                outputs.pointers.len(),
                results.as_mut_ptr(),
            )
        })
    }

    /// A tensor over bytes of ours, which must stay until it is gone.
    fn lend(&mut self, element: ElementType, shape: &[usize], bytes: &[u8]) -> Result<Value, String> {
        let kind = match element {
            ElementType::F32 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            ElementType::F16 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
            ElementType::U8 => Kind::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        };
        let whole = shape.iter().try_fold(element.bytes(), |product, &dim| product.checked_mul(dim));
        if whole != Some(bytes.len()) {
            return Err(format!("{} bytes are no tensor of shape {shape:?}", bytes.len()));
        }
        self.shape.clear();
        self.shape.extend(shape.iter().map(|&dim| dim as i64));
        let mut value = ptr::null_mut();
        // SAFETY: the runtime only reads inputs, though it takes their address as one to write to; the bytes make up the shape.
        check(unsafe {
            (ort::api().CreateTensorWithDataAsOrtValue)(
                self.memory.ptr(),
                bytes.as_ptr().cast_mut().cast::<c_void>(),
                bytes.len(),
                self.shape.as_ptr(),
                self.shape.len(),
                kind,
                &mut value,
            )
        })?;
        Ok(Value(value))
    }

    /// Output `number` of the last run: its dimensions go to `shape`, its elements are lent. `None` where it is no tensor.
    pub(super) fn output(
        &self,
        number: usize,
        shape: &mut Vec<usize>,
    ) -> Result<Option<Numbers<'_>>, String> {
        let api = ort::api();
        let value = self.results[number];
        let mut is_tensor = 0;
        if !value.is_null() {
            // SAFETY: the value is ours.
            check(unsafe { (api.IsTensor)(value, &mut is_tensor) })?;
        }
        if is_tensor == 0 {
            return Ok(None);
        }
        let kind = describe(value, shape)?;
        let count = shape.iter().product();
        // The runtime gives no address for an empty tensor.
        if count == 0 {
            return Ok(Some(Numbers::F32(&[])));
        }
        let mut data = ptr::null_mut();
        // SAFETY: a tensor of ours.
        check(unsafe { (api.GetTensorMutableData)(value, &mut data) })?;
        // SAFETY: the tensor has `count` elements of this type there, and lives until the next run, which needs `&mut self`.
        Ok(Some(unsafe { Numbers::at(kind, data, count) }))
    }

    fn release(&mut self) {
        for value in &mut self.results {
            drop(Value(std::mem::replace(value, ptr::null_mut())));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.release();
    }
}

/// A value that is ours, or null.
struct Value(*mut OrtValue);

impl Drop for Value {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, and never used again.
            unsafe { (ort::api().ReleaseValue)(self.0) };
        }
    }
}

/// What a tensor says of itself.
struct Facts(*mut OrtTensorTypeAndShapeInfo);

impl Drop for Facts {
    fn drop(&mut self) {
        // SAFETY: ours, and never used again.
        unsafe { (ort::api().ReleaseTensorTypeAndShapeInfo)(self.0) };
    }
}

/// The type of a tensor's elements, as the runtime numbers it; the dimensions go to `shape`.
fn describe(tensor: *const OrtValue, shape: &mut Vec<usize>) -> Result<i32, String> {
    const MOST: usize = 16;
    let api = ort::api();
    let mut facts = ptr::null_mut();
    // SAFETY: a tensor; what is given is ours to release.
    check(unsafe { (api.GetTensorTypeAndShape)(tensor, &mut facts) })?;
    let facts = Facts(facts);
    // A number that this build may not know.
    let mut kind = 0_i32;
    // SAFETY: a C enumeration is an `int`.
    check(unsafe { (api.GetTensorElementType)(facts.0, (&raw mut kind).cast()) })?;
    let (mut count, mut dims) = (0, [0_i64; MOST]);
    // SAFETY: as above.
    check(unsafe { (api.GetDimensionsCount)(facts.0, &mut count) })?;
    if count > MOST {
        return Err(format!("an output has {count} dimensions; at most {MOST} are read"));
    }
    // SAFETY: there is room for as many.
    check(unsafe { (api.GetDimensions)(facts.0, dims.as_mut_ptr(), count) })?;
    shape.clear();
    shape.extend(dims[..count].iter().map(|&dim| usize::try_from(dim).unwrap_or(0)));
    Ok(kind)
}

/// What the runtime says of a call.
pub(super) fn check(status: OrtStatusPtr) -> Result<(), String> {
    // SAFETY: the status comes from the call just made, and ownership passes on.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| error.to_string())
}

impl<'a> Numbers<'a> {
    /// # Safety
    /// `data` points to `count` elements of the type `kind`, which stay as they are for `'a`.
    unsafe fn at(kind: i32, data: *const c_void, count: usize) -> Self {
        macro_rules! read {
            ($($number:ident => $variant:ident),*) => {
                // SAFETY: the caller's promise; the runtime aligns tensors to 64 bytes.
                unsafe {
                    match kind {
                        $(kind if kind == Kind::$number as i32 =>
                            Self::$variant(slice::from_raw_parts(data.cast(), count)),)*
                        _ => Self::Other,
                    }
                }
            };
        }
        read!(
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT => F32,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 => F16,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 => Bf16,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE => F64,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 => I64,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32 => I32,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 => I8,
            ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 => U8
        )
    }
}
