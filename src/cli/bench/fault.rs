//! What can go wrong with a broker while it is measured.

use std::io;

use crate::cli::bench::incoming::Truncated;
use crate::codec::frame::FrameError;

/// Why a connection of a run ended, or why a run could not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("cannot connect to {target}: {source}")]
    Connect { target: String, source: io::Error },
    #[error("{target} refused the login: {reason}")]
    Login { target: String, reason: String },
    #[error("the broker closed the {scope}: {reply_code} {reply_text}")]
    Closed { scope: &'static str, reply_code: u16, reply_text: String },
    #[error("the connection to the broker was lost: {0}")]
    Lost(#[from] io::Error),
    #[error("the broker did not answer `{request}` within {secs} s")]
    Silent { request: &'static str, secs: u64 },
    #[error("the broker does not speak AMQP 0-9-1 as expected: {0}")]
    Protocol(String),
    #[error("the broker ended the consumer of queue `{0}`")]
    Cancelled(String),
}

impl Fault {
    /// Whether the broker could not be reached, or not any more; otherwise it answered, with no.
    pub(super) fn is_unreachable(&self) -> bool {
        match self {
            Fault::Connect { .. }
            | Fault::Login { .. }
            | Fault::Lost(_)
            | Fault::Silent { .. }
            | Fault::Protocol(_)
            | Fault::Closed { scope: "connection", .. } => true,
            Fault::Closed { .. } | Fault::Cancelled(_) => false,
        }
    }

    /// The code with which the broker closed a channel or connection.
    pub(super) fn reply_code(&self) -> Option<u16> {
        match self {
            Fault::Closed { reply_code, .. } => Some(*reply_code),
            Fault::Connect { .. }
            | Fault::Login { .. }
            | Fault::Lost(_)
            | Fault::Silent { .. }
            | Fault::Protocol(_)
            | Fault::Cancelled(_) => None,
        }
    }
}

impl From<Truncated> for Fault {
    fn from(error: Truncated) -> Fault {
        Fault::Protocol(error.to_string())
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Fault {
        Fault::Protocol(error.to_string())
    }
}

/// An end of the stream where more was expected.
pub(super) fn ended() -> Fault {
    Fault::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "it was closed by the other side"))
}
