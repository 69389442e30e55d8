"""A test API server for each test."""

from collections.abc import Iterator

import pytest

from tests.cluster.apiserver import ApiServer, api_server


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running:
        yield running
