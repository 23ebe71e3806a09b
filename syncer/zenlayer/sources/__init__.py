"""What can be crawled: one file a service, each a ``Source`` value. A new service is one name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from syncer.zenlayer.sources.base import Source
from syncer.zenlayer.sources.bmc import BMC
from syncer.zenlayer.sources.vm import VM
from syncer.zenlayer.sources.zec import ZEC

SOURCES: Final[Mapping[str, Source]] = MappingProxyType(
    {source.service: source for source in (VM, ZEC, BMC)}
)

__all__ = ["SOURCES", "Source"]
