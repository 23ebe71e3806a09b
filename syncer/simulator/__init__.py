"""The API simulator: a world of zones and images, and a server that answers from it."""

from __future__ import annotations

from syncer.simulator.calls import Call
from syncer.simulator.faults import Fault
from syncer.simulator.server import Simulator
from syncer.simulator.world import ABSENT, Drift, World

__all__ = ["ABSENT", "Call", "Drift", "Fault", "Simulator", "World"]
