//! What can go wrong with a file as a whole. A damaged frame is no error: see [`Damage`](crate::Damage).

use crate::FfmpegError;

/// Why a file could not be read, or could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is nothing at the path.
    #[error("{path}: no such file")]
    NotFound {
        /// As asked for.
        path: String,
    },
    /// It is there, but cannot be opened.
    #[error("{path}: cannot be opened: {cause}")]
    Open {
        /// As asked for.
        path: String,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// It opens, but no demuxer knows what it is, or its head is broken.
    #[error("{path}: not a video or image that can be read: {cause}")]
    NotMedia {
        /// As asked for.
        path: String,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// A container without a video stream.
    #[error("{path}: holds no video stream ({streams} other streams, container {format})")]
    NoVideo {
        /// As asked for.
        path: String,
        /// FFmpeg's name of the container format.
        format: String,
        /// How many streams there are.
        streams: u32,
    },
    /// FFmpeg here has no decoder for the codec.
    #[error("{path}: no decoder for codec {codec}")]
    NoDecoder {
        /// As asked for.
        path: String,
        /// FFmpeg's name of the codec.
        codec: String,
    },
    /// The decoder refuses the stream's parameters.
    #[error("{path}: the {codec} decoder cannot be opened: {cause}")]
    DecoderOpen {
        /// As asked for.
        path: String,
        /// FFmpeg's name of the codec.
        codec: String,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// The picture is larger than what is allowed, and so not even tried.
    #[error(
        "{path}: pictures of {width}x{height} exceed the limit of {max_side} per side and {max_pixels} pixels"
    )]
    TooLarge {
        /// As asked for.
        path: String,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// Largest side.
        max_side: u32,
        /// Largest area.
        max_pixels: u64,
    },
    /// The whole file was read and no frame came out.
    #[error("{path}: no frame could be decoded from {packets} {codec} packets ({errors} decode errors)")]
    NothingDecoded {
        /// As asked for.
        path: String,
        /// FFmpeg's name of the codec.
        codec: String,
        /// Packets read.
        packets: u64,
        /// Errors reported by the decoder.
        errors: u64,
    },
    /// A frame in a pixel format that is neither lent nor converted.
    #[error("{path}: pixel format {format} of frame {frame} cannot be used: {cause}")]
    PixelFormat {
        /// As asked for.
        path: String,
        /// FFmpeg's name of the format.
        format: String,
        /// Index of the frame.
        frame: u64,
        /// What failed.
        cause: FfmpegError,
    },
    /// FFmpeg failed at something that no file should be able to cause, such as an allocation.
    #[error("{path}: {what}: {cause}")]
    Internal {
        /// As asked for.
        path: String,
        /// What was tried.
        what: &'static str,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// FFmpeg here lacks the encoder.
    #[error("{path}: encoder {encoder} is missing from FFmpeg here")]
    NoEncoder {
        /// The file to write.
        path: String,
        /// The encoder's name.
        encoder: &'static str,
    },
    /// The encoder refuses what it is asked for.
    #[error("{path}: the {encoder} encoder cannot be opened for {width}x{height} pixels: {cause}")]
    EncoderOpen {
        /// The file to write.
        path: String,
        /// The encoder's name.
        encoder: &'static str,
        /// Pixels across.
        width: u32,
        /// Pixels down.
        height: u32,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// The file cannot be created.
    #[error("{path}: cannot be created: {cause}")]
    Create {
        /// The file to write.
        path: String,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// Writing failed: a full disk, for one.
    #[error("{path}: writing failed: {cause}")]
    Write {
        /// The file being written.
        path: String,
        /// FFmpeg's reason.
        cause: FfmpegError,
    },
    /// An image file could not be written.
    #[error("{path}: writing failed: {cause}")]
    WriteImage {
        /// The file to write.
        path: String,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// An option of the encoder that makes no sense.
    #[error("{path}: {what}")]
    EncodeOptions {
        /// The file to write.
        path: String,
        /// What is wrong with which value.
        what: String,
    },
    /// Frames must be written in the order of their times.
    #[error("{path}: pts {pts} does not come after {previous}, the one before it")]
    PtsOrder {
        /// The file being written.
        path: String,
        /// Of the frame that was refused.
        pts: i64,
        /// Of the frame before it.
        previous: i64,
    },
    /// All pictures of a video have one size.
    #[error("{path}: a picture of {width}x{height} in a video of {expected_width}x{expected_height}")]
    PictureSize {
        /// The file being written.
        path: String,
        /// Of the picture that was refused.
        width: u32,
        /// Of the picture that was refused.
        height: u32,
        /// Of the video.
        expected_width: u32,
        /// Of the video.
        expected_height: u32,
    },
    /// Pictures are written as .png, .jpg or .jpeg.
    #[error("{path}: images can be written as .png, .jpg and .jpeg only")]
    ImageExtension {
        /// The file to write.
        path: String,
    },
}

impl Error {
    /// What to do about it, most promising first; may be empty.
    pub fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotFound { .. } => "check the path; relative paths start at the current directory",
            Self::Open { .. } => "check the file's permissions, or the address if it is a stream",
            Self::NotMedia { .. } => {
                "see what `ffprobe` says of it; an MP4 whose recording was cut off has lost its index and needs repair"
            }
            Self::NoVideo { .. } => "pick a file with video; `ffprobe` lists the streams",
            Self::NoDecoder { .. } => {
                "install an FFmpeg with that decoder (Debian: apt install libavcodec-extra), or convert the file"
            }
            Self::TooLarge { .. } => {
                "raise DecodeOptions::max_pixels if the size is right, or scale the file down"
            }
            Self::NothingDecoded { .. } => {
                "the file is damaged, or cut out of a stream without its first key frame"
            }
            Self::NoEncoder { .. } => {
                "install an FFmpeg with it (Debian: apt install libavcodec59 from main, which has libx264)"
            }
            Self::Create { .. } => "check that the directory exists and can be written to",
            Self::WriteImage { .. } => "check that the directory exists and has space left",
            Self::Write { .. } => {
                "if the disk is full, free some space; whole fragments that were written stay playable"
            }
            Self::ImageExtension { .. } => "name the file .png or .jpg",
            _ => return Vec::new(),
        };
        vec![hint.to_owned()]
    }
}
