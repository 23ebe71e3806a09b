"""What the environment says of the process."""

from __future__ import annotations

import os

import pytest

from syncer.config.machine import bare_environment, operator, supervisor


@pytest.mark.parametrize(
    ("pid", "microseconds", "seconds"),
    [
        (None, "200000", 0.2),
        ("ours", "30000000", 30.0),
        ("1", "200000", None),
        (None, "often", None),
        (None, None, None),
    ],
)
def test_only_a_watchdog_of_this_process_counts(
    monkeypatch: pytest.MonkeyPatch,
    pid: str | None,
    microseconds: str | None,
    seconds: float | None,
) -> None:
    """A child inherits the variables of a watchdog that waits for its parent."""
    pid = str(os.getpid()) if pid == "ours" else pid
    for name, value in (("WATCHDOG_PID", pid), ("WATCHDOG_USEC", microseconds)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    asked = supervisor()
    assert (None, seconds) == (asked.socket, asked.watchdog)


def test_whoever_used_sudo_is_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person is recorded, not root."""
    monkeypatch.setenv("SUDO_USER", "ann")
    assert operator().startswith("ann@")


def test_a_child_gets_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings, credentials and libpq's variables stay here; the rest is handed on."""
    for name in ("SYNCER_ACCOUNT", "ZENLAYER_TOKEN", "ZENLAYERCLOUD_ACCESS_KEY_ID", "PGHOST"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LANG", "C")
    bare = bare_environment()
    assert "C" == bare["LANG"]
    assert not [name for name in bare if name.startswith(("SYNCER_", "ZENLAYER", "PG"))]
