//! What influences the records: only a run with the same of it may go on where another stopped.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use vidmill_infer::{Description, TaskPlan};

use super::ResumeError;
use crate::manifest::Parallelism;
use crate::options::{Options, Part, Then};
use crate::predictor;
use crate::sample::Pace;
use crate::source::{Source, SourceKind};

/// Names and values, as the manifest has them.
pub(crate) type Key = Map<String, Value>;

const SOURCES: &str = "sources";
/// How many sources took turns in one output; not there where they came one after the other.
const AT_ONCE: &str = "at_once";

/// The key of a run.
pub(crate) fn key(
    options: &Options,
    model: &Description,
    plan: &TaskPlan,
    choice: &Parallelism,
    then: Option<Key>,
    sources: &[Source],
    turns_in_output: Option<usize>,
) -> Key {
    let (every, fps) = match options.sampling.pace {
        Pace::All => (None, None),
        Pace::Every(n) => (Some(n.get()), None),
        Pace::Rate(rate) => (None, Some(rate.to_string())),
    };
    let mut key = object(json!({
        "vidmill": env!("CARGO_PKG_VERSION"),
        "ffmpeg": vidmill_video::versions(),
        "track": options.track,
        "every": every,
        "fps": fps,
        "start_ns": options.sampling.start.map(|time| time.0),
        "end_ns": options.sampling.end.map(|time| time.0),
        "annotate": options.output.annotate,
        "then": then,
        SOURCES: sources.iter().map(identity).collect::<Vec<_>>(),
    }));
    key.extend(key_of_part(options.part(), model, plan, choice));
    key.extend(turns_in_output.map(|at_once| (AT_ONCE.to_owned(), at_once.into())));
    key
}

/// Whether the records of several sources, which took turns, lie between each other.
pub(crate) fn is_by_turns(key: &Key) -> bool {
    key.contains_key(AT_ONCE)
}

/// What of the second model influences the records.
pub(crate) fn key_of_then(then: &Then, model: &Description, plan: &TaskPlan, choice: &Parallelism) -> Key {
    let mut key = key_of_part(then.part(), model, plan, choice);
    key.insert("of_classes".to_owned(), json!(then.classes));
    key
}

/// What of a model, and of how it is run, influences the records.
fn key_of_part(part: Part<'_>, model: &Description, plan: &TaskPlan, choice: &Parallelism) -> Key {
    let (runtime, thresholds, cards) = (&model.runtime, plan.thresholds(), &model.info.cards);
    let beside: Vec<&str> = cards.beside.iter().map(|card| card.sha256.as_str()).collect();
    object(json!({
        "runtime": format!("{} {}", runtime.name, runtime.version),
        "provider": runtime.provider,
        "precision": runtime.precision,
        "threads": choice.threads,
        "batch": choice.batch,
        "model": model.info.sha256,
        "class": predictor::parts_of(part.model).1,
        "task": plan.family(),
        "input": plan.spec(),
        "labels": labels(plan),
        "card": cards.card.as_ref().map(|card| &card.sha256),
        "beside": (!beside.is_empty()).then_some(beside),
        "conf": plan.conf().to_string(),
        "iou": thresholds.iou.to_string(),
        "max_det": thresholds.max_det,
        "classes": part.task.classes,
        "top_k": thresholds.top_k,
        "normalize": part.task.normalize,
    }))
}

fn object(value: Value) -> Key {
    match value {
        Value::Object(key) => key,
        _ => Key::new(),
    }
}

fn labels(plan: &TaskPlan) -> String {
    digest(format!("{:?}", plan.labels().iter().collect::<Vec<_>>()).as_bytes())
}

/// The key of a run over one of the sources only.
pub(crate) fn only(key: &Key, number: usize) -> Key {
    let source = key.get(SOURCES).and_then(|sources| sources.get(number)).cloned();
    let other = key.iter().filter(|(name, _)| *name != SOURCES);
    let mut own: Key = other.map(|(name, value)| (name.clone(), value.clone())).collect();
    own.insert(SOURCES.to_owned(), source.into_iter().collect());
    own
}

/// What differs between two keys, in words; empty where nothing does.
pub(crate) fn differences(then: &Key, now: &Key) -> Vec<String> {
    let names = then.keys().chain(now.keys().filter(|name| !then.contains_key(*name)));
    let (nothing, mut found) = (Value::Null, Vec::new());
    for name in names {
        let of = |key: &Key| key.get(name).cloned().unwrap_or(Value::Null);
        match (of(then), of(now)) {
            (then, now) if then == now => {}
            (Value::Array(then), Value::Array(now)) if name == SOURCES => {
                let count = then.len().max(now.len());
                let pair = |at: usize| (then.get(at).unwrap_or(&nothing), now.get(at).unwrap_or(&nothing));
                let first = (0..count).map(pair).find(|(then, now)| then != now);
                found.extend(
                    first.map(|(then, now)| format!("source: {} then, {} now", tell(then), tell(now))),
                );
            }
            (then, now) => found.push(format!("{name}: {} then, {} now", tell(&then), tell(&now))),
        }
    }
    found
}

fn tell(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}

/// Sources that can be read again from where they stopped are files.
pub(crate) fn check_sources(sources: &[Source]) -> Result<(), ResumeError> {
    let is_file = |path: &Path| std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    for source in sources {
        if let SourceKind::Video(name) = &source.kind
            && !is_file(Path::new(name))
        {
            return Err(ResumeError::Source(name.clone()));
        }
    }
    Ok(())
}

/// A source as a name, a size and a time; of pictures, all of theirs.
fn identity(source: &Source) -> Value {
    match &source.kind {
        SourceKind::Video(name) => {
            let metadata = std::fs::metadata(name).ok();
            let bytes = metadata.as_ref().map(Metadata::len);
            json!({ "source": name, "bytes": bytes, "modified": metadata.as_ref().map(modified) })
        }
        SourceKind::Images(paths) => {
            let mut hash = Sha256::new();
            for path in paths {
                let metadata = std::fs::metadata(path).ok();
                let stamp = metadata.as_ref().map(|m| (m.len(), modified(m)));
                hash.update(format!("{}\0{stamp:?}\n", path.display()));
            }
            json!({ "source": *source.name, "pictures": paths.len(), "digest": hex(&hash.finalize()) })
        }
    }
}

/// Seconds and nanoseconds since 1970.
fn modified(metadata: &Metadata) -> String {
    format!("{}.{:09}", metadata.mtime(), metadata.mtime_nsec())
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(value: Value) -> Key {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn differences_are_named_with_both_values() {
        let then = key(json!({ "conf": 0.25, "fps": null, "sources": [{ "source": "a", "bytes": 1 }] }));
        assert!(differences(&then, &then).is_empty());
        let now = key(json!({ "conf": 0.5, "fps": "2/1", "sources": [{ "source": "a", "bytes": 2 }] }));
        assert_eq!(
            differences(&then, &now),
            [
                "conf: 0.25 then, 0.5 now",
                "fps: none then, \"2/1\" now",
                r#"source: {"bytes":1,"source":"a"} then, {"bytes":2,"source":"a"} now"#
            ]
        );
    }

    #[test]
    fn the_key_of_one_source_has_that_source_only() {
        let all = key(json!({ "conf": 0.25, "sources": [1, 2, 3] }));
        assert_eq!(only(&all, 1), key(json!({ "conf": 0.25, "sources": [2] })));
    }
}
