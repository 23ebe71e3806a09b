"""dlt with its history of versions (scd2): ``python -m syncer.bench.competitors.scd2``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import dlt
from dlt.sources.helpers.requests import Client

PAGE_SIZE = 1000
Row = dict[str, Any]


@dlt.source
def cloud(endpoint: str) -> Any:  # noqa: ANN401
    """Return the images of all zones."""
    client = Client()

    def ask(action: str, **body: str | int) -> Row:
        headers = {"X-ZC-Action": action, "Authorization": "Bearer bench"}
        reply = client.post(f"{endpoint}/api/v2/vm", json=body, headers=headers)
        response: Row = reply.json()["response"]
        return response

    @dlt.resource(selected=False)
    def zones() -> Iterator[Row]:
        yield from ask("DescribeZones")["zoneSet"]

    # Only zones that were read retire rows: the merge key.
    @dlt.transformer(
        data_from=zones,
        write_disposition={"disposition": "merge", "strategy": "scd2"},
        merge_key="zone_id",
        parallelized=True,
    )
    def images(zone: Row) -> Iterator[list[Row]]:
        number, total = 1, 1
        while (number - 1) * PAGE_SIZE < total:
            page = ask("DescribeImages", zoneId=zone["zoneId"], pageNum=number, pageSize=PAGE_SIZE)
            yield [{"zoneId": zone["zoneId"], **row} for row in page["dataSet"]]
            number, total = number + 1, page["totalCount"]

    return images


def credentials(url: str) -> str:
    """Return the URL with what dlt asks for even of a socket that needs neither: host, password."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    port = f":{parts.port}" if parts.port else ""
    login = f"{parts.username}:{parts.password or 'none'}"
    return parts._replace(netloc=f"{login}@{host}{port}").geturl()


def main() -> None:
    """Run the pipeline once."""
    options = json.load(sys.stdin)
    pipeline = dlt.pipeline(
        "images",
        destination=dlt.destinations.postgres(credentials(options["database"])),
        dataset_name="dlt",
    )
    pipeline.run(cloud(options["endpoint"]))


if __name__ == "__main__":
    main()
