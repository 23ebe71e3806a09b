"""The vendor's own SDK as the judge of the simulator."""

from __future__ import annotations

from typing import Any

import anyio.to_thread
import pytest
from zenlayercloud.common.config import Config
from zenlayercloud.common.credential import Credential, TokenCredential
from zenlayercloud.common.excpetion.zenlayer_cloud_sdk_exception import ZenlayerCloudSdkException
from zenlayercloud.vm.v20230313 import models as models_2023
from zenlayercloud.vm.v20230313 import vm_client as client_2023
from zenlayercloud.vm.v20260401 import models as models_2026
from zenlayercloud.vm.v20260401 import vm_client as client_2026

from syncer.simulator import Simulator, SimulatorOptions, World

OLD = (client_2023.VmClient, models_2023)
NEW = (client_2026.VmClient, models_2026)
KEYS = {"key-id": "sécret"}
PAIR = Credential("key-id", "sécret")
FIELDS = (
    *("imageVersion", "imageId", "imageName", "imageDescription", "osType", "imageSize"),
    *("imageStatus", "category", "imageType"),
)


def connect(sim: Simulator, version: Any, credential: Any) -> tuple[Any, Any]:
    kind, models = version
    domain = sim.endpoint.removeprefix("http://")
    config = Config(scheme="http", domain=domain, request_timeout=10, rate_limit_max_retries=0)
    return kind(credential, config), models


def read_all(sim: Simulator, version: Any, credential: Any) -> tuple[list[Any], dict[str, Any]]:
    """List zones, then each zone's images page by page."""
    client, models = connect(sim, version, credential)
    zones = client.DescribeZones(models.DescribeZonesRequest()).zoneSet
    found: dict[str, Any] = {}
    for zone in zones:
        found[zone.zoneId] = {}
        request = models.DescribeImagesRequest()
        request.zoneId, request.pageSize = zone.zoneId, 20
        for request.pageNum in (1, 2, 3, 4):
            reply = client.DescribeImages(request)
            assert reply.totalCount == 50
            for row in reply.dataSet:
                found[zone.zoneId][row.imageId] = {name: getattr(row, name) for name in FIELDS}
    return zones, found


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


@pytest.mark.parametrize("version", [OLD, NEW], ids=["2023", "2026"])
@pytest.mark.parametrize("credential", [PAIR, TokenCredential("tok")], ids=["pair", "token"])
async def test_it_reads_the_whole_world(version: Any, credential: Any) -> None:
    """The SDK, with either credential and in either version, reads exactly what is there."""
    world = World.generate(zones=3, images=50)
    async with Simulator(world, SimulatorOptions(access_keys=KEYS, tokens={"tok"})) as sim:
        zones, found = await anyio.to_thread.run_sync(read_all, sim, version, credential)
    assert found == {zone: world.images(zone) for zone in world.zones()}
    for zone, row in zip(zones, world.zone_rows(), strict=True):
        expected = {**row, "networkLineType": None} if version is OLD else row
        assert {name: getattr(zone, name, None) for name in row} == expected


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
