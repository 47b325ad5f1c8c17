//! Floor 0: AMQP's vocabulary. Names, arguments, the message, reply codes, limits and logical time;
//! knows nothing else of the program.

pub mod argument;
pub mod deduplication;
pub mod delay;
pub mod id;
pub mod json;
pub mod limit;
pub mod message;
pub mod name;
pub mod offset;
pub mod property;
pub mod reply_code;
pub mod table;
pub mod time;
