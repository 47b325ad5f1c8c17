"""The fixtures that aiormq's repository has at its root, and its source distribution lacks."""

import os
import types

import pytest
from yarl import URL


@pytest.fixture(scope="session")
def rabbitmq_container():
    tls = int(os.environ["TLS_PORT"])
    return types.SimpleNamespace(host="127.0.0.1", ports={"5672/tcp": 5672, "5671/tcp": tls})


@pytest.fixture(scope="session")
def amqp_direct_url():
    return URL("amqp://guest:guest@127.0.0.1:5672//")
