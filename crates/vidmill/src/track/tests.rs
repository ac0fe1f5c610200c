//! What the trackers do, and their settings. That they do it as their reference implementations is in `tests/torch/test_track.py`.

use super::*;

fn seen(x: f32, confidence: f32) -> Observation {
    Observation { xyxy: [x, 100.0, x + 50.0, 200.0], confidence }
}

fn bytetrack() -> Tracker {
    Tracker::new(&Settings::of("bytetrack").unwrap())
}

fn ids(tracker: &mut Tracker, found: &[Observation]) -> Vec<(usize, u64)> {
    tracker.update(found).into_iter().map(|tracked| (tracked.detection, tracked.id)).collect()
}

#[test]
fn bytetrack_keeps_an_id_over_weak_detections_and_gaps() {
    let mut tracker = bytetrack();
    assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [(0, 1)]);
    assert_eq!(ids(&mut tracker, &[seen(5.0, 0.15)]), [(0, 1)], "it is weak, but where it should be");
    assert_eq!(ids(&mut tracker, &[]), []);
    assert_eq!(ids(&mut tracker, &[seen(12.0, 0.9)]), [(0, 1)]);
    // Another is told of from its second frame on.
    assert_eq!(ids(&mut tracker, &[seen(500.0, 0.9), seen(15.0, 0.9)]), [(1, 1)]);
    assert_eq!(ids(&mut tracker, &[seen(503.0, 0.8), seen(18.0, 0.7)]), [(1, 1), (0, 2)]);
}

/// As in the reference, what its buffer gives up can still be found in the very next frame.
#[test]
fn bytetrack_forgets_what_is_lost_for_longer_than_its_buffer() {
    for (gap, id) in [(31, 1), (32, 2)] {
        let settings = Settings::ByteTrack(ByteTrackSettings { track_buffer: 30, ..Default::default() });
        let mut tracker = Tracker::new(&settings);
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        for _ in 0..gap {
            assert_eq!(ids(&mut tracker, &[]), []);
        }
        ids(&mut tracker, &[seen(0.0, 0.9)]);
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [(0, id)], "after {gap} frames");
    }
}

#[test]
fn sort_tells_of_a_track_after_its_hits() {
    let mut tracker = Tracker::new(&Settings::of("sort").unwrap());
    for _ in 0..4 {
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9)]), [(0, 1)]);
    }
    for _ in 0..3 {
        assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9), seen(300.0, 0.9)]), [(0, 1)]);
    }
    assert_eq!(ids(&mut tracker, &[seen(0.0, 0.9), seen(300.0, 0.9)]), [(1, 2), (0, 1)]);
}

#[test]
fn boxes_without_an_area_play_no_part() {
    let flat = Observation { xyxy: [10.0, 10.0, 10.0, 50.0], confidence: 0.9 };
    for name in ["bytetrack", "sort"] {
        let mut tracker = Tracker::new(&Settings::of(name).unwrap());
        assert_eq!(ids(&mut tracker, &[flat, seen(0.0, 0.9), flat]), [(1, 1)], "{name}");
    }
}

/// A tracker that is written down and read back goes on as if nothing had been.
#[test]
fn state_is_kept_to_the_last_bit() {
    // Any sequence will do, so long as it has no pattern.
    let mut state = 1_u32;
    let mut random = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    };
    for name in ["bytetrack", "sort"] {
        let mut one = Tracker::new(&Settings::of(name).unwrap());
        let mut other = one.clone();
        for frame in 0..200 {
            let found: Vec<Observation> =
                (0..12).map(|n| seen(n as f32 * 40.0 + random() * 30.0 + frame as f32, random())).collect();
            let expected = one.update(&found);
            let text = serde_json::to_string(&other).unwrap();
            other = serde_json::from_str(&text).unwrap();
            assert_eq!(other.update(&found), expected, "{name}, frame {frame}");
            assert_eq!(serde_json::to_string(&other).unwrap(), serde_json::to_string(&one).unwrap());
        }
    }
}

fn read(text: &str) -> Result<Settings, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    std::fs::write(&path, text).unwrap();
    Settings::of(path.to_str().unwrap())
        .map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
}

#[test]
fn a_file_of_settings() {
    let expected = ByteTrackSettings { track_buffer: 60, match_thresh: 1.0, ..Default::default() };
    let text = "tracker_type = 'bytetrack'\ntrack_buffer = 60\nmatch_thresh = 1\n";
    assert_eq!(read(text), Ok(Settings::ByteTrack(expected)));
    let expected = SortSettings { min_hits: 0, ..Default::default() };
    assert_eq!(read("min_hits = 0\ntracker_type = 'sort'"), Ok(Settings::Sort(expected)));
}

#[test]
fn the_example_files_are_the_defaults() {
    for (name, text) in [
        ("bytetrack", include_str!("../../../../docs/trackers/bytetrack.toml")),
        ("sort", include_str!("../../../../docs/trackers/sort.toml")),
    ] {
        let mut settings = Settings::of(name).unwrap();
        assert_eq!(read(text).as_ref(), Ok(&settings));
        for (key, _) in settings.fields() {
            assert!(text.contains(&format!("\n{key} = ")), "{key}");
        }
    }
}

#[test]
fn what_a_file_cannot_say() {
    let byte = "tracker_type = 'bytetrack'\n";
    for (text, told) in [
        (
            "",
            "--track: `own.toml`: `tracker_type` is missing: it says which tracker this is for, `bytetrack` or `sort`",
        ),
        ("tracker_type = 'botsort'", "`tracker_type` is \"botsort\", but must be `bytetrack` or `sort`"),
        ("tracker_type = 1", "`tracker_type` is 1, but must be"),
        (
            "tracker_type = 'sort'\ntrack_buffer = 1",
            "`track_buffer` is no key of sort, which has `max_age`, `min_hits`, `iou_threshold`",
        ),
        (&format!("{byte}match_thresh = 1.5"), "`match_thresh` is 1.5, but must be a number from 0 to 1"),
        (&format!("{byte}match_thresh = nan"), "`match_thresh` is nan, but must be"),
        (
            &format!("{byte}match_thresh = '0.5'"),
            "`match_thresh` is \"0.5\", but must be a number from 0 to 1",
        ),
        (
            &format!("{byte}track_buffer = -1"),
            "`track_buffer` is -1, but must be a number of frames, 0 or more",
        ),
        (&format!("{byte}track_buffer = 1.5"), "`track_buffer` is 1.5, but must be"),
        (&format!("{byte}fuse_score = 1"), "`fuse_score` is 1, but must be true or false"),
        (
            &format!("{byte}track_low_thresh = 0.5"),
            "`track_low_thresh` is 0.5, but must not be above `track_high_thresh`, which is 0.25",
        ),
        (&format!("{byte}match_thresh = = 1"), "--track: `own.toml` is no TOML: line 2: "),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(told), "{text}: {error}");
    }
    let error = Settings::of("deepsort").unwrap_err().to_string();
    assert!(
        error.starts_with("--track: there is no tracker `deepsort`: give `bytetrack` or `sort`"),
        "{error}"
    );
    assert!(
        Settings::of("/nowhere/own.toml")
            .unwrap_err()
            .to_string()
            .starts_with("--track: cannot read `/nowhere/own.toml`")
    );
    let settings = Settings::Sort(SortSettings { iou_threshold: f64::NAN, ..Default::default() });
    assert_eq!(
        settings.check().unwrap_err().to_string(),
        "the tracker's `iou_threshold` is NaN, but must be a number from 0 to 1"
    );
}
