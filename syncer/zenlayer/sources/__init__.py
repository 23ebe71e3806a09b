"""What can be crawled: one file per service, each a ``Source`` value. A new service is one line."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from syncer.zenlayer.sources.base import Source
from syncer.zenlayer.sources.vm import VM

SOURCES: Final[Mapping[str, Source]] = MappingProxyType({VM.service: VM})

__all__ = ["SOURCES", "Source"]
