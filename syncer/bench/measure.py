"""One measurement in a process of its own: ``python -m syncer.bench.measure KIND``.

It reads what it is asked as JSON from its standard input, and prints what it measured as JSON:
seconds of wall and of processor, peak memory in bytes.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import aiohttp
import anyio
import msgspec

from syncer.bench.cloud import FIELDS

_HEADERS: Final = {"X-ZC-Action": "DescribeImages", "Content-Type": "application/json"}


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a measurement is given."""

    endpoint: str = ""
    database: str = ""
    concurrency: int = 16
    zones: int = 0
    images: int = 0
    page_size: int = 1000
    max_rate: float | None = None


_Row = msgspec.defstruct("_Row", [(name, str | None, None) for name in FIELDS], gc=False)


class _Response(msgspec.Struct):
    totalCount: int  # noqa: N815  (the API's spelling)
    dataSet: list[_Row]  # type: ignore[valid-type]  # noqa: N815


class _Envelope(msgspec.Struct):
    requestId: str  # noqa: N815
    response: _Response


async def fetch(asked: Asked, take: Callable[[bytes], object]) -> int:
    """Fetch every page of every zone, and do nothing but ``take`` it; return the calls."""
    pages = -(-asked.images // asked.page_size)
    wanted = iter(
        [(f"ZONE-{zone:04}", page + 1) for zone in range(asked.zones) for page in range(pages)]
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=asked.concurrency), headers=_HEADERS
    ) as session:

        async def work() -> None:
            for zone, page in wanted:
                body = {"zoneId": zone, "pageNum": page, "pageSize": asked.page_size}
                async with session.post(
                    f"{asked.endpoint}/api/v2/vm", data=msgspec.json.encode(body)
                ) as response:
                    take(await response.read())

        await asyncio.gather(*(work() for _ in range(asked.concurrency)))
    return asked.zones * pages


async def http_floor(asked: Asked) -> dict[str, Any]:
    """Fetch every page, nothing else."""
    with Measured() as measured:
        await fetch(asked, len)
    return measured.result


async def typed_floor(asked: Asked) -> dict[str, Any]:
    """Fetch every page and decode it into typed rows."""
    decoder = msgspec.json.Decoder(_Envelope)
    rows = 0

    def take(body: bytes) -> None:
        nonlocal rows
        rows += len(decoder.decode(body).response.dataSet)

    with Measured() as measured:
        await fetch(asked, take)
    assert rows == asked.zones * asked.images  # noqa: S101
    return measured.result


async def copy_floor(asked: Asked) -> dict[str, Any]:
    """COPY rows that are ready into the tables, over two connections."""
    import asyncpg  # noqa: PLC0415

    from syncer.core.line import image  # noqa: PLC0415
    from syncer.store.tables import COPIED  # noqa: PLC0415

    decoder = msgspec.json.Decoder(_Envelope)
    found: list[Any] = []
    await fetch(asked, lambda body: found.extend(decoder.decode(body).response.dataSet))
    connections = [await asyncpg.connect(asked.database) for _ in range(2)]
    await connections[0].execute(
        """
        insert into syncer_store.zones (account, service, zone_id)
        select 'bench', 'vm', 'ZONE-' || lpad(n::text, 4, '0') from generate_series(0, $1 - 1) n
        """.replace("$1", str(asked.zones))
    )
    records = []
    for place, row in enumerate(found):
        image_id, *tracked = msgspec.structs.astuple(row)
        digest = image(image_id, tuple(tracked)).fingerprint
        zone = 1 + place % asked.zones
        records.append((zone, image_id, *tracked, None, digest, None, 1, None, place))
    records.sort(key=lambda record: record[:2])
    half = len(records) // 2
    with Measured() as measured:
        await asyncio.gather(
            *(
                connection.copy_records_to_table(
                    "images", schema_name="syncer_store", columns=COPIED, records=part
                )
                for connection, part in zip(
                    connections, (records[:half], records[half:]), strict=True
                )
            )
        )
    for connection in connections:
        await connection.close()
    return measured.result


def environment(endpoint: str, database: str) -> dict[str, str]:
    """Return the variables that tell ``syncer`` where to read and to write, and nothing else."""
    return {
        "SYNCER_CONFIG": os.devnull,
        "SYNCER_ACCOUNT": "bench",
        "ZENLAYER_ENDPOINT": endpoint,
        "ZENLAYER_ACCESS_KEY_ID": "bench",
        "ZENLAYER_ACCESS_KEY_SECRET": "bench",
        "SYNCER_DATABASE_URL": database,
    }


async def sync(asked: Asked) -> dict[str, Any]:
    """Do one run."""
    from syncer import log  # noqa: PLC0415
    from syncer.config.settings import load  # noqa: PLC0415
    from syncer.store.connection import Server  # noqa: PLC0415
    from syncer.sync.options import RunOptions  # noqa: PLC0415
    from syncer.sync.run import run_once  # noqa: PLC0415
    from syncer.sync.selection import Selection  # noqa: PLC0415
    from syncer.sync.stop import Stop  # noqa: PLC0415

    log.configure("json", "error")
    settings = load(
        flags={
            "max_concurrency": asked.concurrency,
            "max_rate": asked.max_rate,
            "page_size": asked.page_size,
        },
        environment=environment(asked.endpoint, asked.database),
    )
    with Measured() as measured:
        options = RunOptions(
            account=settings.account,
            api=settings.api,
            selection=Selection(services=settings.services),
            page_size=settings.page_size,
        )
        report = await run_once(options, Server(asked.database), stop=Stop())
    return {**measured.result, "report": report.wide()}


class Measured:
    """Measures what is done within."""

    result: dict[str, Any]

    def __enter__(self) -> Measured:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.result = {"wall": wall, "cpu": cpu, "peak": peak_memory()}


def peak_memory() -> int:
    """Return the most memory that this process held, in bytes (Linux)."""
    # Not getrusage: what it tells begins with what the parent held when it forked.
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmHWM in /proc/self/status")


KINDS: Final[dict[str, Callable[[Asked], Awaitable[dict[str, Any]]]]] = {
    "http": http_floor,
    "typed": typed_floor,
    "copy": copy_floor,
    "sync": sync,
}


def main() -> None:
    """Do what the arguments say."""
    [kind] = sys.argv[1:]
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Asked)
    result = anyio.run(KINDS[kind], asked)
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
