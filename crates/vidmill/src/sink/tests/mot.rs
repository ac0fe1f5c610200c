use super::super::{create, go_on};
use super::{NO_NAMES, boxed, dropped, failed, ok, text, whole_run};
use crate::record::Detection;

fn tracked(frame: u64, n: u32, id: u64) -> Detection {
    Detection { track_id: Some(id), ..boxed(frame, n) }
}

#[test]
fn only_what_is_tracked_has_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.txt");
    let records = [
        ok(0, vec![tracked(0, 0, 2), boxed(0, 1), tracked(0, 2, 1)]),
        failed(1, "no memory"),
        dropped(2, "too late"),
        ok(3, vec![]),
        ok(4, vec![tracked(4, 1, 2)]),
    ];
    whole_run(&path, NO_NAMES, records.clone());
    let expected = "1,2,0.0,2.0,10.5,38.25,1.0,-1,-1,-1\n\
                    1,1,0.5,2.0,10.5,38.25,0.75,-1,-1,-1\n\
                    5,2,4.25,2.0,10.5,38.25,0.875,-1,-1,-1\n";
    assert_eq!(text(&path), expected);

    // Cut at any record and gone on with, it is the same.
    for whole in 0..records.len() {
        let mut sink = create(&path, NO_NAMES).unwrap();
        records[..whole].iter().for_each(|record| sink.write(record).unwrap());
        sink.flush().unwrap();
        let position = sink.position().unwrap();
        records[whole..].iter().for_each(|record| sink.write(record).unwrap());
        sink.suspend().unwrap();
        let mut sink = go_on(&path, NO_NAMES, position).unwrap();
        records[whole..].iter().for_each(|record| sink.write(record).unwrap());
        sink.finish().unwrap();
        assert_eq!(text(&path), expected);
    }
}
