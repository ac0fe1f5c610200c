//! Decodes outputs as vidmill does, for comparison with the authors' own programs.
//!
//! ```text
//! decode_raw < cases > results
//! decode_raw --time < cases     median microseconds of decoding a case's first item
//! ```
//!
//! A case is a line of JSON, and so is its result. Of a case:
//!
//! - `info`: what the model says of itself, as `vidmill inspect --json MODEL` prints it under `model`;
//! - `options`: what is to differ from [`TaskOptions`]' defaults;
//! - `displayed`: width and height of the displayed frame; left out, it is as large as the input;
//! - `outputs`: name, shape and file of each output; the file holds `f32`, little-endian;
//! - `batch`: how many items they hold; left out, 1.
//!
//! Of a result: `family`, `task`, `why`, `input`, and for each item what was `found`, or an `error`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};
use vidmill_image::{Geometry, Size};
use vidmill_infer::{ModelInfo, Outputs, TaskOptions, TaskPlan, TensorView};

#[derive(Deserialize)]
struct Case {
    info: ModelInfo,
    #[serde(default)]
    options: Value,
    displayed: Option<[u32; 2]>,
    outputs: Vec<Output>,
    #[serde(default = "one")]
    batch: usize,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    shape: Vec<usize>,
    file: PathBuf,
}

fn one() -> usize {
    1
}

fn main() -> Result<(), Box<dyn Error>> {
    let is_timed = std::env::args().any(|argument| argument == "--time");
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let case: Case = serde_json::from_str(&line?)?;
        writeln!(out, "{}", result(&case, is_timed)?)?;
        out.flush()?;
    }
    Ok(())
}

fn result(case: &Case, is_timed: bool) -> Result<Value, Box<dyn Error>> {
    let plan = match TaskPlan::recognise(&case.info, &options(&case.options)?) {
        Ok(plan) => plan,
        Err(error) => return Ok(json!({ "error": error.to_string() })),
    };
    let data = case.outputs.iter().map(|output| numbers(&output.file)).collect::<Result<Vec<_>, _>>()?;
    let views = case.outputs.iter().zip(&data);
    let views = views.map(|(Output { name, shape, .. }, data)| TensorView { name, shape, data });
    let outputs = Outputs::new(case.batch, views.collect());
    let displayed = case.displayed.map_or(plan.spec().size, |[width, height]| Size::new(width, height));
    let spec = plan.spec_for(displayed);
    let geometry = Geometry::new(displayed, spec.size, spec.resize);
    if is_timed {
        return Ok(json!({ "microseconds": microseconds(&plan, &outputs, &geometry)? }));
    }
    let found: Vec<Value> = (0..case.batch)
        .map(|item| match plan.decode(&outputs, item, &geometry) {
            Ok(found) => json!(found),
            Err(error) => json!({ "error": error.to_string() }),
        })
        .collect();
    Ok(json!({
        "family": plan.family(), "task": plan.task(), "why": plan.why(), "input": spec, "found": found,
    }))
}

/// The defaults, with what is given in their place.
fn options(given: &Value) -> Result<TaskOptions, Box<dyn Error>> {
    let mut all = serde_json::to_value(TaskOptions::default())?;
    if let (Value::Object(all), Value::Object(given)) = (&mut all, given) {
        for (name, value) in given {
            *all.get_mut(name).ok_or_else(|| format!("no option is called {name}"))? = value.clone();
        }
    }
    Ok(serde_json::from_value(all)?)
}

fn numbers(file: &PathBuf) -> Result<Vec<f32>, Box<dyn Error>> {
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

fn microseconds(plan: &TaskPlan, outputs: &Outputs<'_>, geometry: &Geometry) -> Result<f64, Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..51 {
        let begin = Instant::now();
        std::hint::black_box(plan.decode(outputs, 0, geometry)?);
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}
