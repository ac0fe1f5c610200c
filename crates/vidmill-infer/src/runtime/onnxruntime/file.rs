//! What can be read from an ONNX file without the runtime: its operators and the type of its weights.
//!
//! In: the file's bytes. Out: a [`Summary`], or none where the bytes are not ONNX's protobuf (the runtime then says what
//! is wrong with them, or knows another format). Field numbers are those of onnx.proto (github.com/onnx/onnx).

use std::collections::BTreeMap;

use crate::Element;

/// What the graph is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// How often each operator stands in the main graph.
    pub operators: BTreeMap<String, usize>,
    /// The type that most weights have.
    pub weights: Option<Element>,
    /// The first input or output that is not a tensor.
    pub not_a_tensor: Option<String>,
}

/// Reads the summary of a whole file.
pub(crate) fn summarise(bytes: &[u8]) -> Option<Summary> {
    let mut summary = Summary::default();
    let mut counts = BTreeMap::new();
    for field in Fields(bytes) {
        if let (7, Value::Bytes(graph)) = field? {
            read_graph(graph, &mut summary, &mut counts)?;
        }
    }
    summary.weights = counts.into_iter().max_by_key(|&(_, count)| count).map(|(element, _)| element);
    Some(summary)
}

fn read_graph(bytes: &[u8], summary: &mut Summary, counts: &mut BTreeMap<Element, u64>) -> Option<()> {
    for field in Fields(bytes) {
        match field? {
            (1, Value::Bytes(node)) => read_node(node, summary, counts)?,
            (5, Value::Bytes(tensor)) => count_weights(tensor, counts)?,
            (11 | 12, Value::Bytes(value)) if summary.not_a_tensor.is_none() && !is_tensor(value)? => {
                summary.not_a_tensor = Some(text_field(value, 1)?);
            }
            _ => {}
        }
    }
    Some(())
}

fn read_node(bytes: &[u8], summary: &mut Summary, counts: &mut BTreeMap<Element, u64>) -> Option<()> {
    let operator = text_field(bytes, 4)?;
    // Weights may also stand in Constant nodes: attribute (5) -> tensor (5).
    if operator == "Constant" {
        for field in Fields(bytes) {
            if let (5, Value::Bytes(attribute)) = field? {
                for field in Fields(attribute) {
                    if let (5, Value::Bytes(tensor)) = field? {
                        count_weights(tensor, counts)?;
                    }
                }
            }
        }
    }
    *summary.operators.entry(operator).or_default() += 1;
    Some(())
}

/// Adds a tensor's elements to those of its type; integers of shapes and indices do not count as weights.
fn count_weights(bytes: &[u8], counts: &mut BTreeMap<Element, u64>) -> Option<()> {
    let (mut elements, mut data_type) = (1u64, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Value::Number(dim)) => elements = elements.saturating_mul(dim),
            (1, Value::Bytes(packed)) => {
                let mut rest = packed;
                while !rest.is_empty() {
                    elements = elements.saturating_mul(varint(&mut rest)?);
                }
            }
            (2, Value::Number(number)) => data_type = number,
            _ => {}
        }
    }
    let element = match data_type {
        1 => Element::F32,
        2 => Element::U8,
        3 => Element::I8,
        10 => Element::F16,
        11 => Element::F64,
        16 => Element::Bf16,
        _ => return Some(()),
    };
    let count = counts.entry(element).or_default();
    *count = count.saturating_add(elements);
    Some(())
}

/// ValueInfoProto: type (2) -> tensor_type (1). A value without a type passes for a tensor.
fn is_tensor(value: &[u8]) -> Option<bool> {
    for field in Fields(value) {
        if let (2, Value::Bytes(kind)) = field? {
            for field in Fields(kind) {
                if let (4 | 5 | 7 | 8 | 9, Value::Bytes(_)) = field? {
                    return Some(false);
                }
            }
        }
    }
    Some(true)
}

fn text_field(bytes: &[u8], number: u64) -> Option<String> {
    let mut text = String::new();
    for field in Fields(bytes) {
        match field? {
            (found, Value::Bytes(value)) if found == number => {
                text = String::from_utf8_lossy(value).into_owned()
            }
            _ => {}
        }
    }
    Some(text)
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// The fields of a protobuf message; `None` in place of one that is malformed, and then no more.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Value<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<(u64, Value<'a>)> {
        let key = varint(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut self.0)?),
            1 => self.skip(8)?,
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).ok()?;
                Value::Bytes(self.0.split_off(..length)?)
            }
            5 => self.skip(4)?,
            _ => return None,
        };
        Some((key >> 3, value))
    }

    fn skip(&mut self, bytes: usize) -> Option<Value<'a>> {
        self.0.split_off(..bytes).map(|_| Value::Fixed)
    }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![(number << 3 | 2) as u8, bytes.len() as u8];
        out.extend(bytes);
        out
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
        let summary = summarise(&model()).unwrap();
        assert_eq!(summary.operators, BTreeMap::from([("Exp".to_owned(), 1)]));
        assert_eq!(summary.weights, Some(Element::F16));
        assert_eq!(summary.not_a_tensor.as_deref(), Some("list"));
    }

    #[test]
    fn cut_or_random_bytes_never_panic() {
        let whole = model();
        for length in 0..whole.len() {
            let _ = summarise(&whole[..length]);
        }
        assert!(summarise(&[0xff; 40]).is_none());
        assert!(summarise(b"not a model").is_none());
    }
}
