//! What FFmpeg is here, for `vidmill doctor`.

use serde::Serialize;

use crate::ffi;

/// Versions of FFmpeg as it runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// FFmpeg's release, such as `5.1.6-0+deb12u1`.
    pub ffmpeg: String,
    /// Each library's name and `major.minor.micro`.
    pub libraries: Vec<(String, String)>,
}

/// A codec, and what FFmpeg here uses for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CodecSupport {
    /// FFmpeg's name of the codec.
    pub codec: String,
    /// The decoder's name; `None` if it is missing.
    pub decoder: Option<String>,
}

/// The codecs that vidmill works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Codecs {
    /// Decoders, by codec.
    pub decoders: Vec<CodecSupport>,
    /// The H.264 encoder for annotated videos; `None` if it is missing.
    pub video_encoder: Option<String>,
}

const CODECS: [&str; 12] =
    ["h264", "hevc", "vp8", "vp9", "av1", "mpeg4", "msmpeg4v3", "mpeg2video", "mjpeg", "png", "webp", "bmp"];

/// The versions of FFmpeg's libraries, asked at run time.
pub fn versions() -> Versions {
    let dotted = |v: u32| format!("{}.{}.{}", v >> 16, (v >> 8) & 0xff, v & 0xff);
    let libraries = ffi::library_versions().map(|(name, version)| (name.to_owned(), dotted(version)));
    Versions { ffmpeg: ffi::release(), libraries: libraries.to_vec() }
}

/// Which codecs there are.
pub fn codecs() -> Codecs {
    ffi::route_log();
    let support = |codec: &str| CodecSupport { codec: codec.to_owned(), decoder: ffi::decoder_for(codec) };
    let encoder = "libx264";
    Codecs {
        decoders: CODECS.map(support).to_vec(),
        video_encoder: ffi::has_encoder(encoder).then(|| encoder.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffmpeg_names_itself() {
        let versions = versions();
        assert!(!versions.ffmpeg.is_empty());
        assert!(versions.libraries.iter().any(|(name, v)| name == "libavcodec" && v.split('.').count() == 3));
        let codecs = codecs();
        let mjpeg = codecs.decoders.iter().find(|c| c.codec == "mjpeg").unwrap();
        assert_eq!(mjpeg.decoder.as_deref(), Some("mjpeg"), "FFmpeg's own, always compiled in");
    }
}
