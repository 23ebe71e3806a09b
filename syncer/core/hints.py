"""What messages share: counts, commands with options that they offer, names that may be meant.

Messages spell an option here only.

A test feeds every one of them to the command line's parser: a renamed option fails it.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from typing import Final

from syncer.core.errors import ConfigError, NoZone
from syncer.core.nearest import did_you_mean


def number(count: int, what: str) -> str:
    """Return a count with its noun, which takes an s: ``1 zone``, ``2 zones``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def approve_command(*, account: str, service: str, zone: str, max_removals: int) -> str:
    """Return the command that approves the withheld removals of a zone."""
    options = place_options(account=account, service=service)
    end = "-- " if zone.startswith("-") else ""  # or it would be taken for an option
    return f"syncer approve {options} --max {max_removals} {end}{shlex.quote(zone)}"


def approve_run_command(*, run_id: int, max_removals: int) -> str:
    """Return the command that approves what a run withheld as a whole."""
    return f"syncer approve --run {run_id} --max {max_removals}"


ALL_LEFT_OUT: Final = "no zone is left: --not-zone leaves out all that is selected"
"""Why globs select nothing though each matches a zone."""


def place_options(*, account: str, service: str) -> str:
    """Return the options that say whose zone is meant, where several have one of that name."""
    return f"--account {shlex.quote(account)} --service {shlex.quote(service)}"


def withheld_command(zone: str | None = None) -> str:
    """Return the command that shows the images whose removal is withheld, in one zone or in all."""
    return "syncer images --withheld" + (f" --zone {shlex.quote(zone)}" if zone else "")


def no_zone(globs: Sequence[str], known: Iterable[str] = ()) -> NoZone:
    """Return the error for globs that match no zone; ``known`` are the ids that there are."""
    meant = did_you_mean(globs[0], known)
    return NoZone(f"no zone matches {_shown(globs)}: see the ids with 'syncer zones'{meant}")


def no_image(names: Sequence[str], known: Iterable[str] = ()) -> ConfigError:
    """Return the error for globs, ids or names that are those of no image that was ever seen."""
    shown, meant = _shown(names), did_you_mean(names[0], known)
    return ConfigError(f"no image {shown} was ever seen: see the ids with 'syncer images'{meant}")


def _shown(names: Sequence[str]) -> str:
    return " ".join(name or "''" for name in names)
