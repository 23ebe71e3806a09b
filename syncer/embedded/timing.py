"""How long the embedded server's life cycle may wait for what."""

from __future__ import annotations

import msgspec


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """How long the embedded server's life cycle waits, in seconds."""

    probe: float = 20.0
    """For a program to say its version, or to show that it can be run: the disk may be slow."""
    copy: float = 60.0
    """For another process to copy the programs (24 MB), which takes a second or less."""
    initialize: float = 120.0
    """For initdb, which writes 40 MB and makes sure that they are on the disk."""
    start: float = 120.0
    """For a server to be ready: after a crash it replays its log first."""
    stop: float = 30.0
    """For a server to end after SIGINT, which waits for no client."""
    quit: float = 15.0
    """For a server to end after SIGQUIT, and for its process to be reaped."""
    orphans: float = 5.0
    """For the backends of a killed postmaster to notice; then they are sent SIGQUIT."""
    terminate: float = 5.0
    """For a program that took too long to end after SIGTERM, and again after SIGKILL."""

    @property
    def turn(self) -> float:
        """For other processes to start or stop the server: as long as one of them may take."""
        return self.copy + self.initialize + self.start + self.stop + self.quit
