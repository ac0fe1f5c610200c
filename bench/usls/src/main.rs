//! A YOLOv8 detector over a video by usls, the way its own examples do it: its `DataLoader` decodes and converts in a
//! background thread, `YOLO::forward` scales, runs the model and suppresses. Writes the benchmark's JSON lines.
//!
//!     usls-detect CLIP MODEL OUT [--every N] [--conf F] [--iou F]
//!
//! `ORT_DYLIB_PATH` names ONNX Runtime's library. The last line of standard error is a JSON object: frames written, and
//! seconds in the loop.

use std::env::args;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use usls::{Config, DataLoader, Hbb, Image, Model, Runtime, models::YOLO};

fn main() -> Result<()> {
    let options = Options::parse()?;
    let mut model = load(&options)?;
    let frames = DataLoader::new(options.clip.as_str())?
        .with_nfv_skip(options.every - 1)
        .with_progress_bar(false)
        .stream()?;
    let mut out = BufWriter::new(File::create(&options.out)?);
    let begun = Instant::now();
    let mut count = 0;
    for batch in frames {
        for (image, found) in batch.iter().zip(model.forward(&batch)?) {
            let boxes = found.hbbs.iter().map(|found| detection(found, image)).collect::<Vec<_>>();
            let (frame, time) = (count * options.every, image.timestamp);
            let record = json!({"source": options.clip, "frame": frame, "time": time, "status": "ok", "detections": boxes});
            writeln!(out, "{record}")?;
            count += 1;
        }
    }
    out.flush()?;
    eprintln!("{}", json!({"frames": count, "loop_seconds": begun.elapsed().as_secs_f64()}));
    Ok(())
}

/// Names, size and task are in the model's metadata; the version is not.
fn load(options: &Options) -> Result<Runtime<YOLO>> {
    let config = Config::yolo()
        .with_task("detect".parse()?)
        .with_version(8.into())
        .with_model_file(&options.model)
        .with_model_ixx(0, 2, 320)
        .with_model_ixx(0, 3, 320)
        .with_class_confs(&[options.conf])
        .with_iou(options.iou)
        .commit()?;
    YOLO::new(config)
}

/// Clipped to the frame, as everybody else's are.
fn detection(found: &Hbb, image: &Image) -> Value {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let (x1, y1, x2, y2) = found.xyxy();
    let corners = [x1.clamp(0.0, width), y1.clamp(0.0, height), x2.clamp(0.0, width), y2.clamp(0.0, height)];
    json!({
        "xyxy": corners.map(|value| round(value, 2)),
        "confidence": found.confidence().map(|confidence| round(confidence, 4)),
        "class_id": found.id(),
    })
}

fn round(value: f32, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (f64::from(value) * scale).round() / scale
}

struct Options {
    clip: String,
    model: String,
    out: String,
    every: u64,
    conf: f32,
    iou: f32,
}

impl Options {
    fn parse() -> Result<Self> {
        let mut args = args().skip(1);
        let mut path =
            || args.next().context("usage: usls-detect CLIP MODEL OUT [--every N] [--conf F] [--iou F]");
        let (clip, model, out) = (path()?, path()?, path()?);
        let mut options = Self { clip, model, out, every: 1, conf: 0.25, iou: 0.7 };
        while let Some(name) = args.next() {
            let value = args.next().with_context(|| format!("{name} has no value"))?;
            match name.as_str() {
                "--every" => options.every = number(&name, &value)?,
                "--conf" => options.conf = number(&name, &value)?,
                "--iou" => options.iou = number(&name, &value)?,
                _ => bail!("unknown option {name}"),
            }
        }
        Ok(options)
    }
}

fn number<T: FromStr>(name: &str, value: &str) -> Result<T> {
    value.parse().ok().with_context(|| format!("{name} {value}: not a number that fits"))
}
