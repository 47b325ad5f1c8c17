"""The fixtures that aiormq's repository has at its root, and its source distribution lacks."""

import types

import pytest
from yarl import URL


@pytest.fixture(scope="session")
def rabbitmq_container():
    # Nothing listens at the TLS port.
    return types.SimpleNamespace(host="127.0.0.1", ports={"5672/tcp": 5672, "5671/tcp": 1})


@pytest.fixture(scope="session")
def amqp_direct_url():
    return URL("amqp://guest:guest@127.0.0.1:5672//")
