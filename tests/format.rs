//! Takes a data directory apart with nothing but the drawings of `docs/format.md`, and opens one
//! that was written when this format was new.
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the document and the golden directory from disk"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use railpost::amqp::id::QueueId;
use railpost::amqp::id::Seq;
use railpost::amqp::time::Timestamp;
use railpost::server::disk::DataFolder;
use railpost::server::rollout;
use railpost::storage::batch::Batch;
use railpost::storage::config::Config;
use railpost::storage::disk::Disk;
use railpost::storage::message::Body;
use railpost::storage::message::Cause;
use railpost::storage::message::Durability;
use railpost::storage::message::NewMessage;
use railpost::storage::message::Target;
use railpost::storage::reader::Stored;
use railpost::storage::store::Store;
use railpost::storage::store::view::Wanted;
use railpost::storage::verify::verify;

use crate::drawing::Drawings;
use crate::drawing::Fields;
use crate::drawing::Input;

#[path = "format/drawing.rs"]
mod drawing;

const IDENTITY: [u8; 16] = *b"a golden store\x00\x01";
const ALL: Wanted =
    Wanted { from: Seq(0), end: Seq(u64::MAX), count: usize::MAX, bytes: u64::MAX, priority: None };

fn config() -> Config {
    Config {
        identity: IDENTITY,
        segment_bytes: 32 << 10,
        chunk_entries: 80,
        spare_segments: 0,
        ..Config::default()
    }
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/1.0")
}

/// A copy of the golden directory, as opening a store changes it.
fn golden_copy() -> (tempfile::TempDir, DataFolder) {
    let place = tempfile::tempdir().expect("the disk works");
    let folder = DataFolder::new(place.path()).expect("the disk works");
    for (path, bytes) in files(&golden()) {
        fs::write(place.path().join(path), bytes).expect("the disk works");
    }
    (place, folder)
}

/// All files below a directory by relative path.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for below in ["", "log", "idx", "damaged"] {
        let Ok(entries) = fs::read_dir(folder.join(below)) else { continue };
        for entry in entries
            .map(|it| it.expect("it can be read"))
            .filter(|it| it.file_type().expect("it can be read").is_file())
        {
            let name = entry.file_name().into_string().expect("names are plain");
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            found.insert(path, fs::read(entry.path()).expect("the disk works"));
        }
    }
    found
}

fn publish(batch: &mut Batch, targets: &[Target], from: Option<(u32, u64)>, body: &[u8]) {
    let head = format!("head of {}", body.len());
    let message = NewMessage {
        targets,
        flags: 5,
        head: head.as_bytes(),
        body: Body::new(body.chunks(3)),
        durability: Durability::Sync,
    };
    match from {
        None => batch.message(&message),
        Some((queue, seq)) => batch.moved((QueueId(queue), Seq(seq)), Cause(3), &message),
    }
}

fn target(queue: u32, seq: u64) -> Target {
    let expires_at = seq.is_multiple_of(50).then_some(Timestamp(1_700_000_000_000 + seq));
    let priority = u8::from(seq > 200) * 3;
    Target { queue: QueueId(queue), seq: Seq(seq), priority, expires_at }
}

/// Writes a store with every kind of file and record in it.
fn write(folder: DataFolder) {
    let (mut store, _) = Store::open(Arc::new(folder), config()).expect("the disk works");
    let mut batch = Batch::new();
    batch.define(b"vhost", b"/");
    batch.define(b"gone", b"soon");
    batch.undefine(b"gone");
    for seq in 1..=300 {
        publish(&mut batch, &[target(1, seq)], None, &[b'a'; 9]);
    }
    store.commit(&mut batch).expect("the disk works");
    [3, 4, 5, 9, 170].into_iter().for_each(|seq| batch.ack(QueueId(1), Seq(seq), Cause(1)));
    batch.require_sync();
    store.commit(&mut batch).expect("the disk works");
    let work =
        store.begin_checkpoint(Timestamp(1)).expect("the disk works").expect("the disk works");
    let result = work.run(&*store.disk());
    store.finish_checkpoint(result).expect("the disk works");
    publish(
        &mut batch,
        &[target(1, 301), target(2, 1), target(70_000, 1 << 40)],
        None,
        b"to three",
    );
    batch.returned(QueueId(1), Seq(301), b"came back");
    batch.delayed(QueueId(2), Seq(1), b"waits");
    batch.watermark(QueueId(1), Seq(100));
    publish(&mut batch, &[target(3, 1)], Some((1, 1)), b"moved");
    publish(&mut batch, &[target(4, 1), target(5, 1)], None, &[b'b'; 9000]);
    store.commit(&mut batch).expect("the disk works");
    batch.drop_queue(QueueId(4));
    batch.purge(QueueId(1), Seq(100), &[Seq(20), Seq(21)]);
    store.commit(&mut batch).expect("the disk works");
    store.seal().expect("the disk works");
}

#[test]
fn the_same_bytes_are_written_today() {
    let place = tempfile::tempdir().unwrap();
    write(DataFolder::new(place.path()).unwrap());
    let written = files(place.path());
    if std::env::var_os("RAILPOST_WRITE_GOLDEN").is_some() {
        for (path, bytes) in &written {
            let path = golden().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
    }
    let golden = files(&golden());
    assert_eq!(written.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    for (path, bytes) in written {
        assert!(bytes == golden[&path], "{path} is written in another way");
    }
}

#[test]
fn the_golden_directory_opens() {
    let (_place, folder) = golden_copy();
    assert!(verify(&folder, &config()).unwrap().is_whole());
    let (mut store, report) = Store::open(Arc::new(folder), config()).unwrap();
    assert_eq!((report.batches > 2, report.torn, report.checkpoint), (true, None, 2));
    assert_eq!(store.defined().collect::<Vec<_>>(), [(&b"vhost"[..], &b"/"[..])]);
    let queues: Vec<_> = store.queues().iter().map(|it| (it.id.0, it.n_messages)).collect();
    assert_eq!(queues, [(1, 203), (2, 1), (3, 1), (5, 1), (70_000, 1)]);
    let seqs: Vec<u64> =
        store.live(QueueId(1), Seq(0), 9999).unwrap().iter().map(|it| it.seq.0).collect();
    let expected: Vec<u64> =
        [20, 21].into_iter().chain(100..302).filter(|seq| *seq != 170).collect();
    assert_eq!(seqs, expected);
    assert_eq!(store.mark(QueueId(1), Seq(301)), Some(&b"came back"[..]));
    assert_eq!(store.mark(QueueId(2), Seq(1)), Some(&b"waits"[..]));
    assert_eq!(store.queue(QueueId(1)).unwrap().watermark, Seq(100));
    let levels = store.levels(QueueId(1));
    let levels: Vec<_> = levels.iter().map(|it| (it.priority, it.n_messages)).collect();
    assert_eq!(levels, [(0, 102), (3, 101)]);
    let expiring = store.expiring(QueueId(1), Seq(0), 99).unwrap();
    assert_eq!(expiring.iter().map(|it| it.seq.0).collect::<Vec<_>>(), [100, 150, 200, 250, 300]);
    for (queue, body) in [(2, &b"to three"[..]), (3, b"moved"), (5, &[b'b'; 9000])] {
        let locations = store.locate(QueueId(queue), ALL).unwrap();
        let head = format!("head of {}", body.len()).into_bytes().into();
        let expected = Stored::Message { flags: 5, head, body: body.to_vec().into() };
        assert_eq!(store.reader().read(&locations).unwrap(), [expected]);
    }
}

fn crc(bytes: &[u8]) -> u64 {
    crc32c::crc32c(bytes).into()
}

/// The records of a batch, by the drawings: kind, flags, payload.
fn records(drawings: &Drawings, batch: &Fields, bytes: &[u8]) -> Vec<(u64, Fields)> {
    let (mut at, mut chain, mut found) = (64, 0, Vec::new());
    for _ in 0..batch.number("n_records") {
        let record = drawings.decode("record", &mut Input::new(&bytes[at..]));
        let header = &bytes[at..][..record.size("header_bytes")];
        let body = &bytes[at + header.len()..][..record.size("body_bytes")];
        assert_eq!(record.number("checksum"), crc(&header[4..]));
        assert_eq!(record.number("body_checksum"), crc(body));
        chain = crc32c::crc32c_append(chain, &header[..4]);
        let kind = record.number("kind");
        let drawing = match kind {
            1 => "message",
            2 => "ack",
            3..=5 => "marked",
            6 => "define",
            7 => "undefine",
            8 => "purge",
            9 => "drop",
            10 => "next",
            11 => "seal",
            other => panic!("no kind {other}"),
        };
        let mut payload = Input::new(&header[20..]);
        payload.know("flags", record.number("flags"));
        found.push((kind, drawings.decode(drawing, &mut payload)));
        assert!(payload.is_empty(), "{drawing} has more bytes than drawn");
        at += header.len() + body.len();
    }
    assert_eq!((at, u64::from(chain)), (batch.size("bytes"), batch.number("chain")));
    found
}

/// All records of a segment, and the segment's number after it.
fn segment(drawings: &Drawings, number: u64, bytes: &[u8]) -> Vec<(u64, Fields)> {
    let salt = crc32c::crc32c(&IDENTITY);
    let (mut at, mut previous, mut found) = (0, None, Vec::new());
    while bytes.get(at).is_some_and(|first| *first != 0) {
        let batch = drawings.decode("batch", &mut Input::new(&bytes[at..]));
        let checksum = crc32c::crc32c_append(salt, &bytes[at + 8..at + 64]);
        assert_eq!(batch.number("checksum"), u64::from(checksum));
        assert_eq!(batch.number("segment"), number);
        assert!(previous.is_none_or(|previous| previous == batch.number("previous")));
        assert!(batch.number("synced") <= batch.number("previous"));
        previous = Some(batch.number("id"));
        found.extend(records(drawings, &batch, &bytes[at..]));
        at += batch.size("bytes").next_multiple_of(4096);
    }
    assert!(bytes[at..].iter().all(|byte| *byte == 0));
    found
}

#[test]
fn the_drawings_fit_every_record() {
    let drawings = Drawings::read();
    let golden = files(&golden());
    let segments = golden.iter().filter(|(path, _)| path.starts_with("log/"));
    let records: Vec<(u64, Fields)> = segments
        .flat_map(|(path, bytes)| segment(&drawings, path[4..12].parse().unwrap(), bytes))
        .collect();
    let of = |kind: u64| {
        let ours = records.iter().filter(move |(it, _)| *it == kind);
        ours.map(|(_, fields)| fields).collect::<Vec<_>>()
    };
    for kind in 1..=11 {
        assert!(!of(kind).is_empty(), "no record of kind {kind}");
    }
    let messages = of(1);
    assert_eq!(messages.len(), 303);
    let places = |message: &Fields| -> Vec<(u64, u64, u64)> {
        let targets = message.list("targets").iter();
        targets.map(|it| (it.number("queue"), it.number("seq"), it.number("tag"))).collect()
    };
    assert_eq!(places(messages[49]), [(1, 50, 1)]);
    assert_eq!(messages[49].list("targets")[0].number("expires_at"), 1_700_000_000_050);
    assert_eq!(messages[49].bytes("head"), b"head of 9");
    assert_eq!(places(messages[300]), [(1, 301, 6), (2, 1, 0), (70_000, 1 << 40, 6)]);
    let from = &messages[301].fields("from");
    assert_eq!(["queue", "seq", "cause"].map(|name| from.number(name)), [1, 1, 3]);
    assert_eq!(ranges(of(2)[0]), [(3, 5), (9, 9), (170, 170)]);
    assert_eq!(ranges(of(8)[0]), [(20, 21)]);
    assert_eq!(of(8)[0].number("below"), 100);
    assert_eq!(
        (of(3)[0].bytes("mark"), of(4)[0].bytes("mark")),
        (&b"came back"[..], &b"waits"[..])
    );
    assert_eq!((of(5)[0].number("seq"), of(9)[0].number("queue")), (100, 4));
    assert_eq!((of(6)[0].bytes("key"), of(6)[0].bytes("value")), (&b"vhost"[..], &b"/"[..]));
    assert_eq!(of(7)[0].bytes("key"), b"gone");
    assert_eq!(of(10)[0].number("bytes"), 32 << 10);
}

fn ranges(fields: &Fields) -> Vec<(u64, u64)> {
    let mut end = 0;
    let ranges = fields.list("ranges").iter().map(|range| {
        let first = end + range.number("first") / 2;
        let last = first + range.optional("more").map_or(0, |more| more + 1);
        end = last + 1;
        (first, last)
    });
    ranges.collect()
}

#[test]
fn the_drawings_fit_the_store_file() {
    let drawings = Drawings::read();
    let bytes = &files(&golden())["STORE"];
    for at in [0, 4096] {
        let store = drawings.decode("store", &mut Input::new(&bytes[at..at + 32]));
        assert_eq!((store.number("major"), store.number("minor")), (1, 0));
        assert_eq!(store.bytes("identity"), IDENTITY);
        assert_eq!(store.number("checksum"), crc(&bytes[at + 8..at + 32]));
        assert!(bytes[at + 32..at + 4096].iter().all(|byte| *byte == 0));
    }
}

/// The entries of a chunk: numbers counted from 0, with segment, offset, lengths, priority, expiry.
fn entries(drawings: &Drawings, bytes: &[u8], n_entries: u64) -> BTreeMap<u64, [u64; 6]> {
    let mut found = BTreeMap::new();
    for (block, first) in (0..n_entries).step_by(64).enumerate() {
        let at = u32::from_le_bytes(*bytes[4 * block..].first_chunk().expect("a table of offsets"));
        let mut input = Input::new(&bytes[at as usize..]);
        let (mut index, mut before, mut end) = (first, [0_u64; 6], 0);
        while index < n_entries.min(first + 64) {
            let entry = drawings.decode("entry", &mut input);
            if let Some(gone) = entry.optional("gone") {
                index += gone;
                continue;
            }
            let old = before;
            let difference = |name| entry.signed(name).unwrap_or(0);
            let add = |old: u64, name| old.wrapping_add_signed(difference(name));
            before[0] = add(old[0], "segment");
            before[1] = add(if before[0] == old[0] { end } else { 0 }, "offset");
            before[2] = add(old[2], "body_bytes");
            before[3] = add(old[3], "header_bytes");
            before[4] = add(old[4], "priority");
            before[5] = add(old[5], "expires_at");
            end = before[1] + before[2] + before[3];
            let mut timed = before;
            if entry.signed("expires_at").is_none() {
                timed[5] = 0;
            }
            found.insert(index, timed);
            index += 1;
        }
    }
    found
}

#[test]
fn the_drawings_fit_checkpoints_and_chunks() {
    let drawings = Drawings::read();
    let golden = files(&golden());
    let bytes = &golden["ckpt-b"];
    let mut input = Input::new(bytes);
    let checkpoint = drawings.decode("checkpoint", &mut input);
    assert!(input.is_empty());
    assert_eq!(checkpoint.number("checksum"), crc(&bytes[8..]));
    assert_eq!((checkpoint.number("number"), checkpoint.size("bytes")), (2, bytes.len()));
    let definitions = checkpoint.list("definitions");
    assert_eq!((definitions.len(), definitions[0].bytes("key")), (1, &b"vhost"[..]));
    let [queue] = checkpoint.list("queues") else { panic!("one queue") };
    assert_eq!(["id", "next_seq", "watermark"].map(|name| queue.number(name)), [1, 301, 0]);
    let mut seqs = Vec::new();
    let mut first_offset = None;
    for chunk in queue.list("chunks") {
        let file = &golden[&format!("idx/{:08}.idx", chunk.number("file"))];
        let bytes = &file[chunk.size("offset")..][..chunk.size("bytes")];
        assert_eq!(chunk.number("checksum"), crc(bytes));
        let gone = chunk.words("gone");
        let is_gone = |index: u64| {
            gone.iter().zip(0..).any(|(word, at)| at == index / 64 && word >> (index % 64) & 1 == 1)
        };
        let entries = entries(&drawings, bytes, chunk.number("n_entries"));
        let live: Vec<u64> = entries.keys().copied().filter(|it| !is_gone(*it)).collect();
        assert_eq!(live.len() as u64, chunk.number("n_live"));
        assert_eq!(chunk.number("live_bytes"), 9 * live.len() as u64);
        assert_eq!(chunk.number("tag") & 1, 1, "number 50, 100 and so on expire");
        first_offset = first_offset.or(entries.values().next().map(|entry| entry[1]));
        assert!(entries.values().all(|entry| entry[2] == 9));
        seqs.extend(live.iter().map(|index| chunk.number("first") + index));
    }
    let tail = entries(&drawings, queue.bytes("tail"), queue.number("tail_entries"));
    seqs.extend(tail.keys().map(|index| queue.number("tail_first") + index));
    let settled = [3, 4, 5, 9, 170];
    assert_eq!(seqs, (1..301).filter(|seq| !settled.contains(seq)).collect::<Vec<_>>());
    assert_eq!(tail.values().last().map(|it| (it[4], it[5])), Some((3, 1_700_000_000_300)));
    let log = &golden["log/00000001.log"];
    let at = usize::try_from(first_offset.unwrap()).unwrap();
    let record = drawings.decode("record", &mut Input::new(&log[at..]));
    assert_eq!((record.number("kind"), record.number("body_bytes")), (1, 9));
}

#[test]
fn nothing_in_the_golden_directory_is_unknown() {
    let (_place, folder) = golden_copy();
    assert_eq!(folder.list().unwrap().len(), files(&golden()).len());
}

/// The files that were applied last, as every version wrote them; what this one writes is as it was.
#[test]
fn the_applied_files_of_every_format_are_read() {
    let place = tempfile::tempdir().expect("the disk works");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/topology");
    for (format, declares) in [(1, "queues.billing"), (2, "queues.invoices")] {
        let (from, to) = (place.path().join(format!("{format}")), place.path().join("to"));
        [&from, &to].into_iter().for_each(|it| fs::create_dir_all(it).expect("the disk works"));
        let bytes = fs::read(golden.join(format!("{format}.json"))).expect("it is there");
        fs::write(from.join(rollout::APPLIED), &bytes).expect("the disk works");
        let [source] = &rollout::kept(&from).expect("it is read")[..] else { panic!("one file") };
        assert!(source.text.contains(declares));
        rollout::copy_kept(&from, &to).expect("it is copied");
        let copy = fs::read(to.join(rollout::APPLIED)).expect("it is there");
        assert_eq!(copy, bytes, "format {format}");
    }
    let newer = place.path().join("to").join(rollout::APPLIED);
    fs::write(newer, "{ \"format\": 3, \"sources\": [] }").expect("the disk works");
    let error = rollout::kept(&place.path().join("to")).expect_err("nobody knows it");
    assert_eq!(error.to_string(), "its format is 3, and 2 is known");
}
