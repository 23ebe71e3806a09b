"""The vendor's SDK and an upsert: ``python -m syncer.bench.competitors.sdk THREADS``.

With one thread it is the plain loop, zone by zone and page by page. It keeps no history, and what
is no longer listed stays as it was.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
    zone_id text, image_id text, image_name text, image_type text, image_size text,
    image_description text, image_version text, image_status text, category text, os_type text,
    primary key (zone_id, image_id)
)
"""
UPSERT = """
insert into sdk.images values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (zone_id, image_id) do update set
    image_name = excluded.image_name, image_type = excluded.image_type,
    image_size = excluded.image_size, image_description = excluded.image_description,
    image_version = excluded.image_version, image_status = excluded.image_status,
    category = excluded.category, os_type = excluded.os_type
"""

Row = tuple[Any, ...]


def connect(endpoint: str) -> VmClient:
    """Return a client of the API."""
    scheme, _, domain = endpoint.partition("://")
    return VmClient(Credential("bench", "bench"), Config(scheme=scheme, domain=domain))


def zones_of(endpoint: str) -> list[str]:
    """Return the ids of all zones."""
    reply = connect(endpoint).DescribeZones(models.DescribeZonesRequest())
    return [zone.zoneId for zone in reply.zoneSet]


def pages_of(endpoint: str, zone: str) -> Iterator[list[Row]]:
    """Yield the images of a zone, page by page."""
    client = connect(endpoint)
    request = models.DescribeImagesRequest()
    request.zoneId, request.pageSize, request.pageNum = zone, PAGE_SIZE, 1
    while True:
        reply = client.DescribeImages(request)
        yield [
            (
                *(zone, image.imageId, image.imageName, image.imageType, image.imageSize),
                *(image.imageDescription, image.imageVersion, image.imageStatus),
                *(image.category, image.osType),
            )
            for image in reply.dataSet
        ]
        if request.pageNum * PAGE_SIZE >= reply.totalCount:
            return
        request.pageNum += 1


def store(endpoint: str, zone: str, connection: psycopg.Connection[Any]) -> None:
    """Read a zone and upsert what it lists."""
    with connection.cursor() as cursor:
        for page in pages_of(endpoint, zone):
            cursor.executemany(UPSERT, page)
    connection.commit()


def loop(endpoint: str, database: str) -> None:
    """Store one zone after the other."""
    with psycopg.connect(database) as connection:
        connection.execute(TABLE)
        for zone in zones_of(endpoint):
            store(endpoint, zone, connection)


def threaded(endpoint: str, database: str, threads: int) -> None:
    """Store zones in threads, each with a connection of its own."""
    with psycopg.connect(database) as connection:
        connection.execute(TABLE)
    own = threading.local()

    def connect() -> None:
        own.connection = psycopg.connect(database)

    with ThreadPoolExecutor(threads, initializer=connect) as pool:
        done = pool.map(lambda zone: store(endpoint, zone, own.connection), zones_of(endpoint))
        list(done)  # what failed in a thread is raised here


def main() -> None:
    """Do what the arguments say."""
    asked, threads = json.load(sys.stdin), int(sys.argv[1])
    if threads == 1:
        loop(asked["endpoint"], asked["database"])
    else:
        threaded(asked["endpoint"], asked["database"], threads)


if __name__ == "__main__":
    main()
