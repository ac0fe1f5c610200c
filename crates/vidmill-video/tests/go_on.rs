//! Going on after any frame gives what decoding from the beginning gives.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::Instant;

use common::{Random, Scratch, ffmpeg, planes_md5, testsrc};
use vidmill_video::{Damage, DecodeOptions, Decoder, FrameHead, Step};

/// What a decoder gives from where it stands, of every `every`th frame; with the heads.
fn rest(decoder: &mut Decoder, every: u64) -> (Vec<(FrameHead, Option<String>)>, Damage) {
    let mut seen = Vec::new();
    loop {
        match decoder.next(&mut |head| head.index.is_multiple_of(every)).unwrap() {
            Step::Frame(frame) => seen.push((frame.head(), Some(planes_md5(&frame.planes())))),
            Step::Skipped(head) => seen.push((head, None)),
            Step::End => return (seen, decoder.damage().clone()),
        }
    }
}

fn open(path: &str, threads: usize) -> Decoder {
    Decoder::open(path, &DecodeOptions { threads, ..DecodeOptions::default() }).unwrap()
}

/// Goes on after some frames, and compares; returns how often that began at a key frame within the file.
#[track_caller]
fn same_from_anywhere(path: &str) -> usize {
    let mut sought = 0;
    for every in [1, 5] {
        let mut decoder = open(path, 2);
        let (all, damage) = rest(&mut decoder, every);
        let sound = decoder.is_sound();
        assert!(all.len() > 10, "{path}");
        let mut random = Random(all.len() as u64);
        let some = (0..8).map(|_| random.below(all.len()));
        for at in some.chain([0, 1, all.len() - 2, all.len() - 1]) {
            let last = all[at].0;
            let mut decoder = open(path, 1 + at % 3);
            let mut want = |head: FrameHead| head.index.is_multiple_of(every);
            if sound && decoder.go_on_after(last, &mut want).unwrap() {
                sought += 1;
            } else {
                for passed in &all[..=at] {
                    // What is wanted again decides what damage is noticed.
                    let head = match decoder.next(&mut want).unwrap() {
                        Step::Frame(frame) => frame.head(),
                        Step::Skipped(head) => head,
                        Step::End => panic!("{path}: the end comes before frame {at}"),
                    };
                    assert_eq!(head, passed.0, "{path}");
                }
            }
            let (seen, found) = rest(&mut decoder, every);
            assert_eq!(seen, all[at + 1..], "{path}: every {every}, after frame {at}");
            assert_eq!(found, damage, "{path}: every {every}, after frame {at}");
        }
    }
    sought
}

const TRIES: usize = 24;

#[test]
fn h264_goes_on_from_key_frames() {
    let scratch = Scratch::new("go-on-h264");
    for (file, options) in [
        ("plain.mp4", "-g 20"),
        ("b3.mp4", "-bf 3 -g 12"),
        ("b3.mkv", "-bf 3 -g 12"),
        ("b8.mkv", "-bf 8 -b_strategy 0 -g 30"),
        ("late.mp4", "-bf 3 -g 12 -output_ts_offset 3.5"),
        ("faststart.mov", "-bf 2 -g 12 -movflags faststart"),
        ("slices.mp4", "-bf 3 -g 15 -slices 4"),
        ("fragmented.mp4", "-bf 3 -g 20 -movflags frag_keyframe+empty_moov"),
        ("vfr.mkv", "-vf select='not(eq(mod(n,7),2))*gt(n,3)' -fps_mode vfr -bf 4 -g 12"),
        ("one-gop.mp4", "-bf 3 -g 999"),
        ("ten-bit.mp4", "-bf 3 -g 12 -pix_fmt yuv420p10le"),
    ] {
        let path = scratch.path(file);
        testsrc(&path, "96x64", 75, &format!("-c:v libx264 -preset fast {options}"));
        assert_eq!(same_from_anywhere(&path), TRIES, "{file} should be sought in");
    }
    // Key frames that are no refresh: the first one is far back, or too far.
    let open = scratch.path("open.mp4");
    testsrc(&open, "96x64", 75, "-c:v libx264 -bf 3 -g 15 -x264-params open-gop=1");
    same_from_anywhere(&open);
}

#[test]
fn hevc_goes_on_from_key_frames() {
    let scratch = Scratch::new("go-on-hevc");
    for (file, parameters) in [
        ("plain.mp4", "bframes=4"),
        ("closed.mp4", "bframes=4:keyint=15:open-gop=0"),
        ("closed.mkv", "bframes=4:keyint=15:open-gop=0:repeat-headers=1"),
        ("layers.mkv", "bframes=4:keyint=15:open-gop=0:temporal-layers=2"),
        ("open.mp4", "bframes=4:keyint=15:open-gop=1"),
        ("open.mkv", "bframes=4:keyint=15:open-gop=1:repeat-headers=1"),
        ("open-b8.mp4", "bframes=8:b-adapt=0:keyint=20:open-gop=1"),
        ("open-layers.mkv", "bframes=4:keyint=15:open-gop=1:temporal-layers=2"),
    ] {
        let path = scratch.path(file);
        let codec = format!("-c:v libx265 -preset fast -x265-params log-level=none:{parameters}");
        testsrc(&path, "98x66", 75, &codec);
        assert_eq!(same_from_anywhere(&path), TRIES, "{file} should be sought in");
    }
}

#[test]
fn other_streams_are_read_from_their_beginning() {
    let scratch = Scratch::new("go-on-others");
    for (file, options) in [
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 20"),
        ("mpeg4.avi", "-c:v mpeg4 -bf 2 -g 12"),
        ("mjpeg.mkv", "-c:v mjpeg"),
        ("h264.ts", "-c:v libx264 -bf 3 -g 12"),
    ] {
        let path = scratch.path(file);
        testsrc(&path, "96x64", 60, options);
        assert_eq!(same_from_anywhere(&path), 0, "{file}");
    }
}

#[test]
fn edited_and_cut_files() {
    let scratch = Scratch::new("go-on-cut");
    let (whole, edited, open) =
        (scratch.path("whole.mp4"), scratch.path("cut.mp4"), scratch.path("open.mkv"));
    testsrc(&whole, "98x66", 100, "-c:v libx264 -bf 3 -g 25 -x264-params open-gop=1");
    ffmpeg(&format!("-ss 1.3 -i {whole} -c copy {{}}"), &edited);
    same_from_anywhere(&edited);
    ffmpeg(&format!("-ss 1.3 -i {whole} -c copy {{}}"), &open);
    same_from_anywhere(&open);
    // The same times twice in one file: a time leads to two places.
    let (first, twice) = (scratch.path("first.mkv"), scratch.path("twice.mkv"));
    testsrc(&first, "96x64", 50, "-c:v libx264 -bf 2 -g 10 -cues_to_front 0");
    let bytes = std::fs::read(&first).unwrap();
    std::fs::write(&twice, [&bytes[..], &bytes[..]].concat()).unwrap();
    same_from_anywhere(&twice);
}

#[test]
fn damage_is_told_as_if_nothing_had_been_passed_over() {
    let scratch = Scratch::new("go-on-damage");
    for (file, options) in [("whole.mp4", "-movflags faststart"), ("whole.mkv", "")] {
        let (whole, broken) = (scratch.path(file), scratch.path(&format!("broken-{file}")));
        testsrc(&whole, "160x120", 80, &format!("-c:v libx264 -bf 3 -g 20 {options}"));
        let bytes = std::fs::read(&whole).unwrap();
        std::fs::write(&broken, &bytes[..bytes.len() * 4 / 5]).unwrap();
        same_from_anywhere(&broken);
        let mut random = Random(11);
        for _ in 0..3 {
            let mut damaged = bytes.clone();
            let at = bytes.len() / 4 + random.below(bytes.len() / 2);
            damaged[at] ^= 1 << random.below(8);
            std::fs::write(&broken, damaged).unwrap();
            same_from_anywhere(&broken);
        }
    }
}

/// Where damage lies behind the last frame, the decoder up to there was sound, and may be gone on from.
#[test]
fn damage_that_comes_later_starts_everything_over() {
    let scratch = Scratch::new("go-on-later");
    let path = scratch.path("late.mp4");
    testsrc(&path, "160x120", 80, "-c:v libx264 -bf 3 -g 10 -movflags faststart");
    let mut bytes = std::fs::read(&path).unwrap();
    let from = bytes.len() * 9 / 10;
    bytes[from..from + 40].fill(0x55);
    std::fs::write(&path, bytes).unwrap();
    let (all, damage) = rest(&mut open(&path, 2), 1);
    assert!(!damage.is_none());
    for at in [15, 33, 50] {
        let mut before = open(&path, 2);
        for _ in 0..=at {
            before.next(&mut |_| true).unwrap();
        }
        let mut decoder = open(&path, 2);
        assert!(before.is_sound() && decoder.go_on_after(all[at].0, &mut |_| true).unwrap(), "frame {at}");
        let (seen, found) = rest(&mut decoder, 1);
        assert_eq!(seen, all[at + 1..], "after frame {at}");
        assert_eq!(found, damage, "after frame {at}");
    }
}

#[test]
fn a_frame_that_is_not_there_is_not_gone_on_from() {
    let scratch = Scratch::new("go-on-none");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "96x64", 60, "-c:v libx264 -bf 3 -g 12");
    let (all, _) = rest(&mut open(&path, 1), 1);
    let mut wrong = all[30].0;
    wrong.timestamp.as_mut().unwrap().pts += 1;
    let mut decoder = open(&path, 1);
    assert!(!decoder.go_on_after(wrong, &mut |_| panic!("nothing is certain")).unwrap());
    assert_eq!(rest(&mut decoder, 1).0, all, "it stands at the beginning");
}

/// The reason for it all, with a wide margin.
#[test]
fn going_on_saves_time() {
    let scratch = Scratch::new("go-on-time");
    let path = scratch.path("long.mp4");
    testsrc(&path, "640x360", 400, "-c:v libx264 -preset veryfast -bf 3 -g 50");
    let last = rest(&mut open(&path, 1), 1).0[370].0;
    let time = |skip: bool| {
        let run = || {
            let start = Instant::now();
            let mut decoder = open(&path, 1);
            assert!(!skip || decoder.go_on_after(last, &mut |_| true).unwrap());
            while !matches!(decoder.next(&mut |_| true).unwrap(), Step::End) {}
            start.elapsed()
        };
        (0..3).map(|_| run()).min().unwrap()
    };
    let (all, rest) = (time(false), time(true));
    assert!(rest < all.mul_f64(0.5), "{rest:?} of {all:?}");
}
