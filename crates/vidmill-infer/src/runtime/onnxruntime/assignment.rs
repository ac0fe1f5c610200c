//! Which execution provider each node of a model was given to, and which providers the library has: calls of ONNX
//! Runtime's C API that the binding does not wrap (onnxruntime_c_api.h, since version 1.24).

#![expect(unsafe_code, reason = "calls ONNX Runtime's C API")]

use std::ffi::{CStr, c_char};
use std::ptr;

use ort::AsPointer;
use ort::session::Session;
use ort::sys::{OrtEpAssignedNode, OrtEpAssignedSubgraph, OrtStatusPtr};

use super::call::check;

/// The session option without which the runtime keeps no record.
pub(super) const RECORD: (&str, &str) = ("session.record_ep_graph_assignment_info", "1");

/// A node, where it was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// For example `CPUExecutionProvider`.
    pub provider: String,
    /// For example `Conv`.
    pub operator: String,
    /// The model's name for it, often empty.
    pub node: String,
}

/// Where every node of the session's graph was put. The session must have been made with [`RECORD`].
pub(super) fn assignment(session: &Session) -> Result<Vec<Assigned>, String> {
    let api = ort::api();
    let mut nodes = Vec::new();
    let (mut subgraphs, mut count): (*const *const OrtEpAssignedSubgraph, usize) = (ptr::null(), 0);
    // SAFETY: the session is alive; the runtime fills both out-parameters with an array that the session owns.
    check(unsafe { (api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &mut subgraphs, &mut count) })?;
    // SAFETY: on success the array holds `count` pointers and lives as long as the session, which is borrowed here.
    for &subgraph in unsafe { array(subgraphs, count) } {
        // SAFETY: `subgraph` comes from the array above; the getter gives a string that the session owns.
        let provider = unsafe { text(|out| (api.EpAssignedSubgraph_GetEpName)(subgraph, out)) }?;
        let (mut members, mut count): (*const *const OrtEpAssignedNode, usize) = (ptr::null(), 0);
        // SAFETY: as for the subgraphs.
        check(unsafe { (api.EpAssignedSubgraph_GetNodes)(subgraph, &mut members, &mut count) })?;
        // SAFETY: as for the subgraphs.
        for &member in unsafe { array(members, count) } {
            // SAFETY: `member` comes from the array above; the getter gives a string that the session owns.
            let operator = unsafe { text(|out| (api.EpAssignedNode_GetOperatorType)(member, out)) }?;
            // SAFETY: as above.
            let node = unsafe { text(|out| (api.EpAssignedNode_GetName)(member, out)) }?;
            nodes.push(Assigned { provider: provider.clone(), operator, node });
        }
    }
    Ok(nodes)
}

/// The execution providers that the loaded library was built with, best first.
pub(super) fn available_providers() -> Result<Vec<String>, String> {
    let api = ort::api();
    let (mut names, mut count) = (ptr::null_mut(), 0);
    // SAFETY: the runtime fills both out-parameters with an array of strings that is given back below.
    check(unsafe { (api.GetAvailableProviders)(&mut names, &mut count) })?;
    let length = usize::try_from(count).unwrap_or(0);
    // SAFETY: on success the array holds `count` pointers, and lives until released below.
    let found = unsafe { array(names.cast_const(), length) }
        .iter()
        // SAFETY: each is a NUL-terminated string of the array.
        .map(|&name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
        .collect();
    // SAFETY: the array and count that GetAvailableProviders gave, released once, not used after.
    check(unsafe { (api.ReleaseAvailableProviders)(names, count) })?;
    Ok(found)
}

/// The array of `count` elements at `first`, empty for null.
///
/// # Safety
/// Unless null, `first` points to `count` elements that live for `'a`.
unsafe fn array<'a, T>(first: *const T, count: usize) -> &'a [T] {
    if first.is_null() {
        return &[];
    }
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(first, count) }
}

/// The string that `get` gives.
///
/// # Safety
/// On success `get` sets its out-parameter to null or to a NUL-terminated string that outlives this call.
unsafe fn text(get: impl FnOnce(*mut *const c_char) -> OrtStatusPtr) -> Result<String, String> {
    let mut out = ptr::null();
    check(get(&mut out))?;
    if out.is_null() {
        return Ok(String::new());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(out) }.to_string_lossy().into_owned())
}
