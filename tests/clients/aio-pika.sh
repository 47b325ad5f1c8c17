#!/usr/bin/env bash
# aio-pika's own tests. Usage: tests/clients/aio-pika.sh [path to the railpost binary]
. "$(dirname "$0")/suite.sh" aio-pika "$@"

version=10.2.1
python_with "aio-pika==$version" 'aiomisc==18.0.37' 'aiomisc-pytest==2.0.0' 'pytest==8.4.2' \
  'pytest-timeout==2.4.0' 'pytest-xdist==3.8.0' 'pytest-rerunfailures==16.1' \
  'pytest-rst==0.2.3' 'shortuuid==1.0.13' 'timeout-decorator==0.5.0'
python_source aio-pika $version

# Each of the four processes of the tests asks for a broker of its own.
for port in 5672 5673 5674 5675; do start_broker 127.0.0.1:$port; done
start_docker 5672 5673 5674 5675
cd "$work/source"
# Its tests measure what they leave in memory, which other work on the machine disturbs: a test that
# fails is run again. Those over TLS are not run at all.
"$work/venv/bin/python" -m pytest -q -n 4 --dist loadfile --reruns 3 --ignore tests/test_amqps.py \
  -p no:cacheprovider --timeout 60 tests --junitxml="$work/results.xml" >"$work/output" 2>&1 || true
judge "$work/results.xml"
