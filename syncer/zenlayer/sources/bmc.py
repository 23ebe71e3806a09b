"""Images of Bare Metal Cloud (``bmc``): one list for all zones, without pages and without a count.

Source: docs.console.zenlayer.com, api-reference/bare-metal-cloud/bmc/describeimages; the models of
zenlayercloud-sdk-python 2.0.77 for version 2026-02-01.
"""

from __future__ import annotations

from typing import Final

from syncer.zenlayer.sources.base import Source

BMC: Final = Source(
    service="bmc",
    version="2026-02-01",
    rows="images",
    total=None,
    fields={
        "image_name": "imageName",
        "image_type": "imageType",
        "category": "catalog",
        "os_type": "osType",
    },
    paged=False,
    zoned=False,
    zones_parameters={"acceptLanguage": "en-US"},  # its names are in the language asked for
)
