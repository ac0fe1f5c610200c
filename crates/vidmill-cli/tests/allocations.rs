//! The allocator that counts counts all that is allocated.

use vidmill_cli::allocations::{Counting, start};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn allocations_are_counted_with_their_bytes() {
    let so_far = start().expect("it is this program's allocator");
    let before = so_far();
    let mut boxes: Vec<Box<[u8; 1000]>> = Vec::with_capacity(100);
    boxes.extend((0..100).map(|_| Box::new([1; 1000])));
    let mut grown: Vec<u8> = Vec::with_capacity(10);
    grown.reserve_exact(5000);
    let zeroed = vec![0_u8; 7000];
    let after = so_far();
    let (count, bytes) = (after.count - before.count, after.bytes - before.bytes);
    let least = (104, 100 * 1000 + 100 * size_of::<usize>() as u64 + 10 + 5000 + 7000);
    // The test's own machinery may allocate a little beside it.
    assert!(count >= least.0 && count < least.0 + 50, "{count}");
    assert!(bytes >= least.1 && bytes < least.1 + 20_000, "{bytes}");
    drop((boxes, grown, zeroed));
    assert!(so_far().count - after.count < 50, "giving back is not counted");
}
