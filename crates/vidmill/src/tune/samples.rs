//! A few frames as the model sees them, and what a way of running the model makes of them.

use vidmill_image::{Geometry, Preprocess};
use vidmill_infer::{Batch, Found, Model, TaskPlan};
use vidmill_video::{DecodeOptions, Frame};

use crate::error::RunError;
use crate::progress::Stop;
use crate::sample::{Choice, Sampler, Sampling};
use crate::source::Source;
use crate::source::reader::{Read, Reader};

/// Frames that runs are compared on.
const SAMPLES: usize = 32;
/// They are spread over this many times as many sampled frames, where there are so many.
const SPREAD: u64 = 15;
/// Bytes of raw outputs that are kept to compare with.
const RAW_BYTES: usize = 256 << 20;

/// One frame's tensor.
pub(super) struct Sample {
    /// In whole words, so that the runtime can read it where it lies.
    words: Vec<u64>,
    bytes: usize,
    geometry: Geometry,
}

/// What came of one sample.
pub(super) struct Outcome {
    pub found: Found,
    /// Its part of each output, as far as outputs have one.
    pub raw: Vec<Vec<f32>>,
}

/// Frames of the first source that gives any.
pub(super) fn take(
    sources: &[Source],
    sampling: Sampling,
    plan: &TaskPlan,
    stop: &Stop,
) -> Result<Vec<Sample>, RunError> {
    let mut samples = Vec::new();
    for source in sources {
        take_of(source, sampling, plan, stop, &mut samples)?;
        if !samples.is_empty() {
            return Ok(samples);
        }
    }
    let names: Vec<&str> = sources.iter().map(|source| &*source.name).collect();
    Err(RunError::Tune(format!("{} gives no frame to compare on: choose another source", names.join(", "))))
}

fn take_of(
    source: &Source,
    sampling: Sampling,
    plan: &TaskPlan,
    stop: &Stop,
    samples: &mut Vec<Sample>,
) -> Result<(), RunError> {
    let mut reader = Reader::open(source, &DecodeOptions::default()).map_err(RunError::Unreadable)?;
    let step = reader.expected().map_or(1, |frames| (frames / SAMPLES as u64).clamp(1, SPREAD));
    let (mut sampler, mut taken, mut is_over) = (Sampler::new(sampling), 0_u64, false);
    while samples.len() < SAMPLES && !is_over {
        if stop.is_asked() {
            return Err(RunError::Interrupted);
        }
        let mut want = |head| match sampler.choose(head) {
            Ok(Choice::Take) => {
                taken += 1;
                (taken - 1).is_multiple_of(step)
            }
            Ok(Choice::Skip) => false,
            Ok(Choice::Stop) | Err(_) => {
                is_over = true;
                false
            }
        };
        match reader.next(&mut want).map_err(RunError::Unreadable)? {
            Read::Frame(_, frame) => samples.push(Sample::of(&frame, plan)?),
            Read::Skipped(_) | Read::Broken(..) => {}
            Read::End => break,
        }
    }
    Ok(())
}

impl Sample {
    fn of(frame: &Frame, plan: &TaskPlan) -> Result<Self, RunError> {
        let planes = frame.planes();
        let spec = plan.spec_for(planes.displayed_size());
        let unfit = |error: &dyn std::fmt::Display| RunError::Tune(format!("a frame cannot be fed: {error}"));
        let mut preprocess = Preprocess::for_planes(&spec, &planes).map_err(|error| unfit(&error))?;
        let bytes = spec.item_bytes();
        let mut words = vec![0; bytes.div_ceil(size_of::<u64>())];
        preprocess
            .run(&planes, &mut bytemuck::cast_slice_mut(&mut words)[..bytes])
            .map_err(|error| unfit(&error))?;
        Ok(Self { words, bytes, geometry: *preprocess.geometry() })
    }

    fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }
}

/// Runs the model on the samples, `batch` at a time. What comes of each, or why it failed.
///
/// # Errors
/// Why it cannot be run so.
pub(super) fn run(
    model: &Model,
    plan: &TaskPlan,
    batch: usize,
    samples: &[Sample],
) -> Result<Vec<Result<Outcome, String>>, String> {
    let mut predictor = model.session(plan.spec()).map_err(|error| error.to_string())?;
    let mut size = plan.spec().size;
    let (mut outcomes, mut words, mut kept) = (Vec::new(), Vec::new(), 0);
    // All items of a batch are of one size.
    let of_one_size = samples.chunk_by(|a, b| a.geometry.input == b.geometry.input);
    for group in of_one_size.flat_map(|group| group.chunks(batch)) {
        if group[0].geometry.input != size {
            size = group[0].geometry.input;
            predictor.set_size(size);
        }
        let count = match plan.batch() {
            Batch::Fixed(fixed) => fixed,
            Batch::Dynamic => group.len(),
        };
        let input = gather(group, count, &mut words);
        let outputs = predictor.predict(input, count).map_err(|error| error.to_string())?;
        for (n, sample) in group.iter().enumerate() {
            let found = match plan.decode(&outputs, n, &sample.geometry) {
                Ok(found) => found,
                Err(error) => {
                    outcomes.push(Err(error.to_string()));
                    continue;
                }
            };
            let (mut raw, has_room) = (Vec::new(), kept < RAW_BYTES);
            for tensor in outputs.iter().filter(|tensor| has_room && tensor.shape.first() == Some(&count)) {
                let length = tensor.data.len() / count;
                raw.push(tensor.data[n * length..(n + 1) * length].to_vec());
                kept += length * size_of::<f32>();
            }
            outcomes.push(Ok(Outcome { found, raw }));
        }
    }
    Ok(outcomes)
}

/// The tensors one after the other, and the first again for what is missing to `count`.
fn gather<'w>(group: &[Sample], count: usize, words: &'w mut Vec<u64>) -> &'w [u8] {
    let bytes = group[0].bytes;
    words.clear();
    words.resize((count * bytes).div_ceil(size_of::<u64>()), 0);
    let all = &mut bytemuck::cast_slice_mut::<u64, u8>(words)[..count * bytes];
    for (n, item) in all.chunks_exact_mut(bytes).enumerate() {
        item.copy_from_slice(group.get(n).unwrap_or(&group[0]).bytes());
    }
    all
}
