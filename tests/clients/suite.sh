# What the scripts of the suites share: `. tests/clients/suite.sh NAME [path to the railpost binary]`.
#
# A suite is what a client's authors ship with a release, run unmodified. All of them expect a
# broker at localhost:5672, so that is where one is started, on a fresh data directory. With
# SUITE_BROKER=external they use whatever listens there already; that is how the exclusion lists
# were made, against RabbitMQ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
name=$1
railpost=$(realpath "${2:-target/release/railpost}")
clients=$PWD/tests/clients
work=$PWD/target/clients/$name
mkdir -p "$work"
temporary=$(mktemp -d)
brokers=()
# What else the brokers are started with.
options=()

end() {
  for it in "${brokers[@]}"; do
    kill "$it" 2>/dev/null || true
    wait "$it" 2>/dev/null || true
  done
  rm -rf "$temporary"
}
trap end EXIT

# Starts a broker at an address of this machine's own, and waits until it answers.
start_broker() {
  [ "${SUITE_BROKER:-}" = external ] && return
  local place="$temporary/${#brokers[@]}"
  mkdir "$place"
  "$railpost" serve --listen "$1" --data "$place/data" "${options[@]}" >"$place/out" 2>"$place/err" &
  local broker=$!
  brokers+=("$broker")
  for _ in $(seq 200); do
    grep -qs 'Server startup complete' "$place/out" && return
    kill -0 "$broker" 2>/dev/null || { cat "$place/out" "$place/err"; exit 1; }
    read -r -t 0.1 <> <(:) || true
  done
  echo "the broker at $1 does not start" >&2
  exit 1
}

# A Python of its own, with what is named.
python_with() {
  [ -x "$work/venv/bin/python" ] || python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# Counts the results in a file; fails when a test fails that is not excluded.
judge() {
  python3 "$clients/judge.py" "$name" "$1" "$clients/$name.exclude"
}

# Answers as Docker would, with brokers at these ports in its containers.
start_docker() {
  if [ "${SUITE_BROKER:-}" = external ]; then set -- 5672; fi
  python3 "$clients/docker.py" "$temporary/docker" "$@" &
  brokers+=("$!")
  until [ -s "$temporary/docker" ]; do read -r -t 0.1 <> <(:) || true; done
  DOCKER_HOST=tcp://127.0.0.1:$(cat "$temporary/docker")
  export DOCKER_HOST
}

# Fetches a release's source distribution from PyPI and unpacks it: its name there, its version.
python_source() {
  local archive=$work/${1//-/_}-$2.tar.gz
  [ -f "$archive" ] || "$work/venv/bin/pip" download --quiet --disable-pip-version-check \
    --no-deps --no-binary "$1" --dest "$work" "$1==$2"
  rm -rf "$work/source"
  mkdir "$work/source"
  tar -xzf "$archive" --strip-components=1 -C "$work/source"
}
