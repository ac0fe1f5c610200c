//! Whether a stream's parameter sets leave no doubt: they do not change on the way, and each packet gives one frame.

/// Parameter sets as the stream began with them, and whether others were met.
#[derive(Clone, Debug)]
pub(super) struct Parameters {
    known: Vec<Vec<u8>>,
    certain: bool,
}

/// The NAL unit's payload type for which there is a reader here.
const H264_SPS: u8 = 7;
const HEVC_PPS: u8 = 34;

impl Parameters {
    pub fn of_h264(units: &[&[u8]]) -> Self {
        let mut sequences =
            units.iter().filter(|unit| unit.first().is_some_and(|h| h & 0x1f == H264_SPS)).peekable();
        let certain = sequences.peek().is_some() && sequences.all(|unit| h264_is_plain(unit) == Some(true));
        Self::new(units, certain)
    }

    pub fn of_hevc(units: &[&[u8]]) -> Self {
        let kind = |unit: &&[u8]| unit.first().map(|header| (header >> 1) & 0x3f);
        let mut pictures = units.iter().filter(|unit| kind(unit) == Some(HEVC_PPS)).peekable();
        let certain = pictures.peek().is_some() && pictures.all(|unit| hevc_shows_all(unit) == Some(true));
        Self::new(units, certain)
    }

    fn new(units: &[&[u8]], certain: bool) -> Self {
        Self { known: units.iter().map(|unit| trimmed(unit).to_vec()).collect(), certain }
    }

    /// A parameter set among the packets: another than those at the beginning would be missed by whoever begins later.
    pub fn meet(&mut self, unit: &[u8]) {
        self.certain &= self.known.iter().any(|known| known == trimmed(unit));
    }

    pub fn are_certain(&self) -> bool {
        self.certain
    }
}

/// Without the zeros that may stand before the next start code.
fn trimmed(unit: &[u8]) -> &[u8] {
    let end = unit.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &unit[..end]
}

/// Whether a sequence parameter set of H.264 (ITU-T H.264, 7.3.2.1.1) allows frames only, no fields. High 4:4:4 Predictive is left out:
/// FFmpeg decodes it by a note that the encoder left in the stream's first packet.
fn h264_is_plain(unit: &[u8]) -> Option<bool> {
    const HIGH_444: u32 = 244;
    let mut bits = Bits::new(unit);
    bits.read(8)?;
    let profile = bits.read(8)?;
    bits.read(16)?;
    bits.golomb()?;
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        let chroma = bits.golomb()?;
        if chroma == 3 {
            bits.read(1)?;
        }
        bits.golomb()?;
        bits.golomb()?;
        bits.read(1)?;
        if bits.read(1)? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.read(1)? == 1 {
                    bits.pass_scaling_list(if list < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb()?;
    match bits.golomb()? {
        0 => {
            bits.golomb()?;
        }
        1 => {
            bits.read(1)?;
            bits.golomb()?;
            bits.golomb()?;
            for _ in 0..bits.golomb()? {
                bits.golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb()?;
    bits.read(1)?;
    bits.golomb()?;
    bits.golomb()?;
    Some(bits.read(1)? == 1 && profile != HIGH_444)
}

/// Whether pictures of HEVC with this picture parameter set are all shown: `output_flag_present_flag` is 0 (ITU-T H.265, 7.3.2.3.1).
fn hevc_shows_all(unit: &[u8]) -> Option<bool> {
    let mut bits = Bits::new(unit);
    bits.read(16)?;
    bits.golomb()?;
    bits.golomb()?;
    bits.read(1)?;
    Some(bits.read(1)? == 0)
}

/// Reads a NAL unit bit by bit.
struct Bits {
    bytes: Vec<u8>,
    at: usize,
}

impl Bits {
    fn new(unit: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(unit.len());
        for &byte in unit {
            // A 3 after two zeros is there only to tell them from a start code.
            if !(byte == 3 && bytes.ends_with(&[0, 0])) {
                bytes.push(byte);
            }
        }
        Self { bytes, at: 0 }
    }

    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// An Exp-Golomb code, unsigned; a signed one takes as many bits.
    fn golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.read(1)? == 0 {
            zeros += 1;
        }
        (zeros < 32).then_some(())?;
        Some((1_u32 << zeros) - 1 + self.read(zeros)?)
    }

    fn signed_golomb(&mut self) -> Option<i64> {
        let code = i64::from(self.golomb()?);
        Some(if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 })
    }

    fn pass_scaling_list(&mut self, size: u32) -> Option<()> {
        let (mut last, mut next) = (8, 8);
        for _ in 0..size {
            if next != 0 {
                next = (last + self.signed_golomb()? + 256).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By x264: 1080p, High.
    const PROGRESSIVE: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00,
        0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];

    #[test]
    fn frames_only_is_told_from_fields() {
        assert_eq!(h264_is_plain(PROGRESSIVE), Some(true));
        assert_eq!(h264_is_plain(&PROGRESSIVE[..5]), None, "cut off");
        assert!(!Parameters::of_h264(&[]).are_certain(), "nothing is known");
    }

    #[test]
    fn other_parameter_sets_on_the_way_are_doubted() {
        let mut parameters = Parameters::of_h264(&[PROGRESSIVE, &[0x68, 1]]);
        parameters.meet(&[0x68, 1, 0]);
        assert!(parameters.are_certain(), "the same once more");
        parameters.meet(&[0x68, 2]);
        assert!(!parameters.are_certain());
    }

    #[test]
    fn hidden_pictures_are_doubted() {
        // pps_pic_parameter_set_id 0, pps_seq_parameter_set_id 0, dependent_slice_segments_enabled_flag 0, output_flag_present_flag
        assert!(Parameters::of_hevc(&[&[0x44, 1, 0b1100_0000]]).are_certain());
        assert!(!Parameters::of_hevc(&[&[0x44, 1, 0b1101_0000]]).are_certain());
        assert!(!Parameters::of_hevc(&[]).are_certain());
    }
}
