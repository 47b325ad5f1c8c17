//! Writing the frames of every message, by hand and without allocation.

use bytes::Bytes;

use crate::amqp::limit;
use crate::amqp::message::Body;
use crate::amqp::message::Message;
use crate::codec::buffer::FrameBuffer;
use crate::codec::frame::END;
use crate::codec::frame::FrameKind;

/// Shared bodies smaller than this are copied: a piece of its own costs more than the copy.
const COPIED_BYTES: usize = 4096;

/// The arguments of `basic.deliver`.
#[derive(Clone, Copy, Debug)]
pub struct Deliver<'a> {
    pub consumer_tag: &'a str,
    pub delivery_tag: u64,
    pub redelivered: bool,
}

/// The arguments of `basic.get-ok`.
#[derive(Clone, Copy, Debug)]
pub struct GetOk {
    pub delivery_tag: u64,
    pub redelivered: bool,
    pub message_count: u32,
}

/// Appends `basic.deliver` and the content; `properties` replace the message's own when given.
pub fn deliver(
    out: &mut FrameBuffer,
    channel: u16,
    frame_max: u32,
    method: Deliver<'_>,
    message: &Message,
    properties: Option<&[u8]>,
) {
    let buffer = out.open();
    let size_at = begin(buffer, FrameKind::Method, channel, [0, 60, 0, 60]);
    short_string(buffer, method.consumer_tag);
    buffer.extend_from_slice(&method.delivery_tag.to_be_bytes());
    buffer.push(u8::from(method.redelivered));
    address(buffer, message);
    finish(buffer, size_at);
    content(out, channel, frame_max, message, properties);
}

/// Appends `basic.get-ok` and the content.
pub fn get_ok(
    out: &mut FrameBuffer,
    channel: u16,
    frame_max: u32,
    method: GetOk,
    message: &Message,
    properties: Option<&[u8]>,
) {
    let buffer = out.open();
    let size_at = begin(buffer, FrameKind::Method, channel, [0, 60, 0, 71]);
    buffer.extend_from_slice(&method.delivery_tag.to_be_bytes());
    buffer.push(u8::from(method.redelivered));
    address(buffer, message);
    buffer.extend_from_slice(&method.message_count.to_be_bytes());
    finish(buffer, size_at);
    content(out, channel, frame_max, message, properties);
}

/// Appends `basic.return` and the content.
pub fn return_message(
    out: &mut FrameBuffer,
    channel: u16,
    frame_max: u32,
    reply_code: u16,
    reply_text: &str,
    message: &Message,
) {
    let buffer = out.open();
    let size_at = begin(buffer, FrameKind::Method, channel, [0, 60, 0, 50]);
    buffer.extend_from_slice(&reply_code.to_be_bytes());
    short_string(buffer, reply_text);
    address(buffer, message);
    finish(buffer, size_at);
    content(out, channel, frame_max, message, None);
}

/// Appends `basic.ack`, a publisher's confirm.
pub fn ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    let size_at = begin(out, FrameKind::Method, channel, [0, 60, 0, 80]);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(u8::from(multiple));
    finish(out, size_at);
}

/// Appends `basic.nack`, a publisher's refusal. COMPAT: the requeue bit is always set.
pub fn nack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    let size_at = begin(out, FrameKind::Method, channel, [0, 60, 0, 120]);
    out.extend_from_slice(&delivery_tag.to_be_bytes());
    out.push(2 | u8::from(multiple));
    finish(out, size_at);
}

pub fn heartbeat(out: &mut Vec<u8>) {
    out.extend_from_slice(&[FrameKind::Heartbeat as u8, 0, 0, 0, 0, 0, 0, END]);
}

/// Appends the header frame and the body frames of a message.
///
/// COMPAT: a header is never split, even when it is larger than `frame_max`; bodies are split at
/// exactly `frame_max` less the envelope; an empty body has no frame.
fn content(
    out: &mut FrameBuffer,
    channel: u16,
    frame_max: u32,
    message: &Message,
    properties: Option<&[u8]>,
) {
    let buffer = out.open();
    let size_at = begin(buffer, FrameKind::Header, channel, [0, 60, 0, 0]);
    buffer.extend_from_slice(&message.body_bytes().to_be_bytes());
    buffer.extend_from_slice(properties.unwrap_or(message.properties().as_bytes()));
    finish(buffer, size_at);
    let frame_bytes = (frame_max - limit::FRAME_ENVELOPE) as usize;
    match message.body() {
        Body::Packed(body) => {
            body.chunks(frame_bytes).for_each(|piece| copied_body(buffer, channel, piece));
        }
        Body::Chunks(chunks) => {
            chunks.iter().for_each(|chunk| shared_body(out, channel, frame_bytes, chunk));
        }
    }
}

fn copied_body(out: &mut Vec<u8>, channel: u16, piece: &[u8]) {
    body_head(out, channel, piece.len());
    out.extend_from_slice(piece);
    out.push(END);
}

fn shared_body(out: &mut FrameBuffer, channel: u16, frame_bytes: usize, chunk: &Bytes) {
    let mut rest = chunk.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(frame_bytes));
        if piece.len() < COPIED_BYTES {
            copied_body(out.open(), channel, &piece);
        } else {
            body_head(out.open(), channel, piece.len());
            out.share(piece);
            out.open().push(END);
        }
    }
}

fn body_head(out: &mut Vec<u8>, channel: u16, len: usize) {
    out.push(FrameKind::Body as u8);
    out.extend_from_slice(&channel.to_be_bytes());
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

/// Writes a frame's head with an open size and the first four bytes of its payload; returns where
/// the size stands.
fn begin(out: &mut Vec<u8>, kind: FrameKind, channel: u16, first: [u8; 4]) -> usize {
    let [channel_0, channel_1] = channel.to_be_bytes();
    let [a, b, c, d] = first;
    out.extend_from_slice(&[kind as u8, channel_0, channel_1, 0, 0, 0, 0, a, b, c, d]);
    out.len() - 8
}

fn finish(out: &mut Vec<u8>, size_at: usize) {
    let size = u32::try_from(out.len() - size_at - 4).unwrap_or(u32::MAX);
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(END);
}

/// The text is at most 255 bytes: it came from a short string or was cut to one.
fn short_string(out: &mut Vec<u8>, text: &str) {
    short_bytes(out, text.as_bytes());
}

fn short_bytes(out: &mut Vec<u8>, text: &[u8]) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(&text[..text.len().min(limit::SHORT_STRING_BYTES)]);
}

/// Exchange and routing key.
fn address(out: &mut Vec<u8>, message: &Message) {
    let (exchange, key) = message.address_bytes();
    short_bytes(out, exchange);
    short_bytes(out, key);
}

#[cfg(test)]
mod tests;
