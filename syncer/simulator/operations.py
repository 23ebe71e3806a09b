"""What the control address can do, each operation a class whose docstring is its help."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from syncer.simulator.server import Simulator


_A_DAY = 86_400_000


class _Op(msgspec.Struct, forbid_unknown_fields=True, tag_field="op", frozen=True):
    """An operation; a subclass's fields are the request's, ``run`` does it."""

    def run(self, sim: Simulator) -> dict[str, Any]:
        raise NotImplementedError


class _AddImage(_Op, tag="add_image", frozen=True):
    """Add an image; fields left out are made up."""

    zone: str
    fields: dict[str, Any] = {}

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"id": sim.world.add_image(self.zone, **self.fields)}


class _AddRow(_Op, tag="add_row", frozen=True):
    """Add anything to a listing, even what is no object."""

    zone: str
    row: Any

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"id": sim.world.add_row(self.zone, self.row)}


class _ChangeImage(_Op, tag="change_image", frozen=True):
    """Set fields of an image."""

    zone: str
    id: str
    fields: dict[str, Any]

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.change_image(self.zone, self.id, **self.fields)
        return {}


class _RemoveImage(_Op, tag="remove_image", frozen=True):
    """Take an image away."""

    zone: str
    id: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.remove_image(self.zone, self.id)
        return {}


class _RestoreImage(_Op, tag="restore_image", frozen=True):
    """Bring back an image that was removed."""

    zone: str
    id: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.restore_image(self.zone, self.id)
        return {}


class _Images(_Op, tag="images", frozen=True):
    """Show the images a zone really has."""

    zone: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"images": sim.world.images(self.zone)}


class _AddZone(_Op, tag="add_zone", frozen=True):
    """Add a zone with so many images; without an id the next free one."""

    zone: str | None = None
    images: int = 0
    fields: dict[str, Any] = {}

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"zone": sim.world.add_zone(self.zone, images=self.images, **self.fields)}


class _ChangeZone(_Op, tag="change_zone", frozen=True):
    """Set fields of a zone."""

    zone: str
    fields: dict[str, Any]

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.change_zone(self.zone, **self.fields)
        return {}


class _RemoveZone(_Op, tag="remove_zone", frozen=True):
    """Let the API know a zone no more."""

    zone: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.remove_zone(self.zone)
        return {}


class _RestoreZone(_Op, tag="restore_zone", frozen=True):
    """Bring back a zone that was removed."""

    zone: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.world.restore_zone(self.zone)
        return {}


class _Drift(_Op, tag="drift", frozen=True):
    """Make a small random change of the world."""

    seed: int = 0
    appear: int = 3
    change: int = 3
    remove: int = 2
    zones: list[str] | None = None

    def run(self, sim: Simulator) -> dict[str, Any]:
        done = sim.world.drift(
            self.seed, appear=self.appear, change=self.change, remove=self.remove, zones=self.zones
        )
        return msgspec.structs.asdict(done)


class _AddFault(_Op, tag="add_fault", frozen=True):
    """Arm a fault, written KIND[=VALUE][,NAME=VALUE]...; gives its number."""

    fault: str

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"number": sim.add_fault(self.fault)}


class _RemoveFault(_Op, tag="remove_fault", frozen=True):
    """Take one fault away."""

    number: int

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.remove_fault(self.number)
        return {}


class _ClearFaults(_Op, tag="clear_faults", frozen=True):
    """Take all faults away."""

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.clear_faults()
        return {}


class _SetRate(_Op, tag="set_rate", frozen=True):
    """Set the rate limit of each credential, in calls a second; null takes it away."""

    rate: float | None
    burst: float | None = None
    retry_after: bool = False

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.gate.limit(self.rate, self.burst, retry_after=self.retry_after)
        return {}


class _SetClockSkew(_Op, tag="set_clock_skew", frozen=True):
    """Let the server's clock be so many seconds ahead."""

    seconds: float

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.skew = self.seconds
        return {}


class _SetLatency(_Op, tag="set_latency", frozen=True):
    """Let each answer take so many milliseconds."""

    milliseconds: float

    def run(self, sim: Simulator) -> dict[str, Any]:
        if not 0 <= self.milliseconds < _A_DAY:
            raise ValueError(f"a latency is from 0 to {_A_DAY} ms, not {self.milliseconds}")
        sim.latency = self.milliseconds / 1000
        return {}


class _Stats(_Op, tag="stats", frozen=True):
    """Show how many calls there were and what they got."""

    def run(self, sim: Simulator) -> dict[str, Any]:
        return {"stats": sim.log.stats()}


class _ResetStats(_Op, tag="reset_stats", frozen=True):
    """Count calls anew."""

    def run(self, sim: Simulator) -> dict[str, Any]:
        sim.reset_stats()
        return {}


OPERATIONS = (
    _AddImage | _AddRow | _ChangeImage | _RemoveImage | _RestoreImage | _Images
    | _AddZone | _ChangeZone | _RemoveZone | _RestoreZone | _Drift
    | _AddFault | _RemoveFault | _ClearFaults | _SetRate | _SetClockSkew | _SetLatency
    | _Stats | _ResetStats
)  # fmt: skip
"""Every operation, told apart by the member ``op``."""
