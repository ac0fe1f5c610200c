//! Memory of models that come and go. Alone in its process, which it measures.

#![allow(clippy::unwrap_used, reason = "a suite is made of tests")]

mod common;

use common::{D, F32, Onnx, as_bytes, has_openvino, on};
use vidmill_image::ElementType;
use vidmill_infer::{Device, LoadOptions, Model};

/// Memory of this process, in MB.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4 / 1024
}

#[test]
fn a_dropped_model_gives_its_memory_back() {
    let weights: Vec<f32> = (0..1024 * 2048).map(|n| (n % 97) as f32).collect();
    let file = Onnx::new()
        .input("x", F32, &[D::N(1), D::N(1024)])
        .output("y", F32, &[D::N(1), D::N(2048)])
        .weights("w", &[1024, 2048], &weights)
        .node("MatMul", &["x", "w"], "y", &[])
        .save();
    for device in [Device::Cpu, Device::OpenVino] {
        if device == Device::OpenVino && !has_openvino("a_dropped_model_gives_its_memory_back") {
            continue;
        }
        let once = || {
            let model = Model::open(&file.0, &LoadOptions { sessions: 2, threads: 1, ..on(device) }).unwrap();
            let mut sessions = [(); 3].map(|()| model.tensor_session().unwrap());
            drop(model);
            for session in &mut sessions {
                session.run(ElementType::F32, &[1, 1024], as_bytes(&[1.0; 1024])).unwrap();
            }
        };
        (0..3).for_each(|_| once());
        let before = resident();
        (0..20).for_each(|_| once());
        let more = resident().saturating_sub(before);
        assert!(more < 60, "20 models of 8 MB left {more} MB behind on {device}");
    }
}
