"""The commands with options that messages offer to the user. Messages spell an option here only.

A test feeds every one of them to the command line's parser: a renamed option fails it.
"""

from __future__ import annotations

import shlex


def approve_command(*, account: str, service: str, zone: str, max_removals: int) -> str:
    """Return the command that approves the withheld removals of a zone."""
    options = place_options(account=account, service=service)
    end = "-- " if zone.startswith("-") else ""  # or it would be taken for an option
    return f"syncer approve {options} --max {max_removals} {end}{shlex.quote(zone)}"


def approve_run_command(*, run_id: int, max_removals: int) -> str:
    """Return the command that approves what a run withheld as a whole."""
    return f"syncer approve --run {run_id} --max {max_removals}"


def place_options(*, account: str, service: str) -> str:
    """Return the options that say whose zone is meant, where several have one of that name."""
    return f"--account {shlex.quote(account)} --service {shlex.quote(service)}"


def withheld_command(zone: str | None = None) -> str:
    """Return the command that shows the images whose removal is withheld, in one zone or in all."""
    return "syncer images --withheld" + (f" --zone {shlex.quote(zone)}" if zone else "")
