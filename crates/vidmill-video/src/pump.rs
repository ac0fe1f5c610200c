//! Demuxer and decoder joined: packets go in at one end, frames come out at the other, errors are counted.

use std::collections::VecDeque;

use crate::demux::Demuxer;
use crate::ffi::{self, DecoderSetup, FfmpegError, Packet, RawDecoder, RawFrame};
use crate::{Damage, Error};

/// Errors of the decoder in a row, without packets or frames in between, after which it is taken to be done.
const MAX_STUCK: u32 = 1024;

pub(crate) struct Pump {
    pub demuxer: Demuxer,
    decoder: RawDecoder,
    setup: DecoderSetup,
    packet: Packet,
    /// Read before, and to be sent before anything that is read from now on.
    queued: VecDeque<Packet>,
    pub damage: Damage,
    stuck: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// All packets are in.
    Draining,
    Done,
}

/// What the decoder has to say.
pub(crate) enum Received {
    Frame(RawFrame),
    /// It wants a packet.
    Hungry,
    /// Something in the stream could not be decoded; it has been counted.
    Failed,
    End,
}

impl Pump {
    /// For a file that has just been opened.
    pub fn new(path: &str, demuxer: Demuxer, mut setup: DecoderSetup) -> Result<Self, Error> {
        if demuxer.is_image {
            setup.threads = 1;
        }
        let decoder = open_decoder(path, &demuxer, setup)?;
        let internal = |cause| Error::Internal { path: path.to_owned(), what: "packet", cause };
        Ok(Self {
            demuxer,
            decoder,
            setup,
            packet: Packet::new().map_err(internal)?,
            queued: VecDeque::new(),
            damage: Damage::default(),
            stuck: 0,
            state: State::Reading,
        })
    }

    /// Whether frames from now on may be touched by concealed errors.
    pub fn has_concealed(&self) -> bool {
        self.decoder.has_concealed()
    }

    /// The codec's private description of the stream.
    pub fn extradata(&self) -> &[u8] {
        self.decoder.extradata()
    }

    /// The next packet, for [`Self::send`]; `false` at the end.
    pub fn read(&mut self, packet: &mut Packet) -> bool {
        self.demuxer.read(packet, &mut self.damage)
    }

    /// Puts packets in front of those that are still to be read by [`Self::next`].
    pub fn queue(&mut self, packets: impl Iterator<Item = Packet>) {
        self.queued.extend(packets);
    }

    /// Hands the decoder a packet; `false` if it failed, which has been counted.
    pub fn send(&mut self, packet: &Packet) -> bool {
        self.stuck = 0;
        let sent = self.decoder.send(Some(packet));
        self.accept(sent)
    }

    /// Tells the decoder that there are no more packets.
    pub fn drain(&mut self) -> bool {
        self.state = State::Draining;
        let sent = self.decoder.send(None);
        self.accept(sent)
    }

    /// Begins anew behind what has been drained, with the packet that is sent next.
    pub fn restart(&mut self) {
        self.decoder.flush();
        self.stuck = 0;
        self.state = State::Reading;
    }

    /// How many threads decode.
    pub fn threads(&self) -> usize {
        match self.setup.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// Another decoder of the same stream, on one thread.
    pub fn single(&self) -> Result<RawDecoder, FfmpegError> {
        let setup = DecoderSetup { threads: 1, ..self.setup };
        RawDecoder::open(self.demuxer.input(), self.demuxer.stream.index, setup)
    }

    /// Takes what the decoder has, without reading.
    pub fn receive(&mut self) -> Received {
        if self.state == State::Done {
            return Received::End;
        }
        match self.decoder.receive() {
            Ok(frame) => {
                self.stuck = 0;
                self.damage.concealed_frames += u64::from(frame.is_damaged());
                Received::Frame(frame)
            }
            Err(FfmpegError::EOF) => {
                self.finish();
                Received::End
            }
            Err(FfmpegError::AGAIN) if self.state == State::Reading => Received::Hungry,
            Err(error) => {
                self.failed(error);
                Received::Failed
            }
        }
    }

    /// The next frame, reading whatever it takes: never [`Received::Hungry`].
    pub fn next(&mut self) -> Received {
        loop {
            match self.receive() {
                Received::Hungry => {
                    if !self.feed() {
                        return Received::Failed;
                    }
                }
                other => return other,
            }
        }
    }

    /// No more frames will be given.
    pub fn finish(&mut self) {
        self.state = State::Done;
    }

    fn feed(&mut self) -> bool {
        if let Some(packet) = self.queued.pop_front() {
            return self.send(&packet);
        }
        if !self.demuxer.read(&mut self.packet, &mut self.damage) {
            return self.drain();
        }
        self.stuck = 0;
        let sent = self.decoder.send(Some(&self.packet));
        self.accept(sent)
    }

    fn accept(&mut self, sent: Result<(), FfmpegError>) -> bool {
        sent.map_err(|error| self.failed(error)).is_ok()
    }

    fn failed(&mut self, error: FfmpegError) {
        tracing::debug!(packet = self.demuxer.packets(), "decode error: {error}");
        self.damage.decode_errors += 1;
        self.stuck += 1;
        if self.stuck > MAX_STUCK {
            self.finish();
        }
    }
}

fn open_decoder(path: &str, demuxer: &Demuxer, setup: DecoderSetup) -> Result<RawDecoder, Error> {
    let codec = demuxer.stream.codec_name.clone();
    if ffi::decoder_name(demuxer.stream.codec).is_none() {
        return Err(Error::NoDecoder { path: path.to_owned(), codec });
    }
    RawDecoder::open(demuxer.input(), demuxer.stream.index, setup).map_err(|cause| Error::DecoderOpen {
        path: path.to_owned(),
        codec,
        cause,
    })
}
