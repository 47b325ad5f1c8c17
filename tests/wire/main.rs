//! Conversations with the broker, frame by frame, as `*.txt` files beside this one.
//!
//! Each line is one step; `#` begins a comment. A letter names a connection.
//!
//! ```text
//! A> 1 queue.declare queue=work durable          the client sends this on channel 1
//! A< 1 queue.declare-ok queue=work messages=0    the next frame the broker sent must be this
//! A> 1 basic.publish key=work body=hello         method, header and body in one step
//! A< 1 basic.deliver tag=t n=1 key=work body=hello
//! A> hex 01 00 01 00 00 00 04 00 0a 00 0b ce     raw bytes
//! A<                                             nothing more has come so far
//! A> drop                                        the socket breaks
//! wait 1500ms                                    time passes
//! operator policy p ^q all 0 {"max-length":5}     people change something, see `operator.rs`
//! ```
//!
//! A connection logs in as guest when it is first named; `A> connect name=member@1 user=member`
//! says more. A topology file of the same name is applied first. `A> socket` opens one that has said nothing yet.

#![allow(
    unreachable_pub,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "modules of one test program"
)]

mod operator;
mod script;
mod words;
mod world;

use std::fs;
use std::path::Path;

#[test]
fn conversations() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("tests/wire is there")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|it| it == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let mut failures = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("readable");
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let topology = file.with_extension("toml");
        let topology = topology.exists().then_some(topology.as_path());
        failures.extend(script::run(&name, &text, topology).err());
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}
