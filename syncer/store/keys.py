"""By which credentials zones were read: a hash of the id of the access key, never of its secret."""

from __future__ import annotations

import secrets
from hashlib import sha256

from syncer.store.connection import Connection, sql


async def digest(connection: Connection, *, key_id: str, write: bool) -> bytes | None:
    """Return the hash of an access key's id; None where there is no salt and ``write`` is false."""
    salt: bytes | None = await connection.fetchval(sql("run/salt"))
    if salt is None and write:
        await connection.execute(sql("run/salt_add"), secrets.token_bytes(16))
        salt = await connection.fetchval(sql("run/salt"))
    return None if salt is None else sha256(salt + key_id.encode()).digest()[:16]
