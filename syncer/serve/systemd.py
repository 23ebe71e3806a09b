"""Word to systemd: ready, status, watchdog (sd_notify(3)); without systemd, nothing."""

from __future__ import annotations

import socket


class Notify:
    """Sends to the socket that systemd named, if it named one."""

    def __init__(self, address: str | None) -> None:
        # "@" stands for the NUL byte that an abstract name begins with.
        self._address = address.replace("@", "\0", 1) if address else None

    def ready(self) -> None:
        """The service is up."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """What ``systemctl status`` shows; one line."""
        self._send(f"STATUS={' '.join(text.split())}")

    def alive(self) -> None:
        """Keep the watchdog from ending us."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._address is None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(0)
            try:
                sender.sendto(message.encode(), self._address)
            except OSError:  # systemd is busy or gone: the watchdog's business, not ours
                return
