//! Floor 1: who may log in, and as whom.

pub mod password;
pub mod sasl;
pub mod user;
