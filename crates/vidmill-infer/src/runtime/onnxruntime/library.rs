//! A look at a library file before it is made the process's runtime: does it load, and what version is it?

#![expect(unsafe_code, reason = "loads a shared library and calls the two functions that tell its version")]

use std::ffi::CStr;
use std::path::Path;

use libloading::Library;
use ort::sys::OrtApiBase;

use crate::runtime::find::check_whole;

/// The oldest version that has every call this build makes.
pub(super) fn needed_version() -> String {
    format!("1.{}", ort::MINOR_VERSION)
}

/// Whether `version` ("1.32.0") has every call this build makes.
pub(super) fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(1), Some(ort::MINOR_VERSION))
}

/// The version that the library at `path` tells, or why it does not serve. A library that does stays loaded.
pub(super) fn probe(path: &Path) -> Result<String, String> {
    check_whole(path)?;
    // SAFETY: loading runs the library's initialisers. The file is named like ONNX Runtime's or was named by the user,
    // who answers for it as for any program started; it was checked to be whole, so its pages are there.
    let library = unsafe { Library::new(path) }.map_err(|error| error.to_string())?;
    let version = version(&library)?;
    // Unloading a library that has started threads or registered exit handlers is not safe, so it stays.
    std::mem::forget(library);
    Ok(version)
}

fn version(library: &Library) -> Result<String, String> {
    type Getter = unsafe extern "C" fn() -> *const OrtApiBase;
    // SAFETY: `OrtGetApiBase` has this signature in every version of ONNX Runtime (onnxruntime_c_api.h).
    let getter = unsafe { library.get::<Getter>(b"OrtGetApiBase\0") }
        .map_err(|_| "it is not ONNX Runtime: it has no function OrtGetApiBase".to_owned())?;
    // SAFETY: the function takes nothing and gives a pointer to a static, or null.
    let base = unsafe { getter().as_ref() }.ok_or("OrtGetApiBase gave nothing")?;
    // SAFETY: the function takes nothing and gives a pointer to a static, NUL-terminated string, or null.
    let text = unsafe { (base.GetVersionString)() };
    if text.is_null() {
        return Err("it tells no version".to_owned());
    }
    // SAFETY: not null, and static as said above.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(str::to_owned).map_err(|_| "it tells a garbled version".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        let minor = ort::MINOR_VERSION;
        assert!(is_new_enough(&format!("1.{minor}.0")));
        assert!(is_new_enough(&format!("1.{}.3", minor + 100)));
        assert!(is_new_enough("2.0.0"));
        assert!(!is_new_enough(&format!("1.{}.9", minor - 1)));
        assert!(!is_new_enough("1.9.1"));
        assert!(!is_new_enough(""));
    }

    #[test]
    fn another_library_is_not_taken_for_onnx_runtime() {
        let libc =
            ["/lib/x86_64-linux-gnu/libm.so.6", "/lib/aarch64-linux-gnu/libm.so.6", "/lib64/libm.so.6"]
                .map(Path::new)
                .into_iter()
                .find(|path| path.exists());
        let Some(libc) = libc else { panic!("no libm found on this system") };
        assert!(probe(libc).unwrap_err().contains("OrtGetApiBase"));
    }

    #[test]
    fn a_truncated_library_is_an_error() {
        let found = super::super::WANTED.find(None).unwrap();
        let whole = std::fs::read(found.path).unwrap();
        let cut = std::env::temp_dir().join(format!("vidmill-cut-{}.so", std::process::id()));
        for length in [0, 40, 64, 4096, whole.len() / 2] {
            std::fs::write(&cut, &whole[..length]).unwrap();
            let reason = probe(&cut).unwrap_err();
            assert!(!reason.is_empty());
        }
        std::fs::remove_file(cut).unwrap();
    }
}
