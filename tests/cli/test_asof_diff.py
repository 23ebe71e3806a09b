"""As-of questions, differences, the timeline and the feed, asked as users ask them."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from syncer.core.model import TRACKED
from syncer.simulator import Simulator, World
from tests.support import Done, lose_zone, rows

ASOF = "select zone_id, image_id, image_version from syncer.images_asof($1)"
PRESENCE = "select syncer.image_presence('default', 'vm', $1, $2, $3)"
COVERAGE = "select zone_id, coverage, gone from syncer.zone_coverage($1)"


async def now(db: Any) -> datetime:
    """The database's clock."""
    moment: datetime = await db.fetchval("select clock_timestamp()")
    return moment


async def test_absent_needs_a_whole_look_and_present_a_sighting(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """Before any look all is unknown; a partial look shows what it saw, and nothing as absent."""
    start = await now(db)
    simulator.add_fault("garbage=text,zone=FRA-A,page=2")
    await sync(SYNCER_PAGE_SIZE="7")
    partial = await now(db)
    simulator.clear_faults()
    await sync(SYNCER_PAGE_SIZE="7")
    whole = await now(db)

    seen = {i for zone, i, _ in await db.fetch(ASOF, partial) if zone == "FRA-A"}
    assert 0 < len(seen) < 20
    for moment, known, other in (
        (start, "unknown", "unknown"),
        (partial, "present", "unknown"),
        (whole, "present", "present"),
    ):
        for image in world.images("FRA-A"):
            expected = known if image in seen else other
            assert expected == await db.fetchval(PRESENCE, "FRA-A", image, moment)
    assert "unknown" == await db.fetchval(PRESENCE, "FRA-A", "img-none", partial)
    assert "absent" == await db.fetchval(PRESENCE, "FRA-A", "img-none", whole)
    assert "absent" == await db.fetchval(PRESENCE, "HKG-A", "img-none", partial)
    assert "unknown" == await db.fetchval(PRESENCE, "NO-WHERE", "img-none", whole)
    assert [] == await db.fetch(ASOF, start)
    coverage = {zone: known for zone, known, _ in await db.fetch(COVERAGE, partial)}
    assert {z: "unknown" if z == "FRA-A" else "known" for z in world.zones()} == coverage


async def test_no_instant_of_a_first_look_calls_a_found_image_absent(sync: Any, db: Any) -> None:
    """Between the asking and the storing of a look, what it found is unknown, never absent."""
    await sync()
    for (moment,) in await db.fetch("""
        select distinct t + d * interval '1 microsecond' from syncer.zone_scans as s
        cross join lateral (values (started_at), (observed_at), (finished_at)) as x (t)
        cross join generate_series(-1, 1) as d where zone_id = 'FRA-A'
        union select distinct valid_from + d * interval '1 microsecond'
        from syncer.image_versions cross join generate_series(-1, 1) as d
        where zone_id = 'FRA-A'"""):
        answers = await db.fetch(
            "select distinct syncer.image_presence(account, service, zone_id, image_id, $1) "
            "from syncer.images where zone_id = 'FRA-A'",
            moment,
        )
        assert "absent" not in {answer for (answer,) in answers}


async def test_a_gone_zone_is_unknown_until_its_next_whole_look(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """From its gone scan on nothing is known of a zone; a partial look does not end that."""
    image = min(world.images("FRA-A"))
    await sync()
    lose_zone(simulator, "FRA-A")
    await sync()
    gone = await now(db)
    simulator.clear_faults()
    simulator.add_fault("garbage=text,zone=FRA-A,page=2")
    await sync(SYNCER_PAGE_SIZE="7")
    partial = await now(db)
    presence = "select distinct presence from syncer.images where zone_id = 'FRA-A'"
    assert ["unknown"] == [row[0] for row in await db.fetch(presence)]
    simulator.clear_faults()
    await sync()
    back = await now(db)
    assert ["present"] == [row[0] for row in await db.fetch(presence)]

    for moment, expected in ((gone, "unknown"), (partial, "unknown"), (back, "present")):
        assert expected == await db.fetchval(PRESENCE, "FRA-A", image, moment)
        listed = {zone for zone, _, _ in await db.fetch(ASOF, moment)}
        assert ("FRA-A" in listed) == (expected == "present")
    assert ("FRA-A", "unknown", True) in [tuple(r) for r in await db.fetch(COVERAGE, gone)]
    row = await db.fetchrow(
        "select * from syncer.zone_coverage($1) where zone_id = 'FRA-A'", partial
    )
    assert row["last_complete_at"] < gone < partial < row["next_complete_at"] < back


async def test_observed_at_is_the_look_behind_the_answer(
    world: World, simulator: Simulator, sync: Any, db: Any
) -> None:
    """observed_at is the last whole look that listed the image; what is missing is left out."""
    image, lost = sorted(world.images("FRA-A"))[:2]
    moments = []
    for turn in range(3):
        if turn == 2:
            world.remove_image("FRA-A", lost)
            simulator.add_fault("status=503,zone=FRA-A,by_id=true")
        await sync()
        moments.append(await now(db))

    looks = [
        moment
        for (moment,) in await db.fetch(
            "select observed_at from syncer.zone_scans where zone_id = 'FRA-A' order by run_id"
        )
    ]
    observed = "select observed_at from syncer.images_asof($1) where image_id = $2"
    for which, expected in ((image, looks), (lost, [looks[0], looks[1], None])):
        assert expected == [await db.fetchval(observed, moment, which) for moment in moments]
    assert await db.fetchval(
        "select bool_and(observed_at <= $1) from syncer.images_asof($1)", looks[1]
    )


async def test_asof_equals_what_each_run_left(world: World, sync: Any, db: Any) -> None:
    """images_asof of the end of each run is what was present then, all columns."""
    columns = ", ".join(("zone_id", "image_id", *TRACKED))
    left = []
    for seed in range(4):
        await sync()
        present = await db.fetch(
            f"select {columns} from syncer.images where presence = 'present' order by 1, 2"
        )
        left.append((await now(db), present))
        world.drift(seed, appear=3, change=5, remove=2)
    assert len({len(present) for _, present in left}) > 1
    for moment, present in left:
        asked = f"select {columns} from syncer.images_asof($1) order by 1, 2"
        assert present == await db.fetch(asked, moment)


async def drifted(syncer: Any, world: World) -> tuple[str, str, str]:
    """Two runs with one image changed, one removed and one new between them."""
    changed, removed = sorted(world.images("FRA-A"))[:2]
    assert 0 == (await syncer("sync")).code
    world.change_image("FRA-A", changed, imageVersion="99", imageStatus="OFF")
    world.remove_image("FRA-A", removed)
    new = world.add_image("HKG-A", imageName="Brand new")
    assert 0 == (await syncer("sync")).code
    return changed, removed, new


def kinds(done: Done) -> dict[tuple[str, str | None], str]:
    return {(row["zone_id"], row["image_id"]): row["kind"] for row in rows(done)}


async def test_diff_shows_what_differs_between_two_instants(
    syncer: Any, world: World, db: Any
) -> None:
    """diff: by run, by time and by age the same; 6 with --exit-code; filters; nothing is 0."""
    changed, removed, new = await drifted(syncer, world)
    one, two = [t.isoformat() for (t,) in await db.fetch("select finished_at from syncer.runs")]
    expected = {
        ("FRA-A", changed): "changed",
        ("FRA-A", removed): "removed",
        ("HKG-A", new): "appeared",
    }

    for arguments in (("1", "2"), ("1",), (one, two), (one, "0s")):
        done = await syncer("diff", *arguments, "--exit-code")
        assert (6, expected) == (done.code, kinds(done)), done.err
    (row,) = rows(await syncer("diff", "1", "2", "--image", changed))
    assert ["image_version", "image_status"] == row["changed_fields"]
    assert ("99", "OFF") == (row["after"]["image_version"], row["after"]["image_status"])
    assert {("HKG-A", new): "appeared"} == kinds(await syncer("diff", "1", "--zone", "HKG-*"))
    assert 1 == len(rows(await syncer("diff", "1", "2", "--limit", "1")))
    assert (0, "") == (await syncer("diff", "2", "--exit-code"))[:2]
    table = (await syncer("diff", "1", "2", "-o", "table")).out
    assert "OFF" in table
    assert 0 == (await syncer("diff", "1", "2")).code


async def test_diff_says_of_which_zones_it_knows_nothing(
    syncer: Any, world: World, simulator: Simulator
) -> None:
    """A zone gone at either instant is one row of kind unknown, exit 3: no image of it drifted."""
    assert 0 == (await syncer("sync")).code
    lose_zone(simulator, "FRA-A")
    assert 0 == (await syncer("sync")).code

    done = await syncer("diff", "1", "2", "--exit-code")
    assert (3, {("FRA-A", None): "unknown"}) == (done.code, kinds(done))
    assert "gone" in rows(done)[0]["reason"]
    done = await syncer("diff", "1h", "1", "--exit-code")
    assert (3, {"unknown"}) == (done.code, set(kinds(done).values()))
    shown = await syncer("asof", "2")
    assert {"FRA-A"} == set(world.zones()) - {row["zone_id"] for row in rows(shown)}
    assert "vm/FRA-A" in shown.err


async def test_diff_says_which_image_was_in_a_gap(
    syncer: Any, sync: Any, world: World, simulator: Simulator
) -> None:
    """Missed and not confirmed at either instant: one row of kind unknown, whatever it was then."""
    assert 0 == (await sync()).exit_code
    gone = min(world.images("FRA-A"))
    world.remove_image("FRA-A", gone)
    simulator.add_fault("status=500,by_id=true")
    assert 3 == (await sync()).exit_code
    simulator.clear_faults()
    assert 0 == (await sync()).exit_code
    for instants, kind in (
        (("1", "2"), "unknown"),
        (("2", "3"), "unknown"),
        (("1", "3"), "removed"),
    ):
        assert [("FRA-A", gone, kind)] == [
            (row["zone_id"], row["image_id"], row["kind"])
            for row in rows(await syncer("diff", *instants))
        ]


async def test_a_size_written_otherwise_is_no_difference(
    syncer: Any, world: World, sync: Any
) -> None:
    """A version that closed and opened again with "30.0" for "30" does not differ."""
    image = world.add_image("FRA-A", imageSize="30")
    await sync()
    world.remove_image("FRA-A", image)
    await sync()
    world.add_image("FRA-A", imageId=image, imageSize="30.0")
    await sync()
    assert {("FRA-A", image): "changed"} == kinds(await syncer("diff", "1", "3"))
    world.remove_image("FRA-A", image)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("diff", "yesterday"), "neither a time"),
        (("diff", "99"), "run 99 is not known"),
        (("diff", "0s", "1h"), "swap them"),
        (("diff", "2090-01-01"), "T1 (2090-01-01T00:00:00+00:00) is in the future"),
        (("asof", "2026-13-01"), "month must be in 1..12"),
        (("history",), "Missing argument"),
        (("changes", "--after", "7"), "there is no change 7"),
        (("changes", "--follow", "-o", "json"), "ndjson"),
        (("approve", "FRA-A"), "--max"),
        (("approve", "FRA-A", "--max", "0"), "--max"),
        (("approve", "NO-WHERE", "--max", "1"), "no zone matches NO-WHERE"),
    ],
)
async def test_bad_questions_are_exit_2(arguments: Any, words: str, syncer: Any) -> None:
    """A question that cannot be understood: exit 2 and what is accepted."""
    done = await syncer(*arguments)
    assert (2, "") == done[:2]
    assert words in done.err


async def test_history_is_the_timeline_of_an_image_everywhere(
    syncer: Any, world: World, simulator: Simulator
) -> None:
    """history: by id or name, over all zones, oldest first, and what is unknown now."""
    for zone in ("FRA-A", "HKG-A"):
        world.add_image(zone, imageId="img-both", imageName="Both")
    await syncer("sync")
    world.change_image("FRA-A", "img-both", imageName="Renamed")
    await syncer("sync")
    world.remove_image("FRA-A", "img-both")
    await syncer("sync")
    lose_zone(simulator, "HKG-A")
    await syncer("sync")

    by_id, by_name = (
        rows(await syncer("history", "img-both")),
        rows(await syncer("history", "Both")),
    )
    assert by_id == by_name
    assert sorted(by_id, key=lambda row: row["changed_at"]) == by_id
    assert {("appeared", "FRA-A"), ("appeared", "HKG-A")} == {
        (row["kind"], row["zone_id"]) for row in by_id[:2]
    }
    assert [("changed", "FRA-A"), ("removed", "FRA-A"), ("unknown", "HKG-A")] == [
        (row["kind"], row["zone_id"]) for row in by_id[2:]
    ]
    assert "was ever seen" in (await syncer("history", "nothing")).err


async def test_spread_finds_what_zones_do_not_offer_alike(
    syncer: Any, world: World, simulator: Simulator, db: Any
) -> None:
    """spread: a name missing somewhere, or of another version, size or status; ids do not count."""
    for zone in world.zones():
        world.add_image(zone, imageName="Alike", imageStatus="A", imageVersion="1", imageSize="30")
        world.add_image(zone, imageName="Alike", imageStatus="A", imageVersion="2", imageSize=30)
        world.add_image(
            zone,
            imageName="Versions",
            imageSize="9",
            imageStatus="A",
            imageVersion="2" if zone == "FRA-A" else "1",
        )
        world.add_image(
            zone,
            imageName="Sizes",
            imageVersion="1",
            imageStatus="A",
            imageSize="9" if zone == "FRA-A" else "9.5",
        )
        if zone != "FRA-A":
            world.add_image(
                zone, imageName="Missing", imageVersion="1", imageStatus="A", imageSize="1"
            )
    await syncer("sync")

    found = {row["image_name"]: row for row in rows(await syncer("spread"))}
    assert "Alike" not in found
    assert ["image_version"] == found["Versions"]["differs"]
    assert ["1", "2"] == found["Versions"]["image_versions"]
    assert ["image_size"] == found["Sizes"]["differs"]
    assert (["zones"], ["FRA-A"]) == (
        found["Missing"]["differs"],
        found["Missing"]["missing_zones"],
    )
    assert 5 == len(found["Missing"]["offers"]) == len(found["Missing"]["zones"])
    assert ["Missing"] == [
        row["image_name"] for row in rows(await syncer("spread", "--image", "Miss*"))
    ]
    lose_zone(simulator, "FRA-A")
    await syncer("sync")
    assert not {"Versions", "Sizes", "Missing"} & {
        row["image_name"] for row in rows(await syncer("spread"))
    }


def keep(cursor: Path, text: str) -> None:
    cursor.write_text(text + "\n", "ascii")


async def test_the_feed_goes_on_from_a_cursor_and_misses_nothing(
    syncer: Any, world: World, tmp_path: Path
) -> None:
    """Every change comes exactly once, run after run, whatever filter or limit cuts the answers."""
    cursor = tmp_path / "cursor"
    seen: list[int] = []
    for seed in range(3):
        await syncer("sync")
        for limit in ("2", "1000"):
            done = await syncer("changes", "--cursor", str(cursor), "--initial", "--limit", limit)
            if seed or limit == "1000":
                seen += [row["change_id"] for row in rows(done)]
            else:  # with no cursor yet the newest are shown, so begin at the beginning
                keep(cursor, "0")
        world.drift(seed, appear=2, change=3, remove=1)
    everything = [row["change_id"] for row in rows(await syncer("changes", "--initial"))]
    assert everything == seen == list(range(1, len(seen) + 1))
    assert rows(await syncer("changes", "--initial", "--after", "5"))[0]["change_id"] == 6
    keep(cursor, "what")
    assert 2 == (await syncer("changes", "--cursor", str(cursor))).code


async def test_follow_shows_changes_as_they_come(
    syncer: Any, world: World, environment: dict[str, str]
) -> None:
    """Changes --follow prints what is there, waits, and prints the changes of the next run."""
    changed, removed, new = await drifted(syncer, world)
    following = await anyio.open_process(
        [sys.executable, "-m", "syncer", "changes", "--follow"], env=environment
    )
    async with following:
        assert following.stdout
        lines = BufferedByteReceiveStream(following.stdout)

        async def line() -> dict[str, Any]:
            row: dict[str, Any] = json.loads(await lines.receive_until(b"\n", 100_000))
            return row

        assert {changed, removed, new} == {(await line())["image_id"] for _ in range(3)}
        world.restore_image("FRA-A", removed)
        await syncer("sync")
        assert "returned" == (await line())["kind"]
        following.terminate()


async def test_an_ambiguous_zone_is_not_approved(syncer: Any, db: Any) -> None:
    """approve: a zone of two accounts is exit 2 and names both; with --account it is done."""
    for account in ("one", "two"):
        assert 0 == (await syncer("sync", SYNCER_ACCOUNT=account)).code
    done = await syncer("approve", "FRA-A", "--max", "5")
    assert 2 == done.code
    assert "--account one --service vm, --account two --service vm" in done.err
    for limit in ("5", "6"):
        done = await syncer("approve", "FRA-A", "--max", limit, "--account", "two")
        assert 0 == done.code
    pending, replaced = await db.fetch("select * from syncer.approvals order by 1 desc")
    assert ("two", 6, "pending") == (
        pending["account"],
        pending["max_removals"],
        pending["outcome"],
    )
    assert ("replaced", 5) == (replaced["outcome"], replaced["max_removals"])
    assert "@" in pending["approved_by"]
    assert timedelta(0) < (await now(db)) - pending["approved_at"] < timedelta(minutes=5)
    assert [6] == [
        row["approved_removals"]
        for row in rows(await syncer("zones", "--zone", "FRA-A"))
        if row["approved_removals"]
    ]
