//! Frames, pixels and timestamps against FFmpeg's own command line.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Scratch, decode, ffmpeg, frame_md5, probe_pts, testsrc};
use vidmill_image::{ColorMatrix, ColorRange, Picture, Rotation, Size};
use vidmill_video::{DecodeOptions, Decoder, Error, Provenance, Step, probe};

/// Every frame's index, pts and pixels are FFmpeg's; `filter` is for formats that are converted.
#[track_caller]
fn agrees(path: &str, filter: &str, frames: usize) {
    let (seen, damage) = decode(path, 1, 2);
    let indices: Vec<_> = seen.iter().map(|frame| frame.index).collect();
    assert_eq!(indices, (0..frames as u64).collect::<Vec<_>>(), "{path}: indices");
    let pts: Vec<_> = seen.iter().map(|frame| frame.pts).collect();
    assert_eq!(pts, probe_pts(path), "{path}: timestamps");
    let md5: Vec<_> = seen.into_iter().filter_map(|frame| frame.md5).collect();
    assert_eq!(md5, frame_md5(path, filter), "{path}: pixels");
    assert!(damage.is_none(), "{path}: {damage:?}");
}

#[test]
fn every_codec_gives_ffmpegs_frames() {
    let scratch = Scratch::new("codecs");
    for (file, options) in [
        ("h264.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p"),
        ("h264-422.mkv", "-c:v libx264 -preset veryfast -pix_fmt yuv422p"),
        ("h264-444.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv444p"),
        ("h264-10.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuv420p10le"),
        ("h264-gray.mkv", "-c:v libx264 -preset veryfast -pix_fmt gray"),
        ("h264-gbrp.mkv", "-c:v libx264rgb -preset veryfast -pix_fmt rgb24"),
        ("h264-full.mp4", "-c:v libx264 -preset veryfast -pix_fmt yuvj420p"),
        ("h264.ts", "-c:v libx264 -preset veryfast -pix_fmt yuv420p"),
        ("hevc.mp4", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p"),
        ("hevc-10.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv420p10le"),
        (
            "hevc-422-10.mkv",
            "-c:v libx265 -preset ultrafast -x265-params log-level=none -pix_fmt yuv422p10le",
        ),
        ("vp8.webm", "-c:v libvpx -deadline realtime"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -pix_fmt yuv420p"),
        ("vp9-444.webm", "-c:v libvpx-vp9 -deadline realtime -pix_fmt yuv444p"),
        ("vp9-10.webm", "-c:v libvpx-vp9 -deadline realtime -pix_fmt yuv420p10le"),
        ("av1.mkv", "-c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p"),
        ("av1-10.mp4", "-c:v libaom-av1 -cpu-used 8 -usage realtime -pix_fmt yuv420p10le"),
        ("mpeg4.mp4", "-c:v mpeg4 -bf 2"),
        ("mpeg4.avi", "-c:v mpeg4"),
        ("mpeg2.mpg", "-c:v mpeg2video -bf 2"),
        ("msmpeg4.avi", "-c:v msmpeg4"),
        ("msmpeg4v2.avi", "-c:v msmpeg4v2"),
        ("mjpeg.avi", "-c:v mjpeg -pix_fmt yuvj420p"),
        ("mjpeg-422.mov", "-c:v mjpeg -pix_fmt yuvj422p"),
        ("mjpeg-444.mov", "-c:v mjpeg -pix_fmt yuvj444p"),
    ] {
        let path = scratch.path(file);
        testsrc(&path, "98x66", 12, options);
        agrees(&path, "", 12);
    }
}

#[test]
fn every_pixel_format_that_can_be_described_is_lent_as_it_is() {
    let scratch = Scratch::new("formats");
    let raw = "nv12 nv21 gray gray10le gray16le rgb24 bgr24 rgba bgra argb 0rgb rgb48le rgba64le yuv411p \
               yuv440p yuv410p yuv422p yuv422p12le";
    for format in raw.split_whitespace() {
        let path = scratch.path(&format!("{format}.nut"));
        testsrc(&path, "98x66", 3, &format!("-c:v rawvideo -pix_fmt {format}"));
        assert_eq!(probe(&path).unwrap().pixel_format, format);
        agrees(&path, "", 3);
    }
    for format in ["gbrp9le", "gbrp10le", "gbrp12le", "gbrp16le", "yuv444p16le", "gray"] {
        let path = scratch.path(&format!("{format}.mkv"));
        testsrc(&path, "97x65", 3, &format!("-c:v ffv1 -pix_fmt {format}"));
        assert_eq!(probe(&path).unwrap().pixel_format, format);
        agrees(&path, "", 3);
    }
}

#[test]
fn other_pixel_formats_are_converted_to_the_nearest() {
    let scratch = Scratch::new("converted");
    let flags = "-sws_flags bicubic+accurate_rnd+full_chroma_int+full_chroma_inp";
    for (format, target) in [
        ("pal8", "rgb24"),
        ("rgb565le", "rgb24"),
        ("rgb48be", "rgb48le"),
        ("yuyv422", "yuv422p"),
        ("uyvy422", "yuv422p"),
        ("monow", "gray"),
        ("ya8", "gray"),
        ("gray16be", "gray16le"),
        ("yuv420p10be", "yuv420p10le"),
    ] {
        let path = scratch.path(&format!("{format}.nut"));
        testsrc(&path, "98x66", 3, &format!("-c:v rawvideo -pix_fmt {format}"));
        assert_eq!(probe(&path).unwrap().pixel_format, format);
        agrees(&path, &format!("-pix_fmt {target} {flags}"), 3);
    }
}

#[test]
fn rows_stored_bottom_up_are_turned() {
    let scratch = Scratch::new("bottom-up");
    let path = scratch.path("flipped.avi");
    testsrc(&path, "98x66", 3, "-c:v rawvideo -pix_fmt bgr24");
    agrees(&path, "", 3);
}

#[test]
fn variable_frame_rates_keep_their_times() {
    let scratch = Scratch::new("vfr");
    let path = scratch.path("vfr.mkv");
    let filter = "-vf select='not(eq(mod(n,5),2))*gt(n,3)' -fps_mode vfr -c:v libx264 -bf 3";
    testsrc(&path, "98x66", 20, filter);
    agrees(&path, "", 20);
    let (seen, _) = decode(&path, 1, 1);
    let gaps: Vec<_> = seen.windows(2).map(|pair| pair[1].pts.unwrap() - pair[0].pts.unwrap()).collect();
    assert!(gaps.contains(&40) && gaps.contains(&80), "{gaps:?}");
}

#[test]
fn any_number_of_threads_gives_the_same() {
    let scratch = Scratch::new("threads");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "98x66", 40, "-c:v libx264 -preset veryfast");
    let one = decode(&path, 1, 1);
    assert_eq!(one, decode(&path, 1, 0));
    assert_eq!(one, decode(&path, 1, 5));
}

#[test]
fn rotation_comes_from_the_display_matrix() {
    let scratch = Scratch::new("rotation");
    let plain = scratch.path("plain.mp4");
    testsrc(&plain, "98x66", 3, "-c:v libx264");
    for (degrees, rotation) in [
        (0, Rotation::None),
        (90, Rotation::CounterClockwise),
        (180, Rotation::Half),
        (270, Rotation::Clockwise),
    ] {
        let path = scratch.path(&format!("{degrees}.mp4"));
        ffmpeg(&format!("-i {plain} -c copy -metadata:s:v:0 rotate={degrees} {{}}"), &path);
        let found = probe(&path).unwrap();
        assert_eq!(found.rotation, rotation, "{degrees}");
        let size = Size::new(98, 66).rotated(rotation);
        assert_eq!((found.displayed_width, found.displayed_height), (size.width, size.height));
        assert_eq!((found.width, found.height), (98, 66));

        // The picture of the first frame is what ffmpeg's autorotation gives.
        let upright = scratch.path("upright.mkv");
        ffmpeg(&format!("-i {path} -frames:v 1 -c:v ffv1 {{}}"), &upright);
        assert_eq!(first_picture(&path), first_picture(&upright), "{degrees}");
    }
}

fn first_picture(path: &str) -> Picture {
    let mut decoder = Decoder::open(path, &DecodeOptions::default()).unwrap();
    let Step::Frame(frame) = decoder.next(&mut |_| true).unwrap() else { panic!("no frame in {path}") };
    let mut picture = Picture::new(Size::new(1, 1), frame.planes().color);
    frame.to_picture(&mut picture);
    picture
}

#[test]
fn colour_tags_are_read_and_defaults_admitted() {
    let scratch = Scratch::new("colour");
    let path = scratch.path("tagged.mp4");
    testsrc(&path, "98x66", 2, "-c:v libx264 -pix_fmt yuv420p -colorspace bt2020nc -color_range pc");
    let tagged = probe(&path).unwrap();
    assert_eq!((tagged.matrix, tagged.matrix_from), (ColorMatrix::Bt2020, Provenance::Tagged));
    assert_eq!((tagged.range, tagged.range_from), (ColorRange::Full, Provenance::Tagged));

    for (size, matrix) in [("98x66", ColorMatrix::Bt601), ("320x720", ColorMatrix::Bt709)] {
        let path = scratch.path("untagged.nut");
        testsrc(&path, size, 1, "-c:v rawvideo -pix_fmt yuv420p");
        let untagged = probe(&path).unwrap();
        assert_eq!((untagged.matrix, untagged.matrix_from), (matrix, Provenance::Assumed), "{size}");
        assert_eq!((untagged.range, untagged.range_from), (ColorRange::Limited, Provenance::Assumed));
    }
}

#[test]
fn the_probe_tells_what_the_container_says() {
    let scratch = Scratch::new("probe");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "98x66", 30, "-c:v libx264 -pix_fmt yuv420p10le -video_track_timescale 12800");
    let found = probe(&path).unwrap();
    assert_eq!(
        (found.codec.as_str(), found.pixel_format.as_str(), found.bit_depth),
        ("h264", "yuv420p10le", 10)
    );
    assert_eq!((found.time_base.num, found.time_base.den), (1, 12800));
    assert_eq!((found.start_pts, found.duration, found.frame_count), (Some(0), Some(1.2), Some(30)));
    assert_eq!(found.average_frame_rate.unwrap().value(), Some(25.0));
    assert!(!found.is_image);
    assert!(serde_json::to_string(&found).unwrap().contains("\"matrix\":\"bt601\""));
}

#[test]
fn a_change_of_size_is_just_another_frame() {
    let scratch = Scratch::new("resize");
    let (small, large, both) = (scratch.path("a.ts"), scratch.path("b.ts"), scratch.path("both.ts"));
    testsrc(&small, "98x66", 5, "-c:v libx264 -bf 0");
    testsrc(&large, "160x120", 5, "-c:v libx264 -bf 0");
    std::fs::write(&both, [std::fs::read(&small).unwrap(), std::fs::read(&large).unwrap()].concat()).unwrap();
    let mut decoder = Decoder::open(&both, &DecodeOptions::default()).unwrap();
    let mut sizes = Vec::new();
    while let Step::Frame(frame) = decoder.next(&mut |_| true).unwrap() {
        sizes.push(frame.planes().size.width);
    }
    assert_eq!(sizes, [98, 98, 98, 98, 98, 160, 160, 160, 160, 160]);
}

#[test]
fn files_that_cannot_be_decoded_say_why() {
    let scratch = Scratch::new("errors");
    let open = |path: &str| Decoder::open(path, &DecodeOptions::default()).map(|_| ()).unwrap_err();

    assert!(matches!(open(&scratch.path("none.mp4")), Error::NotFound { .. }));

    let text = scratch.path("notes.mp4");
    std::fs::write(&text, "not a film").unwrap();
    assert!(matches!(open(&text), Error::NotMedia { .. }));
    let empty = scratch.path("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    assert!(matches!(open(&empty), Error::NotMedia { .. }));

    let sound = scratch.path("sound.mp4");
    ffmpeg("-f lavfi -i sine -t 0.2 -c:a aac {}", &sound);
    assert!(matches!(open(&sound), Error::NoVideo { streams: 1, .. }));

    let clip = scratch.path("clip.mp4");
    testsrc(&clip, "98x66", 2, "-c:v libx264");
    let small = DecodeOptions { max_pixels: 98 * 66 - 1, ..DecodeOptions::default() };
    let error = Decoder::open(&clip, &small).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { width: 98, height: 66, .. }), "{error}");
    assert!(error.to_string().starts_with(&clip), "{error}");
    assert!(!error.hints().is_empty());

    // The head of the file is whole, but no packet is.
    let hollow = scratch.path("hollow.mp4");
    ffmpeg(&format!("-i {clip} -c copy -movflags faststart {{}}"), &hollow);
    let mut bytes = std::fs::read(&hollow).unwrap();
    let data = bytes.windows(4).position(|window| window == b"mdat").unwrap();
    bytes[data + 4..].fill(0);
    std::fs::write(&hollow, bytes).unwrap();
    let error = open(&hollow);
    assert!(matches!(error, Error::NothingDecoded { packets: 2, errors: 2, .. }), "{error}");
}
