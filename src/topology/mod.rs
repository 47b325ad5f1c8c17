//! Floor 3: topology files, from TOML text to declarations, with everything wrong in them named.
//!
//! [`load`] reads, [`lint`] judges, [`check`] does both. Nothing here touches a disk or a clock:
//! callers hand in the texts and the day.
//!
//! [`load`]: load::load
//! [`check`]: lint::check

pub mod adopt;
pub mod apply;
pub mod compile;
mod configuration;
pub mod coverage;
pub mod day;
pub mod declared;
pub mod diagnostic;
pub mod engine;
pub mod fate;
pub mod fix;
pub mod format;
pub mod graph;
mod ladder;
pub mod lint;
pub mod load;
mod login;
pub mod observed;
pub mod plan;
pub mod rabbitmq;
pub mod render;
pub mod rollout;
pub mod run;
pub mod scenario;
pub mod source;
pub mod verdict;
pub mod way;

pub use declared::Topology;
pub use diagnostic::Diagnostic;
pub use lint::check;
pub use lint::check_all;
pub use load::Loaded;
pub use load::load;
pub use source::Source;
