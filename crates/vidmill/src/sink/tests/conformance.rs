//! One suite for all sinks: each instantiates it in one line.

use std::path::{Path, PathBuf};

use super::super::{SinkError, create, go_on, growing_file};
use super::{CHILD, NO_NAMES, again, boxed, full, ok, record, run, text, whole_run, write_all};
use crate::record::{Detection, Found, Keypoint, Outcome, Record};

/// A detection as any format tells it: frame, box, confidence.
pub(super) type Seen = (u64, [f32; 4], f32);

/// A sink under test.
pub(super) struct Subject {
    pub(super) ending: &'static str,
    /// Reads a finished file; panics where it is not valid.
    pub(super) read: fn(&Path) -> Vec<Seen>,
    /// The ending of the file that holds the records of an unfinished run, and how to read it.
    pub(super) unfinished: (&'static str, fn(&Path) -> Vec<Seen>),
}

impl Subject {
    fn path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("out.{}", self.ending))
    }

    fn unfinished_path(&self, directory: &Path) -> PathBuf {
        directory.join(format!("out.{}", self.unfinished.0))
    }
}

fn seen(records: impl IntoIterator<Item = Record>) -> Vec<Seen> {
    let of_frame = |record: Record| match record.outcome {
        Outcome::Ok(found) => {
            found.detections().iter().map(|found| (record.frame, found.xyxy, found.confidence)).collect()
        }
        Outcome::Failed { .. } | Outcome::Dropped { .. } => Vec::new(),
    };
    records.into_iter().flat_map(of_frame).collect()
}

pub(super) fn every_detection_comes_back(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(directory.path());
    whole_run(&path, NO_NAMES, run(3000));
    assert_eq!((subject.read)(&path), seen(run(3000)));
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing else is left behind");
}

pub(super) fn a_run_without_frames_is_valid(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(directory.path());
    whole_run(&path, NO_NAMES, []);
    assert_eq!((subject.read)(&path), []);
}

pub(super) fn the_same_records_give_the_same_bytes(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(directory.path());
    whole_run(&path, NO_NAMES, run(100));
    let first = std::fs::read(&path).unwrap();
    let mut sink = create(&path, NO_NAMES).unwrap();
    for record in run(100) {
        sink.write(&record).unwrap();
        sink.flush().unwrap();
    }
    sink.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), first);
}

pub(super) fn the_file_is_valid_after_every_flush(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = subject.unfinished_path(directory.path());
    let mut sink = create(&subject.path(directory.path()), NO_NAMES).unwrap();
    let read = subject.unfinished.1;
    assert_eq!(read(&unfinished), []);
    for (count, record) in (1..).zip(run(30)) {
        sink.write(&record).unwrap();
        sink.flush().unwrap();
        assert_eq!(read(&unfinished), seen(run(count)));
    }
}

pub(super) fn what_was_flushed_survives_a_crash(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let mut sink = create(&subject.path(directory.path()), NO_NAMES).unwrap();
    write_all(&mut *sink, run(50));
    sink.flush().unwrap();
    write_all(&mut *sink, run(55).skip(50));
    drop(sink);
    let read = subject.unfinished.1;
    assert_eq!(read(&subject.unfinished_path(directory.path())), seen(run(50)));
}

/// Without a flush, whole units reach the file all the same: what waits in memory is bounded.
pub(super) fn little_waits_in_memory(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = subject.unfinished_path(directory.path());
    let mut sink = create(&subject.path(directory.path()), NO_NAMES).unwrap();
    let all = seen(run(20_000)).len();
    write_all(&mut *sink, run(20_000));
    let read = subject.unfinished.1;
    let there = read(&unfinished);
    assert_eq!(there, seen(run(20_000))[..there.len()]);
    assert!(there.len() + 2000 > all, "{} of {all}", there.len());
}

pub(super) fn an_existing_file_is_overwritten(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(directory.path());
    whole_run(&path, NO_NAMES, run(200));
    whole_run(&path, NO_NAMES, run(3));
    assert_eq!((subject.read)(&path), seen(run(3)));
}

pub(super) fn missing_directories_are_made(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(&directory.path().join("a/b"));
    whole_run(&path, NO_NAMES, run(3));
    assert_eq!((subject.read)(&path), seen(run(3)));
}

pub(super) fn a_path_that_cannot_be_is_an_error_at_once(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = create(&subject.path(&file), NO_NAMES).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot create the directory {}", file.display())), "{error}");

    let path = subject.path(directory.path());
    std::fs::create_dir(&path).unwrap();
    let error = create(&path, NO_NAMES).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot write {}: Is a directory", path.display())), "{error}");
}

pub(super) fn a_number_that_is_none_is_refused(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let path = subject.path(directory.path());
    let mut sink = create(&path, NO_NAMES).unwrap();
    sink.write(&ok(0, vec![boxed(0, 0)])).unwrap();
    type Spoil = fn(&mut Detection, f32);
    let spoilt: [(&str, Spoil); 8] = [
        ("confidence", |found, bad| found.confidence = bad),
        ("xyxy", |found, bad| found.xyxy[2] = bad),
        ("corners", |found, bad| found.corners.as_mut().unwrap()[3][1] = bad),
        ("keypoints", |found, bad| found.keypoints = Some(vec![Keypoint::Plain([1.0, bad])])),
        ("keypoints", |found, bad| found.keypoints = Some(vec![Keypoint::Sure([1.0, 2.0, bad])])),
        ("classes", |found, bad| found.classes.as_mut().unwrap()[1].confidence = bad),
        ("text_confidence", |found, bad| found.text_confidence = Some(bad)),
        ("embedding", |found, bad| found.embedding.as_mut().unwrap()[2] = bad),
    ];
    let refused = |error: SinkError, field| {
        assert!(matches!(error, SinkError::NonFinite { frame: 1, field: it, .. } if it == field), "{error}");
    };
    for (field, spoil) in spoilt {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut spoiled = full(boxed(1, 1));
            spoil(&mut spoiled, bad);
            refused(sink.write(&ok(1, vec![boxed(1, 0), spoiled.clone()])).unwrap_err(), field);
            // However deep it is.
            let around = Detection { detections: Some(vec![spoiled.clone()]), ..boxed(1, 1) };
            refused(sink.write(&ok(1, vec![around])).unwrap_err(), field);
            let Detection { classes, text_confidence, embedding, .. } = spoiled;
            let of_frame = Found { classes, text_confidence, embedding, ..vec![boxed(1, 0)].into() };
            if ["classes", "text_confidence", "embedding"].contains(&field) {
                refused(sink.write(&record("street.mp4", 1, Outcome::Ok(of_frame))).unwrap_err(), field);
            }
        }
    }
    sink.write(&ok(2, vec![boxed(2, 0)])).unwrap();
    sink.finish().unwrap();
    assert_eq!((subject.read)(&path), seen([ok(0, vec![boxed(0, 0)]), ok(2, vec![boxed(2, 0)])]));
}

#[cfg(target_os = "linux")]
pub(super) fn a_full_disk_is_told_with_path_and_remedy(subject: &Subject) {
    let directory = tempfile::tempdir().unwrap();
    let unfinished = subject.unfinished_path(directory.path());
    std::os::unix::fs::symlink("/dev/full", &unfinished).unwrap();
    let whole_run = || {
        let mut sink = create(&subject.path(directory.path()), NO_NAMES)?;
        sink.write(&ok(0, vec![boxed(0, 0)]))?;
        sink.finish()
    };
    let error = whole_run().unwrap_err();
    assert!(matches!(error, SinkError::Full { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.starts_with(&format!("cannot write {}: No space left", unfinished.display())),
        "{message}"
    );
    assert!(message.ends_with("free some space, or write to another disk"), "{message}");
}

/// The kernel takes a part of the last write, then the file is at its limit: what stands is whole and valid.
#[cfg(unix)]
pub(super) fn a_write_cut_short_leaves_a_valid_file(subject: &Subject, name: &str) {
    if let Some(directory) = std::env::var_os(CHILD) {
        return fill_up(subject, Path::new(&directory));
    }
    let directory = tempfile::tempdir().unwrap();
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
    let test = format!("sink::tests::{name}::a_write_cut_short_leaves_a_valid_file");
    let child = again(&test, limited, directory.path()).output().unwrap();
    assert!(child.status.success(), "{child:?}");
    let flushed: u64 = text(&directory.path().join("flushed")).parse().unwrap();
    assert!(flushed > 5);
    let read = subject.unfinished.1;
    assert_eq!(read(&subject.unfinished_path(directory.path())), seen(run(flushed)));
}

fn fill_up(subject: &Subject, directory: &Path) {
    let mut sink = create(&subject.path(directory), NO_NAMES).unwrap();
    for record in run(10_000) {
        sink.write(&record).unwrap();
        if let Err(error) = sink.flush() {
            assert!(matches!(error, SinkError::Full { .. }), "{error:?}");
            return std::fs::write(directory.join("flushed"), record.frame.to_string()).unwrap();
        }
    }
    panic!("the limit was not met");
}

/// Instantiates the suite for the `Subject` constant `SUBJECT` of the module `$name`.
macro_rules! suite {
    ($name:ident: $($test:ident)*) => {
        $(#[test]
        fn $test() {
            super::conformance::$test(&SUBJECT);
        })*
        #[test]
        #[cfg(unix)]
        fn a_write_cut_short_leaves_a_valid_file() {
            super::conformance::a_write_cut_short_leaves_a_valid_file(&SUBJECT, stringify!($name));
        }
        #[test]
        #[cfg(target_os = "linux")]
        fn a_full_disk_is_told_with_path_and_remedy() {
            super::conformance::a_full_disk_is_told_with_path_and_remedy(&SUBJECT);
        }
    };
    ($name:ident) => {
        super::conformance::suite! { $name:
            every_detection_comes_back
            a_run_without_frames_is_valid
            the_same_records_give_the_same_bytes
            the_file_is_valid_after_every_flush
            what_was_flushed_survives_a_crash
            little_waits_in_memory
            an_existing_file_is_overwritten
            missing_directories_are_made
            a_path_that_cannot_be_is_an_error_at_once
            a_number_that_is_none_is_refused
        }
    };
}
pub(super) use suite;

/// An output that was suspended, or whose writer died, and is gone on with from a position, is as if nothing had happened.
#[test]
fn going_on_from_a_position_gives_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.csv", "a.json", "a.parquet"] {
        let (whole, path) = (directory.path().join("whole").join(name), directory.path().join(name));
        // A COCO file has no place for another source's frames.
        whole_run(&whole, NO_NAMES, run(40));
        for (stop, more) in [(0, 9), (1, 1), (13, 0), (25, 6), (40, 0)] {
            let mut sink = create(&path, NO_NAMES).unwrap();
            write_all(&mut *sink, run(stop));
            sink.flush().unwrap();
            let position = sink.position().unwrap();
            write_all(&mut *sink, run(stop + more).skip(stop as usize));
            if more % 2 == 0 {
                sink.suspend().unwrap();
            } else {
                sink.flush().unwrap();
                drop(sink);
            }
            let mut sink = go_on(&path, NO_NAMES, position).unwrap();
            assert_eq!(sink.position(), Some(position), "{name}");
            write_all(&mut *sink, run(40).skip(stop as usize));
            sink.finish().unwrap();
            assert!(std::fs::read(&path).unwrap() == std::fs::read(&whole).unwrap(), "{name} after {stop}");
            assert_eq!(growing_file(&path).exists(), name != "a.parquet");
        }
    }
}

#[test]
fn a_file_that_is_too_short_is_not_gone_on_with() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.jsonl");
    whole_run(&path, NO_NAMES, run(3));
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(go_on(&path, NO_NAMES, length + 1).is_err());
    assert_eq!(std::fs::metadata(&path).unwrap().len(), length);
}
