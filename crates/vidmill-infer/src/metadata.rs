//! The metadata entries that say how a model is to be fed and read: Ultralytics' and vidmill's own.
//!
//! In: the strings of the model file. Out: checked values. Ultralytics writes Python's `repr` of lists and dicts, which
//! [`parse`] reads; JSON is read as well, being nearly a subset.

use std::collections::BTreeMap;

use vidmill_image::{ChannelOrder, ResizeMode, TensorLayout};

use crate::card::cut;
use crate::side::{Given, Told};
use crate::{Element, Error, Labels, ModelInfo};

/// The keys of all entries of vidmill's own, without their prefix: what a model card may say.
pub(crate) const KEYS: &[&str] = &[
    "task",
    "imgsz",
    "stride",
    "image",
    "layout",
    "color",
    "range",
    "mean",
    "std",
    "resize",
    "crop",
    "pad",
    "inputs",
    "nms",
    "units",
    "background",
    "scores",
    "normalize",
    "keypoints",
    "skeleton",
    "conf",
    "iou",
    "max_det",
    "top_k",
    "names",
    "then",
    "then_classes",
    "characters",
    "description",
    "licence",
    "license",
    "source",
];

/// What `vidmill.color` may be.
pub(crate) const COLORS: &[(&str, ChannelOrder)] =
    &[("rgb", ChannelOrder::Rgb), ("bgr", ChannelOrder::Bgr), ("gray", ChannelOrder::Gray)];

/// What `vidmill.resize` may be.
pub(crate) const RESIZES: &[(&str, ResizeMode)] = &[
    ("letterbox", ResizeMode::Letterbox),
    ("letterbox-top-left", ResizeMode::LetterboxTopLeft),
    ("stretch", ResizeMode::Stretch),
    ("center-crop", ResizeMode::CenterCrop),
    ("fit-height", ResizeMode::FitHeight),
];

/// What the entries say; `None` where they say nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Metadata {
    /// `names`, or `vidmill.names`.
    pub names: Option<Labels>,
    /// `task`: detect, segment, pose, classify, obb.
    pub task: Option<String>,
    /// `imgsz`, or `vidmill.imgsz`: (height, width).
    pub imgsz: Option<(u32, u32)>,
    /// `stride`, or `vidmill.stride`: sides of the input are multiples of it.
    pub stride: Option<u32>,
    /// `end2end`, or `nms` in `args`: the boxes come out final.
    pub end_to_end: Option<bool>,
    /// `vidmill.task`.
    pub kind: Option<String>,
    /// `vidmill.color`.
    pub color: Option<ChannelOrder>,
    /// `vidmill.range`: the input's white, 1 or 255.
    pub range: Option<Range>,
    /// `vidmill.mean`, in the unit of the range.
    pub mean: Option<[f32; 3]>,
    /// `vidmill.std`, in the unit of the range.
    pub std: Option<[f32; 3]>,
    /// `vidmill.resize`.
    pub resize: Option<ResizeMode>,
    /// `vidmill.crop`: how much of the resized picture's sides a centre crop leaves, 0 to 1.
    pub crop: Option<f32>,
    /// `vidmill.pad`.
    pub pad: Option<u8>,
    /// `vidmill.nms`: whether boxes that look final still want suppression.
    pub nms: Option<Nms>,
    /// `vidmill.units`: what the boxes of an SSD-style model are measured in.
    pub units: Option<Units>,
    /// `vidmill.background`: whether the first score of an SSD-style model is "nothing".
    pub background: Option<Background>,
    /// `kpt_shape`: how many keypoints an object has, and how many numbers each.
    pub keypoint_shape: Option<(usize, usize)>,
    /// `kpt_names`, or `vidmill.keypoints`.
    pub keypoints: Option<Vec<String>>,
    /// `vidmill.characters`, or PaddleOCR's `character`: what a model of text reads, in its order, one a line.
    pub characters: Option<Vec<String>>,
    /// `vidmill.skeleton`: pairs of keypoints to draw lines between.
    pub skeleton: Option<Vec<[usize; 2]>>,
    /// `vidmill.scores`: what classifiers and maps of one class give.
    pub scores: Option<Scores>,
    /// `vidmill.normalize`: whether embeddings are given length 1.
    pub normalize: Option<bool>,
    /// `vidmill.image`: the name of the image input, where there are several that could be.
    pub image: Option<String>,
    /// `vidmill.layout`: the order of the image input's dimensions.
    pub layout: Option<TensorLayout>,
    /// `vidmill.inputs`: what to feed to inputs beside the image.
    pub inputs: Told,
    /// `vidmill.conf`, `vidmill.iou`, `vidmill.max_det`, `vidmill.top_k`: thresholds where the user says none.
    pub conf: Option<f32>,
    pub iou: Option<f32>,
    pub max_det: Option<usize>,
    pub top_k: Option<usize>,
    /// Who says each of the entries.
    origins: BTreeMap<String, String>,
    /// All entries of vidmill's own, as they are.
    own: BTreeMap<String, String>,
    /// Entries under other programs' keys that make no sense, and why.
    pub ignored: Vec<String>,
}

/// What white is in the model's input, before mean and std.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Range {
    One,
    Byte,
}

/// Whether suppression is still to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nms {
    Needed,
    Done,
}

/// What scores are before anything is done to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scores {
    /// Any numbers, which softmax or a sigmoid turns into probabilities.
    Logits,
    Probabilities,
}

/// What boxes are measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Units {
    /// 0..1 of the input's sides.
    Normalised,
    /// Pixels of the input.
    Pixels,
}

/// Which score stands for "no object".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Background {
    First,
    None,
}

impl Metadata {
    /// Reads the entries of a model, and of the files that speak of it.
    pub(crate) fn of(info: &ModelInfo) -> Result<Self, Error> {
        Self::read(info).map_err(|error| info.cards.blame(error))
    }

    fn read(info: &ModelInfo) -> Result<Self, Error> {
        let (merged, origins) = merged(info);
        let entries = Entries(&merged);
        let mut ignored = Vec::new();
        let foreign_names = entries.foreign("names", names, &mut ignored);
        let args = entries.foreign("args", dict, &mut Vec::new()).unwrap_or_default();
        let nms = args.into_iter().any(|(key, value)| key.is_text("nms") && value == Value::Bool(true));
        Ok(Self {
            names: entries.read("vidmill.names", names)?.or(foreign_names),
            task: entries.0.get("task").cloned(),
            imgsz: entries
                .read("vidmill.imgsz", image_size)?
                .or_else(|| entries.foreign("imgsz", image_size, &mut ignored)),
            stride: entries
                .read("vidmill.stride", stride)?
                .or_else(|| entries.foreign("stride", stride, &mut ignored)),
            end_to_end: entries.foreign("end2end", boolean, &mut ignored).or(nms.then_some(true)),
            kind: entries.get("vidmill.task").cloned(),
            color: entries.choice("vidmill.color", COLORS)?,
            range: entries.choice("vidmill.range", &[("1", Range::One), ("255", Range::Byte)])?,
            mean: entries.read("vidmill.mean", three)?,
            std: entries.read("vidmill.std", |text| match three(text)? {
                std if std.contains(&0.0) => Err("it must not be 0"),
                std => Ok(std),
            })?,
            resize: entries.choice("vidmill.resize", RESIZES)?,
            pad: entries
                .read("vidmill.pad", |text| text.trim().parse().map_err(|_| "0 to 255 is expected"))?,
            nms: entries.choice("vidmill.nms", &[("needed", Nms::Needed), ("done", Nms::Done)])?,
            units: entries
                .choice("vidmill.units", &[("normalised", Units::Normalised), ("pixels", Units::Pixels)])?,
            background: entries
                .choice("vidmill.background", &[("first", Background::First), ("none", Background::None)])?,
            crop: entries.read("vidmill.crop", |text| {
                let fraction = text.trim().parse::<f32>().ok();
                fraction.filter(|part| (0.1..=1.0).contains(part)).ok_or("0.1 to 1 is expected")
            })?,
            scores: entries.choice(
                "vidmill.scores",
                &[("logits", Scores::Logits), ("probabilities", Scores::Probabilities)],
            )?,
            normalize: entries.read("vidmill.normalize", boolean)?,
            characters: entries.read("vidmill.characters", characters)?.or(entries.foreign(
                "character",
                characters,
                &mut ignored,
            )),
            keypoint_shape: entries.foreign("kpt_shape", keypoint_shape, &mut ignored),
            keypoints: entries
                .read("vidmill.keypoints", text_list)?
                .or(entries.foreign("kpt_names", keypoint_names, &mut ignored).flatten()),
            skeleton: entries.read("vidmill.skeleton", pairs)?,
            image: entries.get("vidmill.image").cloned(),
            layout: entries
                .choice("vidmill.layout", &[("nchw", TensorLayout::Nchw), ("nhwc", TensorLayout::Nhwc)])?,
            inputs: entries.read("vidmill.inputs", inputs)?.unwrap_or_default(),
            conf: entries.read("vidmill.conf", fraction)?,
            iou: entries.read("vidmill.iou", fraction)?,
            max_det: entries.read("vidmill.max_det", count)?,
            top_k: entries.read("vidmill.top_k", count)?,
            ignored,
            own: merged
                .iter()
                .filter_map(|(key, value)| Some((own_key(key)?.to_owned(), value.clone())))
                .collect(),
            origins,
        })
    }

    /// Who says the entry `vidmill.KEY`, or in place of it the entry KEY of another program, if anybody does.
    pub(crate) fn origin(&self, key: &str) -> Option<&str> {
        let of = |key: &str| self.origins.get(key).map(String::as_str);
        of(&format!("{PREFIX}{key}")).or_else(|| of(key))
    }

    /// Whether only another program's file says the entry `vidmill.KEY`.
    pub(crate) fn is_from_beside(&self, key: &str) -> bool {
        self.origin(key).is_some_and(|origin| origin.ends_with(BESIDE))
    }

    /// The entry `vidmill.KEY` as it is.
    pub(crate) fn own(&self, key: &str) -> Option<&str> {
        self.own.get(key).map(String::as_str)
    }
}

const PREFIX: &str = "vidmill.";

/// How the origin of what other programs' files say ends.
const BESIDE: &str = " beside it";

fn own_key(key: &str) -> Option<&str> {
    key.strip_prefix(PREFIX)
}

/// What ONNX's own entries on images say (github.com/onnx/onnx, docs/MetadataProps.md), as entries of vidmill's. Models of Azure
/// Custom Vision and of Windows ML have them.
fn standard(info: &ModelInfo) -> Vec<(&'static str, &'static str)> {
    let told = |wanted: &str| {
        let mut entries = info.metadata.iter();
        let found = entries.find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_ascii_lowercase()).unwrap_or_default()
    };
    let mut entries = match told("Image.BitmapPixelFormat").as_str() {
        "rgb8" => vec![("vidmill.color", "rgb")],
        "bgr8" => vec![("vidmill.color", "bgr")],
        _ => Vec::new(),
    };
    let takes_bytes = info.inputs.iter().any(|input| input.element == Element::U8);
    match told("Image.NominalPixelRange").as_str() {
        _ if takes_bytes => {}
        "nominalrange_0_255" => entries.push(("vidmill.range", "255")),
        "normalized_0_1" => entries.push(("vidmill.range", "1")),
        "normalized_1_1" => {
            entries.extend([("vidmill.range", "1"), ("vidmill.mean", "0.5"), ("vidmill.std", "0.5")]);
        }
        _ => {}
    }
    entries
}

type Texts = BTreeMap<String, String>;

/// All entries, of which a card's count most and those of other programs' files least; and who says each of them.
fn merged(info: &ModelInfo) -> (Texts, Texts) {
    let (mut entries, mut origins) = (Texts::new(), Texts::new());
    let mut lay = |key: &str, value: &str, origin: &str| {
        // Whoever says how pictures are resized means all of it.
        if key == "vidmill.resize" && origins.get("vidmill.crop").is_some_and(|other| other != origin) {
            entries.remove("vidmill.crop");
            origins.remove("vidmill.crop");
        }
        entries.insert(key.to_owned(), value.to_owned());
        origins.insert(key.to_owned(), origin.to_owned());
    };
    let has = |key: &str| info.metadata.contains_key(key);
    for card in info.cards.beside.iter().rev() {
        let name = card.path.file_name().unwrap_or_default().to_string_lossy();
        // What the model itself says in another program's words counts more.
        let entries = card.entries.iter().filter(|(key, _)| !own_key(key).is_some_and(has));
        entries.for_each(|(key, value)| lay(key, value, &format!("{name}{BESIDE}")));
    }
    for (key, value) in standard(info) {
        lay(key, value, "the model's metadata, in ONNX's own words");
    }
    info.metadata.iter().for_each(|(key, value)| lay(key, value, "the model's metadata"));
    if let Some(card) = &info.cards.card {
        let origin = format!("the card {}", card.path.display());
        card.entries.iter().for_each(|(key, value)| lay(key, value, &origin));
    }
    (entries, origins)
}

struct Entries<'a>(&'a Texts);

impl Entries<'_> {
    fn get(&self, key: &str) -> Option<&String> {
        debug_assert!(own_key(key).is_none_or(|key| KEYS.contains(&key)), "{key} is missing in KEYS");
        self.0.get(key)
    }

    fn read<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, &'static str>) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).map_err(|reason| invalid(key, value, reason.to_owned()))
    }

    /// An entry under another program's key: what makes no sense may mean something else, so it is no error.
    fn foreign<T>(
        &self,
        key: &str,
        read: impl Fn(&str) -> Result<T, &'static str>,
        ignored: &mut Vec<String>,
    ) -> Option<T> {
        self.read(key, read).unwrap_or_else(|error| {
            ignored.push(format!("ignored: {error}"));
            None
        })
    }

    fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        match choices.iter().find(|(name, _)| *name == value.trim()) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
                Err(invalid(key, value, format!("one of {} is expected", names.join(", "))))
            }
        }
    }
}

fn invalid(key: &str, value: &str, reason: String) -> Error {
    Error::Metadata { key: key.to_owned(), value: cut(value), reason }
}

fn dict(text: &str) -> Result<Vec<(Value, Value)>, &'static str> {
    match parse(text) {
        Some(Value::Map(entries)) => Ok(entries),
        _ => Err("a dict is expected"),
    }
}

/// No model has as many classes; a number beyond comes from a broken file.
const MOST_CLASSES: u32 = 1_000_000;

fn names(text: &str) -> Result<Labels, &'static str> {
    match parse(text) {
        Some(Value::List(items)) => items
            .into_iter()
            .map(|item| item.text().ok_or("all names must be text"))
            .collect::<Result<Vec<_>, _>>()
            .map(Labels::from_list),
        Some(Value::Map(entries)) => entries
            .into_iter()
            .map(|(key, name)| match (key.whole(), name.text()) {
                (Some(id), _) if id >= MOST_CLASSES => Err("class numbers below 1000000 are expected"),
                (Some(id), Some(name)) => Ok((id, name)),
                _ => Err("numbers with names are expected"),
            })
            .collect::<Result<_, _>>()
            .map(Labels::new),
        _ => Err("a list or dict of names is expected"),
    }
}

/// More keypoints, or numbers of one, than any model has come from a broken file.
const MOST_KEYPOINTS: u32 = 10_000;

/// `[17, 3]`.
fn keypoint_shape(text: &str) -> Result<(usize, usize), &'static str> {
    const EXPECTED: &str = "[keypoints, numbers of each] is expected, the numbers 2 or 3";
    let Some(Value::List(items)) = parse(text) else { return Err(EXPECTED) };
    match *items.iter().map(Value::whole).collect::<Vec<_>>() {
        [Some(count @ 1..=MOST_KEYPOINTS), Some(numbers @ 2..=3)] => Ok((count as usize, numbers as usize)),
        _ => Err(EXPECTED),
    }
}

fn text_list(text: &str) -> Result<Vec<String>, &'static str> {
    match parse(text) {
        Some(value @ Value::List(_)) => texts(value),
        _ => Err("a list of names is expected"),
    }
}

fn texts(list: Value) -> Result<Vec<String>, &'static str> {
    let Value::List(items) = list else { return Err("lists of names are expected") };
    items.into_iter().map(|item| item.text().ok_or("all names must be text")).collect()
}

/// Ultralytics' names of keypoints, a list for each class. Where classes differ in them, or all are numbers (which is what it writes
/// where it knows none), there are none.
fn keypoint_names(text: &str) -> Result<Option<Vec<String>>, &'static str> {
    let mut all = dict(text)?.into_iter().map(|(_, names)| texts(names));
    let first = all.next().ok_or("a dict of lists of names is expected")??;
    for names in all {
        if names? != first {
            return Ok(None);
        }
    }
    let is_number = |name: &String| name.bytes().all(|byte| byte.is_ascii_digit());
    Ok((!first.iter().all(is_number)).then_some(first))
}

fn pairs(text: &str) -> Result<Vec<[usize; 2]>, &'static str> {
    const EXPECTED: &str = "a list of pairs of keypoints, counted from 0, is expected";
    let Some(Value::List(items)) = parse(text) else { return Err(EXPECTED) };
    let pair = |item: &Value| match item {
        Value::List(ends) => match ends.as_slice() {
            [a, b] => Some([a.whole()? as usize, b.whole()? as usize]),
            _ => None,
        },
        _ => None,
    };
    items.iter().map(pair).collect::<Option<_>>().ok_or(EXPECTED)
}

fn image_size(text: &str) -> Result<(u32, u32), &'static str> {
    const EXPECTED: &str = "a size or [height, width] is expected, 1 to 16384 pixels";
    let side = |value: &Value| value.whole().filter(|side| (1..=16_384).contains(side)).ok_or(EXPECTED);
    match parse(text) {
        Some(Value::List(items)) => match items.as_slice() {
            [both] => Ok((side(both)?, side(both)?)),
            [height, width] => Ok((side(height)?, side(width)?)),
            _ => Err(EXPECTED),
        },
        Some(both) => Ok((side(&both)?, side(&both)?)),
        None => Err(EXPECTED),
    }
}

fn stride(text: &str) -> Result<u32, &'static str> {
    const EXPECTED: &str = "a number of pixels is expected, 1 to 1024";
    match parse(text).and_then(|value| value.whole()) {
        Some(stride @ 1..=1024) => Ok(stride),
        _ => Err(EXPECTED),
    }
}

fn characters(text: &str) -> Result<Vec<String>, &'static str> {
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match lines.len() {
        0 | 1 => Err("characters are expected, one a line"),
        count if count >= MOST_CLASSES as usize => Err("fewer than 1000000 characters are expected"),
        _ => Ok(lines),
    }
}

fn boolean(text: &str) -> Result<bool, &'static str> {
    match parse(text) {
        Some(Value::Bool(value)) => Ok(value),
        _ => Err("True or False is expected"),
    }
}

fn count(text: &str) -> Result<usize, &'static str> {
    let count = text.trim().parse().ok().filter(|&count| count > 0);
    count.ok_or("a number of at least 1 is expected")
}

fn fraction(text: &str) -> Result<f32, &'static str> {
    let value: Option<f32> = text.trim().parse().ok();
    value.filter(|value| (0.0..=1.0).contains(value)).ok_or("a number from 0 to 1 is expected")
}

/// Names of inputs with a number, "height", "width", or a list of these.
fn inputs(text: &str) -> Result<Told, &'static str> {
    const EXPECTED: &str = "names with numbers, \"height\" or \"width\", or lists of these, are expected";
    let one = |value: &Value| match value {
        Value::Number(number) => Ok(Given::Number(*number)),
        Value::Bool(flag) => Ok(Given::Number(f64::from(u8::from(*flag)))),
        side if side.is_text("height") => Ok(Given::Height),
        side if side.is_text("width") => Ok(Given::Width),
        _ => Err(EXPECTED),
    };
    let entry = |(name, value): (Value, Value)| {
        let given = match &value {
            Value::List(items) if items.is_empty() => return Err(EXPECTED),
            Value::List(items) => items.iter().map(one).collect::<Result<_, _>>()?,
            single => vec![one(single)?],
        };
        Ok((name.text().ok_or(EXPECTED)?, given))
    };
    match parse(text) {
        Some(Value::Map(entries)) => entries.into_iter().map(entry).collect(),
        _ => Err(EXPECTED),
    }
}

/// One number for all channels, or three, as a list or separated by commas.
fn three(text: &str) -> Result<[f32; 3], &'static str> {
    const EXPECTED: &str = "one or three numbers are expected";
    let text = text.trim();
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let numbers = inner
        .split(',')
        .map(|number| number.trim().parse::<f32>().ok().filter(|number| number.is_finite()).ok_or(EXPECTED))
        .collect::<Result<Vec<_>, _>>()?;
    match *numbers {
        [all] => Ok([all; 3]),
        [a, b, c] => Ok([a, b, c]),
        _ => Err(EXPECTED),
    }
}

/// A Python or JSON literal.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Nothing,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    fn is_text(&self, text: &str) -> bool {
        matches!(self, Self::Text(found) if found == text)
    }
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
    /// A whole number; JSON has only text as keys, so digits in quotes count too.
    fn whole(&self) -> Option<u32> {
        match self {
            Self::Number(n) if n.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(n) => Some(*n as u32),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Reads one Python or JSON literal: None, booleans, numbers, quoted text, lists, tuples, dicts.
fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser { rest: text.trim_start(), depth: 0 };
    let value = parser.value()?;
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    depth: u32,
}

/// Deeper nesting than any real entry has.
const DEEPEST: u32 = 16;

impl Parser<'_> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn value(&mut self) -> Option<Value> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let value = match self.rest.chars().next()? {
            '{' => self.map(),
            '[' => self.list("[", "]"),
            '(' => self.list("(", ")"),
            quote @ ('"' | '\'') => self.text(quote),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn list(&mut self, open: &str, close: &str) -> Option<Value> {
        self.take(open);
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.value()?);
            if !self.take(",") && !self.rest.starts_with(close) {
                return None;
            }
        }
        Some(Value::List(items))
    }

    fn map(&mut self) -> Option<Value> {
        self.take("{");
        let mut entries = Vec::new();
        while !self.take("}") {
            let key = self.value()?;
            if !self.take(":") {
                return None;
            }
            entries.push((key, self.value()?));
            if !self.take(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(Value::Map(entries))
    }

    fn text(&mut self, quote: char) -> Option<Value> {
        let mut text = String::new();
        let mut chars = self.rest[quote.len_utf8()..].chars();
        loop {
            match chars.next()? {
                '\\' => text.push(escape(&mut chars)?),
                end if end == quote => break,
                other => text.push(other),
            }
        }
        self.rest = chars.as_str().trim_start();
        Some(Value::Text(text))
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ':', ']', '}', ')']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.trim_end() {
            "None" | "null" => Some(Value::Nothing),
            "True" | "true" => Some(Value::Bool(true)),
            "False" | "false" => Some(Value::Bool(false)),
            number => number.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Number),
        }
    }
}

/// The character that an escape means; half of a JSON surrogate pair becomes the replacement character.
fn escape(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let digits = match chars.next()? {
        'n' => return Some('\n'),
        'r' => return Some('\r'),
        't' => return Some('\t'),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        other => return Some(other),
    };
    let code: String = chars.by_ref().take(digits).collect();
    let code = u32::from_str_radix(&code, 16).ok().filter(|_| code.len() == digits)?;
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::{Card, Cards};

    fn info(entries: &[(&str, &str)]) -> ModelInfo {
        ModelInfo {
            path: PathBuf::from("m.onnx"),
            metadata: entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..ModelInfo::default()
        }
    }

    #[test]
    fn ultralytics_entries_are_read_as_python_writes_them() {
        let metadata = Metadata::of(&info(&[
            ("names", r#"{0: 'person', 1: "dog's bed", 2: 'caf\xe9', 10: 'a\\b'}"#),
            ("imgsz", "[384, 640]"),
            ("stride", "32"),
            ("task", "detect"),
            ("end2end", "False"),
            ("args", "{'batch': 1, 'half': False, 'nms': True, 'fraction': 1.0, 'data': None}"),
        ]))
        .unwrap();
        let names = metadata.names.unwrap();
        assert_eq!(names.name(1), "dog's bed");
        assert_eq!(names.name(2), "café");
        assert_eq!(names.name(10), "a\\b");
        assert_eq!(names.name(5), "5");
        assert_eq!(metadata.imgsz, Some((384, 640)));
        assert_eq!(metadata.stride, Some(32));
        assert_eq!(metadata.end_to_end, Some(false));
        assert!(metadata.ignored.is_empty());
    }

    #[test]
    fn nms_in_the_export_arguments_counts_where_end2end_says_nothing() {
        let metadata = Metadata::of(&info(&[("args", "{'nms': True}")])).unwrap();
        assert_eq!(metadata.end_to_end, Some(true));
        assert_eq!(Metadata::of(&info(&[("args", "{'nms': False}")])).unwrap().end_to_end, None);
        assert_eq!(Metadata::of(&info(&[("args", "garbage")])).unwrap().end_to_end, None);
    }

    #[test]
    fn vidmill_entries_are_read() {
        let metadata = Metadata::of(&info(&[
            ("vidmill.names", r#"["a", "b\u00e9", "c"]"#),
            ("vidmill.color", "bgr"),
            ("vidmill.range", "255"),
            ("vidmill.mean", "127, 127, 126.5"),
            ("vidmill.std", "[128]"),
            ("vidmill.resize", "stretch"),
            ("vidmill.pad", "0"),
            ("vidmill.nms", "needed"),
        ]))
        .unwrap();
        assert_eq!(metadata.names.unwrap().name(1), "bé");
        assert_eq!(metadata.color, Some(ChannelOrder::Bgr));
        assert_eq!(metadata.range, Some(Range::Byte));
        assert_eq!(metadata.mean, Some([127.0, 127.0, 126.5]));
        assert_eq!(metadata.std, Some([128.0; 3]));
        assert_eq!(metadata.resize, Some(ResizeMode::Stretch));
        assert_eq!(metadata.pad, Some(0));
        assert_eq!(metadata.nms, Some(Nms::Needed));
    }

    #[test]
    fn invalid_vidmill_entries_are_errors_that_name_key_and_value() {
        for (key, value) in [
            ("vidmill.color", "rgba"),
            ("vidmill.range", "256"),
            ("vidmill.mean", "1,2"),
            ("vidmill.mean", "nan"),
            ("vidmill.std", "1,0,1"),
            ("vidmill.resize", "fit"),
            ("vidmill.pad", "256"),
            ("vidmill.names", "person"),
            ("vidmill.nms", "yes"),
            ("vidmill.crop", "0"),
            ("vidmill.scores", "softmax"),
            ("vidmill.normalize", "L2"),
        ] {
            let message = Metadata::of(&info(&[(key, value)])).unwrap_err().to_string();
            assert!(message.contains(key) && message.contains(value), "{message}");
        }
    }

    #[test]
    fn names_of_keypoints_are_read() {
        let read = |key: &str, value: &str| Metadata::of(&info(&[(key, value)])).unwrap();
        assert_eq!(read("kpt_shape", "[17, 3]").keypoint_shape, Some((17, 3)));
        assert_eq!(read("kpt_shape", "[17, 4]").keypoint_shape, None);
        let names = Some(vec!["nose".to_owned(), "ear".to_owned()]);
        assert_eq!(read("kpt_names", "{0: ['nose', 'ear']}").keypoints, names);
        assert_eq!(read("kpt_names", "{0: ['nose', 'ear'], 1: ['nose', 'ear']}").keypoints, names);
        assert_eq!(read("kpt_names", "{0: ['nose', 'ear'], 1: ['nose', 'paw']}").keypoints, None);
        assert_eq!(read("kpt_names", "{0: ['0', '1']}").keypoints, None);
        assert_eq!(read("kpt_names", "{}").ignored.len(), 1);
        assert_eq!(read("vidmill.keypoints", r#"["nose", "ear"]"#).keypoints, names);
        assert_eq!(read("vidmill.skeleton", "[[0, 1], [1, 2]]").skeleton, Some(vec![[0, 1], [1, 2]]));
        for (key, value) in [("vidmill.skeleton", "[[0, 1, 2]]"), ("vidmill.keypoints", "nose")] {
            assert!(Metadata::of(&info(&[(key, value)])).unwrap_err().to_string().contains(key));
        }
    }

    #[test]
    fn onnx_own_entries_on_images_are_read_whatever_their_case() {
        let entries = [("image.bitmappixelformat", "Bgr8"), ("Image.NominalPixelRange", "Normalized_1_1")];
        let metadata = Metadata::of(&info(&entries)).unwrap();
        assert_eq!(metadata.color, Some(ChannelOrder::Bgr));
        assert_eq!((metadata.range, metadata.mean), (Some(Range::One), Some([0.5; 3])));
        let own = Metadata::of(&info(&[entries[0], entries[1], ("vidmill.color", "rgb")])).unwrap();
        assert_eq!(own.color, Some(ChannelOrder::Rgb));
    }

    #[test]
    fn cards_count_more_than_metadata_and_metadata_more_than_what_lies_beside() {
        let card = |path: &str, entries: &[(&str, &str)]| Card {
            path: path.into(),
            sha256: String::new(),
            entries: entries.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
        };
        let cards = Cards {
            card: Some(card("m.toml", &[("vidmill.mean", "1")])),
            beside: vec![
                card("a/first.json", &[("vidmill.mean", "3"), ("vidmill.std", "3"), ("vidmill.pad", "3")]),
                card(
                    "second.json",
                    &[("vidmill.pad", "4"), ("vidmill.color", "bgr"), ("vidmill.names", "['x']")],
                ),
            ],
        };
        let own = info(&[("vidmill.mean", "2"), ("vidmill.std", "2"), ("names", "['y']")]);
        let metadata = Metadata::of(&ModelInfo { cards, ..own }).unwrap();
        assert_eq!((metadata.mean, metadata.std), (Some([1.0; 3]), Some([2.0; 3])));
        assert_eq!((metadata.pad, metadata.color), (Some(3), Some(ChannelOrder::Bgr)));
        assert_eq!(metadata.names.clone().unwrap().name(0), "y");
        let origins = ["mean", "std", "pad", "color", "names", "iou"].map(|key| metadata.origin(key));
        let (own, first) = (Some("the model's metadata"), Some("first.json beside it"));
        let expected = [Some("the card m.toml"), own, first, Some("second.json beside it"), own, None];
        assert_eq!(origins, expected);
    }

    #[test]
    fn an_error_names_the_file_that_it_is_in() {
        let entries = BTreeMap::from([("vidmill.pad".to_owned(), "300".to_owned())]);
        let card = Card { path: "m.toml".into(), sha256: String::new(), entries };
        let cards = Cards { card: Some(card), ..Cards::default() };
        let error = Metadata::of(&ModelInfo { cards, ..info(&[("vidmill.pad", "1")]) }).unwrap_err();
        assert_eq!(error.to_string(), "the card m.toml: pad = '300' is invalid: 0 to 255 is expected");
    }

    #[test]
    fn foreign_entries_that_make_no_sense_are_ignored_and_told() {
        let metadata =
            Metadata::of(&info(&[("names", "person,car"), ("imgsz", "[0, 640]"), ("stride", "big")]))
                .unwrap();
        assert_eq!((metadata.names, metadata.imgsz, metadata.stride), (None, None, None));
        assert_eq!(metadata.ignored.len(), 3);
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(parse(&"[".repeat(100_000)), None);
        assert_eq!(
            parse("[[[1]]]"),
            Some(Value::List(vec![Value::List(vec![Value::List(vec![Value::Number(1.0)])])]))
        );
    }

    proptest! {
        #[test]
        fn the_parser_never_panics(text in "[\\[\\]{}()'\":,\\\\xu0-9a-zé \n]{0,40}") {
            let _ = parse(&text);
        }

        #[test]
        fn json_lists_of_text_come_back(items in prop::collection::vec("\\PC{0,12}", 0..6)) {
            let text = serde_json::to_string(&items).unwrap();
            let expected = Value::List(items.into_iter().map(Value::Text).collect());
            prop_assert_eq!(parse(&text), Some(expected));
        }
    }
}
