//! Why a command did not do what it was asked for.

use crate::cli::exit::Exit;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(in crate::cli) enum Failure {
    /// What was typed makes no sense.
    #[error("{0}")]
    Usage(String),
    #[error("cannot reach {address}: {cause}")]
    Unreachable { address: String, cause: String },
    #[error("the broker refuses the login of `{user}`: {reason}")]
    Login { user: String, reason: String },
    #[error("`{user}` may not do that: {reason}")]
    NotAllowed { user: String, reason: String },
    /// It destroys something, and nobody said that it may.
    #[error("{0}")]
    Unconfirmed(String),
    #[error("there is no {0}")]
    NotFound(String),
    /// The broker says no, and why.
    #[error("refused: {0}")]
    Refused(String),
    #[error("the broker answers {status}: {text}")]
    Broken { status: u16, text: String },
}

impl Failure {
    pub(super) fn usage(text: impl Into<String>) -> Failure {
        Failure::Usage(text.into())
    }

    pub(super) fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) | Failure::Refused(_) => Exit::Unusable,
            Failure::Unreachable { .. } | Failure::Login { .. } | Failure::Broken { .. } => {
                Exit::Unreachable
            }
            Failure::NotAllowed { .. } | Failure::Unconfirmed(_) => Exit::Refused,
            Failure::NotFound(_) => Exit::Findings,
        }
    }

    pub(super) fn hint(&self) -> Option<&'static str> {
        match self {
            Failure::Unreachable { .. } => Some(
                "is a broker running there? `railpost serve` starts one; \
                 --api http://user:password@host:15672 says where another is",
            ),
            Failure::Login { .. } => Some(
                "say who you are with --api http://user:password@host:15672, \
                 or --user and --password-file",
            ),
            Failure::Unconfirmed(_) => {
                Some("--yes does it; --dry-run only says what would be done")
            }
            Failure::Usage(_)
            | Failure::NotAllowed { .. }
            | Failure::NotFound(_)
            | Failure::Refused(_)
            | Failure::Broken { .. } => None,
        }
    }
}
