//! Floor 1: bytes to frames and methods, and back. The only place that knows `amq-protocol`.
//!
//! Two layers: the methods of every message (publish, deliver, ack and their content) are read and
//! written by hand, without allocation; all others go through `amq-protocol`, after `layout`
//! has checked their shape, so that it never sees bytes it would reject or recurse into.

pub mod buffer;
pub mod content;
pub mod encode;
pub mod field;
pub mod frame;
mod layout;
pub mod method;
pub mod preamble;
pub mod reply;
