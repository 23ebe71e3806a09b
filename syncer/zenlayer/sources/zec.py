"""Images of Elastic Compute in its newer form (``zec``).

Source: docs.console.zenlayer.com, api-reference/compute/zec/image/describeimages; the models of
zenlayercloud-sdk-python 2.0.77 for version 2025-09-01.
"""

from __future__ import annotations

from typing import Final

from syncer.zenlayer.sources.base import Source

ZEC: Final = Source(
    service="zec",
    version="2025-09-01",
    rows="dataSet",
    total="totalCount",
    fields={
        "image_name": "imageName",
        "image_type": "imageType",
        "image_size": "imageSize",
        "image_description": "imageDescription",
        "image_version": "imageVersion",
        "image_status": "imageStatus",
        "category": "category",
        "os_type": "osType",
        "nic_network_type": "nicNetworkType",
        "image_source": "imageSource",
        "min_disk_size": "minDiskSize",
    },
    others=("tags",),
)
