//! Model cards: TOML files that say what vidmill would otherwise guess, and the files that other programs leave beside a model.
//!
//! In: `model.toml` beside `model.onnx`, or a file that the user names. Out: entries as in a model's own metadata
//! (`vidmill.task`, `vidmill.mean`), which [`crate::metadata`] reads. A card's word counts more than the model's own metadata,
//! and this more than what other programs' files say. docs/MODEL_CARD.md tells all keys.

mod beside;
mod write;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::Error;
use crate::files::hex;
use crate::labels::distance;
use crate::metadata::KEYS;

pub use write::CardLine;

/// The version of cards that this vidmill reads.
const VERSION: i64 = 1;
const VERSION_KEY: &str = "vidmill";
const PREFIX: &str = "vidmill.";

/// No card is larger; what is larger is something else.
const MOST_BYTES: u64 = 8 << 20;

/// A file that says how a model is fed and read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// What it says, by the names of metadata entries.
    pub entries: BTreeMap<String, String>,
}

/// What the files beside a model say of it. They are read once, before the model is opened, by whoever starts it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cards {
    /// The model's card.
    pub card: Option<Card>,
    /// Other programs' files, such as the `preprocessor_config.json` of Hugging Face, the weightiest first.
    pub beside: Vec<Card>,
}

impl Cards {
    /// The card that the user names, or the one beside `model`: of the same name, ending in `.toml`. A file of that name that is
    /// no card (it says no `vidmill = 1`) is left alone. And what other programs left beside the model.
    ///
    /// # Errors
    /// [`Error::Read`] when a named card cannot be read; [`Error::Card`] when a card is none, or says what makes no sense.
    pub fn find(model: &Path, named: Option<&Path>) -> Result<Self, Error> {
        let card = match named {
            Some(path) => Some(Card::named(path)?),
            None => Card::beside(model)?,
        };
        Ok(Self { card, beside: beside::find(model) })
    }

    /// All files that say something.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.card.iter().chain(&self.beside).map(|card| card.path.as_path())
    }
}

/// Where the card of `model` lies, unless the user names another.
pub fn card_path(model: &Path) -> PathBuf {
    model.with_extension("toml")
}

impl Card {
    /// Reads the card that a user names.
    fn named(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let text =
            read_text(path).map_err(read)?.ok_or_else(|| no_card(path, "it is no text of at most 8 MiB"))?;
        match Self::parse(path, &text)? {
            Some(card) => Ok(card),
            None => Err(no_card(path, "it does not begin with `vidmill = 1`, the version of the card")),
        }
    }

    /// Reads what may be the card of a model.
    fn beside(model: &Path) -> Result<Option<Self>, Error> {
        let path = card_path(model);
        // Whatever else goes by this name is not vidmill's affair.
        let Ok(Some(text)) = read_text(&path) else { return Ok(None) };
        Self::parse(&path, &text)
    }

    /// What a file says; none where it does not say that it is a card.
    fn parse(path: &Path, text: &str) -> Result<Option<Self>, Error> {
        let table: Table = match text.parse() {
            Ok(table) => table,
            Err(_) if !claims_to_be_a_card(text) => return Ok(None),
            Err(error) => return Err(no_card(path, error.to_string().trim_end())),
        };
        match table.get(VERSION_KEY) {
            None => return Ok(None),
            Some(Value::Integer(VERSION)) => {}
            Some(Value::Integer(other)) => {
                let reason = format!(
                    "it is of version {other}, and this vidmill reads version {VERSION}: update vidmill, or write the \
                     card anew with `vidmill inspect --write-card`"
                );
                return Err(no_card(path, &reason));
            }
            Some(other) => {
                let reason = "the version of the card is expected, 1".to_owned();
                return Err(flaw(path, VERSION_KEY, &shown(other), reason));
            }
        }
        let mut entries = BTreeMap::new();
        collect(path, "", &table, &mut entries)?;
        let sha256 = hex(&Sha256::digest(text.as_bytes()));
        Ok(Some(Self { path: path.to_owned(), sha256, entries }))
    }
}

/// Whether what cannot be read was meant for a card.
fn claims_to_be_a_card(text: &str) -> bool {
    let is_key = |line: &str| {
        line.trim_start().strip_prefix(VERSION_KEY).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().any(is_key)
}

/// A file as text; none where it is no file, too large, or not text.
fn read_text(path: &Path) -> std::io::Result<Option<String>> {
    // Before it is opened: a pipe would wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > MOST_BYTES {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).ok())
}

/// Turns a table into entries: `[inputs]` with `scale = 1` is `inputs.scale`, unless `inputs` itself is a key, whose value is the
/// table.
fn collect(
    path: &Path,
    prefix: &str,
    table: &Table,
    entries: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    for (name, value) in table {
        let key = format!("{prefix}{name}");
        if key == VERSION_KEY {
            continue;
        }
        if KEYS.contains(&key.as_str()) {
            let text = entry(value).map_err(|reason| flaw(path, &key, &shown(value), reason.to_owned()))?;
            entries.insert(format!("{PREFIX}{key}"), text);
            continue;
        }
        let below = format!("{key}.");
        match value {
            Value::Table(table) if KEYS.iter().any(|known| known.starts_with(&below)) => {
                collect(path, &below, table, entries)?;
            }
            _ => return Err(flaw(path, &key, &shown(value), unknown(&key))),
        }
    }
    Ok(())
}

/// A value as the text of a metadata entry.
fn entry(value: &Value) -> Result<String, &'static str> {
    Ok(match value {
        Value::String(text) => text.clone(),
        other => match json(other)? {
            serde_json::Value::Number(number) => match number.as_f64() {
                // 255.0 says what 255 says.
                Some(whole) if whole.fract() == 0.0 && whole.abs() < 1e15 => (whole as i64).to_string(),
                _ => number.to_string(),
            },
            other => other.to_string(),
        },
    })
}

fn json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        Value::String(text) => text.clone().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => {
            serde_json::Number::from_f64(*number).ok_or("a finite number is expected")?.into()
        }
        Value::Boolean(flag) => (*flag).into(),
        Value::Datetime(_) => return Err("a date is no value of a card"),
        Value::Array(items) => items.iter().map(json).collect::<Result<_, _>>()?,
        Value::Table(table) => {
            let entries = table.iter().map(|(name, value)| Ok((name.clone(), json(value)?)));
            serde_json::Value::Object(entries.collect::<Result<_, &'static str>>()?)
        }
    })
}

fn unknown(key: &str) -> String {
    let near = KEYS.iter().min_by_key(|known| distance(key, known));
    let near = near.filter(|known| distance(key, known) <= (known.len() / 2).max(2));
    match near {
        Some(near) => format!("there is no such key; did you mean '{near}'?"),
        None => format!("there is no such key; the keys are {}", KEYS.join(", ")),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn flaw(path: &Path, key: &str, value: &str, reason: String) -> Error {
    Error::Card { path: path.to_owned(), key: key.to_owned(), value: cut(value), reason }
}

fn no_card(path: &Path, reason: &str) -> Error {
    Error::NoCard { path: path.to_owned(), reason: reason.to_owned() }
}

/// As much of a value as a message shows.
pub(crate) fn cut(value: &str) -> String {
    const SHOWN: usize = 80;
    let shown: String = value.chars().take(SHOWN).collect();
    if shown.len() < value.len() { format!("{shown}...") } else { shown }
}

impl Cards {
    /// An error about a metadata entry, told of the file that the entry is from.
    pub(crate) fn blame(&self, error: Error) -> Error {
        let Error::Metadata { key, value, reason } = error else { return error };
        let is_from = |card: &&Card| key.split(", ").any(|key| card.entries.contains_key(key));
        match self.card.iter().chain(&self.beside).find(is_from) {
            Some(card) => {
                let key = key.replace(PREFIX, "");
                Error::Card { path: card.path.clone(), key, value, reason }
            }
            None => Error::Metadata { key, value, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Card>, String> {
        Card::parse(Path::new("m.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_those_of_the_metadata() {
        let card = parse(
            r#"
            vidmill = 1
            task = "yolov8"
            imgsz = [384, 640]
            range = 255.0
            mean = [0.485, 0.456, 0.5]
            pad = 0
            conf = 0.3
            names = ["a", "b\u00e9"]
            description = "what it is"
            then = { model = "next.onnx", classes = ["a"] }
            [inputs]
            scale_factor = 1
            im_shape = ["height", "width"]
            "#,
        )
        .unwrap()
        .unwrap();
        let told: Vec<(&str, &str)> =
            card.entries.iter().map(|(key, value)| (&key[PREFIX.len()..], value.as_str())).collect();
        assert_eq!(
            told,
            [
                ("conf", "0.3"),
                ("description", "what it is"),
                ("imgsz", "[384,640]"),
                ("inputs", r#"{"im_shape":["height","width"],"scale_factor":1}"#),
                ("mean", "[0.485,0.456,0.5]"),
                ("names", r#"["a","bé"]"#),
                ("pad", "0"),
                ("range", "255"),
                ("task", "yolov8"),
                ("then", r#"{"classes":["a"],"model":"next.onnx"}"#),
            ]
        );
    }

    #[test]
    fn what_is_no_card_is_left_alone() {
        for text in [
            "",
            "[package]\nname = \"x\"",
            "not toml at all",
            "# vidmill = 1\nx = [",
            "[tool.vidmill]\na = 1",
        ] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
    }

    #[test]
    fn a_card_that_makes_no_sense_is_an_error_that_says_where() {
        for (text, parts) in [
            ("vidmill = 1\ntask = [", &["m.toml", "line 2"][..]),
            ("vidmill = 2", &["version 2", "update vidmill"]),
            ("vidmill = 'x'", &["vidmill = 'x'", "version"]),
            ("vidmill = 1\nmaen = 3", &["m.toml", "maen = '3'", "did you mean 'mean'?"]),
            ("vidmill = 1\nsomething_else = 3", &["something_else", "the keys are task,"]),
            ("vidmill = 1\nmean = nan", &["mean", "finite"]),
            ("vidmill = 1\npad = 1979-05-27", &["pad", "date"]),
        ] {
            let error = parse(text).unwrap_err();
            assert!(parts.iter().all(|part| error.contains(part)), "{text}: {error}");
        }
    }
}
