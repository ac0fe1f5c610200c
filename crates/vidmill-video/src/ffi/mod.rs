//! FFmpeg's C interface, in three floors: `raw` (the bindings), `call` (return codes to `Result`), and owners that
//! free what they hold. Nothing outside this folder sees a raw pointer or writes `unsafe`.

mod call;
mod decoder;
mod encoder;
mod frame;
mod input;
mod log;
mod options;
mod packet;
mod pixel;
mod raw;
mod scale;
mod system;

pub use call::FfmpegError;
pub use decoder::{DecoderSetup, RawDecoder, decoder_name};
pub use encoder::{EncoderSetup, Output, RawEncoder};
pub use frame::RawFrame;
pub use input::{ContainerFacts, IndexEntry, Input, StreamFacts};
pub use log::route as route_log;
pub use options::Options;
pub use packet::Packet;
pub use pixel::{Component, PixelDescription, by_name, describe, name as pixel_format_name};
pub use scale::{RawColor, convert};
pub use system::{decoder_for, has_encoder, library_versions, release};

use raw::sys;

fn rational((num, den): (i32, i32)) -> sys::AVRational {
    sys::AVRational { num, den }
}

fn pair(value: sys::AVRational) -> (i32, i32) {
    (value.num, value.den)
}
