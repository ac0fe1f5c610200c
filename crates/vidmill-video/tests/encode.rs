//! What goes into an encoder comes out of a decoder.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Scratch, decode, frame_md5, probe_pts};
use vidmill_image::{ColorMatrix, ColorRange, ColorSpec, Picture, Size};
use vidmill_video::{
    DecodeOptions, Decoder, EncodeOptions, Encoder, Error, Provenance, Rational, Step, probe, write_image,
};

const COLOR: ColorSpec = ColorSpec::new(ColorMatrix::Bt709, ColorRange::Limited);

/// A picture that differs from one `n` to the next, and from one corner to the other.
fn picture(size: Size, n: i64) -> Picture {
    let mut picture = Picture::new(size, COLOR);
    let widths = [0, 1, 2].map(|plane| picture.plane_size(plane).0);
    for (plane, (bytes, width)) in picture.planes_mut().into_iter().zip(widths).enumerate() {
        for (i, byte) in bytes.iter_mut().enumerate() {
            let (x, y) = (i % width, i / width);
            *byte = (40 + x + 2 * y + plane * 30 + n as usize * 3).min(230) as u8;
        }
    }
    picture
}

fn options(size: Size, time_base: (i32, i32)) -> EncodeOptions {
    EncodeOptions::new(size, Rational::new(time_base.0, time_base.1), COLOR)
}

fn encode(path: &str, options: &EncodeOptions, pts: &[i64]) -> i64 {
    let mut encoder = Encoder::create(path, options).unwrap();
    for (n, &pts) in pts.iter().enumerate() {
        encoder.write(&picture(options.size, n as i64), pts).unwrap();
    }
    let shift = encoder.shift();
    encoder.finish().unwrap();
    shift
}

#[test]
fn timestamps_come_out_as_they_went_in() {
    let scratch = Scratch::new("pts");
    let regular: Vec<i64> = (0..200).map(|n| n * 512).collect();
    let irregular: Vec<i64> = (0..150).map(|n| n * 40 + (n * n) % 37).collect();
    let late: Vec<i64> = (0..80).map(|n| 123_457 + n * 3003).collect();
    let sparse: Vec<i64> = (0..12).map(|n| n * 90_000 * 7 + n).collect();
    let one = vec![77];
    for (name, time_base, pts) in [
        ("regular", (1, 12_800), &regular),
        ("irregular", (1, 1000), &irregular),
        ("late", (1, 90_000), &late),
        ("sparse", (1, 90_000), &sparse),
        ("one", (1, 1000), &one),
        ("coarse", (1, 25), &(3..90).collect::<Vec<i64>>()),
    ] {
        let path = scratch.path(&format!("{name}.mp4"));
        assert_eq!(encode(&path, &options(Size::new(98, 66), time_base), pts), 0, "{name}");
        let (seen, damage) = decode(&path, 1, 1);
        let found: Vec<_> = seen.iter().filter_map(|frame| frame.pts).collect();
        assert_eq!(&found, pts, "{name}");
        assert_eq!(probe_pts(&path), pts.iter().copied().map(Some).collect::<Vec<_>>(), "{name}: ffprobe");
        let found = probe(&path).unwrap();
        assert_eq!((found.time_base.num, found.time_base.den), time_base, "{name}");
        assert!(damage.is_none(), "{name}: {damage:?}");
    }
}

#[test]
fn a_time_base_of_many_units_and_times_before_zero() {
    let scratch = Scratch::new("time-base");
    let path = scratch.path("ntsc.mp4");
    encode(&path, &options(Size::new(98, 66), (1001, 30_000)), &[0, 1, 2, 5, 6]);
    let found: Vec<_> = decode(&path, 1, 1).0.iter().filter_map(|frame| frame.pts).collect();
    assert_eq!(found, [0, 1001, 2002, 5005, 6006], "in units of 1/30000");

    let path = scratch.path("negative.mp4");
    let shift = encode(&path, &options(Size::new(98, 66), (1, 1000)), &[-500, -460, 0, 33]);
    assert_eq!(shift, 500);
    let found: Vec<_> = decode(&path, 1, 1).0.iter().filter_map(|frame| frame.pts).collect();
    assert_eq!(found, [0, 40, 500, 533]);
}

#[test]
fn pictures_and_tags_survive() {
    let scratch = Scratch::new("pictures");
    for (matrix, range) in [
        (ColorMatrix::Bt601, ColorRange::Limited),
        (ColorMatrix::Bt709, ColorRange::Full),
        (ColorMatrix::Bt2020, ColorRange::Limited),
    ] {
        let path = scratch.path("tagged.mp4");
        let color = ColorSpec::new(matrix, range);
        let options = EncodeOptions { color, crf: 4, ..options(Size::new(98, 66), (1, 25)) };
        encode(&path, &options, &[0, 1, 2]);
        let found = probe(&path).unwrap();
        assert_eq!((found.matrix, found.range), (matrix, range));
        assert_eq!((found.matrix_from, found.range_from), (Provenance::Tagged, Provenance::Tagged));
        let decoded = pictures(&path);
        assert_eq!(decoded.len(), 3);
        for (n, decoded) in decoded.iter().enumerate() {
            assert!(distance(&picture(options.size, n as i64), decoded) < 1.0, "frame {n}");
        }
    }
}

#[test]
fn odd_sizes_are_padded_by_their_edges() {
    let scratch = Scratch::new("odd");
    let path = scratch.path("odd.mp4");
    let size = Size::new(97, 65);
    encode(&path, &EncodeOptions { crf: 1, ..options(size, (1, 25)) }, &[0, 1]);
    let decoded = &pictures(&path)[1];
    assert_eq!(decoded.size(), Size::new(98, 66));
    let (planes, source) = (decoded.planes(), picture(size, 1));
    let (rows, stride) = (source.planes().data[0].chunks(97), planes.stride[0]);
    for (y, row) in rows.enumerate() {
        let out = &planes.data[0][y * stride..y * stride + 98];
        assert!(out[97].abs_diff(row[96]) <= 4, "row {y}: {} beside {}", out[97], row[96]);
    }
}

#[test]
fn a_killed_writer_leaves_a_file_that_plays() {
    let scratch = Scratch::new("killed");
    let path = scratch.path("cut.mp4");
    let options = EncodeOptions { threads: 1, ..options(Size::new(98, 66), (1, 25)) };
    let mut encoder = Encoder::create(&path, &options).unwrap();
    for n in 0..400 {
        encoder.write(&picture(options.size, n % 60), n).unwrap();
    }
    // What a kill leaves is what is in the file now: nothing is flushed by a process that is gone.
    let copy = scratch.path("copy.mp4");
    std::fs::copy(&path, &copy).unwrap();
    let left = frame_md5(&copy, "").len();
    assert!(
        left >= 400 - 60 - 80,
        "{left} frames are left: more than a fragment and what the encoder holds is lost"
    );
    let (seen, _) = decode(&copy, 1, 1);
    assert_eq!(seen.len(), left);
    drop(encoder);
}

#[test]
fn what_does_not_fit_is_refused() {
    let scratch = Scratch::new("refused");
    let path = scratch.path("a.mp4");
    let size = Size::new(98, 66);
    let mut encoder = Encoder::create(&path, &options(size, (1, 25))).unwrap();
    encoder.write(&picture(size, 0), 5).unwrap();
    let again = encoder.write(&picture(size, 1), 5).unwrap_err();
    assert!(matches!(again, Error::PtsOrder { pts: 5, previous: 5, .. }), "{again}");
    let other = encoder.write(&picture(Size::new(96, 66), 1), 6).unwrap_err();
    assert!(matches!(other, Error::PictureSize { width: 96, expected_width: 98, .. }), "{other}");
    encoder.finish().unwrap();

    let create =
        |path: &str, options: &EncodeOptions| Encoder::create(path, options).map(|_| ()).unwrap_err();
    assert!(matches!(create(&scratch.path("no/dir.mp4"), &options(size, (1, 25))), Error::Create { .. }));
    assert!(matches!(create(&path, &options(size, (0, 25))), Error::EncodeOptions { .. }));
    let preset = EncodeOptions { preset: "warp".to_owned(), ..options(size, (1, 25)) };
    assert!(matches!(create(&path, &preset), Error::EncoderOpen { .. }));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error() {
    let size = Size::new(98, 66);
    let mut encoder = Encoder::create("/dev/full", &options(size, (1, 25))).unwrap();
    let written: Result<Vec<()>, Error> = (0..300).map(|n| encoder.write(&picture(size, n), n)).collect();
    let error = written.map(|_| ()).and_then(|()| encoder.finish()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
    assert!(error.to_string().contains("/dev/full"), "{error}");
}

#[test]
fn images_come_back() {
    let scratch = Scratch::new("stills");
    let source = picture(Size::new(97, 65), 0);
    for (file, limit) in [("a.png", 1.5), ("b.jpg", 2.5)] {
        let path = scratch.path(file);
        write_image(&path, &source).unwrap();
        let mut decoder = Decoder::open(&path, &DecodeOptions::default()).unwrap();
        assert!(decoder.probe().is_image);
        let Step::Frame(frame) = decoder.next(&mut |_| true).unwrap() else { panic!("{file}") };
        assert_eq!(frame.planes().size, source.size());
        let [r, g, b] = rgb_at(&frame, 30, 20);
        let expected = expected_rgb(&source, 30, 20);
        let worst = [r, g, b].iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < 2.0 * limit + 1.0, "{file}: {:?} for {expected:?}", [r, g, b]);
    }
    assert!(matches!(write_image(&scratch.path("a.tiff"), &source), Err(Error::ImageExtension { .. })));
    assert!(matches!(write_image(&scratch.path("no/a.png"), &source), Err(Error::WriteImage { .. })));
}

/// BT.709 limited, by the book.
fn expected_rgb(picture: &Picture, x: usize, y: usize) -> [f64; 3] {
    let planes = picture.planes();
    let luma = (f64::from(planes.data[0][y * planes.stride[0] + x]) - 16.0) / 219.0;
    let chroma =
        |plane: usize| (f64::from(planes.data[plane][y / 2 * planes.stride[plane] + x / 2]) - 128.0) / 224.0;
    let (u, v) = (chroma(1), chroma(2));
    let (r, b) = (luma + 1.5748 * v, luma + 1.8556 * u);
    let g = (luma - 0.2126 * r - 0.0722 * b) / 0.7152;
    [r, g, b].map(|value| (value * 255.0).clamp(0.0, 255.0))
}

fn rgb_at(frame: &vidmill_video::Frame, x: usize, y: usize) -> [f64; 3] {
    let planes = frame.planes();
    if planes.format.plane_count() == 1 {
        let at = y * planes.stride[0] + 3 * x;
        return [0, 1, 2].map(|c| f64::from(planes.data[0][at + c]));
    }
    assert_eq!(planes.color, ColorSpec::new(ColorMatrix::Bt601, ColorRange::Full));
    let luma = f64::from(planes.data[0][y * planes.stride[0] + x]);
    let chroma = |plane: usize| f64::from(planes.data[plane][y / 2 * planes.stride[plane] + x / 2]) - 128.0;
    let (r, b) = (luma + 1.402 * chroma(2), luma + 1.772 * chroma(1));
    let g = (luma - 0.299 * r - 0.114 * b) / 0.587;
    [r, g, b].map(|value| value.clamp(0.0, 255.0))
}

fn pictures(path: &str) -> Vec<Picture> {
    let mut decoder = Decoder::open(path, &DecodeOptions::default()).unwrap();
    let mut pictures = Vec::new();
    while let Step::Frame(frame) = decoder.next(&mut |_| true).unwrap() {
        let mut picture = Picture::new(Size::new(1, 1), COLOR);
        frame.to_picture(&mut picture);
        pictures.push(picture);
    }
    pictures
}

/// Mean absolute difference of luma.
fn distance(a: &Picture, b: &Picture) -> f64 {
    let (a, b) = (a.planes().data[0], b.planes().data[0]);
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64
}
