#!/usr/bin/env bash
# aiormq's own tests. Usage: tests/clients/aiormq.sh [path to the railpost binary]
. "$(dirname "$0")/suite.sh" aiormq "$@"

version=7.2.4
python_with "aiormq==$version" 'aiomisc==18.0.37' 'aiomisc-pytest==2.0.0' 'pytest==8.4.2' \
  'pytest-timeout==2.4.0' 'pytest-xdist==3.8.0' \
  'pytest-rerunfailures==16.1' 'markdown-pytest==0.6.6'
python_source aiormq $version

start_broker 127.0.0.1:5672
cd "$work/source"
# Its tests measure what they leave in memory, which other work on the machine disturbs: a test that
# fails is run again. Those over TLS are not run at all.
PYTHONPATH=$clients "$work/venv/bin/python" -m pytest -q -n 4 --reruns 3 -k 'not amqps' \
  -p aiormq_broker -p no:cacheprovider --timeout 60 tests --junitxml="$work/results.xml" \
  >"$work/output" 2>&1 || true
judge "$work/results.xml"
