//! Still images: one frame, no timestamp, upright.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Scratch, ffmpeg, frame_md5, planes_md5, testsrc};
use vidmill_image::{ColorMatrix, ColorRange, Rotation};
use vidmill_video::{DecodeOptions, Decoder, Frame, Step, probe};

fn only_frame(path: &str) -> Frame {
    let mut decoder = Decoder::open(path, &DecodeOptions::default()).unwrap();
    let Step::Frame(frame) = decoder.next(&mut |_| true).unwrap() else { panic!("{path}: no frame") };
    assert!(matches!(decoder.next(&mut |_| true).unwrap(), Step::End), "{path}: one frame");
    assert!(decoder.damage().is_none(), "{path}: {:?}", decoder.damage());
    frame
}

#[test]
fn images_are_one_frame_without_a_time() {
    let scratch = Scratch::new("images");
    for (file, options) in [
        ("a.png", "-pix_fmt rgb24"),
        ("gray.png", "-pix_fmt gray"),
        ("deep.png", "-pix_fmt rgb48be"),
        ("a.jpg", "-pix_fmt yuvj420p -q:v 3"),
        ("444.jpg", "-pix_fmt yuvj444p -q:v 3"),
        ("a.bmp", "-pix_fmt bgr24"),
        ("a.webp", "-c:v libwebp -lossless 0"),
        ("100%d.png", "-pix_fmt rgb24 -update 1"),
    ] {
        let path = scratch.path(file);
        testsrc(&path, "97x65", 1, options);
        let found = probe(&path).unwrap();
        assert!(found.is_image, "{file}: {}", found.format);
        assert_eq!((found.width, found.height, found.frame_count), (97, 65, Some(1)), "{file}");
        assert_eq!((found.start_pts, found.duration, found.average_frame_rate), (None, None, None), "{file}");
        let frame = only_frame(&path);
        assert_eq!((frame.index(), frame.timestamp()), (0, None), "{file}");
        if !file.starts_with("deep") && !file.contains('%') {
            assert_eq!(frame_md5(&path, ""), [planes_md5(&frame.planes())], "{file}");
        }
    }
}

#[test]
fn jpeg_colours_are_jfifs() {
    let scratch = Scratch::new("jfif");
    let path = scratch.path("a.jpg");
    testsrc(&path, "98x720", 1, "-pix_fmt yuvj420p");
    let color = only_frame(&path).planes().color;
    assert_eq!((color.matrix, color.range), (ColorMatrix::Bt601, ColorRange::Full));
}

/// What cv2.imread does with each of Exif's eight orientations, on a picture whose corners differ.
#[test]
fn exif_orientation_is_honoured() {
    let scratch = Scratch::new("exif");
    let plain = scratch.path("plain.jpg");
    ffmpeg("-f lavfi -i color=black:size=64x32,drawbox=0:0:32:16:white:fill -frames:v 1 -q:v 2 {}", &plain);
    let bytes = std::fs::read(&plain).unwrap();
    // The white corner is at the top left as stored; where is it when displayed (right, bottom)?
    for (tag, rotation, right, bottom) in [
        (1, Rotation::None, false, false),
        (2, Rotation::None, true, false),
        (3, Rotation::Half, true, true),
        (4, Rotation::Half, false, true),
        (5, Rotation::CounterClockwise, false, false),
        (6, Rotation::Clockwise, true, false),
        (7, Rotation::Clockwise, true, true),
        (8, Rotation::CounterClockwise, false, true),
    ] {
        let path = scratch.path(&format!("{tag}.jpg"));
        std::fs::write(&path, with_exif_orientation(&bytes, tag)).unwrap();
        let found = probe(&path).unwrap();
        assert_eq!((found.rotation, found.mirrored), (rotation, matches!(tag, 2 | 4 | 5 | 7)), "{tag}");
        let mut picture = vidmill_image::Picture::new(vidmill_image::Size::new(1, 1), Default::default());
        only_frame(&path).to_picture(&mut picture);
        let size = picture.size();
        assert_eq!((size.width, size.height), (found.displayed_width, found.displayed_height), "{tag}");
        let luma = |right: bool, bottom: bool| {
            let x = if right { size.width - 4 } else { 4 } as usize;
            let y = if bottom { size.height - 4 } else { 4 } as usize;
            picture.planes().data[0][y * size.width as usize + x]
        };
        for (r, b) in [(false, false), (true, false), (false, true), (true, true)] {
            let white = (r, b) == (right, bottom);
            assert_eq!(luma(r, b) > 128, white, "orientation {tag}: corner right={r} bottom={b}");
        }
    }
}

/// Puts an Exif segment with the orientation `tag` behind the start of a JPEG file.
fn with_exif_orientation(jpeg: &[u8], tag: u8) -> Vec<u8> {
    let tiff = [
        b"II*\0".as_slice(),
        &8_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &0x0112_u16.to_le_bytes(),
        &3_u16.to_le_bytes(),
        &1_u32.to_le_bytes(),
        &[tag, 0, 0, 0],
        &0_u32.to_le_bytes(),
    ]
    .concat();
    let payload = [b"Exif\0\0".as_slice(), &tiff].concat();
    let length = (payload.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &payload, &jpeg[2..]].concat()
}
