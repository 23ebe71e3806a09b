"""How checks are done one after another."""

from __future__ import annotations

import anyio

from syncer.config.settings import load_with_faults
from syncer.core.errors import ConfigError, DatabaseGone
from syncer.doctor.checks import Check, Probe, Results, run_in_order
from syncer.doctor.finding import Finding, failed, ok
from tests.doctor.support import PLANTED


def probing(result: Finding | Exception) -> Probe:
    async def probe() -> list[Finding]:
        if isinstance(result, Exception):
            raise result
        return [result]

    return probe


def check(
    name: str, result: Finding | Exception, *, fix: str | None = None, depends_on: str = ""
) -> Check:
    return Check(
        name=name,
        probe=probing(result),
        advice="advice",
        fix=fix,
        depends_on=tuple(depends_on.split()),
        timeout=5.0,
    )


async def found(*checks: Check, faulty: str | None = None, seconds: float = 60.0) -> list[Finding]:
    """Do the checks, where at most one setting is faulty; return what was found."""
    results = Results()
    await run_in_order(
        checks,
        results,
        deadline=anyio.current_time() + seconds,
        first_faulty=lambda *names: faulty if faulty in names else None,
    )
    assert not results.timed_out
    return results.findings


async def test_what_depends_on_a_failed_check_is_skipped_with_its_cause() -> None:
    """Along a chain the first cause is named; what depends on something else is done."""
    findings = await found(
        check("a", failed("a", "is wrong", "advice")),
        check("b", ok("b", ""), depends_on="a"),
        check("c", ok("c", ""), depends_on="b"),
        check("d", ok("d", ""), depends_on="SETTING"),
        check("e", ok("e", ""), depends_on="d OTHER_SETTING"),
        check("f", ok("f", ""), depends_on="OTHER_SETTING"),
        faulty="SETTING",
    )
    assert [
        ("a", "failed", "is wrong"),
        ("b", "skipped", "not without a"),
        ("c", "skipped", "not without a"),
        ("d", "skipped", "not without SETTING"),
        ("e", "skipped", "not without SETTING"),
        ("f", "ok", ""),
    ] == [(each.check, each.status, each.message) for each in findings]


async def test_a_check_depends_on_findings_by_their_names() -> None:
    """A check may find several things, and another depend on one of them."""
    findings = await found(
        check("endpoint", failed("tls", "is wrong", "advice")),
        check("b", ok("b", ""), depends_on="endpoint"),
        check("c", ok("c", ""), depends_on="endpoint tls"),
    )
    assert ["failed", "ok", "skipped"] == [each.status for each in findings]


async def test_a_named_error_fails_its_check_with_advice() -> None:
    """A ConfigError has a fix of its own; an error without a text goes by its name."""
    gone, denied, silent = await found(
        check("a", DatabaseGone("it is gone"), fix="fix"),
        check("b", ConfigError("not\nallowed"), fix="fix"),
        check("c", OSError()),
    )
    assert failed("a", "it is gone", "advice") == gone
    assert failed("b", "not allowed", "fix") == denied
    assert failed("c", "OSError", "advice") == silent


async def test_once_the_time_for_all_is_over_the_rest_is_skipped() -> None:
    """What comes after the deadline is not begun."""
    findings = await found(check("a", ok("a", "")), seconds=-1.0)
    assert ["no time was left"] == [each.message for each in findings]


async def test_what_others_say_is_shown_without_our_secrets() -> None:
    """An error may repeat what it was given, as it was or decoded; short words are left alone."""
    env = {
        "HOME": "/nonexistent",
        "ZENLAYER_TOKEN": PLANTED,
        "SYNCER_DATABASE_URL": "postgresql://u:p%40ssword@h/x",
    }
    load_with_faults({}, env)
    load_with_faults({}, {**env, "SYNCER_DATABASE_URL": "postgresql://u:pg@h/x"})
    (finding,) = await found(
        check("a", OSError(f"no {PLANTED} for p%40ssword, p@ssword: pg_hba.conf"))
    )
    assert "no *** for ***, ***: pg_hba.conf" == finding.message
