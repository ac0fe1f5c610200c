//! What the runtimes do not have in common: devices, precisions, libraries; and that all read a model alike.

#![allow(clippy::unwrap_used, reason = "a suite is made of tests")]

mod common;

use std::path::PathBuf;

use common::{D, F16, F32, INT64, Onnx, Random, as_bytes, has_openvino, on};
use half::f16;
use vidmill_image::{Size, TensorSpec};
use vidmill_infer::runtime::{onnxruntime, openvino};
use vidmill_infer::{Device, Error, LoadOptions, Model, Precision};

const IMAGE: [D; 4] = [D::N(1), D::N(3), D::N(4), D::N(5)];
const ITEM: usize = 3 * 4 * 5;

/// A convolution with enough channels that bf16 and f32 differ.
fn convolution() -> Onnx {
    let dims = [D::Any("n"), D::N(3), D::N(64), D::N(64)];
    let mut random = Random(3);
    let weights: Vec<f32> = (0..32 * 3 * 9).map(|_| random.unit() - 0.5).collect();
    Onnx::new()
        .input("x", F32, &dims)
        .output("y", F32, &[D::Any("n"), D::N(32), D::N(62), D::N(62)])
        .weights("w", &[32, 3, 3, 3], &weights)
        .node("Conv", &["x", "w"], "y", &[])
}

fn options(device: Device, precision: Precision) -> LoadOptions {
    LoadOptions { device, precision, ..LoadOptions::default() }
}

#[test]
fn the_cpu_is_onnx_runtimes_alone_and_auto_takes_it() {
    for device in [Device::Cpu, Device::Auto] {
        let model = Model::open(&convolution().save().0, &options(device, Precision::Auto)).unwrap();
        let runtime = model.runtime();
        if device == Device::Auto && !runtime.is_on_cpu() {
            continue;
        }
        assert_eq!(
            (runtime.name.as_str(), runtime.provider.as_str()),
            ("onnxruntime", "CPUExecutionProvider")
        );
        assert_eq!(runtime.nodes.keys().collect::<Vec<_>>(), ["CPUExecutionProvider"]);
        assert_eq!(runtime.precision, "f32");
    }
}

#[test]
fn a_device_that_is_not_there_is_an_error_that_says_what_to_do() {
    let file = convolution().save();
    let (_, providers) = onnxruntime::load(None).unwrap();
    for (device, provider, remedy) in [
        (Device::Cuda(0), "CUDAExecutionProvider", "onnxruntime-gpu"),
        (Device::TensorRt(1), "TensorrtExecutionProvider", "TensorRT 10"),
    ] {
        match Model::open(&file.0, &options(device, Precision::Auto)) {
            Ok(model) => assert_eq!(model.runtime().provider, provider),
            Err(error @ Error::Device { .. }) => {
                let message = error.to_string();
                assert!(message.contains(&device.to_string()), "{message}");
                if !providers.iter().any(|name| name == provider) {
                    assert!(message.contains(provider) && message.contains(remedy), "{message}");
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn precision_is_the_models_own_or_an_error() {
    let halves: Vec<f16> = (0..ITEM).map(|n| f16::from_f32(n as f32)).collect();
    let half = Onnx::new()
        .input("x", F16, &IMAGE)
        .output("y", F16, &IMAGE)
        .half_weights("w", &[1, 3, 4, 5], &halves)
        .node("Add", &["x", "w"], "y", &[])
        .save();
    let full = convolution().save();
    let open = |file: &common::File, precision| Model::open(&file.0, &options(Device::Cpu, precision));
    assert_eq!(open(&half, Precision::Auto).unwrap().runtime().precision, "f16");
    assert_eq!(open(&half, Precision::F16).unwrap().runtime().precision, "f16");
    assert_eq!(open(&full, Precision::F32).unwrap().runtime().precision, "f32");
    for (file, precision) in [(&full, Precision::F16), (&full, Precision::Bf16), (&half, Precision::F32)] {
        assert!(matches!(open(file, precision), Err(Error::Precision { .. })));
    }
}

#[test]
fn a_process_has_one_runtime_library() {
    let (found, providers) = onnxruntime::load(None).unwrap();
    assert!(providers.iter().any(|name| name == "CPUExecutionProvider"));
    assert_eq!(onnxruntime::load(Some(&found.path)).unwrap().0, found);
    let error = onnxruntime::load(Some("/nonexistent/libonnxruntime.so".as_ref())).unwrap_err();
    assert!(matches!(error, Error::RuntimeLoaded { .. }), "{error}");
}

#[test]
fn openvino_computes_in_the_precision_that_was_asked_for() {
    if !has_openvino("openvino_computes_in_the_precision_that_was_asked_for") {
        return;
    }
    let file = convolution().save();
    let (_, capabilities) = openvino::load(None).unwrap();
    let mut random = Random(5);
    let input: Vec<f32> = (0..3 * 64 * 64).map(|_| random.unit()).collect();
    let run = |model: &Model| {
        let mut predictor = model.session(&TensorSpec::yolo(Size::new(64, 64))).unwrap();
        predictor.predict(as_bytes(&input), 1).unwrap().get("y").unwrap().data.to_vec()
    };
    let exact = run(&Model::open(&file.0, &on(Device::Cpu)).unwrap());
    let off = |found: &[f32]| exact.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    for precision in [Precision::Auto, Precision::F32] {
        let model = Model::open(&file.0, &options(Device::OpenVino, precision)).unwrap();
        assert_eq!(model.runtime().precision, "f32");
        assert!(off(&run(&model)) < 1e-5, "{precision}: {}", off(&run(&model)));
    }
    for (precision, unit) in [(Precision::Bf16, "BF16"), (Precision::F16, "FP16")] {
        let has = capabilities.iter().any(|known| known == unit);
        match Model::open(&file.0, &options(Device::OpenVino, precision)) {
            Ok(model) => {
                assert!(has, "{precision} was granted by a CPU without units for it");
                assert_eq!(model.runtime().precision, precision.to_string());
                let off = off(&run(&model));
                assert!(off > 1e-5 && off < 0.1, "{precision}: {off}");
            }
            Err(Error::Precision { reason, .. }) => assert!(!has && reason.contains("FP32"), "{reason}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn openvino_takes_f16_models_in_f32() {
    if !has_openvino("openvino_takes_f16_models_in_f32") {
        return;
    }
    let halves: Vec<f16> = (0..ITEM).map(|n| f16::from_f32(n as f32)).collect();
    let file = Onnx::new()
        .input("x", F16, &IMAGE)
        .output("y", F16, &IMAGE)
        .half_weights("w", &[1, 3, 4, 5], &halves)
        .node("Add", &["x", "w"], "y", &[])
        .save();
    for precision in [Precision::Auto, Precision::F32] {
        let model = Model::open(&file.0, &options(Device::OpenVino, precision)).unwrap();
        assert_eq!(model.runtime().precision, "f32");
    }
}

#[test]
fn any_number_of_openvino_sessions_work_side_by_side() {
    if !has_openvino("any_number_of_openvino_sessions_work_side_by_side") {
        return;
    }
    let file = convolution().save();
    let input = vec![0.5; 3 * 64 * 64];
    for expected in [0, 1, 2, 5] {
        let options = LoadOptions { sessions: expected, threads: 1, ..on(Device::OpenVino) };
        let model = Model::open(&file.0, &options).unwrap();
        for count in [1, 5, 3] {
            let results: Vec<Vec<f32>> = std::thread::scope(|scope| {
                let workers: Vec<_> = (0..count)
                    .map(|_| {
                        let mut predictor = model.session(&TensorSpec::yolo(Size::new(64, 64))).unwrap();
                        let input = &input;
                        scope.spawn(move || {
                            let outputs = predictor.predict(as_bytes(input), 1).unwrap();
                            outputs.get("y").unwrap().data.to_vec()
                        })
                    })
                    .collect();
                workers.into_iter().map(|worker| worker.join().unwrap()).collect()
            });
            assert!(results.iter().all(|result| *result == results[0]));
        }
    }
}

#[test]
fn a_process_has_one_openvino() {
    if !has_openvino("a_process_has_one_openvino") {
        return;
    }
    let (found, capabilities) = openvino::load(None).unwrap();
    assert!(found.version.starts_with("202") && capabilities.iter().any(|known| known == "FP32"));
    assert_eq!(openvino::load(Some(&found.path)).unwrap().0, found);
    assert_eq!(openvino::load(found.path.parent()).unwrap().0, found);
    let error = openvino::load(Some("/nonexistent/libopenvino_c.so".as_ref())).unwrap_err();
    assert!(
        matches!(error, Error::RuntimeLoaded { .. }) && error.to_string().contains("OpenVINO"),
        "{error}"
    );
}

/// A model that is read the same by all runtimes, and what it is about.
fn assert_read_alike(what: &str, path: &std::path::Path) {
    let [ours, theirs] = [Device::Cpu, Device::OpenVino].map(|device| Model::open(path, &on(device)));
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => assert_eq!(ours.info(), theirs.info(), "{what}"),
        (Err(ours), Err(theirs)) => panic!("{what}: {ours}; {theirs}"),
        (Ok(_), Err(error)) | (Err(error), Ok(_)) => panic!("{what}: {error}"),
    }
}

#[test]
fn all_runtimes_read_a_model_alike() {
    if !has_openvino("all_runtimes_read_a_model_alike") {
        return;
    }
    let any = [D::Any("batch"), D::N(3), D::Any("h"), D::Any("w")];
    let identity = |element, dims: &[D]| {
        Onnx::new().input("x", element, dims).output("y", element, dims).node("Identity", &["x"], "y", &[])
    };
    let made = [
        ("metadata", identity(F32, &any).metadata("names", "{0: 'a'}").metadata("ünï", "wörd")),
        ("f16", identity(F16, &IMAGE)),
        (
            "several outputs",
            identity(INT64, &IMAGE)
                .output("z", F32, &[D::N(1), D::Any("")])
                .node("Flatten", &["v"], "z", &[])
                .input("v", F32, &IMAGE)
                .input("unused", F32, &[D::Any("n")]),
        ),
        (
            "an initializer among the inputs",
            convolution().input("w", F32, &[D::N(32), D::N(3), D::N(3), D::N(3)]),
        ),
        (
            "an output that is declared wider",
            Onnx::new()
                .input("x", F32, &IMAGE)
                .output("y", F32, &[D::Any("a"), D::Any("b"), D::N(4), D::Any("")])
                .node("Relu", &["x"], "y", &[]),
        ),
    ];
    for (what, onnx) in made {
        assert_read_alike(what, &onnx.save().0);
    }
    // Those that the tests of the command and the benchmarks have made, where they have run.
    let assets = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.assets");
    let folders = std::fs::read_dir(&assets).into_iter().flatten().flatten().map(|entry| entry.path());
    for folder in folders.chain([assets.clone()]) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            // OpenVINO refuses ConstantOfShape of a shape in floats, as the standard does.
            let is_valid = entry.file_name() != "yolov8_grows.onnx";
            if is_valid && entry.path().extension().is_some_and(|extension| extension == "onnx") {
                assert_read_alike(&entry.path().display().to_string(), &entry.path());
            }
        }
    }
}
