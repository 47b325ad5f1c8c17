//! One connection, as bytes on a socket.

use std::io::Read as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

use crate::words;

/// How long an answer may take; reached only when there is none.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
    /// What was heard and not taken yet: a method with its content per line.
    pub heard: Vec<String>,
    /// The broker has closed the connection, or the socket has gone.
    pub ended: bool,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).expect("the broker listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("set");
        socket.set_nodelay(true).expect("set");
        let mut client = Client { socket, input: Vec::new(), heard: Vec::new(), ended: false };
        client.send(b"AMQP\0\0\x09\x01");
        client.wait_for("0 connection.start");
        let properties = "properties={capabilities:F{consumer_cancel_notify:ttrue}}";
        client.say(0, &format!("connection.start-ok user=guest {properties}"));
        client.wait_for("0 connection.tune");
        client.say(0, "connection.tune-ok");
        client.say(0, "connection.open");
        client.wait_for("0 connection.open-ok");
        client.heard.clear();
        client
    }

    pub fn say(&mut self, channel: u16, words: &str) {
        self.send(&words::to_bytes(channel, words));
    }

    /// A socket that has gone shows when it is read.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.socket.write_all(bytes);
    }

    /// Reads until a line begins with `start`, or the connection has ended; whether it came.
    /// The line is the last one heard.
    pub fn wait_for(&mut self, start: &str) -> bool {
        while !self.ended {
            let Some(line) = self.hear() else { return false };
            if line.starts_with(start) {
                return true;
            }
        }
        false
    }

    /// Opens a channel again that the broker has closed, or the script, as `line` says; nothing is
    /// kept of that. Whether the channel is closed at all.
    pub fn reopen(&mut self, channel: u16, line: &str) -> bool {
        if line.contains(" channel.close ") {
            self.say(channel, "channel.close-ok");
        } else if !line.contains(" channel.close-ok") {
            return false;
        }
        let n = self.heard.len();
        self.say(channel, "channel.open");
        if self.wait_for(&format!("{channel} channel.open-ok")) {
            self.heard.pop();
        }
        debug_assert!(self.heard.len() >= n);
        true
    }

    /// The next thing the broker says; the line is added to `heard`.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            if let Some(n) = whole(&self.input) {
                let lines = words::to_lines(&self.input[..n]);
                self.input.drain(..n);
                let line = lines.concat();
                self.heard.push(line.clone());
                if line.starts_with("0 connection.close ") {
                    self.say(0, "connection.close-ok");
                    self.ended = true;
                }
                self.ended |= line == "0 connection.close-ok";
                return Some(line);
            }
            let mut piece = [0; 65536];
            match self.socket.read(&mut piece) {
                Ok(0) => {}
                Ok(n) => {
                    self.input.extend_from_slice(&piece[..n]);
                    continue;
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    self.ended = true;
                    self.heard.push("0 silence".to_owned());
                    return None;
                }
                Err(_) => {}
            }
            self.ended = true;
            self.heard.push("0 socket has gone".to_owned());
            return None;
        }
    }
}

/// How many bytes the first method and its content take, when all of them are there.
fn whole(input: &[u8]) -> Option<usize> {
    let frame = |from: usize| {
        let head = input.get(from..from + 7)?;
        let n = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let end = from + 7 + n + 1;
        input.get(from + 7..end - 1).filter(|_| end <= input.len()).map(|it| (it, end))
    };
    let (method, mut end) = frame(0)?;
    let is_content = matches!(method, [0, 60, 0, 50 | 60 | 71, ..]);
    if input[0] == 1 && is_content {
        let (header, after) = frame(end)?;
        end = after;
        let mut missing = u64::from_be_bytes(header[4..12].try_into().expect("eight"));
        while missing > 0 {
            let (body, after) = frame(end)?;
            end = after;
            missing = missing.saturating_sub(body.len() as u64);
        }
    }
    Some(end)
}
