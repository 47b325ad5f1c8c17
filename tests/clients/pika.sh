#!/usr/bin/env bash
# pika's own tests, all adapters. Usage: tests/clients/pika.sh [path to the railpost binary]
#
# The package on PyPI comes without its tests. Debian's source package is the authors' archive as
# it was released, so it is fetched from there; its checksum is what makes it trusted.
. "$(dirname "$0")/suite.sh" pika "$@"

version=1.3.2
archive=$work/python-pika_$version.orig.tar.gz
if [ ! -f "$archive" ]; then
  mkdir -p "$work"/apt/{etc/apt.conf.d,etc/preferences.d,lists/partial,cache/archives/partial}
  echo "deb-src [trusted=yes check-valid-until=no] https://deb.debian.org/debian trixie main" \
    >"$work/apt/etc/sources.list"
  cat >"$work/apt/conf" <<EOF
Dir::Etc "$work/apt/etc";
Dir::State::lists "$work/apt/lists";
Dir::Cache "$work/apt/cache";
EOF
  export APT_CONFIG=$work/apt/conf
  apt-get update -qq 2>"$work/apt/log" || { cat "$work/apt/log"; exit 1; }
  (cd "$work" && apt-get source -qq --download-only --tar-only python-pika=$version-1 2>>apt/log) ||
    { cat "$work/apt/log"; exit 1; }
fi
echo "5eb71b9a0047c77d99378e525a2041fc50aae4a177b060f9825b3e2fdcc96fc4  $archive" |
  sha256sum --check --quiet
rm -rf "$work/source"
mkdir "$work/source"
tar -xzf "$archive" --strip-components=1 -C "$work/source"
python_with 'gevent==25.9.1' 'tornado==6.5.2' 'twisted==25.5.0' 'pynose==1.5.5' \
  'pytest==8.4.2' 'pytest-timeout==2.4.0'

start_broker 127.0.0.1:5672
cd "$work/source"
"$work/venv/bin/python" -m pytest -q -p no:cacheprovider --timeout 60 \
  -o 'python_files=*test*.py' tests/acceptance tests/unit \
  --junitxml="$work/results.xml" >"$work/output" 2>&1 || true
judge "$work/results.xml"
