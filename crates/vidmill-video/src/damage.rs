//! What a file lost.

use serde::{Deserialize, Serialize};

/// What was concealed or lost while decoding, so far. All zero and `None` for a sound file.
///
/// A frame that the decoder repaired is a frame all the same: it is given out, and counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// Packets that the demuxer flagged as damaged or incomplete.
    pub corrupt_packets: u64,
    /// Errors that the decoder returned: packets, or parts of them, that gave no frame.
    pub decode_errors: u64,
    /// Frames given out although the decoder hid errors in them, or says they may be wrong.
    pub concealed_frames: u64,
    /// Errors while reading packets, after which reading went on or ended.
    pub read_errors: u64,
    /// The file ended before its own index or duration says; what is known of it, in words.
    pub truncated: Option<String>,
}

impl Damage {
    /// Whether nothing was concealed or lost.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}
