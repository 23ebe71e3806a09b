"""Units, and what `make install-systemd` lays down, as far as it is seen without booting."""

from __future__ import annotations

import configparser
import re
import sys
from pathlib import Path

import pytest

from syncer import __version__
from syncer.config.settings import load
from syncer.embedded import Timing
from tests.deploy.tools import DEPLOY, check_command, run, tool

SYSTEMD = DEPLOY / "systemd"
SERVICES = ("syncer.service", "syncer-sync.service")
UNITS = (*SERVICES, "syncer-sync.timer")
CREDENTIALS = {
    "zenlayer_access_key_id",
    "zenlayer_access_key_secret",
    "zenlayer_token",
    "syncer_database_url",
}


def test_systemd_finds_nothing_to_say(tmp_path: Path) -> None:
    """`systemd-analyze verify` prints nothing (it exits with 0 for unknown keys as well)."""
    analyze = tool("systemd-analyze", "systemd")
    program = str(Path(sys.executable).parent / "syncer")
    for unit in UNITS:
        text = (SYSTEMD / unit).read_text().replace("/opt/syncer/venv/bin/syncer", program)
        (tmp_path / unit).write_text(text)
    assert "" == run(analyze, "verify", *(tmp_path / unit for unit in UNITS))


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_leaves_little_to_attack(unit: str) -> None:
    """`systemd-analyze security` rates the exposure at 1.5 or less (of 10)."""
    analyze = tool("systemd-analyze", "systemd")
    run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", SYSTEMD / unit)


def test_both_services_are_restricted_alike() -> None:
    first, second = ((SYSTEMD / unit).read_text() for unit in SERVICES)
    mark = "# --- The rest is the same"
    assert first.partition(mark)[2].partition("\n[Install]")[0] == second.partition(mark)[2]
    assert CREDENTIALS == set(
        re.findall(r"LoadCredential=(\w+):/etc/syncer/credentials/\1\n", first)
    )
    for line in re.findall("LoadCredential=.*", first):
        assert line in second
        assert line in (SYSTEMD / "syncer.sh").read_text()


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_starts_a_command_that_is_there(unit: str) -> None:
    (line,) = re.findall("ExecStart=/opt/syncer/venv/bin/syncer (.*)", (SYSTEMD / unit).read_text())
    check_command(*line.split())


@pytest.mark.parametrize("path", ["systemd/syncer.toml", "kubernetes/base/syncer.toml"])
def test_the_settings_that_are_shown_are_settings(path: str, tmp_path: Path) -> None:
    """Every line of an example loads, also once its # is taken away."""
    shown, count = re.subn(r"^#(?=\w+ = )", "", (DEPLOY / path).read_text(), flags=re.MULTILINE)
    assert count
    (tmp_path / "syncer.toml").write_text(shown)
    load(environment={"SYNCER_CONFIG": str(tmp_path / "syncer.toml")})


def test_the_times_in_the_units_fit_the_program() -> None:
    """A run that takes as long as it may is not cut off, and the timer's times exist."""
    unit = configparser.RawConfigParser(strict=False, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SYSTEMD / "syncer-sync.service")
    assert "20min" == unit["Service"]["TimeoutStartSec"]
    assert load(environment={}).account.run_timeout + 60 < 20 * 60
    assert float(unit["Service"]["TimeoutStopSec"]) > 60 + Timing().stop
    analyze = tool("systemd-analyze", "systemd")
    timer = (SYSTEMD / "syncer-sync.timer").read_text()
    for kind, setting in {"calendar": "OnCalendar", "timespan": "RandomizedDelaySec"}.items():
        run(analyze, kind, re.findall(f"{setting}=(.*)", timer)[0])


@pytest.mark.timeout(300)  # of `make install-systemd`: seconds here, more on a busy machine
def test_the_installation_is_whole_and_names_its_own_place(installed: Path) -> None:
    """Under DESTDIR lies what the units name; nothing in it points back to DESTDIR."""
    for unit in UNITS:
        text = (installed / "etc/systemd/system" / unit).read_text()
        assert text == (SYSTEMD / unit).read_text()
        for program in re.findall(r"Exec\w+=(/opt\S+)", text):
            assert (installed / program[1:]).stat().st_mode & 0o111
    script = installed / "opt/syncer/venv/bin/syncer"
    assert "#!/opt/syncer/venv/bin/python\n" == script.read_text().splitlines(keepends=True)[0]
    for path in (*script.parent.iterdir(), script.parents[1] / "pyvenv.cfg"):
        assert path.is_symlink() or path.is_dir() or str(installed) not in path.read_text()
    packages = next(script.parents[1].glob("lib/python3*/site-packages"))
    assert (packages / f"syncer-{__version__}.dist-info").is_dir()
    assert (packages / "syncer/_migrations/versions").is_dir()
    secrets = installed / "etc/syncer/credentials"
    assert 0o700 == secrets.stat().st_mode & 0o777
    assert CREDENTIALS == {path.name for path in secrets.iterdir()}
    assert {0o600} == {path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    assert 0o755 == (installed / "usr/local/bin/syncer").stat().st_mode & 0o777


def test_an_update_leaves_settings_and_secrets_alone(tmp_path: Path) -> None:
    """Installed again, the units are those of now; what people wrote stays."""
    command = ("env", f"DESTDIR={tmp_path}", "PREFIX=/srv/syncer", SYSTEMD / "install.sh", "units")
    run(*command)
    mine = [
        tmp_path / "etc/syncer" / name for name in ("syncer.toml", "credentials/zenlayer_token")
    ]
    unit = tmp_path / "etc/systemd/system/syncer.service"
    for path in (*mine, unit):
        path.write_text("# mine\n")
        path.chmod(0o400)
    run(*command)
    assert [("# mine\n", 0o400)] * 2 == [
        (path.read_text(), path.stat().st_mode & 0o777) for path in mine
    ]
    assert "ExecStart=/srv/syncer/venv/bin/syncer serve\n" in unit.read_text()
    for path in (unit, tmp_path / "usr/local/bin/syncer"):
        assert "/opt/" not in path.read_text()


def test_a_python_that_the_units_cannot_see_is_refused(tmp_path: Path) -> None:
    """One under /home or /root would work by hand and fail in the unit: it is named at once."""
    python = tmp_path / "python"
    code = "import sys; sys.base_prefix = '/home/me/python'; exec(sys.stdin.read())"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}"\n')
    python.chmod(0o755)
    command = ("env", f"DESTDIR={tmp_path}", f"PYTHON={python}", SYSTEMD / "install.sh")
    assert "PYTHON=/usr/bin/python3\n" in run(*command, code=1)
    assert [python] == list(tmp_path.iterdir())
