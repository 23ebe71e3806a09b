"""``syncer doctor``: looks at everything a sync needs and says what is wrong and what to do.

It takes no lock, writes nothing, migrates nothing. Read ``visit`` for what is looked at, ``checks``
for how; what to make of it is ``core.doctor``'s.
"""

from __future__ import annotations

from syncer.doctor.visit import visit

__all__ = ["visit"]
