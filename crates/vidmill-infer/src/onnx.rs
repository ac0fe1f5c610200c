//! What can be read from an ONNX file without a runtime: what goes in and comes out, what it says of itself, its operators, the
//! type of its weights, and the other files that hold some of them.
//!
//! In: the file, of which only what is looked for is read; tensors are passed over, so that a file of any size takes a few
//! pages of memory. Out: a [`Summary`], or none where the file is not ONNX's protobuf (the runtime then says what is wrong with
//! it, or knows another format). Field numbers are those of onnx.proto (github.com/onnx/onnx).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use crate::{Dim, Element, TensorInfo};

/// What the graph is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How often each operator stands in the main graph.
    pub operators: BTreeMap<String, usize>,
    /// The type that most weights have.
    pub weights: Option<Element>,
    /// The first input or output that is not a tensor.
    pub not_a_tensor: Option<String>,
    /// Other files that hold tensors, as the model names them (relative to its own folder), and how many bytes each of them
    /// must have at least.
    pub external: BTreeMap<String, u64>,
    /// The program that wrote it.
    pub producer: String,
    /// Version of the default operator set.
    pub opset: Option<u32>,
    /// The model's metadata entries.
    pub metadata: BTreeMap<String, String>,
    /// Inputs that must be given: those that have no initializer.
    pub inputs: Vec<TensorInfo>,
    /// Outputs as the file declares them: without a shape, or with dimensions unnamed, where it leaves that to the runtime.
    pub outputs: Vec<Declared>,
}

/// A value of the graph, as far as the file tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    pub name: String,
    /// ONNX's number of its element type, 0 where it is not said.
    element: u64,
    pub shape: Option<Vec<Dim>>,
    is_tensor: bool,
}

impl Declared {
    /// Its name, type and shape; completed by `inferred`, which holds the sizes that a runtime has worked out.
    pub fn info(self, inferred: Option<&[Option<u64>]>) -> TensorInfo {
        let element = element(self.element);
        let unnamed = |size: &Option<u64>| size.map_or_else(|| Dim::Dynamic("?".to_owned()), Dim::Fixed);
        let shape = match (self.shape, inferred) {
            (Some(told), Some(inferred)) if told.len() == inferred.len() => {
                let both = told.into_iter().zip(inferred);
                both.map(|(told, found)| match (told, found) {
                    (Dim::Dynamic(_), Some(size)) => Dim::Fixed(*size),
                    (told, _) => told,
                })
                .collect()
            }
            (Some(told), _) => told,
            (None, Some(inferred)) => inferred.iter().map(unnamed).collect(),
            (None, None) => Vec::new(),
        };
        TensorInfo { name: self.name, element, shape }
    }
}

/// TensorProto.DataType.
fn element(number: u64) -> Element {
    match number {
        1 => Element::F32,
        2 => Element::U8,
        3 => Element::I8,
        4 => Element::U16,
        5 => Element::I16,
        6 => Element::I32,
        7 => Element::I64,
        8 => Element::String,
        9 => Element::Bool,
        10 => Element::F16,
        11 => Element::F64,
        12 => Element::U32,
        13 => Element::U64,
        16 => Element::Bf16,
        _ => Element::Other,
    }
}

/// Reads the summary of a whole file.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn summarise(file: impl Read + Seek) -> io::Result<Option<Summary>> {
    let mut walk = Walk::new(file)?;
    match walk.model() {
        Ok(()) => {}
        Err(Flaw::Malformed) => return Ok(None),
        Err(Flaw::Read(error)) => return Err(error),
    }
    let Walk { mut summary, counts, given, initialized, .. } = walk;
    summary.inputs =
        given.into_iter().filter(|input| !initialized.contains(&input.name)).map(|d| d.info(None)).collect();
    summary.weights = counts.into_iter().max_by_key(|&(_, count)| count).map(|(element, _)| element);
    Ok(Some(summary))
}

/// Why a walk ends early.
enum Flaw {
    Malformed,
    Read(io::Error),
}

type Step<T = ()> = Result<T, Flaw>;

/// A field's value: a number, or so many bytes that come next. Numbers of fixed width are passed over.
enum Value {
    Number(u64),
    Bytes(u64),
    Fixed,
}

/// A message that ends at this place of the file.
#[derive(Clone, Copy)]
struct End(u64);

struct Walk<R> {
    reader: BufReader<R>,
    at: u64,
    end: u64,
    /// How many graphs lie around what is read.
    depth: u32,
    summary: Summary,
    counts: BTreeMap<Element, u64>,
    /// Inputs of the main graph, and the names of its initializers.
    given: Vec<Declared>,
    initialized: BTreeSet<String>,
}

/// Graphs within graphs (branches and loops) go no deeper in any real model.
const DEEPEST: u32 = 32;

/// Names longer than this come from a broken file.
const LONGEST_TEXT: u64 = 1 << 16;

/// The same of metadata entries, which hold lists of labels and more.
const LONGEST_ENTRY: u64 = 1 << 26;

impl<R: Read + Seek> Walk<R> {
    fn new(mut file: R) -> io::Result<Self> {
        let end = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        Ok(Self {
            reader: BufReader::new(file),
            at: 0,
            end,
            depth: 0,
            summary: Summary::default(),
            counts: BTreeMap::new(),
            given: Vec::new(),
            initialized: BTreeSet::new(),
        })
    }

    /// ModelProto: producer (2), graph (7), operator sets (8), metadata (14), functions (25).
    fn model(&mut self) -> Step {
        let end = End(self.end);
        let mut metadata = BTreeMap::new();
        while let Some(field) = self.field(end)? {
            match field {
                (2, Value::Bytes(length)) => self.summary.producer = self.text(length)?,
                (8, Value::Bytes(length)) => self.within(length, Self::operator_set)?,
                (14, Value::Bytes(length)) => {
                    self.within(length, |walk, end| walk.entry(end, &mut metadata))?
                }
                (7, Value::Bytes(length)) => self.within(length, Self::graph)?,
                (25, Value::Bytes(length)) => self.within(length, Self::function)?,
                (_, value) => self.pass(&value)?,
            }
        }
        self.summary.metadata = metadata;
        Ok(())
    }

    /// OperatorSetIdProto: domain (1), version (2). The default domain has no name, or this one.
    fn operator_set(&mut self, end: End) -> Step {
        let (mut domain, mut version) = (String::new(), 0);
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Bytes(length)) => domain = self.text(length)?,
                (2, Value::Number(number)) => version = number,
                (_, value) => self.pass(&value)?,
            }
        }
        if domain.is_empty() || domain == "ai.onnx" {
            self.summary.opset = u32::try_from(version).ok();
        }
        Ok(())
    }

    /// FunctionProto: nodes (7). They are no part of the main graph.
    fn function(&mut self, end: End) -> Step {
        self.deeper(|walk| {
            while let Some(field) = walk.field(end)? {
                match field {
                    (7, Value::Bytes(length)) => walk.within(length, Self::node)?,
                    (_, value) => walk.pass(&value)?,
                }
            }
            Ok(())
        })
    }

    /// GraphProto: nodes (1), initializers (5) and sparse ones (15), inputs (11), outputs (12).
    fn graph(&mut self, end: End) -> Step {
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Bytes(length)) => self.within(length, Self::node)?,
                (5, Value::Bytes(length)) => {
                    let name = self.within(length, Self::tensor)?;
                    self.initializer(name);
                }
                (15, Value::Bytes(length)) => {
                    let name = self.within(length, Self::sparse_tensor)?;
                    self.initializer(name);
                }
                (11, Value::Bytes(length)) if self.depth == 0 => {
                    let input = self.value_info(length)?;
                    self.given.push(input);
                }
                (12, Value::Bytes(length)) if self.depth == 0 => {
                    let output = self.value_info(length)?;
                    self.summary.outputs.push(output);
                }
                (_, value) => self.pass(&value)?,
            }
        }
        Ok(())
    }

    /// NodeProto: operator (4), attributes (5).
    fn node(&mut self, end: End) -> Step {
        let mut operator = String::new();
        while let Some(field) = self.field(end)? {
            match field {
                (4, Value::Bytes(length)) => operator = self.text(length)?,
                (5, Value::Bytes(length)) => self.within(length, Self::attribute)?,
                (_, value) => self.pass(&value)?,
            }
        }
        if self.depth == 0 {
            *self.summary.operators.entry(operator).or_default() += 1;
        }
        Ok(())
    }

    /// AttributeProto: a tensor (5), a graph (6), tensors (10), graphs (11), sparse tensors (22, 23). Weights also stand in
    /// Constant nodes.
    fn attribute(&mut self, end: End) -> Step {
        while let Some(field) = self.field(end)? {
            match field {
                (5 | 10, Value::Bytes(length)) => drop(self.within(length, Self::tensor)?),
                (6 | 11, Value::Bytes(length)) => {
                    self.deeper(|walk| walk.within(length, Self::graph))?;
                }
                (22 | 23, Value::Bytes(length)) => drop(self.within(length, Self::sparse_tensor)?),
                (_, value) => self.pass(&value)?,
            }
        }
        Ok(())
    }

    fn initializer(&mut self, name: String) {
        if self.depth == 0 {
            self.initialized.insert(name);
        }
    }

    /// SparseTensorProto: values (1), whose name is that of the whole, and indices (2).
    fn sparse_tensor(&mut self, end: End) -> Step<String> {
        let mut name = String::new();
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Bytes(length)) => name = self.within(length, Self::tensor)?,
                (2, Value::Bytes(length)) => drop(self.within(length, Self::tensor)?),
                (_, value) => self.pass(&value)?,
            }
        }
        Ok(name)
    }

    /// TensorProto: dims (1), data type (2), name (8), entries on external data (13), where the data lies (14). Its elements count for
    /// their type; integers of shapes and indices do not count as weights.
    fn tensor(&mut self, end: End) -> Step<String> {
        let mut name = String::new();
        let (mut elements, mut data_type, mut is_external) = (1u64, 0, false);
        let mut entries = BTreeMap::new();
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Number(dim)) => elements = elements.saturating_mul(dim),
                (1, Value::Bytes(length)) => {
                    let end = self.end_of(length)?;
                    while self.at < end.0 {
                        elements = elements.saturating_mul(self.varint(end)?);
                    }
                }
                (2, Value::Number(number)) => data_type = number,
                (8, Value::Bytes(length)) => name = self.text(length)?,
                (13, Value::Bytes(length)) => {
                    self.within(length, |walk, end| walk.entry(end, &mut entries))?
                }
                (14, Value::Number(place)) => is_external = place == 1,
                (_, value) => self.pass(&value)?,
            }
        }
        let (element, bits) = match data_type {
            1 => (Some(Element::F32), 32),
            2 => (Some(Element::U8), 8),
            3 => (Some(Element::I8), 8),
            10 => (Some(Element::F16), 16),
            11 => (Some(Element::F64), 64),
            16 => (Some(Element::Bf16), 16),
            6 | 12 => (None, 32),
            7 | 13 | 14 => (None, 64),
            4 | 5 => (None, 16),
            9 => (None, 8),
            _ => (None, 0),
        };
        if let Some(element) = element {
            let count = self.counts.entry(element).or_default();
            *count = count.saturating_add(elements);
        }
        if is_external {
            self.external(&entries, elements.saturating_mul(bits) / 8)?;
        }
        Ok(name)
    }

    /// StringStringEntryProto: key (1), value (2).
    fn entry(&mut self, end: End, entries: &mut BTreeMap<String, String>) -> Step {
        let (mut key, mut text) = (String::new(), String::new());
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Bytes(length)) => key = self.text(length)?,
                (2, Value::Bytes(length)) => text = self.text_within(length, LONGEST_ENTRY)?,
                (_, value) => self.pass(&value)?,
            }
        }
        entries.insert(key, text);
        Ok(())
    }

    /// Notes where a tensor of `bytes` bytes lies.
    fn external(&mut self, entries: &BTreeMap<String, String>, bytes: u64) -> Step {
        let number = |key: &str, usual: u64| match entries.get(key) {
            Some(text) => text.trim().parse::<u64>().map_err(|_| Flaw::Malformed),
            None => Ok(usual),
        };
        let location = entries.get("location").ok_or(Flaw::Malformed)?;
        let needed = number("offset", 0)?.saturating_add(number("length", bytes)?);
        let known = self.summary.external.entry(location.clone()).or_default();
        *known = needed.max(*known);
        Ok(())
    }

    /// ValueInfoProto: name (1), type (2), of which a field other than `tensor_type` (1) tells what is no tensor. A value without
    /// a type passes for a tensor.
    fn value_info(&mut self, length: u64) -> Step<Declared> {
        let end = self.end_of(length)?;
        let mut value = Declared { name: String::new(), element: 0, shape: None, is_tensor: true };
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Bytes(length)) => value.name = self.text(length)?,
                (2, Value::Bytes(length)) => {
                    self.within(length, |walk, end| walk.value_type(end, &mut value))?
                }
                (_, value) => self.pass(&value)?,
            }
        }
        if !value.is_tensor && self.summary.not_a_tensor.is_none() {
            self.summary.not_a_tensor = Some(value.name.clone());
        }
        Ok(value)
    }

    /// TypeProto: a tensor (1), or something else.
    fn value_type(&mut self, end: End, into: &mut Declared) -> Step {
        while let Some((number, value)) = self.field(end)? {
            match (number, &value) {
                (1, Value::Bytes(length)) => {
                    self.within(*length, |walk, end| walk.tensor_type(end, into))?;
                    continue;
                }
                (4 | 5 | 7 | 8 | 9, Value::Bytes(_)) => into.is_tensor = false,
                _ => {}
            }
            self.pass(&value)?;
        }
        Ok(())
    }

    /// TypeProto.Tensor: element type (1), shape (2).
    fn tensor_type(&mut self, end: End, into: &mut Declared) -> Step {
        while let Some(field) = self.field(end)? {
            match field {
                (1, Value::Number(number)) => into.element = number,
                (2, Value::Bytes(length)) => {
                    let shape = into.shape.get_or_insert_default();
                    self.within(length, |walk, end| walk.shape(end, shape))?;
                }
                (_, value) => self.pass(&value)?,
            }
        }
        Ok(())
    }

    /// TensorShapeProto: dimensions (1), each of a size (1) or with a name (2).
    fn shape(&mut self, end: End, into: &mut Vec<Dim>) -> Step {
        while let Some(field) = self.field(end)? {
            let (1, Value::Bytes(length)) = field else {
                self.pass(&field.1)?;
                continue;
            };
            let end = self.end_of(length)?;
            let mut dim = Dim::Dynamic("?".to_owned());
            while let Some(field) = self.field(end)? {
                match field {
                    // A negative size stands for any.
                    (1, Value::Number(size)) if i64::try_from(size).is_ok() => dim = Dim::Fixed(size),
                    (2, Value::Bytes(length)) => {
                        let name = self.text(length)?;
                        dim = Dim::Dynamic(if name.is_empty() { "?".to_owned() } else { name });
                    }
                    (_, value) => self.pass(&value)?,
                }
            }
            into.push(dim);
        }
        Ok(())
    }

    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Step) -> Step {
        if self.depth == DEEPEST {
            return Err(Flaw::Malformed);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    /// Reads a message of `length` bytes to its end.
    fn within<T>(&mut self, length: u64, read: impl FnOnce(&mut Self, End) -> Step<T>) -> Step<T> {
        let end = self.end_of(length)?;
        read(self, end)
    }

    /// Where what begins here ends. Within another message it must end with it, which [`Walk::field`] sees to.
    fn end_of(&self, length: u64) -> Step<End> {
        self.at.checked_add(length).filter(|end| *end <= self.end).map(End).ok_or(Flaw::Malformed)
    }

    /// The next field of a message; none at its end.
    fn field(&mut self, end: End) -> Step<Option<(u64, Value)>> {
        if self.at == end.0 {
            return Ok(None);
        }
        let key = self.varint(end)?;
        let value = match key & 7 {
            0 => Value::Number(self.varint(end)?),
            1 => self.skip(8).map(|()| Value::Fixed)?,
            2 => Value::Bytes(self.varint(end)?),
            5 => self.skip(4).map(|()| Value::Fixed)?,
            _ => return Err(Flaw::Malformed),
        };
        let follows = if let Value::Bytes(length) = value { length } else { 0 };
        match self.at.checked_add(follows) {
            Some(next) if next <= end.0 => Ok(Some((key >> 3, value))),
            _ => Err(Flaw::Malformed),
        }
    }

    /// Passes over a value that nobody asks for.
    fn pass(&mut self, value: &Value) -> Step {
        match value {
            Value::Bytes(length) => self.skip(*length),
            Value::Number(_) | Value::Fixed => Ok(()),
        }
    }

    fn skip(&mut self, bytes: u64) -> Step {
        let end = self.end_of(bytes)?;
        let distance = i64::try_from(bytes).map_err(|_| Flaw::Malformed)?;
        self.reader.seek_relative(distance).map_err(Flaw::Read)?;
        self.at = end.0;
        Ok(())
    }

    fn text(&mut self, length: u64) -> Step<String> {
        self.text_within(length, LONGEST_TEXT)
    }

    fn text_within(&mut self, length: u64, longest: u64) -> Step<String> {
        let end = self.end_of(length)?;
        if length > longest {
            return Err(Flaw::Malformed);
        }
        let mut bytes = Vec::new();
        self.reader.by_ref().take(length).read_to_end(&mut bytes).map_err(Flaw::Read)?;
        self.at = end.0;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn varint(&mut self, end: End) -> Step<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            if self.at == end.0 {
                break;
            }
            let &[byte, ..] = self.reader.fill_buf().map_err(Flaw::Read)? else { break };
            self.reader.consume(1);
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Flaw::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![];
        for mut value in [number << 3 | 2, bytes.len() as u64] {
            while value >= 0x80 {
                out.push(value as u8 | 0x80);
                value >>= 7;
            }
            out.push(value as u8);
        }
        out.extend(bytes);
        out
    }

    fn summary_of(bytes: &[u8]) -> Option<Summary> {
        summarise(Cursor::new(bytes)).unwrap()
    }

    fn entry(key: &str, value: &str) -> Vec<u8> {
        field(13, &[field(1, key.as_bytes()), field(2, value.as_bytes())].concat())
    }

    /// An f32 tensor of six elements whose data lies elsewhere.
    fn external(entries: &[(&str, &str)]) -> Vec<u8> {
        let head = vec![1 << 3, 3, 1 << 3, 2, 2 << 3, 1, 14 << 3, 1];
        let entries = entries.iter().flat_map(|(key, value)| entry(key, value));
        head.into_iter().chain(entries).collect()
    }

    fn model() -> Vec<u8> {
        let exp = field(1, &field(4, b"Exp"));
        let weights = field(5, &[vec![1 << 3, 3, 2 << 3, 1], vec![2 << 3, 1]].concat());
        let half = field(5, &[1 << 3, 7, 2 << 3, 10]);
        let sequence = field(12, &[field(1, b"list"), field(2, &field(4, &[]))].concat());
        field(7, &[exp, weights, half, sequence].concat())
    }

    #[test]
    fn operators_weights_and_sequences_are_seen() {
        let summary = summary_of(&model()).unwrap();
        assert_eq!(summary.operators, BTreeMap::from([("Exp".to_owned(), 1)]));
        assert_eq!(summary.weights, Some(Element::F16));
        assert_eq!(summary.not_a_tensor.as_deref(), Some("list"));
        assert!(summary.external.is_empty());
    }

    /// A value of this element type and these dimensions: a size, or a name.
    fn value(name: &str, element: u8, dims: &[Result<u8, &str>]) -> Vec<u8> {
        let dim = |dim: &Result<u8, &str>| match dim {
            Ok(size) => field(1, &[1 << 3, *size]),
            Err(name) => field(1, &field(2, name.as_bytes())),
        };
        let shape = field(2, &dims.iter().flat_map(dim).collect::<Vec<u8>>());
        let tensor = field(1, &[vec![1 << 3, element], shape].concat());
        [field(1, name.as_bytes()), field(2, &tensor)].concat()
    }

    #[test]
    fn what_goes_in_and_comes_out_is_read() {
        let graph = [
            field(11, &value("images", 1, &[Err("batch"), Ok(3), Err(""), Ok(4)])),
            field(11, &value("w", 1, &[Ok(7)])),
            field(5, &[field(8, b"w"), vec![1 << 3, 7, 2 << 3, 1]].concat()),
            field(12, &value("boxes", 7, &[Err("batch"), Err("n")])),
            field(12, &field(1, b"untold")),
        ];
        let opset =
            |domain: &[u8], version: u8| field(8, &[field(1, domain), vec![2 << 3, version]].concat());
        let entry = field(14, &[field(1, b"names"), field(2, "ü".as_bytes())].concat());
        let model =
            [field(2, b"maker"), field(7, &graph.concat()), opset(b"com.x", 3), opset(b"", 17), entry];
        let summary = summary_of(&model.concat()).unwrap();
        assert_eq!((summary.producer.as_str(), summary.opset), ("maker", Some(17)));
        assert_eq!(summary.metadata["names"], "ü");
        let inputs: Vec<String> = summary.inputs.iter().map(TensorInfo::to_string).collect();
        assert_eq!(inputs, ["'images' f32 [batch, 3, ?, 4]"]);
        let [boxes, untold] = summary.outputs.try_into().unwrap();
        assert_eq!(boxes.clone().info(None).to_string(), "'boxes' i64 [batch, n]");
        assert_eq!(boxes.info(Some(&[None, Some(4)])).to_string(), "'boxes' i64 [batch, 4]");
        assert_eq!(untold.clone().info(None).to_string(), "'untold' other []");
        assert_eq!(untold.info(Some(&[None, Some(2)])).to_string(), "'untold' other [?, 2]");
    }

    #[test]
    fn external_data_is_found_wherever_it_is_named() {
        let initializers = [
            field(5, &external(&[("location", "w.data")])),
            field(5, &external(&[("location", "w.data"), ("offset", "4096"), ("length", "24")])),
        ];
        let constant = field(5, &field(5, &external(&[("location", "constant"), ("offset", "8")])));
        let node = field(1, &[field(4, b"Constant"), constant].concat());
        let branch = field(6, &[field(5, &external(&[("location", "branch")])), node.clone()].concat());
        let branching = field(1, &[field(4, b"If"), field(5, &branch)].concat());
        let graph = [initializers.concat(), node, branching].concat();
        let summary = summary_of(&field(7, &graph)).unwrap();
        let expected = [("branch", 24), ("constant", 32), ("w.data", 4120)];
        assert_eq!(summary.external, expected.map(|(name, bytes)| (name.to_owned(), bytes)).into());
        assert_eq!(summary.operators, [("Constant".to_owned(), 1), ("If".to_owned(), 1)].into());
    }

    #[test]
    fn a_tensor_is_passed_over_without_being_read() {
        /// Fails when more than a few pages are read.
        struct Frugal(Cursor<Vec<u8>>, usize);
        impl Read for Frugal {
            fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
                let read = self.0.read(into)?;
                self.1 += read;
                assert!(self.1 < 64 << 10, "the weights were read");
                Ok(read)
            }
        }
        impl Seek for Frugal {
            fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
                self.0.seek(to)
            }
        }
        let weights = field(5, &[vec![1 << 3, 3, 2 << 3, 1], field(9, &vec![0; 8 << 20])].concat());
        let node = field(1, &field(4, b"Conv"));
        let file = Frugal(Cursor::new(field(7, &[weights.clone(), weights, node].concat())), 0);
        assert_eq!(summarise(file).unwrap().unwrap().operators["Conv"], 1);
    }

    #[test]
    fn cut_or_random_bytes_never_panic() {
        let whole = model();
        for length in 0..whole.len() {
            let _ = summary_of(&whole[..length]);
        }
        assert!(summary_of(&[0xff; 40]).is_none());
        assert!(summary_of(b"not a model").is_none());
        let deep = (0..100).fold(Vec::new(), |inner, _| field(1, &field(5, &field(6, &inner))));
        assert!(summary_of(&field(7, &deep)).is_none());
    }
}
