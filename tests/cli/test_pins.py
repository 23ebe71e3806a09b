"""``syncer check`` and ``syncer baseline`` as users run them."""

from __future__ import annotations

import csv
import io
import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest

from syncer.cli.pins import check as command
from syncer.core.pins import COLUMNS
from syncer.simulator import World
from tests.support import Done, rows, until


def by_id(done: Done) -> dict[str, dict[str, Any]]:
    return {row["image_id"]: row for row in rows(done)}


async def test_a_baseline_shows_what_became_of_it(syncer: Any, sync: Any, world: World) -> None:
    """Save, drift, check: changed and removed are shown with what was and is; exit 6."""
    await sync()
    done = await syncer("baseline", "save", "golden")
    assert (0, "") == (done.code, done.err)
    assert done.out.startswith("Saved baseline golden: 120 images in 6 zones, as of 20")
    same = await syncer("check", "golden")
    assert (0, 120, "") == (same.code, len(rows(same)), same.err)
    assert {"present"} == {row["status"] for row in rows(same)}
    assert list(COLUMNS) == list(rows(same)[0])

    changed, removed = sorted(world.images("FRA-A"))[:2]
    world.change_image("FRA-A", changed, imageVersion="99")
    world.remove_image("FRA-A", removed)
    await sync()
    done = await syncer("check", "golden")
    assert 6 == done.code
    answers = by_id(done)
    assert {changed, removed} == {i for i, row in answers.items() if row["status"] != "present"}
    row = answers[changed]
    assert ("changed", ["image_version"]) == (row["status"], row["changed_fields"])
    assert {"image_version": "99"} == row["after"]
    was = row["before"]["image_version"]
    assert f"image_version was {was}, is 99" == row["reason"]
    row = answers[removed]
    assert ("removed", None, None) == (row["status"], row["before"], row["after"])
    assert row["not_before"] < row["removed_at"]
    assert "confirmed absent" in row["reason"]
    assert row["last_complete_at"].endswith("+00:00")

    shown = await syncer("check", "golden", "-o", "table")
    assert 6 == shown.code
    assert "118 present, 1 changed, 1 removed, 0 unknown\n" == shown.err
    assert [changed, removed] == [i for i in answers if i in shown.out]
    first = await syncer("check", "golden", "-o", "table", "--limit", "1")
    assert (6, "(the first 1 of 2)") == (first.code, first.err.splitlines()[0])
    assert 1 == len(json.loads((await syncer("check", "golden", "-o", "json", "--limit=1")).out))
    calm = await syncer("check", "golden", "-o", "table", "--zone", "LAX-*", "--zone", "HKG-A")
    assert 0 == calm.code
    assert "All that is pinned is there and unchanged." in calm.out
    only = await syncer("check", "golden", "--image", removed, "-o", "csv")
    assert 6 == only.code
    assert [removed] == [line["image_id"] for line in csv.DictReader(io.StringIO(only.out))]
    for filters in (["--zone", "NOPE*"], ["--image", "nope"]):
        done = await syncer("check", "golden", *filters)
        assert (2, "") == (done.code, done.out)
        assert "no pin of golden matches" in done.err


async def test_what_replaced_an_image_is_said_wherever_it_went(
    syncer: Any, sync: Any, world: World
) -> None:
    """check, changes, its feed, diff and history: ids, the best first, and rules."""
    await sync()
    await syncer("baseline", "save", "golden", "--zone", "FRA-A")
    gone, alone, *_ = sorted(world.images("FRA-A"))
    old = world.images("FRA-A")[gone]
    values = {name: old[name] for name in ("imageType", "category", "osType")}
    world.change_image("FRA-A", alone, imageName="of no other")
    for image in (gone, alone):
        world.remove_image("FRA-A", image)
    similar = world.add_image("FRA-A", imageName=f"{old['imageName'].upper()} 20261101", **values)
    same = world.add_image("FRA-A", imageName=old["imageName"], **values)
    world.add_image("FRA-A", imageName=f"{old['imageName']} Minimal", **values)
    await sync()

    replaced = [
        {"image_id": same, "rule": "same_name"},
        {"image_id": similar, "rule": "similar_name"},
    ]
    words = f"now under its name: {same}; now under a similar name: {similar}"
    answers = by_id(await syncer("check", "golden"))
    assert {gone: replaced} == {i: r["replaced_by"] for i, r in answers.items() if r["replaced_by"]}
    assert answers[gone]["reason"].endswith(f"; {words}")
    assert answers[alone]["reason"].startswith("confirmed absent")
    csv_rows = csv.DictReader(io.StringIO((await syncer("check", "golden", "-o", "csv")).out))
    assert {"": 19, json.dumps(replaced, separators=(",", ":")): 1} == Counter(
        row["replaced_by"] for row in csv_rows
    )
    for command_ in (("changes",), ("changes", "--after", "0"), ("diff", "1"), ("history", gone)):
        found = rows(await syncer(*command_))
        assert [gone] == [row["image_id"] for row in found if row["replaced_by"]], command_
        assert [replaced] == [row["replaced_by"] for row in found if row["replaced_by"]]
        shown = await syncer(*command_, "-o", "table")
        assert "similar" in shown.out


async def test_a_baseline_expects_null_too(syncer: Any, sync: Any, world: World) -> None:
    """A value where the baseline has none is a change; in a file it is not compared."""
    image = min(world.images("FRA-A"))
    world.change_image("FRA-A", image, imageDescription=None)
    await sync()
    assert "1 image in 1 zone," in (await syncer("baseline", "save", "b", "--image", image)).out
    file = (await syncer("images", "--image", image)).out
    world.change_image("FRA-A", image, imageDescription="now there is one")
    await sync()
    done = await syncer("check", "b")
    assert (6, {"image_description": None}) == (done.code, rows(done)[0]["before"])
    assert 0 == (await syncer("check", "-", stdin=file.encode())).code


async def test_baselines_are_saved_listed_replaced_and_deleted(
    syncer: Any, sync: Any, world: World
) -> None:
    """Filters and moment are kept; a name is taken until it is replaced or deleted."""
    done = await syncer("baseline", "save", "early")
    assert 2 == done.code
    assert "no image that matches was present" in done.err
    empty = await syncer("baseline", "list", "-o", "table")
    assert "No baseline yet" in empty.out
    await sync()
    world.remove_image("FRA-A", min(world.images("FRA-A")))
    await sync()

    first = ["baseline", "save", "v1.0_fra", "--zone", "FRA-*", "--service", "vm", "--at"]
    done = await syncer(*first, "1")
    assert "20 images in 1 zone," in done.out, done.err
    done = await syncer(*first, "now")
    assert (2, "") == (done.code, done.out)
    assert "exists already" in done.err
    (row,) = rows(await syncer("baseline", "list"))
    assert {"account": "default", "service": ["vm"], "zone": ["FRA-*"]} == row["filters"]
    assert ("v1.0_fra", 20) == (row["name"], row["images"])
    assert "@" in row["saved_by"]
    done = await syncer(*first, "now", "--replace")
    assert "19 images in 1 zone," in done.out, done.err
    (row,) = rows(await syncer("baseline", "list"))
    assert (19, {"service": ["vm"], "zone": ["FRA-*"]}) == (row["images"], row["filters"])
    done = await syncer(*first, "2099-01-01", "--replace")
    assert 2 == done.code
    assert "has not come yet" in done.err
    done = await syncer(*first, "2001-01-01", "--replace")
    assert "default/vm/FRA-A" in done.err
    assert 19 == rows(await syncer("baseline", "list"))[0]["images"]  # nothing was lost

    done = await syncer("baseline", "delete", "v2")
    assert 2 == done.code
    assert "there are: v1.0_fra" in done.err
    assert 0 == (await syncer("baseline", "delete", "v1.0_fra")).code
    assert [] == rows(await syncer("baseline", "list"))
    done = await syncer("baseline", "delete", "v1.0_fra")
    assert "none was saved yet" in done.err


async def test_a_zone_that_was_unknown_is_named_and_not_saved(
    syncer: Any, sync: Any, world: World, db: Any
) -> None:
    """Gone zones are not in a baseline, half-seen ones perhaps not whole: both are said."""
    await sync()
    await syncer("baseline", "save", "all")
    world.remove_zone("FRA-A")
    await sync()
    await db.execute("""
        update syncer_store.zone_scans set status = 'incomplete'
        from syncer_store.zones as z where z.zone_key = zone_scans.zone_key and zone_id = 'HKG-A'
        """)
    done = await syncer("baseline", "save", "rest")
    assert 0 == done.code
    assert "100 images in 5 zones" in done.out
    assert "gone then: default/vm/FRA-A\n" in done.err
    assert (
        "without a whole look by then, or whose history is no longer kept: default/vm/HKG-A"
        in done.err
    )
    assert "" == (await syncer("baseline", "save", "other", "--zone", "LAX-*")).err

    done = await syncer("check", "all")
    assert 3 == done.code
    unknown = [row for row in rows(done) if row["status"] == "unknown"]
    assert ({"FRA-A"}, 20) == ({row["zone_id"] for row in unknown}, len(unknown))
    assert all(row["reason"].startswith("the zone is gone since") for row in unknown)


async def test_what_images_prints_can_be_checked(
    syncer: Any, sync: Any, world: World, tmp_path: Path
) -> None:
    """The output of `syncer images`, as csv, ndjson and json, is a FILE as it stands."""
    image = min(world.images("FRA-A"))
    world.change_image("FRA-A", image, imageDescription='two\r\nlines, "quoted"', imageSize=7.5)
    world.change_image("FRA-A", max(world.images("FRA-A")), imageName=" blanks ", osType="\xa0")
    await sync()
    for form in ("csv", "ndjson", "json"):
        (tmp_path / form).write_text((await syncer("images", "-o", form)).out, newline="")
        done = await syncer("check", form)
        assert (0, 120) == (done.code, len(rows(done))), (done.err, form)
    world.change_image("FRA-A", image, imageStatus="UNAVAILABLE")
    await sync()
    for form in ("csv", "ndjson", "json"):
        done = await syncer("check", f"./{form}")
        assert 6 == done.code
        assert ["image_status"] == by_id(done)[image]["changed_fields"]


async def test_a_file_of_ids_is_enough(syncer: Any, sync: Any, world: World) -> None:
    """Each status from a file with two columns; a pin twice is answered once."""
    await sync()
    gone, kept = sorted(world.images("FRA-A"))[:2]
    world.remove_image("FRA-A", gone)
    await sync()
    pins = f"zone_id,image_id\r\nFRA-A,{kept}\r\nFRA-A,{kept}\r\n"
    assert [(0, 1)] == [
        (done.code, len(rows(done))) for done in [await syncer("check", "-", stdin=pins.encode())]
    ]
    more = f"{pins}FRA-A,{gone}\nFRA-A,img-never\nNOPE-1,{kept}\n"
    done = await syncer("check", "-", stdin=more.encode())
    assert 6 == done.code
    assert [
        ("present", None),
        ("removed", None),
        ("unknown", "never seen in this zone; is the id right?"),
        ("unknown", "no such zone is known"),
    ] == [(row["status"], None if row["removed_at"] else row["reason"]) for row in rows(done)]
    done = await syncer("check", "-", "--zone", "NOPE-?", stdin=more.encode())
    assert 3 == done.code
    misspelt = f"zone_id, image_id\nFRA-A, {kept} \nFRA-A,{kept.upper()}\n"
    done = await syncer("check", "-", "-o", "table", stdin=misspelt.encode())
    assert (3, "1 present, 0 changed, 0 removed, 1 unknown (1 of them never seen)\n") == (
        done.code,
        done.err,
    )


async def test_accounts_are_kept_apart(syncer: Any, sync: Any, world: World) -> None:
    """A pin without an account gets one answer for each; --account chooses, more than one too."""
    await sync()
    image = min(world.images("FRA-A"))
    world.remove_image("FRA-A", image)
    await sync(SYNCER_ACCOUNT="other", zones=("FRA-A",))
    world.restore_image("FRA-A", image)
    await sync(SYNCER_ACCOUNT="other", zones=("FRA-A",))
    world.remove_image("FRA-A", image)
    await sync(SYNCER_ACCOUNT="other", zones=("FRA-A",))
    pins = json.dumps([{"zone_id": "FRA-A", "image_id": image}]).encode()
    done = await syncer("check", "-", stdin=pins)
    assert 6 == done.code
    assert [("default", "present"), ("other", "removed")] == [
        (row["account"], row["status"]) for row in rows(done)
    ]
    assert 0 == (await syncer("check", "-", "--account", "default", stdin=pins)).code
    done = await syncer("check", "-", "--account", "other", "--service", "vm", stdin=pins)
    assert ["removed"] == [row["status"] for row in rows(done)]
    done = await syncer("check", "-", "--account", "other", "--account", "default", stdin=pins)
    assert ["default", "other"] == [row["account"] for row in rows(done)]
    elsewhere = json.dumps({"zone_id": "HKG-A", "image_id": image}).encode()
    done = await syncer("check", "-", "--account", "other", stdin=elsewhere)
    assert (3, "no such zone is known") == (done.code, rows(done)[0]["reason"])


async def test_a_stale_zone_is_unknown_where_an_age_is_asked(
    syncer: Any, sync: Any, world: World, db: Any
) -> None:
    """--max-age beats present, changed and removed; a withheld image is unknown."""
    await sync()
    await syncer("baseline", "save", "b")
    images = sorted(world.images("FRA-A"))
    for image in images[:15]:
        world.remove_image("FRA-A", image)
    world.change_image("HKG-A", min(world.images("HKG-A")), imageVersion="99")
    await sync()
    shown = await syncer("check", "b", "-o", "table", "--zone", "FRA-A")
    assert 3 == shown.code
    assert "5 present, 0 changed" in shown.err
    assert "15 unknown (15 of them with a withheld removal)" in shown.err
    assert "not confirmed absent; its removal is withheld" in " ".join(shown.out.split())
    assert 15 == sum(row["withheld_since"] is not None for row in rows(await syncer("check", "b")))

    await db.execute("""
        update syncer_store.zone_scans set observed_at = observed_at - interval '90 minutes'
        from syncer_store.zones as z where z.zone_key = zone_scans.zone_key and zone_id = 'HKG-A'
        """)
    assert 6 == (await syncer("check", "b", "--max-age", "2h")).code
    done = await syncer("check", "b", "--max-age", "1h")
    assert 3 == done.code
    assert {"HKG-A"} == {
        row["zone_id"]
        for row in rows(done)
        if row["status"] == "unknown" and row["withheld_since"] is None
    }
    stale = [row for row in rows(done) if row["zone_id"] == "HKG-A"]
    assert {"the last whole look is 1h 30m old, more than 1h"} == {r["reason"] for r in stale}
    assert {"unknown"} == {
        row["status"] for row in rows(await syncer("check", "b", "--max-age", "0"))
    }
    assert 2 == (await syncer("check", "b", "--max-age", "soon")).code


async def test_a_name_is_a_baseline_or_a_file_never_either(
    syncer: Any, sync: Any, tmp_path: Path
) -> None:
    """What is both is refused with the way out; what is neither names what there is."""
    await sync()
    done = await syncer("check", "pins")
    assert 2 == done.code
    assert "neither a file nor a baseline; baselines: none was saved yet" in done.err
    await syncer("baseline", "save", "pins", "--zone", "FRA-A")
    assert "there are: pins" in (await syncer("check", "pin")).err
    (tmp_path / "pins").write_text("zone_id,image_id\nNOPE,x\n")
    done = await syncer("check", "pins")
    assert (2, "") == (done.code, done.out)
    assert "write ./pins for the file" in done.err
    assert 3 == (await syncer("check", "./pins")).code
    (tmp_path / "pins").unlink()
    (tmp_path / "pins").mkdir()
    assert 0 == (await syncer("check", "pins")).code


BAD: dict[str, tuple[list[str], bytes, str]] = {
    "no file": (["check", "./nope.csv"], b"", "./nope.csv cannot be read: No such file"),
    "a folder": (["check", "./"], b"", "./ cannot be read: Is a directory"),
    "nothing": (["check", "-"], b"", "standard input: the file is empty"),
    "no header": (["check", "-"], b"FRA-A,i\n", "standard input: line 1: no column zone_id"),
    "ragged": (["check", "-"], b"zone_id,image_id\nFRA-A\n", "line 2: 1 cells, but"),
    "bad json": (["check", "-"], b'{"zone_id":"z","image_id":"i"}\n{"zone', "line 2: not JSON"),
    "contradiction": (
        ["check", "-"],
        b"zone_id,image_id,category\nz,i,a\nz,i,b\n",
        "line 3: category contradicts",
    ),
    "a bad name": (["baseline", "save", "a/b"], b"", "is no name for a baseline"),
    "a long name": (["baseline", "save", "x" * 101], b"", "use 1 to 100 letters"),
    "a hidden name": (["baseline", "save", ".x"], b"", "is no name for a baseline"),
    "no such moment": (["baseline", "save", "a", "--at", "soon"], b"", "a time such as 2026"),
    "no such run": (["baseline", "save", "a", "--at", "7"], b"", "run 7 is not known"),
    "a glob that is none": (["baseline", "save", "a", "--zone", "[z-a]"], b"", "is not a glob"),
    "delete nonsense": (["baseline", "delete", "\udcff"], b"", "is not UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_input_is_one_clear_line(case: str, syncer: Any) -> None:
    """Exit 2, what is wrong, no traceback, nothing answered."""
    arguments, stdin, words = BAD[case]
    done = await syncer(*arguments, stdin=stdin)
    assert (2, "") == (done.code, done.out), done.err
    assert words in done.err
    assert "Traceback" not in done.err


async def test_odd_text_in_a_file_is_compared_not_a_crash(syncer: Any, sync: Any) -> None:
    """NUL and lone surrogates, which PostgreSQL refuses, come out as a clear answer."""
    await sync()
    pins = b'{"zone_id":"FRA-A","image_id":"a\\u0000b","account":"\\ud800","image_name":"\\u0000"}'
    done = await syncer("check", "-", stdin=pins)
    assert (3, "") == (done.code, done.err)
    assert "a\ufffdb" == rows(done)[0]["image_id"]


async def test_the_reader_may_check_and_only_a_writer_saves(
    syncer: Any, sync: Any, url: str, db: Any
) -> None:
    """syncer_reader checks and lists; saving needs syncer_writer, and says so in one line."""
    await sync()
    assert 0 == (await syncer("db", "roles")).code
    logins = {role: f"{role}_pins_{os.getpid()}" for role in ("syncer_reader", "syncer_writer")}
    for role, login in logins.items():
        await db.execute(f"create role {login} login in role {role}")
    try:
        reader, writer = (
            {"SYNCER_DATABASE_URL": url.replace("//syncer@", f"//{login}@")}
            for login in logins.values()
        )
        for replace in ([], ["--replace"]):
            done = await syncer("baseline", "save", "b", *replace, **writer)
            assert 0 == done.code, done.err
        done = await syncer("check", "b", **reader)
        assert (0, 120) == (done.code, len(rows(done))), done.err
        assert ["b"] == [row["name"] for row in rows(await syncer("baseline", "list", **reader))]
        for arguments in (["save", "c"], ["delete", "b"]):
            done = await syncer("baseline", *arguments, **reader)
            assert 2 == done.code
            assert "permission denied" in done.err
            assert 1 == len(done.err.splitlines())
        assert 0 == (await syncer("baseline", "delete", "b", **writer)).code
    finally:
        for login in logins.values():
            await db.execute(f"drop role {login}")


async def test_two_savers_of_one_name_do_not_both_win(syncer: Any, sync: Any, db: Any) -> None:
    """While one saves, another waits, and then learns that the name is taken."""
    await sync()
    codes: list[int] = []

    async def save() -> None:
        codes.append((await syncer("baseline", "save", "b")).code)

    async with anyio.create_task_group() as tasks, db.transaction():
        await db.execute(
            "insert into syncer_store.baselines (name, as_of, saved_by) "
            "values ('b', now(), 'another')"
        )
        tasks.start_soon(save)
        await until(lambda: db.fetchval("select count(*) from pg_locks where not granted"))
    assert [2] == codes


async def test_a_large_baseline_is_checked_in_sets(syncer: Any, sync: Any, db: Any) -> None:
    """20,000 pins, a few of them changed or removed, cost a fraction of a second."""
    await sync()
    await db.execute("""
        insert into syncer_store.images
            (zone_key, image_id, image_name, fingerprint, opened_run_id, opened_ordinal)
        select z.zone_key, 'img-' || n, 'n', '', 1, 1000 + n
        from syncer_store.zones as z, generate_series(1, 4000) as n where z.zone_id <> 'FRA-A'""")
    assert "20,120 images" in (await syncer("baseline", "save", "b")).out
    await db.execute("update syncer_store.images set image_name = 'm' where image_id = 'img-7'")
    started = time.monotonic()
    done = await syncer("check", "b", "-o", "table")
    assert (6, "20,115 present, 5 changed, 0 removed, 0 unknown\n") == (done.code, done.err)
    assert time.monotonic() - started < 10


def test_the_help_lists_the_exit_codes() -> None:
    assert "Exit code: 6 if anything changed or was removed" in (command.help or "")
