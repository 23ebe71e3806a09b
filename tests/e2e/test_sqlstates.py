"""An error of each class of SQLSTATE, in each step that writes: one line, the daemon lives."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from syncer.core.errors import StatementRefused
from syncer.simulator import Simulator, SimulatorOptions, World
from syncer.store.approvals import approve
from tests.conftest import KEY, SECRET
from tests.daemon import QUICKLY, ThreeRuns
from tests.invariants import check
from tests.support import assert_exact, naming, served, stored

FRA, SEL = "vm/FRA-A: ", "vm/SEL-A: "
STEPS = {
    "runs insert": "",
    "runs update": "",
    "zones insert": "",
    "zones update": r"vm/\S+: ",
    "zone_scans insert": r"vm/\S+(?: and 4 more)?: ",
    "zone_scans update": r"vm/\S+: ",
    "images insert": FRA,
    "images update": r"vm/\S+: ",
    "image_history insert": FRA,
    "zone_digests insert": r"vm/\S+: ",
    "zone_digests delete": r"vm/\S+: ",
    "extra_names insert": FRA,
    "rate_limits insert": "",
    "approvals update": SEL,
}
"""What a run writes, and which zone its error names."""
AGAIN, ONCE, SETTINGS = "tried again", "said at once", "exit 2"
CLASSES = {
    "08006": AGAIN,  # connection_failure
    "21000": ONCE,  # cardinality_violation
    "22P05": ONCE,  # untranslatable_character
    "23505": ONCE,  # unique_violation
    "25006": AGAIN,  # read_only_sql_transaction: a server that is about to become the primary
    "25001": ONCE,  # active_sql_transaction
    "26000": SETTINGS,  # invalid_sql_statement_name: only a pooler makes it of a statement of ours
    "28000": SETTINGS,  # invalid_authorization_specification
    "2B000": ONCE,  # dependent_privilege_descriptors_still_exist
    "34000": ONCE,  # invalid_cursor_name
    "38000": ONCE,  # external_routine_exception
    "39000": ONCE,  # external_routine_invocation_exception
    "3B000": ONCE,  # savepoint_exception
    "40001": AGAIN,  # serialization_failure
    "42P01": ONCE,  # undefined_table
    "42501": SETTINGS,  # insufficient_privilege
    "53100": AGAIN,  # disk_full
    "54000": ONCE,  # program_limit_exceeded
    "55000": ONCE,  # object_not_in_prerequisite_state
    "55P03": AGAIN,  # lock_not_available
    "57014": AGAIN,  # query_canceled
    "58030": AGAIN,  # io_error
    "P0001": ONCE,  # raise_exception
    "XX000": AGAIN,  # internal_error
    "ZZ999": ONCE,  # nobody's
}
# Each class once and each step about twice; classes that are tried again meet steps of a zone.
_STEPS = [*STEPS, *(name for name, zone in STEPS.items() if zone)]
CASES = list(zip(CLASSES, _STEPS, strict=False))
SOME = 5
"""Cases one after the other in one database."""


async def refuse(db: Any, step: str, code: str, times: int, rows: str = "") -> None:
    """Let a step fail for its first ``times`` rows, or those of some ``rows``."""
    table, operation = step.split()
    await db.execute(f"""
        create sequence public.refusals;
        create function public.refuse() returns trigger language plpgsql as $$
        begin
            if nextval('public.refusals') <= {times} then
                raise exception 'so it is made up' using errcode = '{code}';
            end if;
            return coalesce(new, old);
        end $$;
        create trigger refuse before {operation} on syncer_store.{table}
            for each row {rows} execute function public.refuse()""")


async def drift(world: World, db: Any, number: int) -> None:
    """Let the next run do each of its steps."""
    first, second, third, *_ = sorted(world.images("FRA-A"))
    world.remove_image("FRA-A", first)
    world.change_image("FRA-A", second, imageVersion=f"9.{number}")
    world.change_image("FRA-A", third, **{f"newField{number}": "x"})
    world.add_image("FRA-A", imageId=f"img-new-{number}", imageName="new")
    world.remove_image("SEL-A", min(world.images("SEL-A")))
    world.add_zone(f"NEW-{number}")
    await approve(db, account=None, service=None, zone_id="SEL-A", max_removals=3, by="test")


@pytest.mark.parametrize("first", range(0, len(CASES), SOME), ids=lambda n: CASES[n][0])
async def test_an_error_of_each_class_in_each_step(
    first: int, environment: dict[str, str], world: World, db: Any
) -> None:
    """One line with zone, SQLSTATE and the server's words, or tried again; then all is exact."""
    for number, (code, step) in islice(enumerate(CASES), first, first + SOME):
        with naming((code, step)):
            await one_error(number, environment, world, db)


async def one_error(number: int, environment: dict[str, str], world: World, db: Any) -> None:
    """Three runs of the daemon, where all is stored that there is."""
    code, step = CASES[number]
    options = SimulatorOptions(access_keys={KEY: SECRET})
    if step.startswith("rate"):
        options = SimulatorOptions(access_keys={KEY: SECRET}, rate=100, burst=5)
    async with Simulator(world, options) as simulator:
        serving = ThreeRuns(environment | {"ZENLAYER_ENDPOINT": simulator.endpoint})
        again = CLASSES[code] == AGAIN and step != "runs insert"  # nothing to try again with

        async def spoil() -> None:
            await drift(world, db, number)
            await refuse(db, step, code, 1 if again else 1_000_000)

        await serving.work(
            spoil,
            lambda: db.execute(
                "drop function public.refuse() cascade; drop sequence public.refusals"
            ),
        )
    if again:
        _, second, third = serving.results
        assert "succeeded" in second, second
        assert "database.lost" in serving.said
        assert "succeeded" in third, third
    else:
        where = STEPS[step].replace("4 more", f"{4 + number % SOME} more")  # zones of cases before
        why = rf"\A{where}\S.* made up.*\(SQLSTATE {code}\)"
        serving.assert_one_line(why, of_a_zone=bool(STEPS[step]))
        assert "database.lost" not in serving.said
    await assert_exact(db, world)
    await check(db, {})
    await db.execute("delete from syncer_store.rate_limits")  # the next need not be as slow


@pytest.mark.parametrize(
    ("code", "where", "scanned"),
    [
        ("P0001", "images insert", True),  # cannot be stored: that it failed, can
        ("40001", "images insert", False),  # tried again, until it is given up
        ("P0001", "images update", True),  # what is removed, after the last zone
        ("P0001", "zone_scans insert", False),  # together with others that read the same
    ],
)
async def test_a_zone_whose_transaction_failed_harms_no_other(  # noqa: PLR0917
    code: str, where: str, scanned: bool, sync: Any, world: World, db: Any
) -> None:
    """It is failed, the others are stored, the run exits 1; the next run is exact."""
    await sync()
    lost = min(world.images("FRA-A"))
    same = {"HKG-A", "LAX-A"} | ({"FRA-A"} if where == "zone_scans insert" else set())
    for zone in world.zones():
        if zone not in same:
            world.remove_image(zone, min(world.images(zone)))
            world.add_image(zone, imageName="new")
    key = await db.fetchval("select zone_key from syncer_store.zones where zone_id = 'FRA-A'")
    await refuse(db, where, code, 1_000_000, f"when (new.zone_key = {key})")

    report = await sync(wait=QUICKLY)

    assert (1, "failed", "TRANSACTION_FAILED") == (
        report.exit_code,
        report.status,
        report.fault.code,
    )
    assert f"(SQLSTATE {code})" in report.fault.message
    assert report.fault.message.startswith("vm/FRA-A: ")
    present = await stored(db)
    there = served(world)
    del there["FRA-A"], present["FRA-A"]
    assert there == present
    presence = await db.fetchval("select presence from syncer.images where image_id = $1", lost)
    assert ("unknown" if where == "images update" else "present") == presence
    last = await db.fetchrow(
        "select status, error_code from syncer.zone_scans where run_id = $1 and zone_id = 'FRA-A'",
        report.run_id,
    )
    if where != "images update":  # by then its look is recorded
        assert (("failed", "TRANSACTION_FAILED") if scanned else None) == (last and tuple(last))
    await db.execute("drop function public.refuse() cascade")
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)
    await check(db, {})


async def test_what_fails_in_every_zone_ends_the_run(sync: Any, world: World, db: Any) -> None:
    """As many failures in a row are not of these zones: nobody waits for all the others."""
    for _ in range(20):
        world.add_zone(f"Z{_}-A")
        world.add_image(f"Z{_}-A")
    await refuse(db, "images insert", "P0001", 1_000_000)
    with pytest.raises(StatementRefused, match=r"vm/\S+: .* made up"):
        await sync()
    assert await db.fetchval("select count(*) < 10 from syncer_store.zone_scans")
    await db.execute("drop function public.refuse() cascade")
    assert 0 == (await sync()).exit_code
    await assert_exact(db, world)


def test_every_class_and_every_step_is_tried() -> None:
    """What a run may meet: the classes of the manual that a server can raise at a statement."""
    classes = "08 21 22 23 25 26 28 2B 34 38 39 3B 40 42 53 54 55 57 58 P0 XX"
    assert set(classes.split(" ")) <= {code[:2] for code in CLASSES}
    assert set(STEPS) == {step for _, step in CASES}
