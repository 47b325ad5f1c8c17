//! Every maximum of the program, in one place.

/// Largest frame this broker proposes and sends, in bytes, its 8 bytes of envelope included.
pub const FRAME_MAX: u32 = 131_072;
/// SPEC: `frame-min-size`: no peer may negotiate less.
pub const FRAME_MIN: u32 = 4096;
/// Largest frame taken before `connection.tune-ok`; bounds what a stranger can make us hold.
pub const FRAME_MAX_BEFORE_TUNE: u32 = 8192;
/// Bytes of a frame around its payload: type, channel, size and end octet.
pub const FRAME_ENVELOPE: u32 = 8;
/// Channels one connection may have open.
pub const CHANNEL_MAX: u16 = 2047;
/// Seconds between heartbeats that this broker proposes.
pub const HEARTBEAT_SECS: u16 = 60;
/// How long a peer may take from connecting to `connection.open`.
pub const HANDSHAKE_MS: u64 = 10_000;
/// How long a peer may take to answer `connection.close` before its socket is dropped.
pub const CLOSE_MS: u64 = 30_000;
/// As [`CLOSE_MS`], after an error that made the peer's bytes unreadable.
pub const CLOSE_AFTER_FRAME_ERROR_MS: u64 = 3000;
/// Default for the largest message body, in bytes.
pub const BODY_BYTES: u64 = 128 * 1024 * 1024;
/// No setting raises the largest body above this.
pub const BODY_BYTES_HARD: u64 = 512 * 1024 * 1024;
/// SPEC: a short string's length is one octet.
pub const SHORT_STRING_BYTES: usize = 255;
/// How deep tables and arrays may nest in a field table.
pub const TABLE_DEPTH: usize = 32;
/// SPEC: reply-text is a short string.
pub const REPLY_TEXT_BYTES: usize = 255;

/// Longest time any argument may ask for: ten years, RabbitMQ's own maximum.
pub const TTL_MS: u64 = 315_360_000_000;
/// Exchanges one message may visit on its way.
pub const HOPS: usize = 1000;
/// Entries kept in `x-death`; older ones are dropped from the end.
pub const DEATHS: usize = 64;
/// Attempts whose history a parked message keeps; the first and the latest stay.
pub const ATTEMPTS_KEPT: usize = 32;
/// Messages that one dead-letter cascade may move before it is handed to a later turn.
pub const CASCADE: usize = 10_000;

/// Unsent bytes of one connection above which its consumers get nothing more.
pub const OUTBOX_BYTES_HIGH: usize = 1024 * 1024;
/// Unsent bytes below which its consumers are served again.
pub const OUTBOX_BYTES_LOW: usize = 256 * 1024;
/// Unacked deliveries one channel may hold when its client set no prefetch.
pub const UNACKED_PER_CHANNEL: usize = 1_000_000;
/// Messages of one queue that keep their bodies in memory at its end before they are left to disk.
pub const HOT_TAIL: usize = 4096;
/// Bytes of bodies that do so.
pub const HOT_TAIL_BYTES: u64 = 4 * 1024 * 1024;
/// Messages read from disk at a time for a queue whose head is there.
pub const FETCH_COUNT: usize = 1024;
/// Bytes read from disk at a time.
pub const FETCH_BYTES: u64 = 512 * 1024;
/// Bytes that all consumers of a stream together may have read ahead, though each some.
pub const STREAM_AHEAD_BYTES: u64 = 16 * 1024 * 1024;
/// Messages of a stream whose sizes are added up at a time.
pub const PREFIX_COUNT: usize = 16 * 1024;
/// Bytes waiting for the log's next batch above which publishers are not read.
pub const LOG_PENDING_BYTES: usize = 16 * 1024 * 1024;

/// Exchanges, queues and bindings of one vhost that a client may declare.
pub const EXCHANGES_PER_VHOST: usize = 1_000_000;
pub const QUEUES_PER_VHOST: usize = 1_000_000;
pub const BINDINGS_PER_VHOST: usize = 10_000_000;
/// Consumers of one channel.
pub const CONSUMERS_PER_CHANNEL: usize = 65_536;
/// Bodies bigger than this are kept as the chunks they came in, not copied together.
pub const PACKED_BODY_BYTES: usize = 16 * 1024;

/// Keys that a queue or exchange remembers to take each message once.
pub const DEDUPLICATION_KEYS: usize = 1_000_000;
/// Bytes of a pattern in a permission or policy.
pub const PATTERN_BYTES: usize = 4096;
/// Bytes a pattern may take when it is compiled.
pub const PATTERN_PROGRAM_BYTES: usize = 1024 * 1024;
/// Steps a search with look-around or back-references may take.
pub const PATTERN_STEPS: usize = 20_000;
/// Answers about access that a connection remembers.
pub const VERDICTS_KEPT: usize = 16;
/// Policies, and as many operator policies, of one vhost.
pub const POLICIES_PER_VHOST: usize = 1000;
