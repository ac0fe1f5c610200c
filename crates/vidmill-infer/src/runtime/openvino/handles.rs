//! Owners of what OpenVINO's C API gives: each frees what it has, keeps alive what it needs, and turns status codes into
//! reasons.

#![expect(unsafe_code, reason = "calls OpenVINO's C API")]

use std::ffi::{CString, c_char};
use std::path::Path;
use std::ptr;

use super::api::{
    Api, Dimension, ElementNumber, INVALID_PARAMETER, OvCompiled, OvCore, OvModel, OvPort, OvRequest,
    OvTensor, PartialShape, Shape, Status,
};
use crate::Element;

/// The library's core, which knows devices. It is never freed, since the process keeps it.
#[derive(Debug)]
pub(super) struct Core {
    api: Api,
    core: *mut OvCore,
}

// SAFETY: `ov::Core` is made for use from several threads ("Core class ... thread safe", openvino/runtime/core.hpp).
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Sync for Core {}

/// A model as it was read.
pub(super) struct Read {
    api: Api,
    model: *mut OvModel,
}

// SAFETY: nothing in a model is bound to a thread, and it is used by one at a time.
unsafe impl Send for Read {}

/// A model, compiled for a device.
#[derive(Debug)]
pub(super) struct Compiled {
    api: Api,
    compiled: *mut OvCompiled,
}

// SAFETY: `ov::CompiledModel` shares one implementation that guards itself; requests are made and properties are read from any
// thread (openvino/runtime/compiled_model.hpp).
unsafe impl Send for Compiled {}
// SAFETY: as above.
unsafe impl Sync for Compiled {}

/// One run at a time of a compiled model, which it keeps alive (the library counts who uses it).
pub(super) struct Request {
    api: Api,
    request: *mut OvRequest,
    /// What the last run gave.
    outputs: Vec<Tensor>,
}

// SAFETY: a request may move between threads, as long as one at a time uses it; `&mut` sees to that.
unsafe impl Send for Request {}

/// A tensor: shape, type and elements, which it or somebody else owns.
pub(super) struct Tensor {
    api: Api,
    tensor: *mut OvTensor,
}

// SAFETY: nothing in a tensor is bound to a thread, and its elements are written only through `&mut`.
unsafe impl Send for Tensor {}

/// Elements and their numbers in `ov_element_type_e`.
const ELEMENTS: [(Element, ElementNumber); 15] = [
    (Element::Bool, 1),
    (Element::Bf16, 2),
    (Element::F16, 3),
    (Element::F32, 4),
    (Element::F64, 5),
    (Element::I8, 7),
    (Element::I16, 8),
    (Element::I32, 9),
    (Element::I64, 10),
    (Element::U8, 16),
    (Element::U16, 17),
    (Element::U32, 18),
    (Element::U64, 19),
    (Element::String, 23),
    (Element::Other, 0),
];

fn number(element: Element) -> ElementNumber {
    ELEMENTS.iter().find(|(known, _)| *known == element).map_or(0, |&(_, number)| number)
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("'{}' holds a NUL byte", text.escape_debug()))
}

/// The object that `make` gives.
fn made<T>(api: &Api, make: impl FnOnce(*mut *mut T) -> Status) -> Result<*mut T, String> {
    let mut object = ptr::null_mut();
    api.check(make(&mut object))?;
    if object.is_null() { Err("the library gave nothing".to_owned()) } else { Ok(object) }
}

impl Core {
    pub(super) fn new(api: Api) -> Result<Self, String> {
        // SAFETY: the function fills the pointer that it is given.
        let core = made(&api, |out| unsafe { (api.ov_core_create)(out) })?;
        Ok(Self { api, core })
    }

    /// What a device says of itself; several values are separated by spaces.
    pub(super) fn device_property(&self, device: &str, key: &str) -> Result<String, String> {
        let (device, key) = (c_string(device)?, c_string(key)?);
        let value = made(&self.api, |out: *mut *mut c_char| {
            // SAFETY: the core is alive, and the strings are NUL-terminated.
            unsafe { (self.api.ov_core_get_property)(self.core, device.as_ptr(), key.as_ptr(), out) }
        })?;
        Ok(self.api.take(value))
    }

    pub(super) fn read(&self, path: &Path) -> Result<Read, String> {
        let path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| "its path holds a NUL byte".to_owned())?;
        let model = made(&self.api, |out| {
            // SAFETY: the core is alive, the path NUL-terminated; null leaves the weights' file to the library.
            unsafe { (self.api.ov_core_read_model)(self.core, path.as_ptr(), ptr::null(), out) }
        })?;
        Ok(Read { api: self.api, model })
    }

    /// Compiles a model for a device, with these keys and values.
    pub(super) fn compile(
        &self,
        model: &Read,
        device: &str,
        properties: [(&str, String); 6],
    ) -> Result<Compiled, String> {
        let device = c_string(device)?;
        let mut words = Vec::with_capacity(2 * properties.len());
        for (key, value) in &properties {
            words.extend([c_string(key)?, c_string(value)?]);
        }
        let p: [*const c_char; 12] = std::array::from_fn(|at| words[at].as_ptr());
        let compile = self.api.ov_core_compile_model;
        let compiled = made(&self.api, |out| {
            // SAFETY: core and model are alive; of the strings that follow the library reads as many as it is told, which are
            // there and NUL-terminated.
            unsafe {
                compile(
                    self.core,
                    model.model,
                    device.as_ptr(),
                    p.len(),
                    out,
                    p[0],
                    p[1],
                    p[2],
                    p[3],
                    p[4],
                    p[5],
                    p[6],
                    p[7],
                    p[8],
                    p[9],
                    p[10],
                    p[11],
                )
            }
        })?;
        Ok(Compiled { api: self.api, compiled })
    }
}

impl Compiled {
    /// What it was compiled with.
    pub(super) fn property(&self, key: &str) -> Result<String, String> {
        let key = c_string(key)?;
        let value = made(&self.api, |out: *mut *mut c_char| {
            // SAFETY: the model is alive, and the string NUL-terminated.
            unsafe { (self.api.ov_compiled_model_get_property)(self.compiled, key.as_ptr(), out) }
        })?;
        Ok(self.api.take(value))
    }

    pub(super) fn request(&self) -> Result<Request, String> {
        let request = made(&self.api, |out| {
            // SAFETY: the model is alive.
            unsafe { (self.api.ov_compiled_model_create_infer_request)(self.compiled, out) }
        })?;
        Ok(Request { api: self.api, request, outputs: Vec::new() })
    }

    pub(super) fn input_count(&self) -> Result<usize, String> {
        let mut count = 0;
        // SAFETY: the model is alive; the function fills the number.
        self.api.check(unsafe { (self.api.ov_compiled_model_inputs_size)(self.compiled, &mut count) })?;
        Ok(count)
    }

    /// The shapes of its outputs as far as they are known: no rank, or sizes that are fixed or not.
    pub(super) fn output_shapes(&self) -> Result<Vec<Option<Vec<Option<u64>>>>, String> {
        let mut count = 0;
        // SAFETY: the model is alive; the function fills the number.
        self.api.check(unsafe { (self.api.ov_compiled_model_outputs_size)(self.compiled, &mut count) })?;
        (0..count).map(|at| self.output_shape(at)).collect()
    }

    fn output_shape(&self, at: usize) -> Result<Option<Vec<Option<u64>>>, String> {
        let port: *mut OvPort = made(&self.api, |out| {
            // SAFETY: the model is alive.
            unsafe { (self.api.ov_compiled_model_output_by_index)(self.compiled, at, out) }
        })?;
        let any = Dimension { least: 0, most: -1 };
        let mut shape = PartialShape { rank: any, dims: ptr::null_mut() };
        // SAFETY: the port was given just now, and the function fills the shape.
        let status = self.api.check(unsafe { (self.api.ov_port_get_partial_shape)(port, &mut shape) });
        // SAFETY: given by the library, given back once.
        unsafe { (self.api.ov_output_const_port_free)(port) };
        status?;
        let rank = fixed(shape.rank).and_then(|rank| usize::try_from(rank).ok());
        let dims = rank.map(|rank| {
            if rank == 0 || shape.dims.is_null() {
                return Vec::new();
            }
            // SAFETY: a shape of fixed rank has as many dimensions, until it is freed below.
            unsafe { std::slice::from_raw_parts(shape.dims, rank) }.iter().map(|&dim| fixed(dim)).collect()
        });
        // SAFETY: filled by the library, given back once.
        unsafe { (self.api.ov_partial_shape_free)(&mut shape) };
        Ok(dims)
    }
}

fn fixed(dim: Dimension) -> Option<u64> {
    (dim.least == dim.most).then(|| u64::try_from(dim.least).ok()).flatten()
}

impl Request {
    /// Sets an input, which stays until another takes its place.
    pub(super) fn set_input(&mut self, at: usize, tensor: &Tensor) -> Result<(), String> {
        // SAFETY: both are alive; the request shares what the tensor owns.
        let status =
            unsafe { (self.api.ov_infer_request_set_input_tensor_by_index)(self.request, at, tensor.tensor) };
        self.api.check(status)
    }

    /// Runs the model on the caller's thread, with `input` as its input `at`, and keeps its first `outputs` outputs.
    pub(super) fn run(
        &mut self,
        at: usize,
        element: Element,
        shape: &[usize],
        input: &[u8],
        outputs: usize,
    ) -> Result<(), String> {
        self.outputs.clear();
        let tensor = Tensor::over(self.api, element, shape, input)?;
        self.set_input(at, &tensor)?;
        // SAFETY: the request is alive. `input` is borrowed until the end of this call, and all other inputs own what they hold.
        // Afterwards the request still knows the address, but looks there only in another run, before which this function sets
        // another tensor.
        self.api.check(unsafe { (self.api.ov_infer_request_infer)(self.request) })?;
        for at in 0..outputs {
            let tensor = made(&self.api, |out| {
                // SAFETY: the request is alive.
                unsafe { (self.api.ov_infer_request_get_output_tensor_by_index)(self.request, at, out) }
            })?;
            self.outputs.push(Tensor { api: self.api, tensor });
        }
        Ok(())
    }

    /// An output of the last run.
    pub(super) fn output(&self, at: usize) -> Option<&Tensor> {
        self.outputs.get(at)
    }
}

impl Tensor {
    /// A tensor over `bytes`, which must outlive all use of it.
    fn over(api: Api, element: Element, shape: &[usize], bytes: &[u8]) -> Result<Self, String> {
        let mut dims = dims(shape)?;
        let shape = Shape { rank: dims.len() as i64, dims: dims.as_mut_ptr() };
        let tensor = made(&api, |out| {
            // SAFETY: the shape lives during the call, which copies it. Inputs are only read.
            unsafe {
                (api.ov_tensor_create_from_host_ptr)(
                    number(element),
                    shape,
                    bytes.as_ptr().cast_mut().cast(),
                    out,
                )
            }
        })?;
        let tensor = Self { api, tensor };
        let expected = tensor.byte_size()?;
        if expected != bytes.len() {
            return Err(format!("the shape takes {expected} bytes, not {}", bytes.len()));
        }
        Ok(tensor)
    }

    /// A tensor of its own, with these elements in native byte order.
    pub(super) fn holding(
        core: &Core,
        element: Element,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<Self, String> {
        let api = core.api;
        let mut dims = dims(shape)?;
        let shape = Shape { rank: dims.len() as i64, dims: dims.as_mut_ptr() };
        // SAFETY: the shape lives during the call, which copies it.
        let tensor = made(&api, |out| unsafe { (api.ov_tensor_create)(number(element), shape, out) })?;
        let tensor = Self { api, tensor };
        let expected = tensor.byte_size()?;
        if expected != bytes.len() {
            return Err(format!("the shape takes {expected} bytes, not {}", bytes.len()));
        }
        if expected > 0 {
            let data = tensor.data()?;
            // SAFETY: the tensor has as many bytes there, its own, which nobody else knows yet.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len()) };
        }
        Ok(tensor)
    }

    fn byte_size(&self) -> Result<usize, String> {
        let mut bytes = 0;
        // SAFETY: the tensor is alive; the function fills the number.
        self.api.check(unsafe { (self.api.ov_tensor_get_byte_size)(self.tensor, &mut bytes) })?;
        Ok(bytes)
    }

    fn data(&self) -> Result<*mut u8, String> {
        // SAFETY: the tensor is alive; the function fills the pointer.
        Ok(made(&self.api, |out| unsafe { (self.api.ov_tensor_data)(self.tensor, out) })?.cast())
    }

    pub(super) fn element(&self) -> Result<Element, String> {
        let mut number = 0;
        // SAFETY: the tensor is alive; the function fills the number.
        self.api.check(unsafe { (self.api.ov_tensor_get_element_type)(self.tensor, &mut number) })?;
        let known = ELEMENTS.iter().find(|(_, known)| *known == number);
        Ok(known.map_or(Element::Other, |&(element, _)| element))
    }

    /// Puts its shape in place of what `into` holds.
    pub(super) fn shape(&self, into: &mut Vec<usize>) -> Result<(), String> {
        let mut shape = Shape { rank: 0, dims: ptr::null_mut() };
        into.clear();
        // SAFETY: the tensor is alive; the function fills the shape.
        let status = unsafe { (self.api.ov_tensor_get_shape)(self.tensor, &mut shape) };
        // The library has no shape for scalars, and takes them for a mistake of the caller's.
        if status == INVALID_PARAMETER {
            return Ok(());
        }
        self.api.check(status)?;
        let rank = usize::try_from(shape.rank).unwrap_or(0);
        if rank > 0 && !shape.dims.is_null() {
            // SAFETY: the library filled in as many dimensions, and frees them below.
            let dims = unsafe { std::slice::from_raw_parts(shape.dims, rank) };
            into.extend(dims.iter().map(|&dim| usize::try_from(dim).unwrap_or(0)));
        }
        // SAFETY: filled by the library, given back once.
        self.api.check(unsafe { (self.api.ov_shape_free)(&mut shape) })
    }

    /// Its elements, as bytes in native order.
    pub(super) fn bytes(&self) -> Result<&[u8], String> {
        let bytes = self.byte_size()?;
        if bytes == 0 {
            return Ok(&[]);
        }
        // SAFETY: the tensor has as many bytes there. Those of an output are written by the next run only, and this borrows from
        // the request, which runs through `&mut`; others are written by nobody.
        Ok(unsafe { std::slice::from_raw_parts(self.data()?, bytes) })
    }
}

fn dims(shape: &[usize]) -> Result<Vec<i64>, String> {
    let dims = shape.iter().map(|&dim| i64::try_from(dim));
    dims.collect::<Result<_, _>>().map_err(|_| format!("{shape:?} is no shape"))
}

impl Drop for Read {
    fn drop(&mut self) {
        // SAFETY: given by the library, freed once.
        unsafe { (self.api.ov_model_free)(self.model) };
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        // SAFETY: given by the library, freed once; requests keep what they need.
        unsafe { (self.api.ov_compiled_model_free)(self.compiled) };
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.outputs.clear();
        // SAFETY: given by the library, freed once.
        unsafe { (self.api.ov_infer_request_free)(self.request) };
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        // SAFETY: given by the library, freed once.
        unsafe { (self.api.ov_tensor_free)(self.tensor) };
    }
}
