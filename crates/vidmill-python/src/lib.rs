//! The Python package's native half: frames as arrays, models as callables, runs as iterators, and the command.
//!
//! One file a class; [`error`] maps every error. Work is done detached from the interpreter; what other threads may use at the same
//! time is behind a lock that is never held while waiting for it.

mod arguments;
#[expect(unsafe_code, reason = "Python's buffer protocol")]
mod buffer;
mod command;
mod cursor;
mod error;
mod foreign;
mod found;
mod frame;
mod frames;
mod model;
mod parcel;
mod pixels;
mod pool;
mod pool_worker;
mod run;

use pyo3::prelude::*;

#[pymodule]
mod _vidmill {
    #[pymodule_export]
    use crate::buffer::View;
    #[pymodule_export]
    use crate::command::{command, openvino_library, runtime_library, serve_worker};
    #[pymodule_export]
    use crate::error::{
        Error, MediaError, ModelError, RunFailed, ViewKept, WorkerCrashed, WorkerError, WorkerOutOfMemory,
        WorkerTimeout,
    };
    #[pymodule_export]
    use crate::foreign::{serve_predictor, shortest};
    #[pymodule_export]
    use crate::found::{check_mask, decode_mask, encode_mask, mask_area};
    #[pymodule_export]
    use crate::frame::Frame;
    #[pymodule_export]
    use crate::frames::Frames;
    #[pymodule_export]
    use crate::model::Model;
    #[pymodule_export]
    use crate::pool::{Workers, need_memory};
    #[pymodule_export]
    use crate::pool_worker::serve_pool;
    #[pymodule_export]
    use crate::run::Run;

    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "Python's name")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}
