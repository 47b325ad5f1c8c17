//! The `railpost` command.

fn main() {}
