//! One end of the SEQPACKET socket between supervisor and worker: whole messages, and descriptors beside them.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use crate::memory::letter;
use crate::message::{LARGEST, enclosed, enclosed_bytes};

/// Descriptors that a message may carry.
const DESCRIPTORS: usize = 2;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

/// What came in.
pub(crate) enum Incoming<'b> {
    Message(&'b [u8], Vec<OwnedFd>),
    /// The other side has gone.
    End,
}

impl Socket {
    /// Both ends of a new connection; neither is inherited by programs that are started.
    pub fn pair() -> Result<(Self, OwnedFd), Errno> {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    /// An end that was handed to this process.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Room for one message, for [`Socket::receive`].
    pub fn buffer() -> Vec<u8> {
        vec![0; LARGEST]
    }

    /// Sends, waiting while the other side's buffer is full.
    pub fn send(&self, message: &[u8]) -> Result<(), Errno> {
        self.send_with(message, &[], SendFlags::empty())
    }

    /// Sends, or returns [`Errno::AGAIN`].
    pub fn send_now(&self, message: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(message, descriptors, SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        message: &[u8],
        descriptors: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> Result<(), Errno> {
        if message.len() > LARGEST {
            let file = letter(message)?;
            return self.send_with(&enclosed(message.len()), &[file.as_fd()], flags);
        }
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::INVAL);
        }
        // A worker that has gone is an error here, not a SIGPIPE.
        let flags = flags | SendFlags::NOSIGNAL;
        let sent =
            rustix::io::retry_on_intr(|| sendmsg(&self.0, &[IoSlice::new(message)], &mut control, flags))?;
        if sent == message.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    /// Waits for the next message.
    pub fn receive<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Incoming<'b>, Errno> {
        self.receive_with(buffer, RecvFlags::empty())
    }

    /// The next message if there is one, or [`Errno::AGAIN`].
    pub fn receive_now<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<Incoming<'b>, Errno> {
        self.receive_with(buffer, RecvFlags::DONTWAIT)
    }

    fn receive_with<'b>(&self, buffer: &'b mut Vec<u8>, flags: RecvFlags) -> Result<Incoming<'b>, Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(&self.0, &mut [IoSliceMut::new(buffer)], &mut control, flags)
        })?;
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(Errno::MSGSIZE);
        }
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => fds.collect(),
                _ => Vec::new(),
            })
            .collect();
        // No message of ours is empty, so nothing received is the end.
        if received.bytes == 0 {
            return Ok(Incoming::End);
        }
        match (enclosed_bytes(&buffer[..received.bytes]), &descriptors[..]) {
            (Some(bytes), [file]) => {
                buffer.resize(bytes.max(LARGEST), 0);
                read_all(file, &mut buffer[..bytes])?;
                Ok(Incoming::Message(&buffer[..bytes], Vec::new()))
            }
            _ => Ok(Incoming::Message(&buffer[..received.bytes], descriptors)),
        }
    }
}

fn read_all(file: &OwnedFd, mut buffer: &mut [u8]) -> Result<(), Errno> {
    let mut offset = 0;
    while !buffer.is_empty() {
        match rustix::io::retry_on_intr(|| rustix::io::pread(file, &mut *buffer, offset))? {
            0 => return Err(Errno::MSGSIZE),
            bytes => {
                offset += bytes as u64;
                buffer = &mut buffer[bytes..];
            }
        }
    }
    Ok(())
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
