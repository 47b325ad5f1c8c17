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
    /// There are differences, in the words of `--detailed-exitcode`. COMPAT: Terraform's.
    Changes,
    /// The broker cannot be reached, or refuses the login.
    Unreachable,
    /// Not done: nobody said that it may be, or who asks has no right to it.
    Refused,
    /// What was measured is beyond a limit that was given.
    LimitsMissed,
    /// Somebody pressed Ctrl-C; the rest was done in good order.
    Interrupted,
    /// The disk failed: nothing more was confirmed, a restart reads what is true. COMPAT: sysexits
    /// EX_IOERR.
    DiskFailed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Fine => 0,
            Exit::Findings => 1,
            Exit::Unusable | Exit::Changes => 2,
            Exit::Unreachable => 4,
            Exit::Refused => 5,
            Exit::LimitsMissed => 6,
            Exit::Interrupted => 130,
            Exit::DiskFailed => 74,
        })
    }
}
