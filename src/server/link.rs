//! The half of a connection that others reach: its outbox and its socket's writing side.

use std::io::ErrorKind;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::amqp::id::ConnectionId;
use crate::amqp::name::UserName;
use crate::amqp::name::VhostName;
use crate::amqp::table::Table;
use crate::amqp::time::Timestamp;
use crate::session::connection::Tuned;
use crate::session::desk::Eviction;
use crate::session::outbox::Outbox;

/// A connection as the rest of the server sees it.
#[derive(Debug)]
pub(in crate::server) struct Link {
    pub(in crate::server) id: ConnectionId,
    pub(in crate::server) peer: SocketAddr,
    pub(in crate::server) stream: TcpStream,
    /// Taken after a queue's lock, never before.
    pub(in crate::server) outbox: Mutex<Outbox>,
    /// Wakes the connection's own task.
    pub(in crate::server) wake: Notify,
    /// It stands in line to hear that more is durable.
    pub(in crate::server) waits_for_log: AtomicBool,
    /// Channels its client has open, for people.
    pub(in crate::server) n_channels: AtomicUsize,
    /// Who is on the other side, once the vhost is being opened.
    pub(in crate::server) identity: Mutex<Option<Identity>>,
    /// What the client said of itself, once its vhost is open.
    pub(in crate::server) client: Mutex<Option<Introduction>>,
    pub(in crate::server) connected_at: Timestamp,
    /// Bytes read so far, for people.
    pub(in crate::server) received: AtomicU64,
    /// Reads and writes that did something, for people.
    pub(in crate::server) n_reads: AtomicU64,
    pub(in crate::server) n_writes: AtomicU64,
    /// Why the broker wants it to end, until it has been told.
    pub(in crate::server) eviction: Mutex<Option<Eviction>>,
    /// Bytes written so far, for heartbeats.
    sent: AtomicU64,
}

/// Whose connection it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::server) struct Identity {
    pub(in crate::server) user: UserName,
    pub(in crate::server) vhost: VhostName,
}

/// What is known of a client for as long as it is connected.
#[derive(Clone, Debug)]
pub(in crate::server) struct Introduction {
    pub(in crate::server) name: Arc<str>,
    pub(in crate::server) named_itself: bool,
    pub(in crate::server) properties: Table,
    pub(in crate::server) tuned: Tuned,
}

/// What became of an attempt to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::server) enum Flushed {
    All,
    /// The socket takes no more for now.
    Blocked,
    /// The socket is broken.
    Broken,
}

/// Slices handed to one write.
const SLICES: usize = 16;

impl Link {
    pub(in crate::server) fn new(
        id: ConnectionId,
        peer: SocketAddr,
        stream: TcpStream,
        connected_at: Timestamp,
    ) -> Arc<Link> {
        Arc::new(Link {
            id,
            peer,
            stream,
            outbox: Mutex::new(Outbox::new()),
            wake: Notify::new(),
            waits_for_log: AtomicBool::new(false),
            n_channels: AtomicUsize::new(0),
            identity: Mutex::new(None),
            client: Mutex::new(None),
            connected_at,
            received: AtomicU64::new(0),
            n_reads: AtomicU64::new(0),
            n_writes: AtomicU64::new(0),
            eviction: Mutex::new(None),
            sent: AtomicU64::new(0),
        })
    }

    pub(in crate::server) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Has the connection's own task end it.
    pub(in crate::server) fn evict(&self, eviction: Eviction) {
        self.eviction.lock().get_or_insert(eviction);
        self.wake.notify_one();
    }

    /// Step 12 of a message's path, called at the end of each turn by whoever delivered; the bytes
    /// leave.
    ///
    /// Writes as much of the outbox as the socket takes, without waiting. Called by any thread:
    /// the outbox's lock keeps the order.
    pub(in crate::server) fn write_loop(&self) -> Flushed {
        let mut outbox = self.outbox.lock();
        loop {
            let (slices, n) = outbox.frames.slices::<SLICES>();
            let written = match n {
                0 => return Flushed::All,
                1 => self.stream.try_write(slices[0]),
                _ => self.stream.try_write_vectored(&slices.map(IoSlice::new)[..n]),
            };
            match written {
                Ok(n) => {
                    self.sent.fetch_add(n as u64, Ordering::Relaxed);
                    self.n_writes.fetch_add(1, Ordering::Relaxed);
                    outbox.frames.consume(n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Blocked,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Flushed::Broken,
            }
        }
    }

    /// Writes for another connection's turn: what cannot be written now, the owner writes.
    pub(in crate::server) fn flush_from_outside(&self) {
        let flushed = self.write_loop();
        if flushed != Flushed::All || self.outbox.lock().has_work() {
            self.wake.notify_one();
        }
    }
}
