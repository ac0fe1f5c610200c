//! Names of classes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use crate::Error;

/// The names of a model's classes; a class without a name goes by its number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    names: BTreeMap<u32, String>,
}

/// `_IMAGENET_CATEGORIES` of torchvision/models/_meta.py (BSD 3-Clause).
const IMAGENET: &str = include_str!("imagenet.txt");

/// How many near matches an error names.
const NEAR: usize = 3;

impl Labels {
    /// Names by class number.
    pub fn new(names: BTreeMap<u32, String>) -> Self {
        Self { names }
    }
    /// Names of classes 0, 1, 2 and so on.
    pub fn from_list(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: (0..).zip(names).collect() }
    }
    /// Names from a text file in UTF-8, one a line; line breaks of any kind, empty lines at the end ignored.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let unusable = |reason: &str| Error::Labels { path: path.to_owned(), reason: reason.to_owned() };
        let text = String::from_utf8(bytes).map_err(|_| unusable("it is not text in UTF-8"))?;
        let text = text.trim_start_matches('\u{feff}').trim_end();
        if text.is_empty() {
            return Err(unusable("it is empty; one class name a line is expected"));
        }
        Ok(Self::from_list(text.lines().map(|line| line.trim().to_owned())))
    }
    /// The 80 classes of COCO detectors, numbered from 0 in the order that all YOLO models use.
    pub fn coco80() -> Self {
        Self::from_list(COCO80.iter().map(|&name| name.to_owned()))
    }
    /// The same 80 under the numbers that COCO's annotations give them, 1 to 90 with gaps: what DETR and its like are trained on.
    pub fn coco91() -> Self {
        const GAPS: [u32; 11] = [0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83];
        let numbers = (0..=90).filter(|number| !GAPS.contains(number));
        Self::new(numbers.zip(COCO80.iter().map(|&name| name.to_owned())).collect())
    }
    /// The 1000 classes of ImageNet-1k (ILSVRC 2012), as torchvision names them.
    pub fn imagenet() -> Self {
        Self::from_list(IMAGENET.lines().map(str::to_owned))
    }
    /// The same after "background" as class 0, as TensorFlow's models have them.
    pub fn imagenet_with_background() -> Self {
        let background = std::iter::once("background").chain(IMAGENET.lines());
        Self::from_list(background.map(str::to_owned))
    }
    /// The class's name, or its number where it has none.
    pub fn name(&self, class_id: u32) -> Cow<'_, str> {
        match self.names.get(&class_id) {
            Some(name) if !name.is_empty() => Cow::Borrowed(name),
            _ => Cow::Owned(class_id.to_string()),
        }
    }
    /// How many classes have a name.
    pub fn len(&self) -> usize {
        self.names.len()
    }
    /// Whether no class has a name.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
    /// Numbers and names, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.names.iter().map(|(&id, name)| (id, name.as_str()))
    }

    /// The class that a user means by `text`: a name (capitals do not matter) or a number below `count`.
    pub(crate) fn class(&self, text: &str, count: Option<usize>) -> Result<u32, Error> {
        let wanted = text.trim();
        if let Some(id) = self.iter().find(|(_, name)| *name == wanted).map(|(id, _)| id) {
            return Ok(id);
        }
        if let Some(id) = self.iter().find(|(_, name)| name.eq_ignore_ascii_case(wanted)).map(|(id, _)| id) {
            return Ok(id);
        }
        let number = wanted.parse::<u32>().ok().filter(|&id| count.is_none_or(|count| (id as usize) < count));
        number.ok_or_else(|| Error::Class { given: text.to_owned(), hint: self.hint(wanted, count) })
    }

    fn hint(&self, wanted: &str, count: Option<usize>) -> String {
        let mut near: Vec<(usize, &str)> = self
            .iter()
            .map(|(_, name)| (distance(&wanted.to_lowercase(), &name.to_lowercase()), name))
            .collect();
        near.sort();
        near.retain(|&(edits, name)| {
            edits <= (name.len().max(wanted.len()) / 2).max(2) || name.contains(wanted)
        });
        let near: Vec<String> = near.iter().take(NEAR).map(|(_, name)| format!("'{name}'")).collect();
        let numbers = count.map_or_else(String::new, |count| format!(" or 0 to {}", count.saturating_sub(1)));
        match (near.is_empty(), self.is_empty()) {
            (false, _) => format!("did you mean {}?", near.join(", ")),
            (true, false) => format!("the model's classes are {}{numbers}", self.sample()),
            (true, true) => format!("the model names no classes: give numbers{numbers}"),
        }
    }

    fn sample(&self) -> String {
        const SHOWN: usize = 10;
        let mut names: Vec<&str> = self.iter().take(SHOWN).map(|(_, name)| name).collect();
        if self.len() > SHOWN {
            names.push("...");
        }
        names.join(", ")
    }
}

/// Edits (insert, delete, replace, by character) from one text to the other: Levenshtein's distance.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[rustfmt::skip]
const COCO80: [&str; 80] = [
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow",
    "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee",
    "skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard",
    "tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple",
    "sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch",
    "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear",
    "hair drier", "toothbrush",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_name_and_number() {
        let coco = Labels::coco80();
        assert_eq!(coco.class("person", Some(80)).unwrap(), 0);
        assert_eq!(coco.class("Traffic Light", Some(80)).unwrap(), 9);
        assert_eq!(coco.class("79", Some(80)).unwrap(), 79);
        assert_eq!(coco.name(79), "toothbrush");
        assert_eq!(coco.name(80), "80");
        assert!(coco.class("80", Some(80)).is_err());
        assert!(coco.class("-1", Some(80)).is_err());
    }

    #[test]
    fn cocos_own_numbers_have_gaps() {
        let coco = Labels::coco91();
        assert_eq!(coco.len(), 80);
        for (number, name) in
            [(1, "person"), (13, "stop sign"), (44, "bottle"), (62, "chair"), (90, "toothbrush")]
        {
            assert_eq!(coco.name(number), name);
        }
        assert_eq!(coco.name(12), "12");
    }

    #[test]
    fn unknown_classes_get_a_hint() {
        let coco = Labels::coco80();
        let hint = |text| coco.class(text, Some(80)).unwrap_err().to_string();
        assert!(hint("preson").contains("did you mean 'person'"), "{}", hint("preson"));
        assert!(hint("bike").contains('\''), "{}", hint("bike"));
        assert!(hint("").contains("unknown class ''"));
        assert!(Labels::default().class("person", Some(3)).unwrap_err().to_string().contains("0 to 2"));
    }

    #[test]
    fn a_number_that_is_a_name_means_the_name() {
        let digits = Labels::from_list(["7", "3"].map(str::to_owned));
        assert_eq!(digits.class("3", Some(2)).unwrap(), 1);
    }

    #[test]
    fn label_files_of_all_line_breaks_are_read() {
        let path = std::env::temp_dir().join(format!("vidmill-labels-{}.txt", std::process::id()));
        std::fs::write(&path, "\u{feff}cat\r\nhot dog \r\n\r\nbird\r\n\r\n").unwrap();
        let labels = Labels::from_file(&path).unwrap();
        assert_eq!(labels, Labels::from_list(["cat", "hot dog", "", "bird"].map(str::to_owned)));
        assert_eq!(labels.name(2), "2");
        std::fs::write(&path, "\n\n").unwrap();
        assert!(Labels::from_file(&path).unwrap_err().to_string().contains("empty"));
        std::fs::write(&path, b"\xff\xfe").unwrap();
        assert!(Labels::from_file(&path).unwrap_err().to_string().contains("UTF-8"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
    }
}
