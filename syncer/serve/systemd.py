"""Notifications to systemd: ready, status, watchdog (sd_notify(3))."""

from __future__ import annotations

import socket

from syncer.core.normalise import printable


class Notifier:
    """Sends to systemd's socket at ``address``; without systemd (None) it does nothing."""

    def __init__(self, address: str | None) -> None:
        # "@" stands for the NUL byte that an abstract name begins with.
        self._address = address.replace("@", "\0", 1) if address else None

    def ready(self) -> None:
        """Say that the service is up."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Set the line that ``systemctl status`` shows."""
        self._send(f"STATUS={printable(text)}")

    def alive(self) -> None:
        """Keep the watchdog from ending the service."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the service is ending."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError:  # systemd is busy or gone; if that lasts, its watchdog acts
                return
