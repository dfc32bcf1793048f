"""What tests of fetching weights share: servers on loopback, and trust in their own certificate only."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from httpserver import CERTIFICATE, FaultServer


@pytest.fixture(autouse=True)
def own_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def secure() -> Iterator[FaultServer]:
    with FaultServer(tls=True) as running:
        yield running
