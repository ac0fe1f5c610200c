//! Runs a model on raw tensor bytes, for comparison with other programs.
//!
//! ```text
//! predict_raw MODEL --plan                       how vidmill reads the model, as JSON
//! predict_raw MODEL < tensor > outputs           a line of JSON (names and shapes), then all outputs as raw f32
//! predict_raw MODEL --displayed 1920x1080 < tensor    detections as JSON, in pixels of a displayed frame of this size
//! predict_raw MODEL --repeat N < tensor          how long a call takes, in one line: N calls after a first one
//! ```
//!
//! Standard input holds any whole number of items. Options: --task --conf --iou --max-det --classes --labels --imgsz
//! --device --precision --threads --runtime --openvino.

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::{Value, json};
use vidmill_image::{ElementType, Geometry, Size, TensorLayout, TensorSpec};
use vidmill_infer::{Batch, LoadOptions, Model, ModelInfo, Outputs, Predictor, TaskOptions, TaskPlan};

#[derive(Default)]
struct Arguments {
    model: PathBuf,
    load: LoadOptions,
    task: TaskOptions,
    displayed: Option<Size>,
    plan: bool,
    repeat: usize,
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments = arguments()?;
    let model = Model::open(&arguments.model, &arguments.load)?;
    let plan = TaskPlan::recognise(model.info(), &arguments.task);
    let mut out = std::io::stdout().lock();
    if arguments.plan {
        serde_json::to_writer_pretty(&mut out, &describe(&model, &plan?))?;
        return Ok(writeln!(out)?);
    }
    let spec = match &plan {
        Ok(plan) => plan.spec().clone(),
        Err(_) if arguments.displayed.is_none() => any_spec(model.info())?,
        Err(error) => return Err(error.to_string().into()),
    };
    let input = Aligned::read(std::io::stdin().lock())?;
    let batch = input.bytes().len() / spec.item_bytes();
    let mut predictor = model.session(&spec)?;
    if arguments.repeat > 0 {
        return time(predictor.as_mut(), input.bytes(), batch, arguments.repeat, &mut out);
    }
    let outputs = predictor.predict(input.bytes(), batch)?;
    match arguments.displayed {
        None => write_raw(&mut out, &outputs)?,
        Some(size) => writeln!(out, "{}", detections(&plan?, &outputs, size)?)?,
    }
    Ok(())
}

fn describe(model: &Model, plan: &TaskPlan) -> Value {
    let batch = match plan.batch() {
        Batch::Fixed(size) => json!(size),
        Batch::Dynamic => json!("any"),
    };
    json!({
        "model": model.info(), "runtime": model.runtime(), "kind": plan.family(), "input": plan.spec(), "batch": batch,
        "why": plan.why(), "labels": plan.labels().iter().map(|(_, name)| name).collect::<Vec<_>>(),
    })
}

fn time(
    predictor: &mut dyn Predictor,
    input: &[u8],
    batch: usize,
    repeat: usize,
    out: &mut impl Write,
) -> Result<()> {
    predictor.predict(input, batch)?;
    let mut times = Vec::new();
    for _ in 0..repeat {
        let begun = Instant::now();
        predictor.predict(input, batch)?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(writeln!(out, "median {:.3} ms, best {:.3} ms", times[repeat / 2], times[0])?)
}

fn write_raw(out: &mut impl Write, outputs: &Outputs<'_>) -> Result<()> {
    let header: Vec<Value> = outputs.iter().map(|t| json!({"name": t.name, "shape": t.shape})).collect();
    writeln!(out, "{}", json!({"batch": outputs.batch(), "outputs": header}))?;
    for tensor in outputs {
        let bytes: Vec<u8> = tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)?;
    }
    Ok(())
}

fn detections(plan: &TaskPlan, outputs: &Outputs<'_>, displayed: Size) -> Result<Value> {
    let geometry = Geometry::new(displayed, plan.spec().size, plan.spec().resize);
    let item = |item| -> Result<Value> {
        let found = plan.decode(outputs, item, &geometry)?.detections.unwrap_or_default();
        let rows = found.iter().map(|d| {
            json!({"xyxy": [d.rect.x1, d.rect.y1, d.rect.x2, d.rect.y2], "confidence": d.confidence,
                   "class_id": d.class_id, "class": plan.labels().name(d.class_id)})
        });
        Ok(rows.collect())
    };
    (0..outputs.batch()).map(item).collect()
}

/// The input of a model that is no detector, as far as its bytes go.
fn any_spec(info: &ModelInfo) -> Result<TensorSpec> {
    let dims = info.inputs.first().map(|input| input.dims()).unwrap_or_default();
    let side = |dim: Option<usize>| u32::try_from(dim.unwrap_or(640));
    let (layout, height, width) = match *dims.as_slice() {
        [_, h, w, Some(1 | 3)] => (TensorLayout::Nhwc, h, w),
        [_, _, h, w] => (TensorLayout::Nchw, h, w),
        _ => return Err("the model takes no image".into()),
    };
    Ok(TensorSpec {
        layout,
        element: ElementType::F32,
        ..TensorSpec::yolo(Size::new(side(width)?, side(height)?))
    })
}

/// Bytes that start at an address fit for any element.
struct Aligned {
    words: Vec<u64>,
    length: usize,
}

impl Aligned {
    fn read(mut from: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes)?;
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(&bytes);
        Ok(Self { words, length: bytes.len() })
    }
    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--plan" => found.plan = true,
            "--repeat" => found.repeat = value()?.parse()?,
            "--displayed" => found.displayed = Some(size(&value()?)?),
            "--imgsz" => found.task.imgsz = Some(size(&value()?)?),
            "--task" => found.task.task = Some(value()?),
            "--conf" => found.task.conf = Some(value()?.parse()?),
            "--iou" => found.task.iou = Some(value()?.parse()?),
            "--max-det" => found.task.max_det = Some(value()?.parse()?),
            "--classes" => found.task.classes = value()?.split(',').map(str::to_owned).collect(),
            "--labels" => found.task.labels = Some(value()?.into()),
            "--device" => found.load.device = value()?.parse()?,
            "--precision" => found.load.precision = value()?.parse()?,
            "--threads" => found.load.threads = value()?.parse()?,
            "--openvino" => found.load.openvino_library = Some(value()?.into()),
            "--runtime" => found.load.runtime_library = Some(value()?.into()),
            model if found.model == Path::new("") => found.model = model.into(),
            other => return Err(format!("unexpected argument '{other}'").into()),
        }
    }
    if found.model == Path::new("") {
        return Err(
            "usage: predict_raw MODEL [--plan | --displayed WxH | --repeat N] [options] < tensor".into()
        );
    }
    Ok(found)
}

fn size(text: &str) -> Result<Size> {
    let (width, height) = text.split_once('x').unwrap_or((text, text));
    Ok(Size::new(width.parse()?, height.parse()?))
}
