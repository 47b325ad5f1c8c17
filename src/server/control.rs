//! A socket in the data directory, through which the same user on this machine asks a running
//! broker for things that only it can do: an online backup.
//!
//! One line of JSON each way: `{"backup":"/absolute/folder"}`, and `{"bytes":…}` or
//! `{"error":"…"}`.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncBufReadExt as _;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::io::BufReader;
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::sync::oneshot;

use crate::server::node::Node;
use crate::server::rollout;

/// The name of the socket in the data directory.
pub const SOCKET: &str = "control.sock";

/// Longest request that is read.
const REQUEST_BYTES: u64 = 8192;

/// What can be asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Copy everything to this folder, which must be empty.
    Backup(PathBuf),
}

/// What is answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Done; so many bytes were copied.
    Bytes(u64),
    Error(String),
}

/// A backup that somebody waits for.
#[derive(Debug)]
pub(in crate::server) struct BackupRequest {
    pub(in crate::server) to: PathBuf,
    pub(in crate::server) answer: oneshot::Sender<Answer>,
}

/// Opens the socket; one that a dead broker left behind is replaced.
pub(in crate::server) fn bind(data: &Path) -> io::Result<UnixListener> {
    let path = data.join(SOCKET);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers requests until the server stops.
pub(in crate::server) async fn run(node: Arc<Node>, data: PathBuf, listener: UnixListener) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(serve(Arc::clone(&node), data.clone(), stream));
                }
                Err(error) => tracing::warn!(%error, "control socket failed"),
            },
            () = node.stopped() => return,
        }
    }
}

async fn serve(node: Arc<Node>, data: PathBuf, stream: UnixStream) {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    let read = BufReader::new(reader.take(REQUEST_BYTES)).read_line(&mut line).await;
    let answer = match read.map_err(|it| it.to_string()).and_then(|_| parse(&line)) {
        Ok(Request::Backup(to)) => backup(&node, &data, to).await,
        Err(error) => Answer::Error(error),
    };
    let mut text = serde_json::to_vec(&answer).expect("strings and numbers only");
    text.push(b'\n');
    if let Err(error) = writer.write_all(&text).await {
        tracing::debug!(%error, "nobody waits for the answer any more");
    }
}

fn parse(line: &str) -> Result<Request, String> {
    serde_json::from_str(line).map_err(|it| format!("not a request: {it}"))
}

async fn backup(node: &Node, data: &Path, to: PathBuf) -> Answer {
    tracing::info!(to = %to.display(), "backup begins");
    let (answer, answered) = oneshot::channel();
    node.log.back_up(BackupRequest { to: to.clone(), answer });
    let mut answer = answered.await.unwrap_or(Answer::Error("the broker stopped".to_owned()));
    // Applied between the two, they are what the copy becomes at its first start.
    if let (Answer::Bytes(_), Err(error)) = (&answer, rollout::copy_kept(data, &to)) {
        answer = Answer::Error(format!("cannot copy the topology that was applied: {error}"));
    }
    tracing::info!(?answer, "backup ended");
    answer
}
