//! A planned pass must not touch the heap: it runs for every frame, beside the decoder and the model.

#![expect(unsafe_code, reason = "an allocator that counts is unsafe to implement")]

use std::alloc::{GlobalAlloc, Layout as Request, System};
use std::cell::Cell;

use vidmill_image::{
    ColorSpec, ElementType, PixelFormat, Planes, Preprocess, Rotation, Size, TensorLayout, TensorSpec,
};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: every call is passed on to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, request: Request) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(request) }
    }
    unsafe fn dealloc(&self, memory: *mut u8, request: Request) {
        // SAFETY: the caller keeps the contract of `dealloc`, and `memory` came from the system's allocator.
        unsafe { System.dealloc(memory, request) }
    }
}

#[test]
fn a_planned_pass_allocates_nothing() {
    let size = Size::new(101, 67);
    let formats = [
        PixelFormat::YUV420P,
        PixelFormat::NV12,
        PixelFormat::P010,
        PixelFormat::yuv_planar(8, 2, 0),
        PixelFormat::RGB24,
        PixelFormat::GRAY8,
    ];
    for format in formats {
        for rotation in [Rotation::None, Rotation::Clockwise] {
            for (element, layout) in [
                (ElementType::F32, TensorLayout::Nchw),
                (ElementType::F16, TensorLayout::Nhwc),
                (ElementType::U8, TensorLayout::Nhwc),
            ] {
                let spec = TensorSpec { element, layout, ..TensorSpec::yolo(Size::new(64, 64)) };
                let rows = [0, 1, 2].map(|plane| format.plane_shape(plane, size));
                let data = rows.map(|(rows, bytes)| vec![90; rows * bytes]);
                let planes = Planes {
                    format,
                    size,
                    color: ColorSpec::default(),
                    rotation,
                    data: data.each_ref().map(Vec::as_slice),
                    stride: rows.map(|(_, bytes)| bytes),
                };
                let mut preprocess = Preprocess::for_planes(&spec, &planes).unwrap();
                let mut out = vec![0; spec.item_bytes()];
                preprocess.run(&planes, &mut out).unwrap();
                let before = COUNT.with(Cell::get);
                preprocess.run(&planes, &mut out).unwrap();
                assert_eq!(COUNT.with(Cell::get), before, "{format:?} {rotation:?} {element:?}");
            }
        }
    }
}
