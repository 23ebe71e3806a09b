"""The control address of a running simulator."""

from __future__ import annotations

from typing import Any

import pytest

from syncer.simulator import Simulator


async def ok(client: Any, sim: Simulator, op: str, **fields: Any) -> Any:
    answer = await client.control(sim, {"op": op, **fields})
    assert answer.status == 200, answer.body
    assert answer.json["ok"] is True
    return answer.json


async def test_images_and_zones_are_changed(client: Any, sim: Simulator) -> None:
    """Each operation does to the world what its name says."""
    world = sim.world
    added = (await ok(client, sim, "add_image", zone="FRA-A", fields={"imageName": "x"}))["id"]
    assert world.images("FRA-A")[added]["imageName"] == "x"
    await ok(client, sim, "change_image", zone="FRA-A", id=added, fields={"imageSize": 7})
    assert world.images("FRA-A")[added]["imageSize"] == 7
    assert (await ok(client, sim, "images", zone="FRA-A"))["images"] == world.images("FRA-A")
    await ok(client, sim, "remove_image", zone="FRA-A", id=added)
    assert added not in world.images("FRA-A")
    await ok(client, sim, "restore_image", zone="FRA-A", id=added)
    assert added in world.images("FRA-A")
    odd = (await ok(client, sim, "add_row", zone="FRA-A", row=[1, "\ud800"]))["id"]
    assert world.images("FRA-A")[odd] == [1, "\ud800"]
    assert (await ok(client, sim, "add_zone", images=4, fields={"zoneName": "Atlantis"}))[
        "zone"
    ] == "SEL-A"
    assert world.count("SEL-A") == 4
    await ok(client, sim, "change_zone", zone="SEL-A", fields={"supportIpv6": None})
    assert world.zone_rows()[-1]["zoneName"] == "Atlantis"
    assert world.zone_rows()[-1]["supportIpv6"] is None
    await ok(client, sim, "remove_zone", zone="SEL-A")
    assert not world.exists("SEL-A")
    await ok(client, sim, "restore_zone", zone="SEL-A")
    assert world.exists("SEL-A")


async def test_drift_reports_what_it_did(client: Any, sim: Simulator) -> None:
    """The reply names the images that appeared, changed and were removed."""
    done = await ok(client, sim, "drift", seed=1, appear=2, change=1, remove=3, zones=["HKG-A"])
    assert [len(done[name]) for name in ("appeared", "changed", "removed")] == [2, 1, 3]
    images = sim.world.images("HKG-A")
    assert all(zone == "HKG-A" and image in images for zone, image in done["appeared"])
    assert not any(image in images for _, image in done["removed"])


async def test_faults_and_figures(client: Any, sim: Simulator) -> None:
    """Faults come and go; figures count what was answered, control calls apart."""
    number = (await ok(client, sim, "add_fault", fault="status=503,times=1"))["number"]
    assert (await client.zones(sim)).status == 503
    assert (await client.zones(sim)).status == 200
    stats = (await ok(client, sim, "stats"))["stats"]
    assert stats["answers"] == {"200": 1, "503 SERVICE_TEMPORARY_UNAVAILABLE": 1}
    assert stats["calls"] == 2
    await ok(client, sim, "remove_fault", number=number)
    await ok(client, sim, "add_fault", fault="hang")
    await ok(client, sim, "clear_faults")
    assert (await client.zones(sim)).status == 200
    await ok(client, sim, "reset_stats")
    assert (await ok(client, sim, "stats"))["stats"]["calls"] == 0


async def test_get_explains_and_shows(client: Any, sim: Simulator) -> None:
    """GET names every operation and fault, the zones, and the faults that are armed."""
    sim.add_fault("total=+1,zone=FRA-A")
    await client.images(sim)
    async with client.session.get(sim.endpoint + "/_control") as reply:
        shown = await reply.json()
    assert "add_image zone [fields] [service]" in shown["help"]["operations"]
    assert len(shown["help"]["operations"]) == 19
    assert shown["state"]["zones"]["FRA-A"] == 50
    assert shown["state"]["images"] == 200
    assert shown["state"]["faults"] == {"1": {"fault": "total=+1,zone=FRA-A", "hits": 1}}


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (b"{", "Expecting"),
        (b"[]", "Expected `object`"),
        ({}, "missing required field `op`"),
        ({"op": "explode"}, "'explode'"),
        ({"op": "add_image"}, "missing required field `zone`"),
        ({"op": "add_image", "zone": 1}, "Expected `str`"),
        ({"op": "add_image", "zone": "NOPE"}, "there is no zone NOPE"),
        ({"op": "add_image", "zone": "FRA-A", "size": 1}, "unknown field `size`"),
        ({"op": "remove_image", "zone": "FRA-A", "id": "x"}, "zone FRA-A has no image x"),
        ({"op": "restore_image", "zone": "FRA-A", "id": "x"}, "no image x was removed"),
        ({"op": "add_zone", "zone": "FRA-A"}, "zone FRA-A exists already"),
        ({"op": "add_zone", "images": -1}, "cannot have -1 images"),
        ({"op": "drift", "remove": 9999}, "cannot change 3 and remove 9999 of 200"),
        ({"op": "add_fault", "fault": "x"}, "unknown fault 'x'"),
        ({"op": "remove_fault", "number": 3}, "there is no fault 3"),
    ],
)
async def test_bad_input_is_explained(
    client: Any, sim: Simulator, op: object, message: str
) -> None:
    """A 400 says what is wrong, and nothing is changed."""
    before = sim.world.zones(), sim.world.count(), len(sim.faults)
    answer = await client.control(sim, op)
    assert answer.status == 400
    assert message in answer.json["error"]
    assert (sim.world.zones(), sim.world.count(), len(sim.faults)) == before


async def test_other_methods_are_refused(client: Any, sim: Simulator) -> None:
    """Only GET and POST mean anything here."""
    async with client.session.delete(sim.endpoint + "/_control") as reply:
        assert reply.status == 405
