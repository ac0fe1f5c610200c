//! Which packets of H.264 and HEVC streams no other picture needs.
//!
//! H.264: pictures whose slices all have `nal_ref_idc` 0 (ITU-T H.264, 7.4.1). HEVC: sub-layer non-reference pictures
//! (ITU-T H.265, table 7-1) of the highest temporal sub-layer, which no picture refers to. Leaving such a packet out
//! changes nothing for the others: both standards derive picture order and reference sets from reference pictures only.
//!
//! And which begin anew, so that what lies before them can be left out as a whole ([`Inspector::is_certain`]).

use super::parameters::Parameters;

/// What a packet is to the pictures around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One whole picture that nothing refers to.
    Disposable,
    /// An instantaneous refresh: nothing after it refers to anything before it.
    Refresh,
    /// A random access point of HEVC that is no refresh: nothing that is shown after it refers to anything before it, nor to
    /// what comes after it and is shown before it (ITU-T H.265, 3: trailing picture, and 8.3.2). Of the kind that is always
    /// shown with all that comes with it (CRA).
    Entry,
    /// One whole picture that others may refer to.
    Reference,
    /// Anything else, also what is not understood.
    Unclear,
}

impl Role {
    /// Whether a decoder may begin here.
    pub fn begins(self) -> bool {
        matches!(self, Self::Refresh | Self::Entry)
    }
}

/// Reads packets of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Inspector {
    codec: Codec,
    framing: Framing,
    parameters: Parameters,
    /// Every packet so far was one whole picture.
    clear: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Codec {
    H264,
    /// The highest temporal sub-layer of any parameter set seen, once one was seen.
    Hevc {
        highest: Option<u8>,
    },
}

/// How NAL units are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// Each is preceded by its length in so many bytes.
    Length(usize),
    /// Each is preceded by 0, 0, 1.
    StartCode,
}

impl Inspector {
    /// For a codec by FFmpeg's name and its extradata; `None` for codecs without such pictures.
    pub fn new(codec: &str, extradata: &[u8]) -> Option<Self> {
        let configuration = extradata.first() == Some(&1);
        match codec {
            "h264" => {
                let length = extradata.get(4).map(|byte| usize::from(byte & 3) + 1);
                let framing = framing(configuration, length);
                let parameters =
                    Parameters::of_h264(&h264_parameters(extradata, framing).unwrap_or_default());
                Some(Self { codec: Codec::H264, framing, parameters, clear: true })
            }
            "hevc" => {
                let length = extradata.get(21).map(|byte| usize::from(byte & 3) + 1);
                let framing = framing(configuration, length);
                let sets = hevc_parameters(extradata, framing).unwrap_or_default();
                let parameters = Parameters::of_hevc(&sets);
                let codec = Codec::Hevc { highest: None };
                let mut inspector = Self { codec, framing, parameters, clear: true };
                sets.iter().for_each(|unit| inspector.note_sub_layers(unit));
                Some(inspector)
            }
            _ => None,
        }
    }

    pub fn role(&mut self, packet: &[u8]) -> Role {
        let units = Units::of(packet, self.framing);
        let is_whole = units.clone().next().is_some() && units.clone().all(|unit| unit.is_some());
        let role = if is_whole { self.role_of(units.flatten()) } else { Role::Unclear };
        self.clear &= role != Role::Unclear;
        role
    }

    /// Whether all packets so far were one whole frame each, of the kind that gives a frame whatever was before, and all parameter
    /// sets are those that the stream began with: then decoding may begin at any picture that [`Role::begins`].
    pub fn is_certain(&self) -> bool {
        self.clear && self.parameters.are_certain()
    }

    fn role_of<'a>(&mut self, units: impl Iterator<Item = &'a [u8]> + Clone) -> Role {
        match self.codec {
            Codec::H264 => {
                for unit in units.clone().filter(|unit| h264_is_parameters(unit)) {
                    self.parameters.meet(unit);
                }
                h264_role(units)
            }
            Codec::Hevc { .. } => {
                for unit in units.clone().filter(|unit| hevc_is_parameters(unit)) {
                    self.parameters.meet(unit);
                    self.note_sub_layers(unit);
                }
                let Codec::Hevc { highest } = self.codec else { return Role::Unclear };
                hevc_role(units, highest)
            }
        }
    }

    fn note_sub_layers(&mut self, unit: &[u8]) {
        const SPS: u8 = 33;
        let Codec::Hevc { highest } = &mut self.codec else { return };
        if let [first, _, third, ..] = unit
            && (first >> 1) & 0x3f == SPS
        {
            let sub_layer = (third >> 1) & 7;
            *highest = Some(highest.map_or(sub_layer, |seen| seen.max(sub_layer)));
        }
    }
}

/// Sequence, picture and sequence extension parameter sets, and those of subsets.
fn h264_is_parameters(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| matches!(header & 0x1f, 7 | 8 | 13 | 15))
}

/// Video, sequence and picture parameter sets.
fn hevc_is_parameters(unit: &[u8]) -> bool {
    unit.first().is_some_and(|header| matches!((header >> 1) & 0x3f, 32..=34))
}

/// The parameter sets in H.264's extradata (ISO/IEC 14496-15, 5.3.3.1.2, or bare NAL units).
fn h264_parameters(extradata: &[u8], framing: Framing) -> Option<Vec<&[u8]>> {
    if framing == Framing::StartCode {
        return Units::of(extradata, framing).collect();
    }
    let (&sequences, mut rest) = extradata.get(5..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..sequences & 31 {
        sets.push(counted(&mut rest)?);
    }
    let (&pictures, mut rest) = rest.split_first()?;
    for _ in 0..pictures {
        sets.push(counted(&mut rest)?);
    }
    Some(sets)
}

/// The parameter sets in HEVC's extradata (ISO/IEC 14496-15, 8.3.3.1.2, or bare NAL units).
fn hevc_parameters(extradata: &[u8], framing: Framing) -> Option<Vec<&[u8]>> {
    if framing == Framing::StartCode {
        return Units::of(extradata, framing).collect();
    }
    let (&arrays, mut rest) = extradata.get(22..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..arrays {
        let (&[_, high, low], tail) = rest.split_first_chunk()?;
        rest = tail;
        for _ in 0..u16::from_be_bytes([high, low]) {
            sets.push(counted(&mut rest)?);
        }
    }
    Some(sets)
}

/// Takes a unit with its length in two bytes off the front.
fn counted<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (&length, tail) = rest.split_first_chunk()?;
    let (unit, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(length)))?;
    *rest = tail;
    Some(unit)
}

fn framing(configuration: bool, length: Option<usize>) -> Framing {
    match length {
        Some(length) if configuration => Framing::Length(length),
        _ => Framing::StartCode,
    }
}

/// The NAL units of a packet; where lengths do not add up, the last is `None`.
#[derive(Clone)]
enum Units<'a> {
    /// The size of a length, and what is left.
    Length(usize, &'a [u8]),
    /// What comes after a start code.
    StartCode(Option<&'a [u8]>),
}

impl<'a> Units<'a> {
    fn of(packet: &'a [u8], framing: Framing) -> Self {
        match framing {
            Framing::Length(size) => Self::Length(size, packet),
            Framing::StartCode => Self::StartCode(split_at_start_code(packet).1),
        }
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Length(_, []) => None,
            Self::Length(size, rest) => {
                let unit = split_by_length(rest, *size);
                *rest = unit.map_or(&[], |(_, tail)| tail);
                Some(unit.map(|(unit, _)| unit))
            }
            Self::StartCode(rest) => {
                let (unit, tail) = split_at_start_code((*rest)?);
                *rest = tail;
                Some(Some(unit))
            }
        }
    }
}

/// A unit and what comes after it.
fn split_by_length(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (length, tail) = bytes.split_at_checked(size)?;
    let length = length.iter().fold(0_usize, |sum, &byte| sum << 8 | usize::from(byte));
    tail.split_at_checked(length)
}

/// What is before the first start code, and what comes after it, where there is one.
fn split_at_start_code(bytes: &[u8]) -> (&[u8], Option<&[u8]>) {
    match bytes.windows(3).position(|code| *code == [0, 0, 1]) {
        Some(at) => (&bytes[..at], Some(&bytes[at + 3..])),
        None => (bytes, None),
    }
}

fn h264_role<'a>(units: impl Iterator<Item = &'a [u8]>) -> Role {
    let (mut pictures, mut referenced, mut refresh) = (0, false, false);
    for unit in units {
        let Some((&header, body)) = unit.split_first() else { return Role::Unclear };
        match header & 0x1f {
            kind @ (1 | 5) => {
                referenced |= header & 0x60 != 0;
                refresh |= kind == 5;
                // first_mb_in_slice is 0 if its Exp-Golomb code is a single 1.
                pictures += u32::from(body.first().is_some_and(|byte| byte & 0x80 != 0));
            }
            // SEI, delimiter, filler.
            6 | 9 | 12 => {}
            // Parameter sets.
            7 | 8 if refresh || pictures == 0 => referenced = true,
            _ => return Role::Unclear,
        }
    }
    role(pictures, referenced, refresh)
}

fn hevc_role<'a>(units: impl Iterator<Item = &'a [u8]>, highest: Option<u8>) -> Role {
    let (mut pictures, mut referenced, mut refresh, mut entry) = (0, false, false, false);
    for unit in units {
        let [first, second, third, ..] = *unit else { return Role::Unclear };
        let (kind, layer, sub_layer) = ((first >> 1) & 0x3f, (first & 1) << 5 | second >> 3, second & 7);
        if layer != 0 || sub_layer == 0 {
            return Role::Unclear;
        }
        match kind {
            0..=31 => {
                let disposable = kind < 16 && kind % 2 == 0 && Some(sub_layer - 1) == highest;
                referenced |= !disposable;
                // IDR_W_RADL and IDR_N_LP.
                refresh |= matches!(kind, 19 | 20);
                entry |= kind == 21;
                // BLA: what comes with it and is shown before it may give no frame; and reserved.
                if matches!(kind, 16..=18 | 22..) {
                    return Role::Unclear;
                }
                // first_slice_segment_in_pic_flag
                pictures += u32::from(third & 0x80 != 0);
            }
            // Parameter sets.
            32..=34 => referenced = true,
            // Delimiter, filler, SEI.
            35 | 38..=40 => {}
            _ => return Role::Unclear,
        }
    }
    match role(pictures, referenced, refresh) {
        Role::Reference if entry => Role::Entry,
        role => role,
    }
}

fn role(pictures: u32, referenced: bool, refresh: bool) -> Role {
    match (pictures, referenced, refresh) {
        (1, _, true) => Role::Refresh,
        (1, false, false) => Role::Disposable,
        (1, true, false) => Role::Reference,
        _ => Role::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_length(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes(), *unit].concat()).collect()
    }

    fn h264() -> Inspector {
        Inspector::new("h264", &[1, 100, 0, 31, 0xff]).unwrap()
    }

    #[test]
    fn h264_pictures_by_their_reference_idc() {
        let role = |units: &[&[u8]]| h264().role(&by_length(units));
        assert_eq!(role(&[&[0x01, 0x80]]), Role::Disposable);
        assert_eq!(role(&[&[0x06, 5], &[0x01, 0x80], &[0x01, 0x40]]), Role::Disposable, "two slices");
        assert_eq!(role(&[&[0x41, 0x80]]), Role::Reference);
        assert_eq!(role(&[&[0x01, 0x80], &[0x41, 0x40]]), Role::Reference, "one slice is referenced");
        assert_eq!(role(&[&[0x01, 0x80], &[0x01, 0x80]]), Role::Unclear, "two pictures or fields");
        assert_eq!(role(&[&[0x67, 1, 2], &[0x68, 1], &[0x65, 0x80]]), Role::Refresh);
        assert_eq!(role(&[&[0x06, 5]]), Role::Unclear, "no picture at all");
        assert_eq!(role(&[&[0x14, 0x80]]), Role::Unclear, "extensions are not understood");
    }

    #[test]
    fn broken_packets_are_unclear() {
        for packet in [&[][..], &[0], &[0, 0, 0, 9, 1], &[0, 0, 0, 0], &[255; 7]] {
            assert_eq!(h264().role(packet), Role::Unclear, "{packet:?}");
        }
    }

    #[test]
    fn start_codes_separate_too() {
        let mut inspector = Inspector::new("h264", &[0, 0, 0, 1, 0x67]).unwrap();
        assert_eq!(inspector.role(&[0, 0, 0, 1, 0x09, 0x10, 0, 0, 1, 0x01, 0x80, 7]), Role::Disposable);
        assert_eq!(inspector.role(&[0, 0, 0, 1, 0x41, 0x80, 7]), Role::Reference);
        assert_eq!(inspector.role(&[0, 0, 1]), Role::Unclear);
    }

    #[test]
    fn hevc_pictures_by_type_and_sub_layer() {
        let sps = [33 << 1, 1, 0x01];
        let extradata = [&[0, 0, 0, 1][..], &sps].concat();
        let mut inspector = Inspector::new("hevc", &extradata).unwrap();
        let packet = |kind: u8, sub_layer: u8| [0, 0, 1, kind << 1, sub_layer + 1, 0x80];
        assert_eq!(inspector.role(&packet(0, 0)), Role::Disposable);
        assert_eq!(inspector.role(&packet(8, 0)), Role::Disposable);
        assert_eq!(inspector.role(&packet(1, 0)), Role::Reference);
        assert_eq!(inspector.role(&packet(19, 0)), Role::Refresh);
        assert_eq!(inspector.role(&packet(21, 0)), Role::Entry, "a clean random access is no refresh");
        assert_eq!(inspector.role(&packet(16, 0)), Role::Unclear, "what is shown before it may be missing");
        assert_eq!(inspector.role(&packet(22, 0)), Role::Unclear, "reserved");
        // A parameter set that allows a higher sub-layer, whose pictures may refer to the lower one's.
        inspector.role(&[0, 0, 1, 33 << 1, 1, 0x03]);
        assert_eq!(inspector.role(&packet(0, 0)), Role::Reference);
        assert_eq!(inspector.role(&packet(0, 1)), Role::Disposable);
    }

    #[test]
    fn hevc_without_parameters_drops_nothing() {
        let mut inspector = Inspector::new("hevc", &[]).unwrap();
        assert_eq!(inspector.role(&[0, 0, 1, 0, 1, 0x80]), Role::Reference);
        assert!(Inspector::new("vp9", &[]).is_none());
    }
}
