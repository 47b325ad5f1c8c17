//! Floor 1: who may log in, as whom, and what they may do then.

pub mod directory;
pub mod password;
pub mod pattern;
pub mod permission;
pub mod sasl;
pub mod setback;
pub mod user;
