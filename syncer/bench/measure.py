"""One measurement in a process of its own: ``python -m syncer.bench.measure KIND``.

It reads ``MeasureOptions`` as JSON from its standard input and prints what it measured as JSON:
seconds by the clock and of the processor, peak memory in bytes.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
import anyio
import msgspec

from syncer.bench.cloud import FIELDS
from syncer.bench.whole import peak_memory
from syncer.core import digests
from syncer.core.model import TRACKED, Tracked
from syncer.zenlayer.credentials import MAX_CONCURRENCY

_HEADERS: Final = {"X-ZC-Action": "DescribeImages", "Content-Type": "application/json"}


NEW_CONTAINERS: Final = 50_000
"""After this many new containers Python looks for garbage among them, as in the command line."""


class MeasureOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured: the server, the database, what is served, and how it is called."""

    endpoint: str = ""
    authorities: str = ""
    """File of the authorities whose certificates are trusted, where it is not the usual one."""
    database: str = ""
    """URL of the database."""
    concurrency: int = MAX_CONCURRENCY
    """Calls at once."""
    zones: int = 0
    """Zones that are served."""
    images: int = 0
    """Images in each of them."""
    page_size: int = 1000
    max_rate: float | None = None
    """Calls a second that a run keeps to; None to let it find out."""
    fields: dict[str, str] = msgspec.field(default_factory=FIELDS.copy)
    """The API's name of each column, for programs that import nothing of syncer."""


_Row = msgspec.defstruct("_Row", [(name, str | None, None) for name in FIELDS.values()], gc=False)


class _Response(msgspec.Struct):
    totalCount: int  # noqa: N815  (the API's spelling)
    dataSet: list[_Row]  # type: ignore[valid-type]  # noqa: N815


class _RawResponse(msgspec.Struct):
    dataSet: list[msgspec.Raw]  # noqa: N815


class _RawEnvelope(msgspec.Struct):
    response: _RawResponse


_raw: Final = msgspec.json.Decoder(_RawEnvelope)


class _Envelope(msgspec.Struct):
    requestId: str  # noqa: N815
    response: _Response


async def fetch_pages(options: MeasureOptions, take: Callable[[bytes], object]) -> None:
    """Fetch every page of every zone and hand each to ``take``."""
    pages = -(-options.images // options.page_size)
    wanted = iter(
        [(f"ZONE-{zone:04}", page + 1) for zone in range(options.zones) for page in range(pages)]
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=options.concurrency), headers=_HEADERS
    ) as session:

        async def work() -> None:
            for zone, page in wanted:
                body = {"zoneId": zone, "pageNum": page, "pageSize": options.page_size}
                async with session.post(
                    f"{options.endpoint}/api/v2/vm", data=msgspec.json.encode(body)
                ) as response:
                    take(await response.read())

        await asyncio.gather(*(work() for _ in range(options.concurrency)))


async def http_floor(options: MeasureOptions) -> dict[str, Any]:
    """Measure fetching every page, nothing else."""
    with Stopwatch() as stopwatch:
        await fetch_pages(options, len)
    return stopwatch.result


async def typed_floor(options: MeasureOptions) -> dict[str, Any]:
    """Measure fetching every page and decoding it into typed rows."""
    decoder = msgspec.json.Decoder(_Envelope)
    rows = 0

    def take(body: bytes) -> None:
        nonlocal rows
        rows += len(decoder.decode(body).response.dataSet)

    with Stopwatch() as stopwatch:
        await fetch_pages(options, take)
    assert rows == options.zones * options.images  # noqa: S101
    return stopwatch.result


async def order_floor(options: MeasureOptions) -> dict[str, Any]:
    """Measure what shows that rows came in another order: splitting, sorting and hashing them.

    As many are sorted together as a zone has, whichever they are.
    """
    held: list[bytes] = []
    rows = 0

    def take(body: bytes) -> None:
        nonlocal rows
        digests.of_page(body)
        held.extend(map(bytes, _split(body)))
        if len(held) >= options.images:
            digests.of_page(b"\n".join(sorted(held)))
            rows += len(held)
            held.clear()

    with Stopwatch() as stopwatch:
        await fetch_pages(options, take)
    assert rows + len(held) == options.zones * options.images  # noqa: S101
    return stopwatch.result


async def rows_floor(options: MeasureOptions) -> dict[str, Any]:
    """Measure what shows which rows are new: splitting pages, and hashing them and each row."""
    rows = 0

    def take(body: bytes) -> None:
        nonlocal rows
        digests.of_page(body)
        rows += len(digests.of_rows(_split(body)))

    with Stopwatch() as stopwatch:
        await fetch_pages(options, take)
    assert rows == options.zones * options.images  # noqa: S101
    return stopwatch.result


def _split(body: bytes) -> list[msgspec.Raw]:
    return _raw.decode(body).response.dataSet


async def copy_floor(options: MeasureOptions) -> dict[str, Any]:
    """Measure COPY of rows that are ready into the tables, over two connections."""
    import asyncpg  # noqa: PLC0415

    from syncer.core.line import image  # noqa: PLC0415
    from syncer.store.tables import COPIED  # noqa: PLC0415

    decoder = msgspec.json.Decoder(_Envelope)
    found: list[Any] = []
    await fetch_pages(options, lambda body: found.extend(decoder.decode(body).response.dataSet))
    connections = [await asyncpg.connect(options.database) for _ in range(2)]
    await connections[0].execute(
        """
        insert into syncer_store.zones (account, service, zone_id)
        select 'bench', 'vm', 'ZONE-' || lpad(n::text, 4, '0') from generate_series(0, $1 - 1) n
        """.replace("$1", str(options.zones))
    )
    records, now = [], datetime.now(UTC)
    for place, row in enumerate(found):
        values = dict(zip(FIELDS, msgspec.structs.astuple(row), strict=True))
        tracked = cast("Tracked", tuple(values.get(column) for column in TRACKED))
        filled = {
            **values,
            "zone_key": 1 + place % options.zones,
            "fingerprint": image(values["image_id"], tracked).fingerprint,
            "valid_from": now,
            "first_seen_at": now,
            "opened_run_id": 1,
            "opened_ordinal": place,
        }
        records.append(tuple(filled.get(column) for column in COPIED))
    records.sort(key=lambda record: record[:2])  # zone and image id
    half = len(records) // 2
    with Stopwatch() as stopwatch:
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
    return stopwatch.result


def syncer_environment(
    endpoint: str, database: str, accounts: Path | None = None
) -> dict[str, str]:
    """Return the variables that say where ``syncer`` reads and writes, and nothing else.

    ``accounts`` is the settings file of several accounts, instead of one.
    """
    target = {"ZENLAYER_ENDPOINT": endpoint, "SYNCER_DATABASE_URL": database}
    if accounts is not None:
        return {"SYNCER_CONFIG": str(accounts), **target}
    return {
        "SYNCER_CONFIG": os.devnull,
        "SYNCER_ACCOUNT": "bench",
        "ZENLAYER_ACCESS_KEY_ID": "bench",
        "ZENLAYER_ACCESS_KEY_SECRET": "bench",
        **target,
    }


async def sync_run(options: MeasureOptions) -> dict[str, Any]:
    """Measure one run in this process.

    It collects garbage as seldom as the command does, which sets that for its whole process: what
    is measured is what a command does.
    """
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
            "max_concurrency": options.concurrency,
            "max_rate": options.max_rate,
            "page_size": options.page_size,
        },
        environment=syncer_environment(options.endpoint, options.database),
    )
    thresholds = gc.get_threshold()
    gc.set_threshold(NEW_CONTAINERS, *thresholds[1:])
    try:
        with Stopwatch() as stopwatch:
            run_options = RunOptions(
                account=settings.account.name,
                api=settings.account.api,
                selection=Selection(services=settings.account.services),
                page_size=settings.account.page_size,
            )
            report = await run_once(run_options, Server(options.database), stop=Stop())
    finally:
        gc.set_threshold(*thresholds)
    return {**stopwatch.result, "report": report.wide()}


class Stopwatch:
    """Measures the code within: seconds by the clock and of the processor, peak memory."""

    result: dict[str, Any]

    def __enter__(self) -> Stopwatch:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self.result = {"wall": wall, "cpu": cpu, "peak": peak_memory()}


MEASURES: Final[dict[str, Callable[[MeasureOptions], Awaitable[dict[str, Any]]]]] = {
    "http": http_floor,
    "typed": typed_floor,
    "order": order_floor,
    "rows": rows_floor,
    "copy": copy_floor,
    "sync": sync_run,
}
"""What can be measured, by the name on the command line."""


def main() -> None:
    """Measure what the argument names, and print the result."""
    [kind] = sys.argv[1:]
    options = msgspec.json.decode(sys.stdin.buffer.read(), type=MeasureOptions)
    result = anyio.run(MEASURES[kind], options)
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


if __name__ == "__main__":
    main()
