"""What the doctor makes of what it finds: where well ends, and in what words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from syncer.doctor import inventory
from syncer.doctor import judge_api as api
from syncer.doctor import judge_database as database
from syncer.doctor import judge_machine as machine
from syncer.doctor.finding import age, exit_code, listed, ok, size, skipped, warning

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (259200, "3 d")],
)
def test_ages_are_read_at_a_glance(seconds: float, words: str) -> None:
    """An age is told in the largest unit of which there are two."""
    assert words == age(seconds) == age(timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("octets", "words"),
    [(0, "0 B"), (1023, "1023 B"), (655360, "640 KiB"), (5 << 30, "5.0 GiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes_are_read_at_a_glance(octets: int, words: str) -> None:
    """A size is told in a unit that suits it."""
    assert words == size(octets)


def test_long_lists_are_cut() -> None:
    """Beyond a few names their number is told."""
    assert "a, b" == listed(["a", "b"])
    assert "0, 1, 2, 3, 4 and 1,995 more" == listed([str(n) for n in range(2000)])


def test_only_what_failed_is_an_exit_code() -> None:
    """Warnings and what was skipped are 0."""
    assert 0 == exit_code([ok("a", ""), warning("b", "", ""), skipped("c", "")])


@pytest.mark.parametrize(
    ("ahead", "signed", "status"),
    [
        (0.0, True, "ok"),
        (-29.0, True, "ok"),
        (30.0, True, "warning"),
        (-299.0, True, "warning"),
        (300.0, True, "failed"),
        (-300.0, True, "failed"),
        (86400.0, False, "warning"),
        (None, True, "warning"),
    ],
)
def test_the_clock_matters_where_it_is_signed_with(
    ahead: float | None, signed: bool, status: str
) -> None:
    """30 s apart are worth a warning; from 300 s on the API refuses what is signed."""
    assert status == api.clock(ahead, signed=signed).status


def test_a_certificate_is_told_of_two_weeks_before_it_expires() -> None:
    """Whose it is, and how long it is good for."""
    assert "ok" == api.certificate("h", 15.0, "Some CA").status
    soon = api.certificate("h", 13.0, "Some CA")
    assert ("warning", True) == (soon.status, "by Some CA; it expires in 13 d" in soon.message)
    assert "ok" == api.certificate("h", None, "").status


@pytest.mark.parametrize(
    ("issuer", "name"),
    [
        (((("countryName", "US"),), (("organizationName", "Big CA"),)), "Big CA"),
        (((("commonName", "a proxy"),),), "a proxy"),
        ((), "an unnamed authority"),
    ],
)
def test_an_issuer_goes_by_its_organisation(issuer: Any, name: str) -> None:
    """In the form of ssl.SSLSocket.getpeercert."""
    assert name == api.issuer({"issuer": issuer})


def test_why_a_certificate_is_not_trusted_makes_the_advice() -> None:
    """Another name, another time, another authority: each is mended in another place."""
    for reason, roots, advice in (
        ("Hostname mismatch, certificate is not valid for 'x'.", None, "check ZENLAYER_ENDPOINT"),
        ("certificate has expired", None, "this machine's clock"),
        ("self-signed certificate", None, "set SSL_CERT_FILE"),
        ("unable to get local issuer certificate", "/etc/ca.pem", "to /etc/ca.pem"),
    ):
        assert advice in (api.untrusted(f"not trusted ({reason}); if", roots=roots).advice or "")


def test_a_standby_cannot_be_written() -> None:
    """A sync needs the primary."""
    seen = database.ServerSeen(
        version="18.6 (Debian)", standby=True, read_only=False, role="r", database="d"
    )
    assert "failed" == database.server(seen, "h", 0.1).status
    primary = database.server(msgspec.structs.replace(seen, standby=False), "h", 0.1)
    assert ("ok", "PostgreSQL 18.6 at h, database d, role r (100 ms)") == (
        primary.status,
        primary.message,
    )


def test_the_embedded_server_upgrades_itself() -> None:
    """Its schema is nobody's to mend, but nothing can be looked at before."""
    for installed in (None, "0001"):
        assert "skipped" == database.schema(installed, ["0001", "0002"], embedded=True).status
        assert "failed" == database.schema(installed, ["0001", "0002"], embedded=False).status


def test_an_extension_that_cannot_be_had_is_told_before_the_upgrade() -> None:
    """Where contrib is not installed the migration would fail."""
    missing = database.extension(None, None, migrated=False)
    assert ("failed", True) == (missing.status, "postgresql-contrib" in (missing.advice or ""))


def test_an_odd_role_is_quoted_in_the_command() -> None:
    """What is advised can be run as it stands."""
    for role, quoted in (("plain_1", "plain_1"), ("my-role", '"my-role"'), ('A"b', '"A""b"')):
        seen = database.PrivilegesSeen(
            role=role, superuser=False, creates_roles=False, objects=1, lacks={"usage": ["x"]}
        )
        advice = database.privileges(seen, embedded=False).advice
        assert advice is not None
        assert advice.endswith(f"grant syncer_writer to {quoted}")


def run(run_id: int, status: str, *, ago: timedelta = DAY) -> inventory.RunSeen:
    return inventory.RunSeen(
        run_id=run_id,
        status=status,
        started_at=NOW - ago,
        finished_at=None if status == "running" else NOW - ago,
        deadline_at=NOW - ago + timedelta(minutes=17),
        error_code=None,
        error_message="for a reason" if status != "succeeded" else None,
        zones=6,
        images=120,
        now=NOW,
    )


@pytest.mark.parametrize(
    ("newest_first", "status", "says"),
    [
        ([], "ok", "none yet"),
        (["running"], "ok", "none has ended yet"),
        (["succeeded"], "ok", "run 1 succeeded 24 h ago: 6 zones, 120 images"),
        (["running", "succeeded"], "ok", "run 1 succeeded"),
        (["succeeded", "failed", "crashed"], "ok", "2 of the last 3 failed or crashed"),
        (["partial", "failed", "failed"], "warning", "for a reason"),
        (["failed", "crashed", "succeeded"], "warning", "run 3 failed"),
        (["running", "failed", "crashed", "failed"], "failed", "the last 3 failed or crashed"),
    ],
)
def test_how_runs_end(newest_first: list[str], status: str, says: str) -> None:
    """The last that ended counts; three failures in a row are more than bad luck."""
    numbers = range(len(newest_first), 0, -1)
    seen = [run(n, how) for n, how in zip(numbers, newest_first, strict=True)]
    found = inventory.runs(seen)
    assert (status, True) == (found.status, says in found.message), found


HOLDER = inventory.Holder(
    pid=77, backend_start=NOW - DAY, application_name="syncer sync run 1", client=None
)


def test_a_lock_is_judged_by_the_run_that_holds_it() -> None:
    """Free, held in time, overdue, held by nothing that is known, left by the dead."""
    in_time, late = run(1, "running", ago=timedelta(minutes=5)), run(1, "running")
    for holders, runs, status, says in (
        ([], [run(1, "succeeded")], "ok", "free"),
        ([HOLDER], [in_time], "ok", "held by run 1, at work since 2026-11-27 11:55Z"),
        ([HOLDER], [late], "warning", "it hangs, its time was up 24 h ago"),
        ([HOLDER], [], "warning", "held without a run, by syncer sync run 1, backend 77 since"),
        ([], [late], "warning", "its process died"),
        ([beginning(NOW)], [run(1, "failed")], "ok", "a run is beginning"),
        ([beginning(None)], [], "warning", "held without a run, by backend 77"),
    ):
        found = inventory.lock(holders, runs, NOW)
        assert (status, True) == (found.status, says in found.message), found


def beginning(at: datetime | None) -> inventory.Holder:
    return inventory.Holder(pid=77, backend_start=at, application_name=None, client=None)


def zone(name: str, **values: Any) -> inventory.ZoneSeen:
    usual: dict[str, Any] = {
        "service": "vm",
        "zone_id": name,
        "gone_at": None,
        "last_complete_at": NOW,
        "last_status": "unchanged",
        "present_images": 20,
        "withheld_removals": 0,
        "approved_removals": None,
        "withheld_since": None,
        "now": NOW,
    }
    return inventory.ZoneSeen(**{**usual, **values})


def test_the_oldest_zones_are_named_first() -> None:
    """Never seen comes before long ago; a zone that is gone cannot be stale."""
    zones = [
        zone("A"),
        zone("B", last_complete_at=NOW - DAY),
        zone("C", last_complete_at=None),
        zone("D", last_complete_at=NOW - 3 * DAY),
        zone("E", last_complete_at=NOW - 9 * DAY, gone_at=NOW),
    ]
    found = inventory.fresh(zones, 7200.0)
    assert "3 of 4 not wholly seen for 2 h: C (never), D (3 d ago), B (24 h ago)" == found.message
    assert "ok" == inventory.fresh(zones[:2], 86400.0).status
    assert "ok" == inventory.fresh(zones[4:], 7200.0).status


def test_nobody_is_warned_of_a_gone_zone_for_ever() -> None:
    """A week long; then it is told of, no more."""
    assert "warning" == inventory.gone([zone("A", gone_at=NOW - 6 * DAY)]).status
    old = inventory.gone([zone("A", gone_at=NOW - 8 * DAY)])
    assert ("ok", True) == (old.status, "A (since 2026-11-19" in old.message)


def test_many_zones_with_withheld_removals_are_not_a_flood() -> None:
    """Ten are told of one by one, the rest in one line."""
    zones = [zone(f"Z-{n}", withheld_removals=n) for n in range(14)]
    found = inventory.withheld(zones, "mine")
    assert 11 == len(found)
    assert "syncer approve --account mine --service vm Z-1 --max 1" in (found[0].advice or "")
    assert "3 more zones" in found[-1].message


def folder(**values: Any) -> machine.Folder:
    usual = {"path": "/x", "exists": True, "directory": True, "writable": True, "free": 5 << 30}
    return machine.Folder(**{**usual, **values})


def test_room_is_told_of_before_there_is_none() -> None:
    """Below 1 GiB a warning; below 128 MiB PostgreSQL is about to stop."""
    for free, status in ((1 << 30, "ok"), ((1 << 30) - 1, "warning"), ((128 << 20) - 1, "failed")):
        assert status == machine.room(folder(free=free)).status
    assert "warning" == machine.spool(folder(free=(1 << 30) - 1)).status


def test_why_a_folder_will_not_do() -> None:
    """Absent, no folder, closed."""
    for values, says in (
        ({"exists": False}, "there is no folder /x"),
        ({"directory": False}, "/x is no folder"),
        ({"writable": False}, "/x cannot be written in"),
    ):
        for found in (
            machine.spool(folder(**values)),
            machine.metrics_file("/x/f", folder(**values), usable=True),
        ):
            assert says in found.message
