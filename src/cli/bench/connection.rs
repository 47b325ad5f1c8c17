//! One connection to a broker, with one channel: handshake, calls, and raw reads and writes.

use std::io;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::time::timeout;

use crate::amqp::limit;
use crate::amqp::table::Table;
use crate::amqp::table::Value;
use crate::cli::bench::fault;
use crate::cli::bench::fault::Fault;
use crate::cli::bench::incoming;
use crate::cli::bench::incoming::Arguments;
use crate::cli::bench::incoming::Incoming;
use crate::cli::bench::input::Input;
use crate::cli::bench::request::Request;
use crate::cli::bench::target::Target;
use crate::codec::frame::FrameKind;
use crate::codec::preamble::PREAMBLE;

/// The only channel a connection has.
pub(super) const CHANNEL: u16 = 1;
const ANSWER_SECS: u64 = 20;
const CLOSE_SECS: u64 = 3;

/// An open connection. Frames are appended to `out` and written by [`Connection::write`].
#[derive(Debug)]
pub(super) struct Connection {
    reader: OwnedReadHalf,
    writer: OwnedWriteHalf,
    pub(super) input: Input,
    pub(super) out: Vec<u8>,
    /// Bytes of `out` that are already written.
    written: usize,
    pub(super) frame_max: u32,
    /// The broker's name and version, as it told them.
    pub(super) product: String,
    /// Whether the broker has an address of this machine.
    pub(super) is_local: bool,
}

/// A request, the class and method that answer it, and how errors name it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) request: Request,
    pub(super) answer: (u16, u16),
}

impl Connection {
    /// Connects, logs in, and opens the channel.
    pub(super) async fn open(target: &Target) -> Result<Connection, Fault> {
        let connect = TcpStream::connect((target.host.as_str(), target.port));
        let silent = || io::Error::new(io::ErrorKind::TimedOut, "no answer");
        let stream = timeout(Duration::from_secs(ANSWER_SECS), connect).await;
        let stream = stream
            .unwrap_or_else(|_| Err(silent()))
            .and_then(|it| it.set_nodelay(true).map(|()| it))
            .map_err(|source| Fault::Connect { target: target.to_string(), source })?;
        let is_local = matches!(
            (stream.local_addr(), stream.peer_addr()),
            (Ok(local), Ok(peer)) if local.ip() == peer.ip()
        );
        let (reader, writer) = stream.into_split();
        let mut this = Connection {
            reader,
            writer,
            input: Input::new(limit::FRAME_MAX),
            out: PREAMBLE.to_vec(),
            written: 0,
            frame_max: limit::FRAME_MAX,
            product: String::new(),
            is_local,
        };
        this.log_in(target).await?;
        let open = Request::new(CHANNEL, 20, 10).text("");
        this.call(Call { name: "channel.open", request: open, answer: (20, 11) }).await?;
        Ok(this)
    }

    async fn log_in(&mut self, target: &Target) -> Result<(), Fault> {
        let start = self.answer("the protocol header", (10, 10)).await?;
        self.product = product(&start);
        let response = format!("\0{}\0{}", target.user, target.password);
        let start_ok = Request::new(0, 10, 11)
            .table(&client_properties())
            .text("PLAIN")
            .long_text(response.as_bytes())
            .text("en_US");
        self.out.extend_from_slice(&start_ok.finish());
        // COMPAT: brokers that do not say why just close the socket.
        let refused = |fault: Fault| match fault {
            Fault::Closed { reply_text, .. } => {
                Fault::Login { target: target.to_string(), reason: reply_text }
            }
            Fault::Lost(_) => {
                let reason = "it closed the connection".to_owned();
                Fault::Login { target: target.to_string(), reason }
            }
            other @ (Fault::Connect { .. }
            | Fault::Login { .. }
            | Fault::Silent { .. }
            | Fault::Protocol(_)
            | Fault::Cancelled(_)) => other,
        };
        let tune = self.answer("connection.start-ok", (10, 30)).await.map_err(&refused)?;
        let mut tune = Arguments(&tune);
        let channel_max = tune.short()?;
        let frame_max = match tune.long()? {
            0 => limit::FRAME_MAX,
            offered => offered.min(limit::FRAME_MAX),
        };
        self.frame_max = frame_max;
        self.input.set_frame_max(frame_max);
        // Without heartbeats: a broker that stands still is noticed because the run does.
        let tune_ok = Request::new(0, 10, 31).short(channel_max).long(frame_max).short(0);
        self.out.extend_from_slice(&tune_ok.finish());
        let request = Request::new(0, 10, 40).text(&target.vhost).text("").bits(&[false]);
        let open = Call { name: "connection.open", request, answer: (10, 41) };
        self.call(open).await.map(|_| ()).map_err(refused)
    }

    /// Sends a request and waits for its answer, whose arguments are returned.
    pub(super) async fn call(&mut self, call: Call) -> Result<Vec<u8>, Fault> {
        self.out.extend_from_slice(&call.request.finish());
        self.answer(call.name, call.answer).await
    }

    /// Writes what waits, then reads until `answer` comes; everything else but a close is dropped.
    async fn answer(&mut self, name: &'static str, answer: (u16, u16)) -> Result<Vec<u8>, Fault> {
        let wait = async {
            self.flush().await?;
            loop {
                while let Some(frame) = self.input.next()? {
                    if frame.kind != FrameKind::Method {
                        continue;
                    }
                    match incoming::parse(frame.payload)? {
                        Incoming::Other { class, method, arguments }
                            if (class, method) == answer =>
                        {
                            return Ok(arguments.to_vec());
                        }
                        method @ (Incoming::Deliver { .. }
                        | Incoming::Ack { .. }
                        | Incoming::Nack { .. }
                        | Incoming::Return { .. }
                        | Incoming::ConnectionClose { .. }
                        | Incoming::ChannelClose { .. }
                        | Incoming::Blocked { .. }
                        | Incoming::Unblocked
                        | Incoming::Cancel { .. }
                        | Incoming::Other { .. }) => check_open(&method)?,
                    }
                }
                self.wait().await?;
            }
        };
        let silent = Fault::Silent { request: name, secs: ANSWER_SECS };
        timeout(Duration::from_secs(ANSWER_SECS), wait).await.unwrap_or(Err(silent))
    }

    /// Writes as much of `out` as the socket takes; true when nothing is left.
    pub(super) fn write(&mut self) -> Result<bool, Fault> {
        while self.written < self.out.len() {
            match self.writer.try_write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(Fault::Lost(error)),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }

    /// Waits until bytes were read or, when `out` has some, can be written. It may be dropped
    /// while it waits.
    pub(super) async fn wait(&mut self) -> Result<(), Fault> {
        tokio::select! {
            read = self.reader.read(self.input.room()) => match read? {
                0 => return Err(fault::ended()),
                n => self.input.filled(n),
            },
            writable = self.writer.writable(), if !self.out.is_empty() => writable?,
        }
        Ok(())
    }

    /// As [`Connection::wait`], but for nothing: takes what has already arrived.
    pub(super) async fn read_arrived(&mut self) -> Result<(), Fault> {
        tokio::select! {
            biased;
            read = self.reader.read(self.input.room()) => match read? {
                0 => Err(fault::ended()),
                n => {
                    self.input.filled(n);
                    Ok(())
                }
            },
            () = std::future::ready(()) => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Fault> {
        self.writer.write_all(&self.out[self.written..]).await?;
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Says goodbye and waits a little for the answer; whatever fails now does not matter.
    pub(super) async fn close(mut self) {
        let request = Request::new(0, 10, 50).short(200).text("bench is done").short(0).short(0);
        let close = Call { name: "connection.close", request, answer: (10, 51) };
        timeout(Duration::from_secs(CLOSE_SECS), self.call(close)).await.ok();
    }
}

/// A close from the broker is the end of the run.
pub(super) fn check_open(method: &Incoming<'_>) -> Result<(), Fault> {
    let (scope, reply_code, reply_text) = match method {
        Incoming::ConnectionClose { reply_code, reply_text } => {
            ("connection", *reply_code, reply_text)
        }
        Incoming::ChannelClose { reply_code, reply_text } => ("channel", *reply_code, reply_text),
        Incoming::Deliver { .. }
        | Incoming::Ack { .. }
        | Incoming::Nack { .. }
        | Incoming::Return { .. }
        | Incoming::Blocked { .. }
        | Incoming::Unblocked
        | Incoming::Cancel { .. }
        | Incoming::Other { .. } => return Ok(()),
    };
    Err(Fault::Closed { scope, reply_code, reply_text: reply_text.clone().into_owned() })
}

fn client_properties() -> Table {
    let capabilities = [
        "publisher_confirms",
        "basic.nack",
        "connection.blocked",
        "consumer_cancel_notify",
        "authentication_failure_close",
    ];
    let capabilities = capabilities.map(|it| (it.to_owned(), Value::Bool(true)));
    Table(vec![
        ("product".to_owned(), Value::text("railpost bench")),
        ("version".to_owned(), Value::text(env!("CARGO_PKG_VERSION"))),
        ("capabilities".to_owned(), Value::Table(Table(capabilities.to_vec()))),
    ])
}

/// Product and version out of the arguments of `connection.start`.
fn product(start: &[u8]) -> String {
    const VERSION_BYTES: usize = 2;
    let table = start.get(VERSION_BYTES..).and_then(|it| Table::decode(it).ok());
    let Some((table, _)) = table else { return String::new() };
    let text = |key| table.get(key).map(ToString::to_string).unwrap_or_default();
    format!("{} {}", text("product"), text("version")).trim().to_owned()
}
