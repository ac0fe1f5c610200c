//! What other programs leave beside a model: the configuration files of Hugging Face's transformers and timm, MMDeploy's pipeline,
//! and lists of labels.
//!
//! They are read only where nobody could mistake whose they are: beside a file with the name that these programs' exporters give
//! (`model.onnx`, `model_quantized.onnx`; MMDeploy's `end2end.onnx`), or above it where it lies in a folder `onnx`, and with the
//! keys that tell their kind.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Card, PREFIX, read_text};
use crate::files::hex;

type Entries = BTreeMap<String, String>;

/// Reads a file's text; gives nothing where it is of another kind.
type Reader = fn(&str) -> Option<Entries>;

/// MMDeploy's file.
const MMDEPLOY: [(&str, Reader); 1] = [("pipeline.json", |text| pipeline(&object(text)?))];

/// Others' files, with what reads them, the weightiest first.
const OTHERS: [(&str, Reader); 3] = [
    ("preprocessor_config.json", |text| preprocessor(&object(text)?)),
    ("config.json", |text| config(&object(text)?)),
    ("labels.txt", labels),
];

/// The files beside `model` that are known and beyond doubt about it, the weightiest first.
pub(super) fn find(model: &Path) -> Vec<Card> {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    let is_onnx = model.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"));
    let known: &[(&str, Reader)] = match &*stem {
        _ if !is_onnx => return Vec::new(),
        "end2end" => &MMDEPLOY,
        name if name == "model" || name.starts_with("model_") => &OTHERS,
        _ => return Vec::new(),
    };
    let folder = model.parent().unwrap_or(Path::new(""));
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == "onnx"));
    let read = |(name, entries): &(&str, Reader)| {
        let mut paths = [Some(folder), above].into_iter().flatten().map(|folder| folder.join(name));
        let (path, text) = paths.find_map(|path| Some((path.clone(), read_text(&path).ok()??)))?;
        let entries = entries(&text).filter(|entries| !entries.is_empty())?;
        Some(Card { path, sha256: hex(&Sha256::digest(text.as_bytes())), entries })
    };
    known.iter().filter_map(read).collect()
}

fn object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text).ok()? {
        Value::Object(object) => Some(object),
        _ => None,
    }
}

fn set(entries: &mut Entries, key: &str, value: impl ToString) {
    entries.insert(format!("{PREFIX}{key}"), value.to_string());
}

/// `preprocessor_config.json` of transformers: what an image processor does to a picture.
fn preprocessor(config: &Map<String, Value>) -> Option<Entries> {
    let is_known =
        ["image_processor_type", "feature_extractor_type"].iter().any(|key| config.contains_key(*key));
    if !is_known {
        return None;
    }
    let is = |key: &str, usual: bool| config.get(key).and_then(Value::as_bool).unwrap_or(usual);
    let mut entries = Entries::new();
    if is("do_resize", true) {
        let size = config.get("size");
        let edge = |key: &str| size.and_then(|size| size.get(key));
        let crop = config.get("crop_size").filter(|_| is("do_center_crop", false));
        let (side, resize) = match crop {
            Some(crop) => (sides(crop), "center-crop"),
            None => (size.and_then(sides), "stretch"),
        };
        if let Some([height, width]) = side {
            set(&mut entries, "imgsz", format!("[{height}, {width}]"));
            set(&mut entries, "resize", resize);
            // The shorter side before the crop: "shortest_edge", or the size itself in older files.
            let shorter = edge("shortest_edge").or(size).and_then(Value::as_u64);
            if let Some(shorter) = shorter.filter(|&shorter| crop.is_some() && shorter >= height.min(width)) {
                set(&mut entries, "crop", height.min(width) as f32 / shorter as f32);
            }
        } else if let Some(side) = edge("shortest_edge").and_then(Value::as_u64)
            && let Some(part) = config.get("crop_pct").and_then(Value::as_f64)
        {
            // ConvNext's own way: small pictures are cut out of larger ones, large ones stretched.
            set(&mut entries, "imgsz", side);
            set(&mut entries, "resize", if side < 384 { "center-crop" } else { "stretch" });
            if side < 384 {
                set(&mut entries, "crop", part);
            }
        }
    }
    let is_to_one = config
        .get("rescale_factor")
        .and_then(Value::as_f64)
        .is_none_or(|factor| (factor * 255.0 - 1.0).abs() < 1e-3);
    let mean = config.get("image_mean").and_then(numbers);
    let std = config.get("image_std").and_then(numbers);
    let range = if is("do_rescale", true) { 1 } else { 255 };
    match (is_to_one, is("do_normalize", mean.is_some()), mean, std) {
        (true, true, Some(mean), Some(std)) => {
            set(&mut entries, "range", range);
            set(&mut entries, "mean", mean);
            set(&mut entries, "std", std);
        }
        (true, false, ..) => set(&mut entries, "range", range),
        // Some other arithmetic, which a card could not tell.
        _ => {}
    }
    set(&mut entries, "color", if is("do_flip_channel_order", false) { "bgr" } else { "rgb" });
    Some(entries)
}

/// A size as one number or as height and width.
fn sides(size: &Value) -> Option<[u64; 2]> {
    match size {
        Value::Number(side) => side.as_u64().map(|side| [side; 2]),
        size => Some([size.get("height")?.as_u64()?, size.get("width")?.as_u64()?]),
    }
}

/// A list of three numbers, none of which may be anything else.
fn numbers(value: &Value) -> Option<String> {
    let list = value.as_array().filter(|list| list.len() == 3 && list.iter().all(Value::is_number))?;
    Some(Value::from(list.clone()).to_string())
}

/// `config.json`: of transformers the names of classes, of timm all of it.
fn config(config: &Map<String, Value>) -> Option<Entries> {
    let mut entries = Entries::new();
    if let Some(Value::Object(names)) = config.get("id2label").filter(|_| config.contains_key("model_type")) {
        // Whoever has not named the classes has LABEL_0, LABEL_1 and so on.
        let is_named =
            |(id, name): (&String, &Value)| name.as_str().is_some_and(|name| name != format!("LABEL_{id}"));
        if names.iter().any(is_named) {
            set(&mut entries, "names", Value::Object(names.clone()));
        }
    }
    let timm = config.get("pretrained_cfg").and_then(Value::as_object);
    if let Some(timm) = timm.filter(|_| config.get("architecture").is_some_and(Value::is_string)) {
        let of = |key: &str| timm.get(key);
        if let Some([_, height, width]) = of("input_size").and_then(Value::as_array).map(Vec::as_slice)
            && let (Some(height), Some(width)) = (height.as_u64(), width.as_u64())
        {
            set(&mut entries, "imgsz", format!("[{height}, {width}]"));
        }
        let is_squashed = of("crop_mode").and_then(Value::as_str) == Some("squash");
        set(&mut entries, "resize", if is_squashed { "stretch" } else { "center-crop" });
        if let Some(part) = of("crop_pct").and_then(Value::as_f64).filter(|_| !is_squashed) {
            set(&mut entries, "crop", part);
        }
        if let (Some(mean), Some(std)) = (of("mean").and_then(numbers), of("std").and_then(numbers)) {
            set(&mut entries, "range", 1);
            set(&mut entries, "mean", mean);
            set(&mut entries, "std", std);
        }
        set(&mut entries, "color", "rgb");
        let names = config.get("label_names").or(of("label_names")).filter(|names| names.is_array());
        if let Some(names) = names {
            set(&mut entries, "names", names);
        }
    }
    (!entries.is_empty()).then_some(entries)
}

/// `pipeline.json` of MMDeploy: the transforms that a picture goes through.
fn pipeline(config: &Map<String, Value>) -> Option<Entries> {
    let tasks = config.get("pipeline")?.get("tasks")?.as_array()?;
    let is = |value: &Value, key: &str, wanted: &str| value.get(key).and_then(Value::as_str) == Some(wanted);
    let transforms =
        tasks.iter().find(|task| is(task, "module", "Transform"))?.get("transforms")?.as_array()?;
    let place = |kind: &str| transforms.iter().position(|transform| is(transform, "type", kind));
    let mut entries = Entries::new();
    let (pad, normalize) = (place("Pad"), place("Normalize"));
    if let Some(normalize) = normalize.and_then(|at| transforms.get(at)) {
        let (mean, std) = (normalize.get("mean").and_then(numbers)?, normalize.get("std").and_then(numbers)?);
        let to_rgb = normalize.get("to_rgb").and_then(Value::as_bool)?;
        set(&mut entries, "range", 255);
        set(&mut entries, "mean", mean);
        set(&mut entries, "std", std);
        set(&mut entries, "color", if to_rgb { "rgb" } else { "bgr" });
    }
    let resize = place("Resize").and_then(|at| transforms.get(at));
    match resize.and_then(|resize| resize.get("keep_ratio")).and_then(Value::as_bool) {
        Some(false) => set(&mut entries, "resize", "stretch"),
        // Padding goes to the right and the bottom; its value is one of the picture where it comes before normalisation.
        Some(true) if pad.is_some() => {
            set(&mut entries, "resize", "letterbox-top-left");
            let value = pad.and_then(|at| transforms.get(at)?.get("pad_val")?.get("img")?.get(0)?.as_f64());
            let value = value.filter(|value| value.fract() == 0.0 && (0.0..=255.0).contains(value));
            if let Some(value) = value.filter(|_| normalize.is_none_or(|normalize| pad < Some(normalize))) {
                set(&mut entries, "pad", value);
            }
        }
        _ => {}
    }
    Some(entries)
}

/// `labels.txt`, as Azure Custom Vision writes it: one class name a line.
fn labels(text: &str) -> Option<Entries> {
    let names: Vec<&str> = text.trim_start_matches('\u{feff}').trim_end().lines().map(str::trim).collect();
    let is_list = !names.is_empty() && names.iter().all(|name| !name.is_empty());
    is_list.then(|| Entries::from([(format!("{PREFIX}names"), Value::from(names).to_string())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(entries: Option<Entries>) -> Vec<(String, String)> {
        let bare = |key: String| key.trim_start_matches(PREFIX).to_owned();
        entries.unwrap_or_default().into_iter().map(|(key, value)| (bare(key), value)).collect()
    }

    fn preprocessed(text: &str) -> Vec<(String, String)> {
        told(preprocessor(&object(text).unwrap()))
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn image_processors_are_read() {
        // google/vit-base-patch16-224
        let vit = r#"{"do_normalize": true, "do_rescale": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5], "image_processor_type": "ViTFeatureExtractor", "resample": 2,
            "rescale_factor": 0.00392156862745098, "size": {"height": 224, "width": 224}}"#;
        let normalised =
            [("mean", "[0.5,0.5,0.5]"), ("range", "1"), ("resize", "stretch"), ("std", "[0.5,0.5,0.5]")];
        let expected = [&[("color", "rgb"), ("imgsz", "[224, 224]")], &normalised[..]].concat();
        assert_eq!(preprocessed(vit), pairs(&expected));
        // openai/clip-vit-base-patch32, older form
        let clip = r#"{"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
            "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": [0.48, 0.45, 0.4],
            "image_std": [0.26, 0.26, 0.27], "resample": 3, "size": 224}"#;
        let expected = [
            ("color", "rgb"),
            ("crop", "1"),
            ("imgsz", "[224, 224]"),
            ("mean", "[0.48,0.45,0.4]"),
            ("range", "1"),
            ("resize", "center-crop"),
            ("std", "[0.26,0.26,0.27]"),
        ];
        assert_eq!(preprocessed(clip), pairs(&expected));
        // PekingU/rtdetr_r50vd: no mean and std are applied, though they are there.
        let rtdetr = r#"{"do_normalize": false, "do_rescale": true, "do_resize": true, "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225], "image_processor_type": "RTDetrImageProcessor",
            "size": {"height": 640, "width": 640}}"#;
        let expected = [("color", "rgb"), ("imgsz", "[640, 640]"), ("range", "1"), ("resize", "stretch")];
        assert_eq!(preprocessed(rtdetr), pairs(&expected));
        // facebook/detr-resnet-50: any size within bounds, which a card cannot tell.
        let detr = r#"{"image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 800, "longest_edge": 1333}}"#;
        assert_eq!(preprocessed(detr), pairs(&[("color", "rgb"), ("range", "1")]));
        // facebook/convnext-tiny-224
        let convnext = r#"{"feature_extractor_type": "ConvNextFeatureExtractor", "crop_pct": 0.875, "size": {"shortest_edge": 224}}"#;
        let expected = [
            ("color", "rgb"),
            ("crop", "0.875"),
            ("imgsz", "224"),
            ("range", "1"),
            ("resize", "center-crop"),
        ];
        assert_eq!(preprocessed(convnext), pairs(&expected));
        assert_eq!(preprocessed(r#"{"size": 3}"#), []);
    }

    #[test]
    fn pipelines_are_read() {
        let read = |transforms: &str| {
            let text = format!(
                r#"{{"pipeline": {{"input": ["img"], "tasks": [{{"type": "Task", "module": "Transform", "transforms": [{transforms}]}},
                {{"type": "Task", "module": "Net", "name": "detection"}}]}}}}"#
            );
            told(pipeline(&object(&text).unwrap()))
        };
        // RTMDet's
        let rtmdet = r#"{"type": "LoadImageFromFile"}, {"type": "Resize", "keep_ratio": true, "size": [640, 640]},
            {"type": "Pad", "size": [640, 640], "pad_val": {"img": [114, 114, 114]}},
            {"type": "Normalize", "mean": [103.53, 116.28, 123.675], "std": [57.375, 57.12, 58.395], "to_rgb": false}"#;
        let expected = [
            ("color", "bgr"),
            ("mean", "[103.53,116.28,123.675]"),
            ("pad", "114"),
            ("range", "255"),
            ("resize", "letterbox-top-left"),
            ("std", "[57.375,57.12,58.395]"),
        ];
        assert_eq!(read(rtmdet), pairs(&expected));
        assert_eq!(read(r#"{"type": "Resize", "keep_ratio": false}"#), pairs(&[("resize", "stretch")]));
        assert_eq!(read(""), []);
        assert_eq!(told(pipeline(&object("{}").unwrap())), []);
    }

    #[test]
    fn class_names_are_read_where_they_are_names() {
        let read = |text| told(config(&object(text).unwrap()));
        let named = r#"{"model_type": "vit", "id2label": {"0": "cat", "1": "dog"}}"#;
        assert_eq!(read(named), pairs(&[("names", r#"{"0":"cat","1":"dog"}"#)]));
        assert_eq!(read(r#"{"model_type": "vit", "id2label": {"0": "LABEL_0", "1": "LABEL_1"}}"#), []);
        assert_eq!(read(r#"{"id2label": {"0": "cat"}, "else": 1}"#), []);
        let timm = r#"{"architecture": "resnet18", "num_classes": 2, "label_names": ["a", "b"], "pretrained_cfg":
            {"input_size": [3, 224, 224], "crop_pct": 0.95, "crop_mode": "center", "mean": [0.4, 0.5, 0.6], "std": [0.1, 0.2, 0.3]}}"#;
        let expected = [
            ("color", "rgb"),
            ("crop", "0.95"),
            ("imgsz", "[224, 224]"),
            ("mean", "[0.4,0.5,0.6]"),
            ("names", r#"["a","b"]"#),
            ("range", "1"),
            ("resize", "center-crop"),
            ("std", "[0.1,0.2,0.3]"),
        ];
        assert_eq!(read(timm), pairs(&expected));
        assert_eq!(told(labels("cat\r\ndog\n")), pairs(&[("names", r#"["cat","dog"]"#)]));
        assert_eq!(told(labels("cat\n\ndog")), []);
    }
}
