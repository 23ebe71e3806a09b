"""The API simulator: a world of zones and images, and a server that answers from it."""

from __future__ import annotations

from syncer.simulator.calls import CallRecord
from syncer.simulator.faults import InjectedFault
from syncer.simulator.options import SimulatorOptions
from syncer.simulator.server import Simulator
from syncer.simulator.world import ABSENT, Drift, World

__all__ = [
    "ABSENT", "CallRecord", "Drift", "InjectedFault", "Simulator", "SimulatorOptions", "World",
]  # fmt: skip
