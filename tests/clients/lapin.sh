#!/usr/bin/env bash
# lapin's own tests, on its two runtimes. Usage: tests/clients/lapin.sh [path to the railpost binary]
. "$(dirname "$0")/suite.sh" lapin "$@"

version=4.12.3
# Our own tests use this release, so that cargo has fetched its source.
cargo fetch --quiet --locked
source=$(echo "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"lapin-$version")
rm -rf "$work/source"
cp -r "$source" "$work/source"
# It must not be taken for a part of ours.
printf '\n[workspace]\n' >>"$work/source/Cargo.toml"

start_broker 127.0.0.1:5672
cd "$work/source"
AMQP_ADDR=amqp://127.0.0.1:5672/%2f CARGO_TARGET_DIR=$work/target CARGO_TERM_COLOR=never \
  CARGO_PROFILE_DEV_DEBUG=false cargo test --locked --tests --features smol,tokio \
  --no-fail-fast >"$work/output" 2>&1 || true
judge "$work/output"
