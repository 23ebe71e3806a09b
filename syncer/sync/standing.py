"""Whether zones are listed, which may be known after they were read.

DescribeZones says which zones there are, and far away its answer is a third of a run: a connection
is made for it, and nothing else is done meanwhile. Nearly always it names the zones that it named
before. So those that the run before read whole, with the same key, are asked for beside it, at most
as many as calls may be under way (``selection.expected`` says which; ``Crawl`` begins them). They
are read as any zone is, but what came of them waits here until the list has come, which judges it:
one that is not listed after all was asked for once more. Every zone that is expected would be read
in any case, listed or not, so nothing is asked for in vain, and none is asked for twice.

A refusal means another thing for a zone that is listed (it ends the run) than for one that is not.
Until the list has come nobody knows which it is, so from the first refusal on no call of a zone
starts (``hold``) unless the list says that it was that zone's own: a key that was revoked is
refused for what was under way, and no more.

Where the list came first, as always in ``sync --full`` and in a first run, all of this is no wait.
"""

from __future__ import annotations

from collections.abc import Collection

import anyio
import msgspec

from syncer.core.model import Looked, ZoneRef
from syncer.zenlayer.calls import Hold


class Standings:
    """What DescribeZones says of every zone, once it is known."""

    def __init__(self) -> None:
        self.hold = Hold()
        """Keeps calls of zones back while the list is to say what a refusal means."""
        self._known = anyio.Event()
        self._listed: Collection[ZoneRef] = ()
        self._unreliable: Collection[str] = ()

    def set(self, listed: Collection[ZoneRef], unreliable: Collection[str]) -> None:
        """Note which zones are listed, and the services whose list cannot be relied on."""
        self._listed, self._unreliable = listed, unreliable
        self._known.set()
        if not self.hold.on:
            self.hold.end()  # from now on it is known at once what a refusal means

    async def judged(self, looked: Looked) -> Looked:
        """Return a look with whether its zone is listed, as soon as that is known."""
        await self._known.wait()
        ref = looked.zone
        return msgspec.structs.replace(
            looked, listed=ref in self._listed, once_more=self.once_more(ref)
        )

    def once_more(self, ref: ZoneRef) -> bool:
        """Return whether DescribeZones names others and not this zone: it is asked all the same."""
        return ref not in self._listed and ref.service not in self._unreliable
