//! `vidmill inspect`: what a model, video or image is, and how vidmill will treat it.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use vidmill::RunError;
use vidmill::infer::{self, CardLine, Cards, Description, Model, TaskPlan, card_path};
use vidmill::predictor::{parts_of, runs_in_python};
use vidmill::tune::Tuned;
use vidmill::video::{self, Probe};

use crate::args::InspectArgs;
use crate::exit_status::ExitStatus;
use crate::{Programs, complain, complain_with_hints, plan, tune};

/// `programs` are what worker processes run.
pub fn inspect(args: &InspectArgs, programs: Programs) -> ExitStatus {
    if let Err(error) = plan::check_model(&args.path) {
        complain(&error);
        return ExitStatus::Usage;
    }
    let file = parts_of(&args.path).0;
    let is_onnx = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("onnx"));
    if !is_onnx && !runs_in_python(&args.path) {
        return inspect_video(args);
    }
    let cards = match Cards::find(&file, args.task.card.as_deref()) {
        Ok(cards) => cards,
        Err(error) => {
            complain(&error);
            return ExitStatus::Usage;
        }
    };
    let (load, task) = (plan::load(&args.device, None, cards), plan::task(&args.task));
    let described = if runs_in_python(&args.path) {
        vidmill::describe_foreign(&args.path, &load, &task, programs.python)
    } else {
        Model::open(&args.path, &load).map(|model| model.description().clone()).map_err(RunError::from)
    };
    match described {
        Ok(model) => inspect_model(args, &model),
        Err(error) => {
            complain(&error);
            ExitStatus::Usage
        }
    }
}

fn inspect_model(args: &InspectArgs, model: &Description) -> ExitStatus {
    let plan = TaskPlan::recognise(&model.info, &plan::task(&args.task));
    if args.json {
        print_json(&model_json(model, &plan));
    } else {
        print_model(model, &plan);
    }
    match (plan, &args.write_card) {
        (Ok(plan), Some(to)) => write_card(&plan, &parts_of(&args.path).0, to.as_deref()),
        (Ok(_), None) => ExitStatus::Ok,
        (Err(_), _) => ExitStatus::Usage,
    }
}

/// Saves the card beside the model, unless elsewhere is said.
fn write_card(plan: &TaskPlan, model: &Path, to: Option<&Path>) -> ExitStatus {
    let path = to.map_or_else(|| card_path(model), Path::to_owned);
    let text = CardLine::write(plan.card(), model);
    let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => {
            say!("wrote {}", path.display());
            ExitStatus::Ok
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            complain(&format!(
                "{} is there already, and is not written over: remove it, or write elsewhere by --write-card PATH",
                path.display()
            ));
            ExitStatus::Usage
        }
        Err(error) => {
            complain(&format!("cannot write the card {}: {error}", path.display()));
            ExitStatus::Usage
        }
    }
}

fn model_json(model: &Description, plan: &Result<TaskPlan, infer::Error>) -> Value {
    let tuned = Tuned::find(&model.info.path);
    let tuned = tuned.as_ref().and_then(|tuned| tuned.report.best());
    let mut value = json!({ "model": model.info, "runtime": model.runtime, "tuned": tuned });
    value["plan"] = match plan {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(plan) => json!({
            "task": plan.family(),
            "input": plan.spec(),
            "batch": plan.batch(),
            "classes": plan.labels().iter().map(|(_, name)| name).collect::<Vec<_>>(),
            "keypoints": plan.keypoint_names(),
            "why": plan.why(),
            "card": plan.card(),
        }),
    };
    value
}

fn print_model(model: &Description, plan: &Result<TaskPlan, infer::Error>) {
    let (info, runtime) = (&model.info, &model.runtime);
    show!("{}", info.path.display());
    show!("  sha256  {}", info.sha256);
    if !info.producer.is_empty() {
        show!("  made by {}", info.producer);
    }
    show!("{}", info.signature());
    show!("runs on");
    show!("  {} {} ({})", runtime.name, runtime.version, runtime.library.display());
    show!("  {}, precision {}", runtime.provider, runtime.precision);
    if let Some(fallback) = &runtime.fallback {
        show!("  not on anything better: {fallback}");
    }
    if let Some(tuned) = Tuned::find(&info.path) {
        show!("  `vidmill run` uses what was found by tuning: {}", tune::best(&tuned.report));
    }
    match plan {
        Err(error) => complain(error),
        Ok(plan) => {
            show!("how vidmill will treat it");
            show!("  task {}", plan.family());
            for line in plan.why() {
                show!("  {line}");
            }
            show!("  {}", classes(plan));
            if !plan.keypoint_names().is_empty() {
                show!("  {} keypoints: {}", plan.keypoint_names().len(), plan.keypoint_names().join(", "));
            }
            show!("the same as a model card, which --write-card saves\n");
            show!("{}", CardLine::write(plan.card(), &info.path).trim_end());
        }
    }
}

fn classes(plan: &TaskPlan) -> String {
    const SHOWN: usize = 10;
    let names: Vec<&str> = plan.labels().iter().map(|(_, name)| name).collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match (names.len(), more) {
        (0, _) => "no class names: classes are shown by number; name them with --labels FILE".to_owned(),
        (count, 0) => format!("{count} classes: {shown}"),
        (count, more) => format!("{count} classes: {shown} and {more} more"),
    }
}

fn inspect_video(args: &InspectArgs) -> ExitStatus {
    if args.write_card.is_some() || args.task.card.is_some() {
        complain(&format!("{}: only models have cards", args.path.display()));
        return ExitStatus::Usage;
    }
    let path = args.path.to_string_lossy();
    match video::probe(&path) {
        Ok(probe) if args.json => print_json(&json!({ "source": path, "probe": probe })),
        Ok(probe) => print_probe(&args.path, &probe),
        Err(error) => {
            complain_with_hints(&error, &error.hints());
            return ExitStatus::Usage;
        }
    }
    ExitStatus::Ok
}

fn print_probe(path: &Path, probe: &Probe) {
    show!("{}", path.display());
    show!("  container  {}", probe.format);
    show!("  codec      {} (decoded by {})", probe.codec, probe.decoder);
    show!("  pixels     {}x{} {}, {} bits", probe.width, probe.height, probe.pixel_format, probe.bit_depth);
    show!(
        "  displayed  {}x{}, rotation {}",
        probe.displayed_width,
        probe.displayed_height,
        lower(&probe.rotation)
    );
    show!(
        "  colour     matrix {} ({}), range {} ({})",
        lower(&probe.matrix),
        lower(&probe.matrix_from),
        lower(&probe.range),
        lower(&probe.range_from)
    );
    if probe.is_image {
        show!("  a still image: one frame without a timestamp");
        return;
    }
    show!("  time base  {}/{} s", probe.time_base.num, probe.time_base.den);
    let told = |value: Option<String>| value.unwrap_or_else(|| "not declared".to_owned());
    show!("  duration   {}", told(probe.duration.map(|d| format!("{d:.3} s"))));
    show!("  frames     {}", told(probe.frame_count.map(|n| format!("{n} declared"))));
    let rate = probe.average_frame_rate.and_then(|r| r.value());
    show!("  rate       {}", told(rate.map(|r| format!("{r:.3} frames/s on average; timestamps decide"))));
}

/// The name that a value has in JSON.
fn lower(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(error) => error.to_string(),
    }
}

fn print_json(value: &Value) {
    show!("{value:#}");
}
