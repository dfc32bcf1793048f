"""The clock of a process that may be stopped."""

from __future__ import annotations

import pytest

from vggcli.run import clock as module


def test_a_stopped_process_is_no_stuck_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    seen = module.RunningClock()
    assert seen.seconds() == 0
    clock[0] = 3600.0  # Ctrl-Z, and an hour later fg
    assert seen.seconds() <= 2
    for _ in range(57):
        clock[0] += 1
        assert seen.seconds() < 60
    clock[0] += 1
    assert seen.seconds() == 60
