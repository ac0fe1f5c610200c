//! From a model's description to a plan.

use vidmill_image::{Size, TensorLayout};

use super::family::{FAMILIES, Family, Head, Look, Task, cells, cells_text};
use super::input::ImageInput;
use super::{Batch, Sizing, TaskOptions, TaskPlan, Thresholds, feed};
use crate::metadata::{KEYS, Metadata};
use crate::side::SideInput;
use crate::{CardLine, Error, Labels, ModelInfo};

/// What [`TaskOptions::task`] takes: families, with the names of models that are read just so, and tasks, of which a family is
/// then looked for.
pub fn families() -> String {
    let family = |family: &&dyn Family| match family.names() {
        [name] => (*name).to_owned(),
        [name, others @ ..] => format!("{name} ({})", others.join(", ")),
        [] => String::new(),
    };
    let families: Vec<String> = FAMILIES.iter().map(family).collect();
    let of_families =
        |task: &Task| FAMILIES.iter().any(|family| family.task() == *task && *task != Task::Outputs);
    let tasks: Vec<&str> =
        Task::ALL.iter().filter(|task| of_families(task)).map(|task| task.name()).collect();
    format!("{}; or only what it does: {}", families.join(", "), tasks.join(", "))
}

pub(super) fn plan(info: &ModelInfo, options: &TaskOptions) -> Result<TaskPlan, Error> {
    check(options)?;
    let metadata = Metadata::of(info)?;
    let input = ImageInput::of(info, &metadata)?;
    let mut why = metadata.ignored.clone();
    let size = feed::size(info, &input, &metadata, options, &mut why)?;
    let sides = SideInput::all(info, input.at, input.batch, Some(size), &metadata.inputs)?;
    why.extend(sides.iter().map(SideInput::told));
    let given = given_labels(&metadata, options, &mut why)?;
    let wanted = wanted(&metadata, options, &mut why)?;
    let look = Look { info, metadata: &metadata, size, task: wanted.task(), labels: given.as_ref() };
    let family = match wanted {
        Wanted::Family(family) => family,
        Wanted::Task(task) => {
            recognise(&look, task, &mut why).map_err(|reason| unrecognised(info, reason))?
        }
    };
    let (name, task) = (family.names()[0], family.task());
    let (sizing, usual_size) = family.sizing();
    let size = feed::resized(size, usual_size, &input, &metadata, options, &mut why);
    let look = Look { size, ..look };
    let Head { decoder, classes, usual } =
        family.head(&look, &mut why).map_err(|reason| unrecognised(info, reason))?;
    let spec = feed::spec(name, &usual, &input, &metadata, size, &mut why)?;
    let given = given.filter(|names| {
        let fits = options.labels.is_some()
            || !metadata.is_from_beside("names")
            || classes.is_none_or(|classes| classes == names.len());
        if !fits {
            let origin = metadata.origin("names").unwrap_or_default();
            why.push(format!(
                "ignored: {origin} names {} classes, the model has another number",
                names.len()
            ));
        }
        fits
    });
    let labels = match (given, task) {
        // Characters are no classes.
        (given, Task::ReadText) => given.unwrap_or_default(),
        (given, _) => labels(given, task, classes, family.class_names(), options, &mut why)?,
    };
    let wanted = wanted_classes(&labels, classes, options)?;
    let mut thresholds = thresholds(family, &metadata, options, wanted);
    let is_free = input.width.is_none() && metadata.resize.is_none();
    let sizing = match sizing {
        Sizing::Whole { .. } if input.height.is_some() || !is_free => Sizing::Fixed,
        Sizing::Line { .. } if !is_free => Sizing::Fixed,
        free => free,
    };
    let batch = match input.batch {
        Some(count) => Batch::Fixed(count),
        // Outputs that have no batch dimension hold one item, whatever the input would take.
        None if !decoder.is_batched() => Batch::Fixed(1),
        None => Batch::Dynamic,
    };
    let mut card = feed::lines(name, info, &input, &metadata, &spec, &why);
    card.insert(0, CardLine::new("task", name, reason(&why, "kind")));
    card.extend(sides_line(&sides));
    card.extend(
        decoder
            .card()
            .into_iter()
            .map(|(key, value, subject)| CardLine::new(key, value, reason(&why, subject))),
    );
    card.extend(threshold_lines(task, &thresholds, &metadata, options));
    card.extend(names_line(&labels, &why));
    card.extend(carried(&metadata, &card));
    let conf = thresholds.conf;
    thresholds.conf = options.weaker.map_or(conf, |weaker| conf.min(weaker));
    Ok(TaskPlan { family: name, task, spec, sizing, batch, labels, decoder, conf, thresholds, why, card })
}

/// What the user says, else the model, else what is usual for its family.
fn thresholds(
    family: &dyn Family,
    metadata: &Metadata,
    options: &TaskOptions,
    classes: Option<Vec<u32>>,
) -> Thresholds {
    Thresholds {
        conf: options.conf.or(metadata.conf).unwrap_or(family.usual_conf()),
        iou: options.iou.or(metadata.iou).unwrap_or(family.usual_iou()),
        max_det: options.max_det.or(metadata.max_det).unwrap_or(300),
        top_k: options.top_k.or(metadata.top_k).unwrap_or(5),
        normalize: options.normalize,
        classes,
    }
}

/// What [`TaskPlan::why`] says of a subject, without the subject.
pub(super) fn reason(why: &[String], subject: &str) -> String {
    let of_subject =
        |line: &&String| line.strip_prefix(subject).is_some_and(|rest| rest.starts_with([' ', ':']));
    let line = why.iter().rev().find(of_subject).map_or("", String::as_str);
    line.split_once(": ").map_or(line, |(_, reason)| reason).to_owned()
}

fn sides_line(sides: &[SideInput]) -> Option<CardLine> {
    let values: serde_json::Map<_, _> = sides.iter().map(|side| (side.name.clone(), side.json())).collect();
    let told: Vec<String> = sides.iter().map(|side| format!("'{}': {}", side.name, side.why)).collect();
    (!values.is_empty()).then(|| CardLine::new("inputs", values, told.join("; ")))
}

fn threshold_lines(
    task: Task,
    thresholds: &Thresholds,
    metadata: &Metadata,
    options: &TaskOptions,
) -> Vec<CardLine> {
    let why = |key: &str, is_given: bool| match metadata.origin(key) {
        _ if is_given => format!("by --{}", key.replace('_', "-")),
        Some(origin) => format!("by {origin}"),
        None => "the usual".to_owned(),
    };
    let mut lines = vec![
        CardLine::new("conf", number(thresholds.conf), why("conf", options.conf.is_some())),
        CardLine::new("iou", number(thresholds.iou), why("iou", options.iou.is_some())),
        CardLine::new("max_det", thresholds.max_det, why("max_det", options.max_det.is_some())),
    ];
    if task == Task::Classify {
        lines.push(CardLine::new("top_k", thresholds.top_k, why("top_k", options.top_k.is_some())));
    }
    if thresholds.normalize {
        lines.push(CardLine::new("normalize", true, why("normalize", true)));
    }
    lines
}

/// A number as short as it is written by hand: 0.7, not 0.699999988079071.
pub(super) fn number(value: f32) -> serde_json::Value {
    let exact: f64 = value.to_string().parse().unwrap_or(f64::from(value));
    if exact.fract() == 0.0 && exact.abs() < 1e9 { (exact as i64).into() } else { exact.into() }
}

/// Names in a list where they are of classes 0, 1, 2 and so on, else by number.
fn names_line(labels: &Labels, why: &[String]) -> Option<CardLine> {
    let is_list = labels.iter().zip(0..).all(|((id, _), at)| id == at);
    let value: serde_json::Value = match is_list {
        true => labels.iter().map(|(_, name)| name).collect(),
        false => labels
            .iter()
            .map(|(id, name)| (id.to_string(), serde_json::Value::from(name)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    };
    (!labels.is_empty()).then(|| CardLine::new("names", value, reason(why, "names")))
}

/// What is said already, and not by any of the `lines`: a card that replaces another loses nothing.
fn carried(metadata: &Metadata, lines: &[CardLine]) -> Vec<CardLine> {
    let new = KEYS.iter().filter(|key| lines.iter().all(|line| line.key != **key));
    let line = |key: &&str| {
        let (text, origin) = (metadata.own(key)?, metadata.origin(key)?);
        // What was a list or table is JSON.
        let value = serde_json::from_str(text).ok().filter(|value: &serde_json::Value| !value.is_null());
        Some(CardLine::new(key, value.unwrap_or_else(|| text.into()), format!("by {origin}")))
    };
    new.filter_map(line).collect()
}

pub(super) fn trial_shape(info: &ModelInfo, options: &TaskOptions) -> Result<Vec<usize>, Error> {
    let metadata = Metadata::of(info)?;
    let input = ImageInput::of(info, &metadata)?;
    let Size { width, height } = feed::size(info, &input, &metadata, options, &mut Vec::new())?;
    let (batch, width, height) = (input.batch.unwrap_or(1), width as usize, height as usize);
    Ok(match input.layout {
        TensorLayout::Nchw => vec![batch, input.channels, height, width],
        TensorLayout::Nhwc => vec![batch, height, width, input.channels],
    })
}

fn check(options: &TaskOptions) -> Result<(), Error> {
    for (option, value) in [("--conf", options.conf), ("--iou", options.iou)] {
        if let Some(value) = value
            && !(0.0..=1.0).contains(&value)
        {
            let reason = "a number from 0 to 1 is expected".to_owned();
            return Err(Error::Option { option: format!("{option} {value}"), reason });
        }
    }
    for (option, value) in [("--max-det 0", options.max_det), ("--top-k 0", options.top_k)] {
        if value == Some(0) {
            let reason = "at least 1 is expected".to_owned();
            return Err(Error::Option { option: option.to_owned(), reason });
        }
    }
    Ok(())
}

fn unrecognised(info: &ModelInfo, reason: String) -> Error {
    Error::Unrecognised { reason, signature: info.signature(), choices: families() }
}

/// What the user or the model says that it is.
enum Wanted {
    Family(&'static dyn Family),
    /// One that gives this, where something is said.
    Task(Option<Task>),
}

impl Wanted {
    fn task(&self) -> Option<Task> {
        match self {
            Self::Family(family) => Some(family.task()),
            Self::Task(task) => *task,
        }
    }
}

fn wanted(metadata: &Metadata, options: &TaskOptions, why: &mut Vec<String>) -> Result<Wanted, Error> {
    let (name, said) = match (&options.task, &metadata.kind) {
        (Some(name), _) => (name, format!("named by --task {name}")),
        (None, Some(name)) => {
            let origin = metadata.origin("task").unwrap_or_default();
            (name, format!("{origin} says vidmill.task = {name}"))
        }
        // Another program's word: it may be one that vidmill does not know.
        (None, None) => return Ok(Wanted::Task(metadata.task.as_deref().and_then(of_ultralytics))),
    };
    if let Some(family) = FAMILIES.iter().find(|family| family.names().contains(&name.as_str())) {
        why.push(format!("kind {}: {said}", family.names()[0]));
        return Ok(Wanted::Family(*family));
    }
    if let Some(task) = Task::named(name) {
        return Ok(Wanted::Task(Some(task)));
    }
    let unknown = Error::Choice { what: "task", given: name.clone(), choices: families() };
    Err(match options.task {
        Some(_) => unknown,
        None => Error::Metadata {
            key: "vidmill.task".to_owned(),
            value: name.clone(),
            reason: unknown.to_string(),
        },
    })
}

/// The task that Ultralytics calls `name`.
fn of_ultralytics(name: &str) -> Option<Task> {
    match name {
        "detect" => Some(Task::Detect),
        "segment" => Some(Task::Segment),
        "pose" => Some(Task::Pose),
        "obb" => Some(Task::Obb),
        "classify" => Some(Task::Classify),
        "semantic" => Some(Task::Semantic),
        _ => None,
    }
}

/// The family that the model shows most clearly to be of, or why it shows none.
fn recognise(
    look: &Look<'_>,
    task: Option<Task>,
    why: &mut Vec<String>,
) -> Result<&'static dyn Family, String> {
    let candidates = FAMILIES.iter().filter(|family| task.is_none_or(|task| task == family.task()));
    let clues = candidates.filter_map(|family| Some((*family, family.recognise(look)?)));
    // Of equals the first, which `max_by_key` would not give.
    let best = clues.reduce(|best, next| if next.1.certainty > best.1.certainty { next } else { best });
    match best {
        Some((family, clue)) => {
            why.push(format!("kind {}: {}", family.names()[0], clue.because));
            Ok(family)
        }
        None => Err(no_family(look, task)),
    }
}

fn no_family(look: &Look<'_>, task: Option<Task>) -> String {
    if let Some(task) = task.filter(|task| *task != Task::Detect) {
        return format!("its task is '{task}', and its outputs are those of no known kind for that");
    }
    match look.info.outputs.as_slice() {
        [output] if output.shape.len() == 3 => format!(
            "its output '{}' fits none of the known shapes for an input of {}x{} ({})",
            output.name,
            look.size.width,
            look.size.height,
            cells_text(look.size, cells(look.size, &[8, 16, 32]))
        ),
        [output] => format!(
            "its output '{}' of {} dimensions is that of no known kind",
            output.name,
            output.shape.len()
        ),
        outputs => format!("its {} outputs are those of no known kind", outputs.len()),
    }
}

fn given_labels(
    metadata: &Metadata,
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Option<Labels>, Error> {
    if let Some(path) = &options.labels {
        let labels = Labels::from_file(path)?;
        why.push(format!("names of {} classes: from {}", labels.len(), path.display()));
        return Ok(Some(labels));
    }
    if let Some(names) = &metadata.names {
        let origin = metadata.origin("names").unwrap_or_default();
        why.push(format!("names of {} classes: from {origin}", names.len()));
    }
    Ok(metadata.names.clone())
}

/// COCO detectors have 80 classes, or 91 by the numbers of its annotations; hardly any other model does.
const COCO_CLASSES: usize = 80;
const COCO_NUMBERS: usize = 91;

fn labels(
    given: Option<Labels>,
    task: Task,
    classes: Option<usize>,
    of_family: &[&str],
    options: &TaskOptions,
    why: &mut Vec<String>,
) -> Result<Labels, Error> {
    match (given, classes) {
        // COCO's own numbers have gaps, so names by number may be fewer.
        (Some(labels), Some(COCO_NUMBERS)) if labels == Labels::coco91() => Ok(labels),
        (Some(labels), Some(classes)) if labels.len() != classes => {
            let reason = format!("it names {} classes, the model has {classes}", labels.len());
            if let Some(path) = &options.labels {
                return Err(Error::Labels { path: path.clone(), reason });
            }
            why.push(format!("the metadata does not fit: {reason}"));
            Ok(labels)
        }
        (Some(labels), _) => Ok(labels),
        (None, Some(count @ (1000 | 1001))) if task == Task::Classify => {
            why.push(format!(
                "names of {count} classes: ImageNet's, as the model names none and has just as many"
            ));
            Ok(if count == 1000 { Labels::imagenet() } else { Labels::imagenet_with_background() })
        }
        (None, Some(1)) if task == Task::Semantic => Ok(Labels::from_list(["foreground".to_owned()])),
        (None, _) if matches!(task, Task::Embed | Task::Outputs) => Ok(Labels::default()),
        (None, Some(COCO_CLASSES)) => {
            why.push("names of 80 classes: COCO's, as the model names none and has just 80".to_owned());
            Ok(Labels::coco80())
        }
        (None, Some(COCO_NUMBERS)) => {
            let named = "COCO's by its own numbers, as the model names none and has just 91";
            why.push(format!("names of 80 classes: {named}"));
            Ok(Labels::coco91())
        }
        (None, Some(classes)) if classes == of_family.len() => {
            why.push(format!("names of {classes} classes: what such models find"));
            Ok(Labels::from_list(of_family.iter().map(|&name| name.to_owned())))
        }
        (None, _) => {
            why.push("names of classes: none, so classes go by their numbers; give --labels".to_owned());
            Ok(Labels::default())
        }
    }
}

fn wanted_classes(
    labels: &Labels,
    classes: Option<usize>,
    options: &TaskOptions,
) -> Result<Option<Vec<u32>>, Error> {
    if options.classes.is_empty() {
        return Ok(None);
    }
    options.classes.iter().map(|text| labels.class(text, classes)).collect::<Result<_, _>>().map(Some)
}
