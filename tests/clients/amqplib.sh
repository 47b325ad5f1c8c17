#!/usr/bin/env bash
# amqplib's own tests. Usage: tests/clients/amqplib.sh [path to the railpost binary]
. "$(dirname "$0")/suite.sh" amqplib "$@"

version=0.10.9
(cd "$work" && [ -f "amqplib-$version.tgz" ] || npm pack --silent --pack-destination "$work" \
  "amqplib@$version" >/dev/null)
rm -rf "$work/package"
tar -xzf "$work/amqplib-$version.tgz" -C "$work"
[ -d "$work/node_modules" ] ||
  npm install --silent --no-audit --no-fund --no-save --prefix "$work" \
    'mocha@9.2.2' 'buffer-more-ints@1.0.0' 'url-parse@1.5.10' 'claire@0.4.1'

# One test wants to hear that it is RabbitMQ, and one connects to ::1.
printf '[compat]\nproduct = "RabbitMQ"\n' >"$temporary/railpost.toml"
options=(--config "$temporary/railpost.toml")
start_broker 127.0.0.1:5672
if [ -e /proc/net/if_inet6 ]; then start_broker '[::1]:5672'; fi
cd "$work/package"
URL=amqp://127.0.0.1:5672 "$work/node_modules/.bin/mocha" --check-leaks -u tdd --exit \
  --reporter xunit --reporter-options "output=$work/results.xml" test/ >"$work/output" 2>&1 || true
judge "$work/results.xml"
