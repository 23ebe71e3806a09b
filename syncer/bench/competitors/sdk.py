"""The vendor's SDK and an upsert: ``python -m syncer.bench.competitors.sdk THREADS``.

With one thread it is the plain loop, zone by zone and page by page. It keeps no history, and what
is no longer listed stays as it was.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import attrgetter
from typing import Any

import psycopg
from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential
from zenlayercloud.vm.v20260401 import models
from zenlayercloud.vm.v20260401.vm_client import VmClient

PAGE_SIZE = 1000
TABLE = """
create schema if not exists sdk;
create table if not exists sdk.images (
    zone_id text, {columns}, primary key (zone_id, image_id)
)
"""
UPSERT = """
insert into sdk.images values (%s, {places})
on conflict (zone_id, image_id) do update set {assignments}
"""

Row = tuple[Any, ...]
Fields = dict[str, str]
"""The SDK's name of each column's field, ``image_id`` first."""


Connect = Callable[[], VmClient]
"""Makes a client of the API."""


def client_of(endpoint: str, authorities: str) -> VmClient:
    """Return a client of the API, which trusts the authorities in a file ("": the usual ones)."""
    scheme, _, domain = endpoint.partition("://")
    config = Config(scheme=scheme, domain=domain, certification=authorities or None)
    return VmClient(Credential("bench", "bench"), config)


def zones_of(connect: Connect) -> list[str]:
    """Return the ids of all zones."""
    reply = connect().DescribeZones(models.DescribeZonesRequest())
    return [zone.zoneId for zone in reply.zoneSet]


def pages_of(connect: Connect, zone: str, fields: Fields) -> Iterator[list[Row]]:
    """Yield the images of a zone, page by page."""
    client = connect()
    values_of = attrgetter(*fields.values())
    request = models.DescribeImagesRequest()
    request.zoneId, request.pageSize, request.pageNum = zone, PAGE_SIZE, 1
    while True:
        reply = client.DescribeImages(request)
        yield [(zone, *values_of(image)) for image in reply.dataSet]
        if request.pageNum * PAGE_SIZE >= reply.totalCount:
            return
        request.pageNum += 1


def create_table(connection: psycopg.Connection[Any], fields: Fields) -> None:
    """Create the table of images, if it is not there."""
    connection.execute(TABLE.format(columns=", ".join(f"{column} text" for column in fields)))


def upsert_statement(fields: Fields) -> str:
    """Return the statement that inserts or updates an image."""
    _, *tracked = fields
    return UPSERT.format(
        places=", ".join("%s" for _ in fields),
        assignments=", ".join(f"{column} = excluded.{column}" for column in tracked),
    )


def store(connect: Connect, zone: str, connection: psycopg.Connection[Any], fields: Fields) -> None:
    """Read a zone and upsert what it lists."""
    upsert = upsert_statement(fields)
    with connection.cursor() as cursor:
        for page in pages_of(connect, zone, fields):
            cursor.executemany(upsert, page)
    connection.commit()


def loop(connect: Connect, database: str, fields: Fields) -> None:
    """Store one zone after the other."""
    with psycopg.connect(database) as connection:
        create_table(connection, fields)
        for zone in zones_of(connect):
            store(connect, zone, connection, fields)


def threaded(connect: Connect, database: str, fields: Fields, threads: int) -> None:
    """Store zones in threads, each with a connection of its own."""
    with psycopg.connect(database) as connection:
        create_table(connection, fields)
    own = threading.local()

    def begin() -> None:
        own.connection = psycopg.connect(database)

    with ThreadPoolExecutor(threads, initializer=begin) as pool:
        stored = pool.map(
            lambda zone: store(connect, zone, own.connection, fields), zones_of(connect)
        )
        list(stored)  # what failed in a thread is raised here


def main() -> None:
    """Store the images once, with as many threads as the argument says."""
    options, threads = json.load(sys.stdin), int(sys.argv[1])
    connect = partial(client_of, options["endpoint"], options["authorities"])
    target = connect, options["database"], options["fields"]
    if threads == 1:
        loop(*target)
    else:
        threaded(*target, threads)


if __name__ == "__main__":
    main()
