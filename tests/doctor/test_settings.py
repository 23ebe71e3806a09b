"""Faults of the settings have a line each, and what depends on them is skipped."""

from __future__ import annotations

from pathlib import Path

from syncer.config.settings import load_with_faults
from syncer.doctor.finding import (
    Finding,
)
from tests.conftest import KEY, SECRET
from tests.doctor.support import (
    OF_THE_DATABASE,
    STORED,
    RunChecks,
    of,
    only,
    problems,
    skipped_checks,
)


async def test_no_credentials(check: RunChecks) -> None:
    """Without credentials the API is looked at all the same."""
    findings = await check(ZENLAYER_ACCESS_KEY_ID="", ZENLAYER_ACCESS_KEY_SECRET="")
    only(findings, "credentials", "failed", "there are none", "set ZENLAYER_ACCESS_KEY_ID")
    assert "ok" == of(findings, "endpoint").status


async def test_half_a_key_pair(check: RunChecks) -> None:
    """Half a pair is a fault of the settings; nothing is tried with it."""
    findings = await check(ZENLAYER_ACCESS_KEY_SECRET="")
    only(
        findings,
        "ZENLAYER_ACCESS_KEY_SECRET",
        "failed",
        "ZENLAYER_ACCESS_KEY_ID is set but ZENLAYER_ACCESS_KEY_SECRET is not",
        "fix that",
    )
    assert {"credentials"} == skipped_checks(findings)


async def test_faults_of_the_settings_are_lines_and_the_rest_is_looked_at(
    check: RunChecks, tmp_path: Path
) -> None:
    """Each fault has its line; what depends on it is skipped, what does not is looked at."""
    findings = await check(
        SYNCER_RUN_TIMEOUT="soon", ZENLAYER_ENDPOINT="ftp://x", SYNCER_PAGE_SIZE="500"
    )
    assert ["ZENLAYER_ENDPOINT", "SYNCER_RUN_TIMEOUT"] == [f.check for f in problems(findings)]
    assert "'soon' is not a duration" in of(findings, "SYNCER_RUN_TIMEOUT").message
    assert "500 (environment)" == of(findings, "SYNCER_PAGE_SIZE").message
    assert {"endpoint", "credentials"} == skipped_checks(findings)
    assert "ok" == of(findings, "zones").status
    findings = await check(SYNCER_ACCOUNT="a b")
    only(findings, "SYNCER_ACCOUNT", "failed", "is no account name", "fix that")
    assert STORED - {"history", "sequences", "workers"} == skipped_checks(findings)


async def test_an_unknown_variable(check: RunChecks) -> None:
    findings = await check(SYNCER_DATABSE_URL="x")
    only(
        findings, "SYNCER_DATABSE_URL", "warning", "is ignored", "did you mean SYNCER_DATABASE_URL?"
    )


async def test_an_unknown_key_in_the_settings_file(check: RunChecks, tmp_path: Path) -> None:
    """An option that does not exist is named, with those that do; the origin of others is shown."""
    file = tmp_path / "s.toml"
    file.write_text("max_rates = 5\npage_size = 7\n")
    findings = await check(SYNCER_CONFIG=str(file))
    found = only(findings, "settings_file", "failed", "unknown option 'max_rates'", "fix that")
    assert "max_rate," in found.message
    assert f"7 ({file})" == of(findings, "SYNCER_PAGE_SIZE").message
    assert set() == skipped_checks(findings)


async def test_a_settings_file_that_cannot_be_read_leaves_doubt(check: RunChecks) -> None:
    """What it may have said is not guessed: only what was given elsewhere is looked at."""
    findings = await check(SYNCER_CONFIG="/nonexistent.toml", SYNCER_DATABASE_URL="")
    only(findings, "settings_file", "failed", "there is no file /nonexistent.toml", "fix that")
    assert {"credentials", "embedded", "room"} | OF_THE_DATABASE == skipped_checks(findings)


async def test_a_settings_file_that_everybody_may_read(check: RunChecks, tmp_path: Path) -> None:
    """A file with secrets is nobody else's business."""
    file = tmp_path / "my settings.toml"
    file.write_text(f"zenlayer_access_key_secret = {SECRET!r}\n")
    findings: list[Finding] = []
    for mode, count in ((0o640, 0), (0o644, 1)):
        file.chmod(mode)
        findings = await check(SYNCER_CONFIG=str(file), ZENLAYER_ACCESS_KEY_SECRET="")
        assert count == len(problems(findings))
    only(findings, "settings_file", "warning", "everybody", f"chmod o-r '{file}'")


async def test_a_settings_file_that_somebody_else_can_change(
    check: RunChecks, tmp_path: Path
) -> None:
    """It could send the credentials elsewhere."""
    file = tmp_path / "folder" / "s.toml"
    file.parent.mkdir()
    file.write_text("page_size = 7\n")
    for path in (file, file.parent):
        path.chmod(0o777)
        findings = await check(SYNCER_CONFIG=str(file))
        only(findings, "settings_file", "warning", f"{path}: everybody", f"chmod go-w {path}")
        path.chmod(0o755)
    assert [] == problems(await check(SYNCER_CONFIG=str(file)))


def test_the_key_is_not_a_secret_but_its_whole_is_not_shown() -> None:
    """A secret put in the place of the id would be shown otherwise."""
    env = {"ZENLAYER_ACCESS_KEY_ID": KEY + "-long", "HOME": "/nonexistent"}
    shown = load_with_faults({}, env).shown
    assert ["test..."] == [s.value for s in shown if s.name == "ZENLAYER_ACCESS_KEY_ID"]
