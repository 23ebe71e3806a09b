"""The vendor's own SDK as the judge of the simulator."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zenlayercloud.bmc.v20221120 import bmc_client as bmc_client_2022
from zenlayercloud.bmc.v20221120 import models as bmc_2022
from zenlayercloud.bmc.v20260201 import bmc_client as bmc_client_2026
from zenlayercloud.bmc.v20260201 import models as bmc_2026
from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential, TokenCredential
from zenlayercloud.common.excpetion.zenlayer_cloud_sdk_exception import ZenlayerCloudSdkException
from zenlayercloud.vm.v20230313 import models as models_2023
from zenlayercloud.vm.v20230313 import vm_client as client_2023
from zenlayercloud.vm.v20260401 import models as models_2026
from zenlayercloud.vm.v20260401 import vm_client as client_2026
from zenlayercloud.zec.v20240401 import models as zec_2024
from zenlayercloud.zec.v20240401 import zec_client as zec_client_2024
from zenlayercloud.zec.v20250901 import models as zec_2025
from zenlayercloud.zec.v20250901 import zec_client as zec_client_2025

from syncer.core.model import TRACKED
from syncer.core.normalise import canonical, text
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.zenlayer.rows import read_page
from syncer.zenlayer.sources import SOURCES

OLD = (client_2023.VmClient, models_2023)
NEW = (client_2026.VmClient, models_2026)
KEYS = {"key-id": "sécret"}
PAIR = Credential("key-id", "sécret")
VERSIONS = {
    "vm 2023": ("vm", OLD),
    "vm 2026": ("vm", NEW),
    "zec 2024": ("zec", (zec_client_2024.ZecClient, zec_2024)),
    "zec 2025": ("zec", (zec_client_2025.ZecClient, zec_2025)),
    "bmc 2022": ("bmc", (bmc_client_2022.BmcClient, bmc_2022)),
    "bmc 2026": ("bmc", (bmc_client_2026.BmcClient, bmc_2026)),
}


def plain(model: Any) -> Any:
    """What a model of the SDK holds, as JSON would have it."""
    if isinstance(model, list):
        return [plain(one) for one in model]
    return {k: plain(v) for k, v in vars(model).items()} if hasattr(model, "__dict__") else model


def connect(sim: Simulator, version: Any, credential: Any) -> tuple[Any, Any]:
    kind, models = version
    domain = sim.endpoint.removeprefix("http://")
    config = Config(scheme="http", domain=domain, request_timeout=10, rate_limit_max_retries=0)
    return kind(credential, config), models


def read_all(
    sim: Simulator, service: str, version: Any, credential: Any
) -> tuple[list[Any], dict[str, Any]]:
    """List zones, then each zone's images page by page; those of no zone at once."""
    client, models = connect(sim, version, credential)
    zones = client.DescribeZones(models.DescribeZonesRequest()).zoneSet
    request = models.DescribeImagesRequest()
    if service == "bmc":
        rows = client.DescribeImages(request).images
        return plain(zones), {"*": {row.imageId: plain(row) for row in rows}}
    found: dict[str, Any] = {}
    for zone in zones:
        found[zone.zoneId] = {}
        request.zoneId, request.pageSize = zone.zoneId, 20
        for request.pageNum in (1, 2, 3, 4):
            reply = client.DescribeImages(request)
            assert reply.totalCount == 50
            found[zone.zoneId] |= {row.imageId: plain(row) for row in reply.dataSet}
    return plain(zones), found


async def refusal(sim: Simulator, version: Any, credential: Any, **fields: Any) -> str:
    def ask() -> None:
        client, models = connect(sim, version, credential)
        request = models.DescribeImagesRequest()
        for name, value in fields.items():
            setattr(request, name, value)
        client.DescribeImages(request)

    with pytest.raises(ZenlayerCloudSdkException) as caught:
        await anyio.to_thread.run_sync(ask)
    return str(caught.value.code)


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("credential", [PAIR, TokenCredential("tok")], ids=["pair", "token"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, of a field of zones
async def test_it_reads_the_whole_world(name: str, credential: Any) -> None:
    """The SDK, with either credential and in each of six versions, reads exactly what is there.

    All are offered side by side. A version shows no field that its models do not have.
    """
    service, version = VERSIONS[name]
    worlds = [World.generate(zones=3, images=50, service=one) for one in ("vm", "zec", "bmc")]
    options = SimulatorOptions(access_keys=KEYS, tokens={"tok"})
    async with Simulator(worlds, options) as sim:
        zones, found = await anyio.to_thread.run_sync(read_all, sim, service, version, credential)
        world = sim.worlds[service]
    models = version[1]
    fields = vars((getattr(models, "Image", None) or models.ImageInfo)()).keys()
    read = {
        zone: {key: dict.fromkeys(fields) | row for key, row in rows.items()}
        for zone, rows in found.items()
    }
    assert read == {
        zone: {
            key: {field: row.get(field) for field in fields}
            for key, row in world.images(zone).items()
        }
        for zone in world.zones()
        if world.images(zone)
    }
    shown = vars((getattr(models, "Zone", None) or models.ZoneInfo)()).keys()
    assert zones == [{field: row.get(field) for field in shown} for row in world.zone_rows()]


VALUES = st.none() | st.text(max_size=6) | st.sampled_from(["AVAILABLE", "SYNCING", "30", "数据"])
NETWORKS = st.none() | st.lists(st.sampled_from(["auto", "vf,virtio", "virtio"]), max_size=3)
TAG = st.fixed_dictionaries({"key": st.text(max_size=3), "value": st.text(max_size=3)})
TAGS = st.none() | st.fixed_dictionaries({"tags": st.lists(TAG, max_size=2)})
OTHERS = {"nicNetworkType": NETWORKS, "tags": TAGS, "minDiskSize": st.none() | st.integers(0, 500)}


@pytest.mark.parametrize("name", VERSIONS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_its_models_and_ours_agree_field_by_field(name: str, data: st.DataObject) -> None:
    """Whatever a documented reply holds, the SDK's model and our row say the same of it.

    Our text is what the model has as text; what is no column of ours stands in ``extra``.
    """
    service, (_, models) = VERSIONS[name]
    source = SOURCES[service]
    fields = vars((getattr(models, "Image", None) or models.ImageInfo)()).keys() - {"imageId"}
    row = st.fixed_dictionaries(
        {"imageId": st.sampled_from(["a", "img-1"])},
        optional={field: OTHERS.get(field, VALUES) for field in sorted(fields)},
    )
    rows = data.draw(st.lists(row, max_size=3))
    reply = {source.rows: rows, **({"totalCount": len(rows)} if source.total else {})}
    theirs = models.DescribeImagesResponse()
    theirs._deserialize(reply)
    page = read_page(source, msgspec.json.encode(reply))
    assert getattr(theirs, "totalCount", None) == page.total
    models_of_rows = getattr(theirs, source.rows)
    for model, image in zip(models_of_rows, page.rows.images(), strict=True):
        said = plain(model)
        assert said.pop("imageId") == image.image_id
        columns = {api: image.tracked[TRACKED.index(name)] for name, api in source.fields.items()}
        extra = msgspec.json.decode(image.extra or "{}")
        for field, value in said.items():
            if field in columns:
                assert columns[field] == text(value)
            else:
                assert extra.get(field) == plain_text(value)


def plain_text(value: Any) -> Any:
    """A value as it is kept in ``extra``: without what PostgreSQL refuses."""
    return msgspec.json.decode(canonical({"value": value}))["value"]


async def test_it_is_refused_with_the_documented_codes() -> None:
    """A wrong secret, an unknown key or token, and a wrong parameter are named as documented."""
    async with Simulator(
        World.generate(zones=1), SimulatorOptions(access_keys=KEYS, tokens={"tok"})
    ) as sim:
        wrong, unknown = Credential("key-id", "guess"), Credential("nobody", "sécret")
        assert await refusal(sim, NEW, wrong, zoneId="FRA-A") == "AUTHFAILURE_SIGNATURE_FAILURE"
        assert await refusal(sim, NEW, unknown, zoneId="FRA-A") == "AUTHFAILURE_SIGNATURE_FAILURE"
        bad = TokenCredential("tik")
        assert await refusal(sim, NEW, bad) == "AUTHFAILURE_INVALID_AUTHORIZATION"
        assert await refusal(sim, OLD, PAIR) == "MISSING_PARAMETER"
        assert await refusal(sim, OLD, PAIR, zoneId="SEL--A") == "INVALID_ZONE_NOT_FOUND"
        sim.add_fault("throttle")
        assert await refusal(sim, NEW, PAIR, zoneId="FRA-A") == "REQUEST_LIMIT_EXCEEDED"
        sim.clear_faults()
        sim.add_fault("challenge")
        assert await refusal(sim, NEW, PAIR, zoneId="FRA-A") == "SECURITY_CHALLENGE"
        sim.clear_faults()
        sim.add_fault("blocked")
        assert await refusal(sim, NEW, PAIR, zoneId="FRA-A") == "REQUEST_BLOCKED"


@pytest.mark.parametrize("shift", [-310, 310])
async def test_clocks_too_far_apart_are_refused(shift: int) -> None:
    """More than five minutes either way is an expired signature."""
    world = World.generate(zones=1)
    async with Simulator(world, SimulatorOptions(access_keys=KEYS, skew=shift)) as sim:
        assert await refusal(sim, NEW, PAIR, zoneId="FRA-A") == "AUTHFAILURE_SIGNATURE_EXPIRED"
