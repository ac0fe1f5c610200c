//! Where the sources stand whose turns are still to come, and what of that the manifest may tell.

use std::collections::BTreeMap;

use crate::checkpoint::Checkpoint;
use crate::manifest::Manifest;
use crate::outputs::Outputs;
use crate::turns::Turns;

/// Where each source stands that has a place in the turns.
pub(crate) struct Standing {
    pub turns: Turns,
    places: BTreeMap<usize, Place>,
    sources: usize,
    /// Memory of [`Self::note`], which is called for nearly every record.
    spare: Vec<Checkpoint>,
}

/// Where a source stands.
#[derive(Default)]
pub(crate) struct Place {
    pub now: Checkpoint,
    /// Whether the manifest's word for it is older.
    pub is_ahead: bool,
    pub state: State,
}

/// Whether a source is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet.
    #[default]
    Waiting,
    Open,
    /// Not any more, since the run was asked to stop.
    Closed,
}

impl Standing {
    /// At the beginning of a run over so many sources.
    pub fn new(turns: Turns, sources: usize) -> Self {
        Self { turns, places: BTreeMap::new(), sources, spare: Vec::new() }
    }

    /// Where the source stands.
    pub fn of(&mut self, source: usize) -> &mut Place {
        self.places.entry(source).or_default()
    }

    /// The source begins.
    pub fn begin(&mut self, source: usize, now: Checkpoint) {
        self.places.insert(source, Place { now, is_ahead: true, state: State::Open });
    }

    /// Sources that have got a place wait for their first turn at their beginning.
    pub fn admit(&mut self, beginning_of: impl Fn(usize) -> Checkpoint) {
        for source in self.turns.circle() {
            let wait = || Place { now: beginning_of(source), is_ahead: true, state: State::Waiting };
            self.places.entry(source).or_insert_with(wait);
        }
    }

    /// The source has been read to its end, which was its turn.
    pub fn end(&mut self, source: usize) {
        self.turns.ended(source);
        self.places.remove(&source);
    }

    /// Whether any is being read.
    pub fn is_any_open(&self) -> bool {
        self.places.values().any(|place| place.state == State::Open)
    }

    /// All of them, with their states.
    pub fn into_all(self) -> impl Iterator<Item = (usize, Place)> {
        self.places.into_iter()
    }

    /// What has just been flushed is where another run can go on, unless an annotated video ended before that.
    pub fn note(&mut self, outputs: &Outputs, manifest: &mut Manifest) {
        if outputs.has_failed_to_draw_for_all() {
            return;
        }
        let mut before = std::mem::take(&mut self.spare);
        before.extend(manifest.checkpoint.take());
        before.append(&mut manifest.further_checkpoints);
        let mut noted = self.turns.circle().filter_map(|source| {
            let at = before.iter().position(|checkpoint| checkpoint.source == source);
            let before = at.map(|at| before.swap_remove(at));
            let Some(bytes) = outputs.position(source).filter(|_| !outputs.has_failed_to_draw(source)) else {
                return before;
            };
            let place = self.places.get_mut(&source)?;
            let is_ahead = std::mem::take(&mut place.is_ahead);
            let known = before.filter(|_| !is_ahead);
            Some(Checkpoint { bytes, ..known.unwrap_or_else(|| place.now.clone()) })
        });
        manifest.checkpoint = noted.next();
        manifest.further_checkpoints.extend(noted);
        before.clear();
        self.spare = before;
        if self.turns.next().is_none() {
            // All are done, but the run has not ended.
            let bytes = outputs.position(self.sources);
            manifest.checkpoint = bytes.map(|bytes| Checkpoint::at(self.sources, bytes, None));
        }
    }
}
