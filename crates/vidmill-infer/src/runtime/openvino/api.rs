//! OpenVINO's C API as it is: the functions that are called here, looked up in the library, and their types
//! (openvino/c/*.h of 2026.4; the same since 2025.1).

#![expect(unsafe_code, reason = "loads a shared library and looks up the functions of a C API")]

use std::ffi::{CStr, c_char, c_void};
use std::panic::catch_unwind;
use std::path::Path;
use std::ptr;

use libloading::Library;

use crate::runtime::find::check_whole;
use crate::runtime::one_line;

/// `ov_status_e`: 0 is success.
pub(super) type Status = i32;

/// `INVALID_C_PARAM`.
pub(super) const INVALID_PARAMETER: Status = -14;

/// `ov_element_type_e`, of which only some are used here.
pub(super) type ElementNumber = i32;

/// `ov_version_t`.
#[repr(C)]
pub(super) struct Version {
    build_number: *const c_char,
    description: *const c_char,
}

/// `ov_shape_t`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub rank: i64,
    pub dims: *mut i64,
}

/// `ov_dimension_t`, and `ov_rank_t`, which is the same: fixed where both are equal.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Dimension {
    pub least: i64,
    pub most: i64,
}

/// `ov_partial_shape_t`.
#[repr(C)]
pub(super) struct PartialShape {
    pub rank: Dimension,
    pub dims: *mut Dimension,
}

/// Objects of the library, seen by their addresses only.
macro_rules! opaque {
    ($($name:ident),*) => { $(#[repr(C)] pub(super) struct $name { _private: [u8; 0] })* };
}
opaque!(OvCore, OvModel, OvCompiled, OvRequest, OvTensor, OvPort);

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),* $(; $dots:tt)?) $(-> $result:ty)?;)*) => {
        /// The functions of a library that stays loaded.
        #[derive(Clone, Copy, Debug)]
        pub(super) struct Api { $(pub $name: unsafe extern "C" fn($($argument),* $(, $dots)?) $(-> $result)?,)* }

        impl Api {
            fn of(library: &Library) -> Result<Self, String> {
                Ok(Self { $($name: {
                    type Function = unsafe extern "C" fn($($argument),* $(, $dots)?) $(-> $result)?;
                    // SAFETY: the function has this signature in all versions that are taken (see the headers).
                    *unsafe { library.get::<Function>(concat!(stringify!($name), "\0").as_bytes()) }
                        .map_err(|_| concat!("it is not OpenVINO: it has no function ", stringify!($name)).to_owned())?
                },)* })
            }
        }
    };
}

functions! {
    ov_free: fn(*const c_char);
    ov_get_error_info: fn(Status) -> *const c_char;
    ov_get_last_err_msg: fn() -> *const c_char;
    ov_core_create: fn(*mut *mut OvCore) -> Status;
    ov_core_get_property: fn(*const OvCore, *const c_char, *const c_char, *mut *mut c_char) -> Status;
    ov_core_read_model: fn(*const OvCore, *const c_char, *const c_char, *mut *mut OvModel) -> Status;
    ov_core_compile_model: fn(*const OvCore, *const OvModel, *const c_char, usize, *mut *mut OvCompiled; ...) -> Status;
    ov_model_free: fn(*mut OvModel);
    ov_compiled_model_inputs_size: fn(*const OvCompiled, *mut usize) -> Status;
    ov_compiled_model_outputs_size: fn(*const OvCompiled, *mut usize) -> Status;
    ov_compiled_model_output_by_index: fn(*const OvCompiled, usize, *mut *mut OvPort) -> Status;
    ov_compiled_model_get_property: fn(*const OvCompiled, *const c_char, *mut *mut c_char) -> Status;
    ov_compiled_model_create_infer_request: fn(*const OvCompiled, *mut *mut OvRequest) -> Status;
    ov_compiled_model_free: fn(*mut OvCompiled);
    ov_port_get_partial_shape: fn(*const OvPort, *mut PartialShape) -> Status;
    ov_output_const_port_free: fn(*mut OvPort);
    ov_partial_shape_free: fn(*mut PartialShape);
    ov_infer_request_set_input_tensor_by_index: fn(*mut OvRequest, usize, *const OvTensor) -> Status;
    ov_infer_request_get_output_tensor_by_index: fn(*const OvRequest, usize, *mut *mut OvTensor) -> Status;
    ov_infer_request_infer: fn(*mut OvRequest) -> Status;
    ov_infer_request_free: fn(*mut OvRequest);
    ov_tensor_create: fn(ElementNumber, Shape, *mut *mut OvTensor) -> Status;
    ov_tensor_create_from_host_ptr: fn(ElementNumber, Shape, *mut c_void, *mut *mut OvTensor) -> Status;
    ov_tensor_get_shape: fn(*const OvTensor, *mut Shape) -> Status;
    ov_tensor_get_element_type: fn(*const OvTensor, *mut ElementNumber) -> Status;
    ov_tensor_get_byte_size: fn(*const OvTensor, *mut usize) -> Status;
    ov_tensor_data: fn(*const OvTensor, *mut *mut c_void) -> Status;
    ov_tensor_free: fn(*mut OvTensor);
    ov_shape_free: fn(*mut Shape) -> Status;
}

/// The version that the library at `path` tells, or why it does not serve. A library that does stays loaded.
pub(super) fn probe(path: &Path) -> Result<String, String> {
    type Getter = unsafe extern "C" fn(*mut Version) -> Status;
    type Freer = unsafe extern "C" fn(*mut Version);
    let foreign = |_| "it is not OpenVINO: it has no function ov_get_openvino_version".to_owned();
    let library = load(path)?;
    // SAFETY: both functions have these signatures in every version (openvino/c/ov_core.h).
    let get = unsafe { library.get::<Getter>(b"ov_get_openvino_version\0") }.map_err(foreign)?;
    // SAFETY: as above.
    let free = unsafe { library.get::<Freer>(b"ov_version_free\0") }.map_err(foreign)?;
    let mut version = Version { build_number: ptr::null(), description: ptr::null() };
    // SAFETY: the function fills a version that lives here.
    if unsafe { get(&mut version) } != 0 {
        return Err("it tells no version".to_owned());
    }
    // SAFETY: the version was filled with NUL-terminated strings, or nothing, and is given back below.
    let text = unsafe { text(version.build_number) };
    // SAFETY: the version that the library filled, given back once.
    unsafe { free(&mut version) };
    // "2026.4.1-22982-d50b14b90ce-releases/2026/4"
    let number = text.split('-').next().unwrap_or_default().to_owned();
    if number.is_empty() { Err("it tells no version".to_owned()) } else { Ok(number) }
}

fn load(path: &Path) -> Result<&'static Library, String> {
    check_whole(path)?;
    // SAFETY: loading runs the library's initialisers. The file is named like OpenVINO's or was named by the user,
    // who answers for it as for any program started; it was checked to be whole, so its pages are there.
    let library = unsafe { Library::new(path) }.map_err(|error| one_line(&error.to_string()))?;
    // Unloading a library that has started threads or registered exit handlers is not safe, so it stays.
    Ok(Box::leak(Box::new(library)))
}

impl Api {
    /// The functions of the library at `path`, which from now on logs to `tracing`.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        type Setter = unsafe extern "C" fn(Option<extern "C" fn(*const c_char)>);
        let library = load(path)?;
        let api = Self::of(library)?;
        // SAFETY: the function has this signature wherever it exists (openvino/c/ov_util.h); older libraries lack it.
        if let Ok(set) = unsafe { library.get::<Setter>(b"ov_util_set_log_callback\0") } {
            // SAFETY: the callback lives as long as the program, and unwinds never.
            unsafe { set(Some(log)) };
        }
        Ok(api)
    }

    /// Success, or what the library says about the failure. It keeps one message for all threads: where two of them fail at
    /// the same moment, they may get each other's.
    pub(super) fn check(&self, status: Status) -> Result<(), String> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: takes nothing, and gives null or a string that is the caller's.
        let told = self.take(unsafe { (self.ov_get_last_err_msg)() });
        if !told.trim().is_empty() {
            return Err(tidy(&told));
        }
        // SAFETY: takes a number, and gives a static string.
        Err(unsafe { text((self.ov_get_error_info)(status)) })
    }

    /// A string that the library has made for its caller.
    pub(super) fn take(&self, string: *const c_char) -> String {
        // SAFETY: null, or NUL-terminated and the caller's, as the functions that give it say.
        let taken = unsafe { text(string) };
        if !string.is_null() {
            // SAFETY: it was made by the library for the caller, and is given back once.
            unsafe { (self.ov_free)(string) };
        }
        taken
    }
}

/// # Safety
/// Null, or a NUL-terminated string.
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// The library calls this with each message, from any thread.
extern "C" fn log(message: *const c_char) {
    // Whatever a subscriber does, it does not unwind into the library.
    let _ = catch_unwind(|| {
        // SAFETY: the library passes a NUL-terminated string that lives during the call.
        let message = unsafe { text(message) };
        tracing::debug!("{}", message.trim_end());
    });
}

/// What a chain of exceptions says, without the places in the library's source that it begins with.
fn tidy(told: &str) -> String {
    const LONGEST: usize = 400;
    let is_place = |line: &&str| {
        let line = line.trim();
        let begins = ["Exception from ", "Check '", "While validating ONNX node"]
            .iter()
            .any(|begin| line.starts_with(begin));
        !(begins && line.ends_with(':'))
    };
    let lines: Vec<&str> = told.lines().filter(is_place).collect();
    let mut text = one_line(&lines.join(" "));
    if text.is_empty() {
        text = one_line(told);
    }
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push_str("...");
    }
    text
}
