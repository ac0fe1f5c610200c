//! Cards as text: what was worked out of a model, each line with its reason.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// One line of a card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CardLine {
    /// The key, without "vidmill.".
    pub key: String,
    /// Its value.
    pub value: Value,
    /// Why it is this value.
    pub why: String,
}

impl CardLine {
    pub(crate) fn new(key: &str, value: impl Into<Value>, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), value: value.into(), why: why.into() }
    }

    /// A card of these lines, as TOML, with their reasons as comments.
    pub fn write(lines: &[Self], model: &Path) -> String {
        let name = model.file_name().unwrap_or(model.as_os_str()).to_string_lossy();
        let mut text = format!(
            "# How vidmill feeds and reads {}. Change what is wrong; a line that is left out is worked out anew.\n\
             # docs/MODEL_CARD.md tells all keys.\nvidmill = 1\n",
            one_line(&name)
        );
        // Tables take everything that comes after them: they come last.
        let (tables, values): (Vec<&Self>, Vec<&Self>) =
            lines.iter().partition(|line| line.value.is_object());
        for line in values {
            let _ = write!(text, "\n# {}\n{} = {}\n", one_line(&line.why), line.key, toml(&line.value));
        }
        for line in tables {
            let _ = write!(text, "\n# {}\n[{}]\n", one_line(&line.why), line.key);
            for (name, value) in line.value.as_object().into_iter().flatten() {
                let _ = writeln!(text, "{} = {}", key(name), toml(value));
            }
        }
        text
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A key, quoted where it has to be.
fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(is_bare) { name.to_owned() } else { toml(&name.into()) }
}

/// A long list is written several to a line.
const PER_LINE: usize = 8;

fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Array(items) if items.len() > PER_LINE => {
            let rows: Vec<String> = items
                .chunks(PER_LINE)
                .map(|row| format!("    {},\n", row.iter().map(toml).collect::<Vec<_>>().join(", ")))
                .collect();
            format!("[\n{}]", rows.concat())
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(name, value)| format!("{} = {}", key(name), toml(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Null => "\"\"".to_owned(),
        number_or_flag => number_or_flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Card;
    use super::*;

    #[test]
    fn what_is_written_reads_back_as_the_same() {
        let names: Vec<String> = (0..20).map(|n| format!("name \"{n}\" \\ é\n\u{1}")).collect();
        let lines = [
            CardLine::new("inputs", json!({ "a b:0": [1, "height"], "scale": 0.1 }), "two\nlines"),
            CardLine::new("task", "yolov8", "because"),
            CardLine::new("mean", json!([0.485, 1e-7, 123.0]), ""),
            CardLine::new("pad", 114, ""),
            CardLine::new("names", json!(names), ""),
        ];
        let text = CardLine::write(&lines, Path::new("models/a\nb.onnx"));
        let card = Card::parse(Path::new("m.toml"), &text).unwrap().unwrap();
        for CardLine { key, value, .. } in &lines {
            let found = &card.entries[&format!("vidmill.{key}")];
            let expected = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert_eq!(*found, expected, "{text}");
        }
    }
}
