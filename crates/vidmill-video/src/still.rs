//! One picture to an image file.

use vidmill_image::{ColorMatrix, ColorRange, ColorSpec, Picture};

use crate::ffi::{self, EncoderSetup, FfmpegError, Options, Packet, RawColor, RawEncoder, RawFrame};
use crate::{Error, color};

/// JFIF's colours.
const JPEG_COLOR: ColorSpec = ColorSpec::new(ColorMatrix::Bt601, ColorRange::Full);

/// The mjpeg encoder's quantiser: 1 is best, 2 is what FFmpeg's users call high quality.
const JPEG_QUANTISER: i32 = 2;

struct Kind {
    encoder: &'static str,
    pixel_format: &'static str,
    color: RawColor,
    quantiser: i32,
}

/// Writes `picture` as PNG (8-bit RGB) or JPEG (4:2:0), by the extension of `path`.
///
/// # Errors
/// When the extension is another, the encoder is missing, or the file cannot be written.
pub fn write_image(path: &str, picture: &Picture) -> Result<(), Error> {
    ffi::route_log();
    let kind = kind_of(path)?;
    if !ffi::has_encoder(kind.encoder) {
        return Err(Error::NoEncoder { path: path.to_owned(), encoder: kind.encoder });
    }
    let size = picture.size();
    let packet = encode(picture, &kind).map_err(|cause| Error::EncoderOpen {
        path: path.to_owned(),
        encoder: kind.encoder,
        width: size.width,
        height: size.height,
        cause,
    })?;
    std::fs::write(path, packet.data()).map_err(|cause| Error::WriteImage { path: path.to_owned(), cause })
}

fn kind_of(path: &str) -> Result<Kind, Error> {
    let extension = std::path::Path::new(path).extension().map(|e| e.to_string_lossy().to_lowercase());
    match extension.as_deref() {
        Some("png") => Ok(Kind {
            encoder: "png",
            pixel_format: "rgb24",
            color: RawColor { matrix: 0, full_range: true },
            quantiser: 0,
        }),
        Some("jpg" | "jpeg") => Ok(Kind {
            encoder: "mjpeg",
            pixel_format: "yuvj420p",
            color: color::raw(JPEG_COLOR),
            quantiser: JPEG_QUANTISER,
        }),
        _ => Err(Error::ImageExtension { path: path.to_owned() }),
    }
}

fn encode(picture: &Picture, kind: &Kind) -> Result<Packet, FfmpegError> {
    let size = picture.size();
    let (width, height) = (size.width as i32, size.height as i32);
    let format = |name| ffi::by_name(name).ok_or(FfmpegError::INVALID_ARGUMENT);
    let mut frame = RawFrame::with_buffer(format(kind.pixel_format)?, width, height)?;
    let source = copy_of(picture, format("yuv420p")?)?;
    ffi::convert(&source, color::raw(picture.color()), &mut frame, kind.color)?;
    let setup = EncoderSetup {
        width,
        height,
        pixel_format: frame.format(),
        time_base: (1, 25),
        frame_rate: (0, 1),
        color: kind.color,
        key_interval: 0,
        global_header: false,
        quantiser: kind.quantiser,
    };
    let mut encoder = RawEncoder::open(kind.encoder, &setup, Options::new())?;
    frame.set_pts(0);
    frame.set_quality(kind.quantiser);
    encoder.send(Some(&frame))?;
    encoder.send(None)?;
    let mut packet = Packet::new()?;
    encoder.receive(&mut packet)?;
    Ok(packet)
}

/// The picture in a frame of FFmpeg's, for its converter.
fn copy_of(picture: &Picture, format: i32) -> Result<RawFrame, FfmpegError> {
    let size = picture.size();
    let planes = picture.planes();
    let mut frame = RawFrame::with_buffer(format, size.width as i32, size.height as i32)?;
    for plane in 0..3 {
        let (width, rows) = picture.plane_size(plane);
        let stride = frame.stride(plane).unsigned_abs() as usize;
        let target = frame.plane_mut(plane, rows, width).ok_or(FfmpegError::INVALID_ARGUMENT)?;
        let source = planes.data[plane].chunks(planes.stride[plane]);
        for (target, source) in target.chunks_mut(stride).zip(source) {
            target[..width].copy_from_slice(&source[..width]);
        }
    }
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_choose_the_encoder() {
        assert_eq!(kind_of("a.PNG").unwrap().encoder, "png");
        assert_eq!(kind_of("dir.png/a.jpeg").unwrap().encoder, "mjpeg");
        assert!(matches!(kind_of("dir.png/a"), Err(Error::ImageExtension { .. })));
    }
}
