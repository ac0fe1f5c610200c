//! Broken files: no panic, no hang, no early end, and an honest account.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use common::{Random, Scratch, decode, ffmpeg, probe_pts, testsrc};
use vidmill_video::{DecodeOptions, Decoder, Step};

#[test]
fn a_file_that_is_cut_off_gives_what_is_there_and_says_so() {
    let scratch = Scratch::new("truncated");
    for (file, options) in [
        ("front.mp4", "-c:v libx264 -preset veryfast -movflags faststart"),
        ("fragmented.mp4", "-c:v libx264 -preset veryfast -g 10 -movflags frag_keyframe+empty_moov"),
        ("clip.mkv", "-c:v libx264 -preset veryfast"),
        ("clip.avi", "-c:v mpeg4"),
    ] {
        let (whole, cut) = (scratch.path(file), scratch.path(&format!("cut-{file}")));
        testsrc(&whole, "160x120", 100, options);
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
        let (all, damage) = decode(&whole, 1, 1);
        assert!(damage.is_none(), "{file}: {damage:?}");
        let (seen, damage) = decode(&cut, 1, 1);
        assert!((20..100).contains(&seen.len()), "{file}: {} frames", seen.len());
        assert_eq!(seen[..seen.len() - 5], all[..seen.len() - 5], "{file}: what is left is unharmed");
        let pts: Vec<_> = seen.iter().map(|frame| frame.pts).collect();
        assert_eq!(pts, probe_pts(&cut), "{file}: as many as ffprobe finds");
        assert!(damage.truncated.is_some(), "{file}: {damage:?}");
    }
}

#[test]
fn damage_in_the_middle_is_counted_and_decoding_goes_on() {
    let scratch = Scratch::new("middle");
    let (whole, broken) = (scratch.path("clip.mp4"), scratch.path("broken.mp4"));
    testsrc(&whole, "160x120", 100, "-c:v libx264 -preset veryfast -g 25 -movflags faststart");
    let mut bytes = std::fs::read(&whole).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].fill(0xa5);
    std::fs::write(&broken, bytes).unwrap();
    let (all, _) = decode(&whole, 1, 1);
    let (seen, damage) = decode(&broken, 1, 1);
    assert!(damage.decode_errors + damage.concealed_frames > 0, "{damage:?}");
    assert!(damage.truncated.is_none(), "{damage:?}");
    assert!(seen.len() > 90, "{} frames", seen.len());
    assert_eq!(seen.last().unwrap().md5, all.last().unwrap().md5, "whole again after the next key frame");
    assert_eq!(decode(&broken, 1, 0), (seen, damage), "threads do not matter, even to damaged frames");
}

/// Flips bits, overwrites runs and cuts pieces out, in 40 ways for several kinds of file. Whatever comes out, it comes in
/// order, and it comes to an end.
#[test]
fn mutated_files_do_no_harm() {
    let scratch = Scratch::new("mutated");
    let mut random = Random(20_240_607);
    for (file, options) in [
        ("h264.mp4", "-c:v libx264 -preset veryfast -bf 2"),
        ("hevc.mkv", "-c:v libx265 -preset ultrafast -x265-params log-level=none"),
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime"),
        ("mpeg4.avi", "-c:v mpeg4"),
        ("mjpeg.mov", "-c:v mjpeg -pix_fmt yuvj420p"),
        ("image.png", "-frames:v 1"),
        ("image.jpg", "-frames:v 1"),
        ("image.webp", "-frames:v 1"),
    ] {
        let whole = scratch.path(file);
        testsrc(&whole, "98x66", 15, options);
        let bytes = std::fs::read(&whole).unwrap();
        let path = scratch.path(&format!("mutated-{file}"));
        for _ in 0..5 {
            std::fs::write(&path, mutate(&bytes, &mut random)).unwrap();
            survive(&path);
        }
    }
}

fn survive(path: &str) {
    let Ok(mut decoder) = Decoder::open(path, &DecodeOptions { threads: 2, ..DecodeOptions::default() })
    else {
        return;
    };
    let mut frames = 0;
    loop {
        match decoder.next(&mut |head| head.index.is_multiple_of(3)) {
            Ok(Step::Frame(frame)) => {
                assert_eq!(frame.index(), frames);
                frame.planes().validate().unwrap();
            }
            Ok(Step::Skipped(head)) => assert_eq!(head.index, frames),
            Ok(Step::End) | Err(_) => break,
        }
        frames += 1;
        assert!(frames < 1000, "15 frames went in");
    }
}

fn mutate(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    match random.below(3) {
        0 => {
            for _ in 0..1 + random.below(40) {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
            }
        }
        1 => {
            let (from, length) = (random.below(bytes.len()), 1 + random.below(300));
            let to = (from + length).min(bytes.len());
            bytes[from..to].fill(random.below(256) as u8);
        }
        _ => {
            let from = random.below(bytes.len());
            let to = (from + 1 + random.below(200)).min(bytes.len());
            bytes.drain(from..to);
        }
    }
    bytes
}

#[test]
fn a_picture_too_large_for_memory_is_refused() {
    let scratch = Scratch::new("bomb");
    let path = scratch.path("bomb.png");
    ffmpeg("-f lavfi -i color=size=64x64 -frames:v 1 -pix_fmt gray {}", &path);
    let mut bytes = std::fs::read(&path).unwrap();
    // IHDR says 60000 x 60000; the checksum is made right again.
    bytes[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&60_000_u32.to_be_bytes());
    let checksum = crc32fast::hash(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    std::fs::write(&path, bytes).unwrap();
    let error = Decoder::open(&path, &DecodeOptions::default()).map(|_| ()).unwrap_err();
    assert!(!error.to_string().is_empty());
}
