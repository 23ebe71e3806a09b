"""What holds for every PostgreSQL: the embedded one, and one that is given."""

from __future__ import annotations

from typing import Final

OLDEST_SERVER: Final = 15
"""The oldest major version that will do."""
