"""When Python looks for cyclic garbage: seldom, as what is read and stored makes next to none."""

from __future__ import annotations

import atexit
import contextlib
import gc
from collections.abc import Iterator
from typing import Final

_OBJECTS: Final = 50_000
"""New containers after which Python looks for garbage among them."""


@contextlib.contextmanager
def collected_seldom() -> Iterator[None]:
    """Let Python look for garbage seldom, and not among what was there before.

    Looking takes a tenth of a run otherwise, and once 50 ms in a row.
    """
    usual = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(_OBJECTS, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def spare_this_process() -> None:
    """Do the same for the whole process, and look for none at its end: 70 ms of a short command."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)
