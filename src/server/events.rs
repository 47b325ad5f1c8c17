//! Streams of events over HTTP (`text/event-stream`): a picture, then once a second what changed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Body;
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc;

use crate::admin::caller::Caller;
use crate::admin::request::Problem;
use crate::admin::request::Request;
use crate::admin::v1::events;
use crate::admin::v1::events::Picture;
use crate::server::estate::LiveEstate;

/// Streams that are open at a time; one more is refused.
pub(in crate::server) const OPEN_MAX: usize = 64;
/// Time between two pictures.
const PERIOD: Duration = Duration::from_secs(1);
/// Pictures without a change after which a sign of life is sent.
const QUIET_MAX: u32 = 15;
/// How long a peer may not read.
const PATIENCE: Duration = Duration::from_secs(30);

/// The body of an answer that goes on until its reader, its user or the server goes.
pub(in crate::server) struct Events {
    receiver: mpsc::Receiver<Bytes>,
    /// Given back when nobody reads any more.
    _place: OwnedSemaphorePermit,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(context).map(|it| it.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// Begins a stream, whose first event is the whole picture.
///
/// # Errors
/// When the request names something that is not there, or not for the caller.
pub(in crate::server) async fn open(
    estate: Arc<LiveEstate>,
    caller: Caller,
    request: Request,
    place: OwnedSemaphorePermit,
) -> Result<Events, Problem> {
    let request = Arc::new(request);
    let first = look(&estate, caller.clone(), &request).await?;
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(tell(estate, caller, request, first, sender));
    Ok(Events { receiver, _place: place })
}

async fn look(
    estate: &Arc<LiveEstate>,
    caller: Caller,
    request: &Arc<Request>,
) -> Result<Picture, Problem> {
    let (estate, request) = (Arc::clone(estate), Arc::clone(request));
    let looked = tokio::task::spawn_blocking(move || events::picture(&*estate, &caller, &request));
    looked.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a look at everything broke off");
        Err(Problem::NotFound)
    })
}

async fn tell(
    estate: Arc<LiveEstate>,
    caller: Caller,
    request: Arc<Request>,
    first: Picture,
    sender: mpsc::Sender<Bytes>,
) {
    let node = Arc::clone(&estate.node);
    let mut last = first;
    let mut quiet = 0;
    let mut text = format!("event: snapshot\ndata: {}\n\n", json!(last));
    loop {
        if !text.is_empty() {
            let sent = sender.send_timeout(Bytes::from(std::mem::take(&mut text)), PATIENCE);
            tokio::select! {
                sent = sent => if sent.is_err() { return },
                () = node.stopping() => return,
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = sender.closed() => return,
            () = node.stopping() => return,
        }
        // Who is deleted or loses a role sees no more of it.
        let user = node.access.read(|it| it.user(&caller.user.name).cloned());
        let Some(caller) = user.map(|user| Caller { user }) else { return };
        if caller.check_management().is_err() {
            return;
        }
        let Ok(next) = look(&estate, caller, &request).await else { return };
        let changes = events::difference(&last, &next);
        last = next;
        quiet += 1;
        if !changes.is_empty() {
            quiet = 0;
            text = format!("event: delta\ndata: {}\n\n", json!(changes));
        } else if quiet >= QUIET_MAX {
            quiet = 0;
            text = ":\n\n".to_owned();
        }
    }
}
