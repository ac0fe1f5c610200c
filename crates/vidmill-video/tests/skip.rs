//! Frames that are left undecoded change nothing about the others.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod common;

use std::time::Instant;

use common::{Random, Scratch, Seen, decode, decode_with, ffmpeg, testsrc};
use vidmill_video::{Cores, Damage, DecodeOptions, Decoder, Skipping};

fn decode_all(path: &str) -> (Vec<Seen>, Damage) {
    let options = DecodeOptions { threads: 1, skipping: Skipping::Nothing, ..DecodeOptions::default() };
    decode_with(path, &options, |_| true)
}

/// What is left of full decoding when only some frames are wanted.
fn choose(all: &[Seen], want: impl Fn(u64) -> bool) -> Vec<Seen> {
    let keep = |frame: &Seen| Seen { md5: frame.md5.clone().filter(|_| want(frame.index)), ..frame.clone() };
    all.iter().map(keep).collect()
}

#[track_caller]
fn same_as_choosing(path: &str) {
    let (all, damage) = decode_all(path);
    for every in [1, 2, 5, 7, 30, 50] {
        let (seen, found) = decode(path, every, 1 + every as usize % 3);
        assert_eq!(seen, choose(&all, |index| index.is_multiple_of(every)), "{path}: every {every}");
        assert_eq!(found, damage, "{path}: every {every}");
    }
    let shared = DecodeOptions { threads: 2, cores: Cores::Shared, ..DecodeOptions::default() };
    for every in [1, 3] {
        let (seen, found) = decode_with(path, &shared, |index| index.is_multiple_of(every));
        assert_eq!(seen, choose(&all, |index| index.is_multiple_of(every)), "{path}: shared, every {every}");
        assert_eq!(found, damage, "{path}: shared, every {every}");
    }
    let options = DecodeOptions { threads: 2, ..DecodeOptions::default() };
    let scattered = |index: u64| index % 7 == 3 || (20..23).contains(&index);
    assert_eq!(decode_with(path, &options, scattered).0, choose(&all, scattered), "{path}: scattered");
    assert_eq!(decode_with(path, &options, |_| false).0, choose(&all, |_| false), "{path}: none");
    let late = |index: u64| index > 60;
    assert_eq!(decode_with(path, &options, late).0, choose(&all, late), "{path}: from a place on");
    let early = |index: u64| index < 10 || index == 44;
    assert_eq!(decode_with(path, &options, early).0, choose(&all, early), "{path}: up to a place");
}

#[test]
fn h264_with_every_kind_of_gop() {
    let scratch = Scratch::new("gops");
    for (file, options) in [
        ("plain.mp4", ""),
        ("b0.mp4", "-bf 0"),
        ("b1.mkv", "-bf 1"),
        ("b3.mp4", "-bf 3 -g 12"),
        ("b8.mkv", "-bf 8 -b_strategy 0"),
        ("no-pyramid.mp4", "-bf 4 -x264-params b-pyramid=none:b-adapt=0"),
        ("strict.mp4", "-bf 8 -x264-params b-pyramid=strict:b-adapt=0"),
        ("open.mp4", "-bf 3 -g 15 -x264-params open-gop=1"),
        ("open.mkv", "-bf 3 -g 15 -x264-params open-gop=1"),
        ("intra-refresh.mp4", "-bf 0 -x264-params intra-refresh=1"),
        ("slices.mp4", "-bf 3 -slices 4"),
        ("field.mp4", "-bf 3 -flags +ildct+ilme -x264-params tff=1"),
        ("fragmented.mp4", "-bf 3 -g 20 -movflags frag_keyframe+empty_moov"),
        ("annexb.ts", "-bf 3"),
        ("ten-bit.mp4", "-bf 3 -pix_fmt yuv420p10le"),
    ] {
        let path = scratch.path(file);
        testsrc(&path, "96x64", 75, &format!("-c:v libx264 -preset fast {options}"));
        same_as_choosing(&path);
    }
}

#[test]
fn hevc_with_every_kind_of_gop() {
    let scratch = Scratch::new("hevc");
    for (file, parameters) in [
        ("plain.mp4", "bframes=4"),
        ("b0.mp4", "bframes=0"),
        ("b8.mkv", "bframes=8:b-adapt=0"),
        ("no-pyramid.mp4", "bframes=4:b-pyramid=0"),
        ("open.mp4", "bframes=4:keyint=15:open-gop=1"),
        ("layers.mkv", "bframes=4:temporal-layers=2"),
        ("closed.mkv", "bframes=4:keyint=15:open-gop=0:repeat-headers=1"),
    ] {
        let path = scratch.path(file);
        let codec = format!("-c:v libx265 -preset fast -x265-params log-level=none:{parameters}");
        testsrc(&path, "98x66", 75, &codec);
        same_as_choosing(&path);
    }
}

#[test]
fn irregular_times_and_cut_streams() {
    let scratch = Scratch::new("irregular");
    let vfr = scratch.path("vfr.mkv");
    testsrc(&vfr, "98x66", 60, "-vf select='not(eq(mod(n,7),2))*gt(n,3)' -fps_mode vfr -c:v libx264 -bf 4");
    same_as_choosing(&vfr);
    // An edit list that hides frames, and a start in the middle of an open group.
    let (whole, cut, open) = (scratch.path("whole.mp4"), scratch.path("cut.mp4"), scratch.path("open.mkv"));
    testsrc(&whole, "98x66", 100, "-c:v libx264 -bf 3 -g 25 -x264-params open-gop=1");
    ffmpeg(&format!("-ss 1.3 -i {whole} -c copy {{}}"), &cut);
    same_as_choosing(&cut);
    ffmpeg(&format!("-ss 1.3 -i {whole} -c copy {{}}"), &open);
    same_as_choosing(&open);
}

/// Groups that are decoded apart would miss parameter sets that come on the way.
#[test]
fn parameters_that_change_on_the_way() {
    let scratch = Scratch::new("parameters");
    let (first, second) = (scratch.path("first.mp4"), scratch.path("second.mp4"));
    testsrc(&first, "96x64", 50, "-c:v libx264 -bf 3 -g 12");
    testsrc(&second, "96x64", 70, "-c:v libx264 -bf 2 -g 12 -x264-params cabac=0:ref=2:8x8dct=0");
    let list = scratch.path("list.txt");
    std::fs::write(&list, format!("file '{first}'\nfile '{second}'\nfile '{first}'\n")).unwrap();
    for file in ["joined.mkv", "joined.mp4"] {
        let joined = scratch.path(file);
        ffmpeg(&format!("-f concat -safe 0 -i {list} -c copy {{}}"), &joined);
        same_as_choosing(&joined);
    }
}

#[test]
fn damaged_files_give_what_decoding_everything_gives() {
    let scratch = Scratch::new("skip-damage");
    let whole = scratch.path("whole.mp4");
    testsrc(&whole, "160x120", 60, "-c:v libx264 -bf 3 -g 20 -movflags faststart");
    let bytes = std::fs::read(&whole).unwrap();
    let start = bytes.windows(4).position(|window| window == b"mdat").unwrap() + 8;
    let mut random = Random(7);
    let path = scratch.path("broken.mp4");
    let mut damaged = 0;
    for _ in 0..12 {
        let mut broken = bytes.clone();
        for _ in 0..1 + random.below(4) {
            let at = start + random.below(bytes.len() - start);
            broken[at] ^= 1 << random.below(8);
        }
        std::fs::write(&path, broken).unwrap();
        let (all, damage) = decode_all(&path);
        damaged += u32::from(!damage.is_none());
        // A frame may be damaged that nobody wants and nothing needs: that alone may go unnoticed.
        let (seen, _) = decode(&path, 5, 2);
        assert_eq!(seen, choose(&all, |index| index.is_multiple_of(5)));
    }
    assert!(damaged > 3, "the test should damage something: {damaged}");
}

/// Groups of which nothing is wanted are damaged: nobody notices, and what is wanted is as it was.
#[test]
fn damage_where_nothing_is_wanted_changes_nothing_else() {
    let scratch = Scratch::new("skip-groups");
    let (whole, path) = (scratch.path("whole.mp4"), scratch.path("broken.mp4"));
    testsrc(&whole, "160x120", 200, "-c:v libx264 -bf 3 -g 20 -movflags faststart");
    let (all, _) = decode_all(&whole);
    let mut bytes = std::fs::read(&whole).unwrap();
    for part in [61, 62, 63] {
        let at = bytes.len() * part / 100;
        bytes[at] ^= 0x10;
    }
    std::fs::write(&path, bytes).unwrap();
    assert!(!decode_all(&path).1.is_none(), "the test should damage something");
    let want = |index: u64| index.is_multiple_of(90);
    let (seen, damage) = decode_with(&path, &DecodeOptions::default(), want);
    assert_eq!(seen, choose(&all, want));
    assert!(damage.is_none());
}

/// A decoder that is dropped in the middle ends its threads, though they wait for room.
#[test]
fn half_read_files_are_let_go_of() {
    let scratch = Scratch::new("half");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "96x64", 300, "-c:v libx264 -preset ultrafast -g 50");
    for (every, cores) in [(1, Cores::Shared), (5, Cores::Free)] {
        let options = DecodeOptions { threads: 3, cores, ..DecodeOptions::default() };
        let mut decoder = Decoder::open(&path, &options).unwrap();
        for _ in 0..20 {
            decoder.next(&mut |head| head.index.is_multiple_of(every)).unwrap();
        }
        assert_eq!(threads_of_lanes() > 0, cfg!(target_os = "linux"));
        drop(decoder);
    }
}

/// Threads of this process that decode groups apart; other tests may have some, too.
fn threads_of_lanes() -> usize {
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    tasks.filter_map(name).filter(|name| name.starts_with("decode-")).count()
}

#[test]
fn large_steps_pass_over_what_lies_between() {
    let scratch = Scratch::new("steps");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "640x360", 500, "-c:v libx264 -preset veryfast -bf 3 -g 50");
    let time = |skipping| {
        let options = DecodeOptions { threads: 1, skipping, ..DecodeOptions::default() };
        let run = || {
            let start = Instant::now();
            decode_with(&path, &options, |index| index.is_multiple_of(250));
            start.elapsed()
        };
        (0..3).map(|_| run()).min().unwrap()
    };
    let (all, selected) = (time(Skipping::Nothing), time(Skipping::Disposable));
    assert!(selected < all.mul_f64(0.4), "{selected:?} of {all:?}");
}

/// The reason for it all. Measured as time on one thread, with a wide margin.
#[test]
fn leaving_frames_out_saves_time() {
    let scratch = Scratch::new("saving");
    let path = scratch.path("clip.mp4");
    testsrc(&path, "640x360", 150, "-c:v libx264 -bf 3 -x264-params b-adapt=0");
    let time = |skipping| {
        let options = DecodeOptions { threads: 1, skipping, ..DecodeOptions::default() };
        let run = || {
            let start = Instant::now();
            decode_with(&path, &options, |index| index.is_multiple_of(30));
            start.elapsed()
        };
        (0..5).map(|_| run()).min().unwrap()
    };
    let (all, selected) = (time(Skipping::Nothing), time(Skipping::Disposable));
    assert!(selected < all.mul_f64(0.9), "{selected:?} of {all:?}");
}
