//! Exit codes: one table for every command.

use std::process::ExitCode;

/// What a command ends with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::cli) enum Exit {
    /// Done; or the answer is "yes, fine".
    Fine,
    /// The answer is "no": findings, a failed test.
    Findings,
    /// Wrong use: an unreadable file, a broken configuration.
    Unusable,
    /// The disk failed: nothing more was confirmed, a restart reads what is true. COMPAT: sysexits
    /// EX_IOERR.
    DiskFailed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Findings => 1,
            Exit::Unusable => 2,
            Exit::DiskFailed => 74,
        })
    }
}
