//! `railpost backup` and `railpost restore`.

use std::io::BufRead as _;
use std::io::BufReader;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use crate::cli::args::BackupArgs;
use crate::cli::args::RestoreArgs;
use crate::cli::exit::Exit;
use crate::cli::store;
use crate::server::control::Answer;
use crate::server::control::Request;
use crate::server::control::SOCKET;
use crate::server::disk::DataFolder;
use crate::server::rollout;
use crate::storage::backup;

/// Asks the running broker; without one the directory is copied as it lies there.
pub(in crate::cli) fn back_up(args: &BackupArgs) -> Exit {
    let stream = UnixStream::connect(args.data.join(SOCKET));
    let copied = match stream {
        Ok(stream) => ask(stream, &args.to),
        Err(_) => copy(&args.data, &args.to).map(|()| None),
    };
    say(copied.map(|bytes| match bytes {
        Some(bytes) => format!("{bytes} bytes copied to `{}`", args.to.display()),
        None => format!("no broker runs: copied to `{}` as it is", args.to.display()),
    }))
}

pub(in crate::cli) fn restore(args: &RestoreArgs) -> Exit {
    let done = copy(&args.from, &args.data);
    say(done.map(|()| format!("`{}` is ready for `railpost serve`", args.data.display())))
}

fn say(result: Result<String, String>) -> Exit {
    match result {
        Ok(text) => {
            println!("{text}");
            Exit::Fine
        }
        Err(text) => {
            eprintln!("error: {text}");
            Exit::Findings
        }
    }
}

fn ask(mut stream: UnixStream, to: &Path) -> Result<Option<u64>, String> {
    let to: PathBuf = std::path::absolute(to).map_err(|it| it.to_string())?;
    let request = serde_json::to_string(&Request::Backup(to)).map_err(|it| it.to_string())?;
    let mut line = String::new();
    let asked = writeln!(stream, "{request}");
    asked
        .and_then(|()| BufReader::new(stream).read_line(&mut line))
        .map_err(|it| it.to_string())?;
    match serde_json::from_str(&line) {
        Ok(Answer::Bytes(bytes)) => Ok(Some(bytes)),
        Ok(Answer::Error(error)) => Err(error),
        Err(error) => Err(format!("the broker went away: {error}")),
    }
}

/// Copies a directory that no broker uses.
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let store = store::open(from)?;
    let shown = to.display();
    let folder = DataFolder::new(to).map_err(|it| format!("cannot make `{shown}`: {it}"))?;
    let copied = backup::restore(&Arc::new(store), &Arc::new(folder));
    copied.map_err(|it| format!("`{shown}`: {it}"))?;
    rollout::copy_kept(from, to).map_err(|it| format!("`{shown}`: {it}"))
}
