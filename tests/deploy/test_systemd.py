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
WORKER = "syncer-worker@.service"
SERVICES = ("syncer.service", "syncer-sync.service", WORKER)
UNITS = (*SERVICES, "syncer-sync.timer")
CREDENTIALS = {
    "zenlayer_access_key_id",
    "zenlayer_access_key_secret",
    "zenlayer_token",
    "syncer_database_url",
    "syncer_queue_url",
}
NAMES = CREDENTIALS | {"accounts"}
"""What the units hand out: files, and a folder of them."""


def test_systemd_finds_nothing_to_say(tmp_path: Path) -> None:
    """`systemd-analyze verify` prints nothing (it exits with 0 for unknown keys as well)."""
    analyze = tool("systemd-analyze", "systemd")
    program = str(Path(sys.executable).parent / "syncer")
    units = {unit: tmp_path / unit.replace("@", "@1") for unit in UNITS}
    for unit, path in units.items():
        text = (SYSTEMD / unit).read_text().replace("/opt/syncer/venv/bin/syncer", program)
        path.write_text(text)
    assert "" == run(analyze, "verify", *units.values())


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_leaves_little_to_attack(unit: str) -> None:
    """`systemd-analyze security` rates the exposure at 1.5 or less (of 10)."""
    analyze = tool("systemd-analyze", "systemd")
    run(analyze, "security", "--offline=true", "--threshold=15", "--no-pager", SYSTEMD / unit)


def unit_text(unit: str) -> str:
    return (SYSTEMD / unit).read_text()


def test_all_services_are_restricted_alike() -> None:
    """And are given the same secrets, as is the command for people."""
    first, *others = (
        unit_text(unit).partition("\n# --- The rest is the same")[2].partition("\n[Install]")[0]
        for unit in SERVICES
    )
    for other in others:
        assert first.rstrip() == other.rstrip()
    given = re.findall("LoadCredential=.*", unit_text(WORKER))
    assert {f"LoadCredential={name}:/etc/syncer/credentials/{name}" for name in NAMES} == set(given)
    people = unit_text("syncer.sh").replace("$url", "/etc/syncer/credentials/syncer_database_url")
    for line in given:
        for text in (*map(unit_text, SERVICES), people):
            assert line in text


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_starts_a_command_that_is_there(unit: str) -> None:
    (line,) = re.findall("ExecStart=/opt/syncer/venv/bin/syncer (.*)", (SYSTEMD / unit).read_text())
    check_command(*line.split())


@pytest.mark.parametrize(
    "path", ["systemd/syncer.toml", "kubernetes/base/syncer.toml", "kubernetes/example/syncer.toml"]
)
def test_the_settings_that_are_shown_are_settings(path: str, tmp_path: Path) -> None:
    """Every line of an example loads, also once its # is taken away."""
    shown, count = re.subn(r"^#(?=\w+ = )", "", (DEPLOY / path).read_text(), flags=re.MULTILINE)
    assert count or "example" in path
    (tmp_path / "syncer.toml").write_text(shown)
    load(environment={"SYNCER_CONFIG": str(tmp_path / "syncer.toml")})


def service(unit: str) -> configparser.SectionProxy:
    """The section [Service] of a unit; of an option given twice, the last."""
    parser = configparser.RawConfigParser(strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(SYSTEMD / unit)
    return parser["Service"]


def test_each_worker_of_a_machine_has_a_port_of_its_own() -> None:
    """Its instance is the last digit; none of them is the daemon's."""
    (line,) = re.findall(r"^Environment=SYNCER_HTTP=(\S+%i)$", unit_text(WORKER), re.MULTILINE)
    ports = [
        load(environment=given).http
        for given in ({}, *({"SYNCER_HTTP": line.replace("%i", digit)} for digit in "123456789"))
    ]
    assert 10 == len(set(ports))


def test_the_times_in_the_units_fit_the_program() -> None:
    """A run that takes as long as it may is not cut off, and the timer's times exist."""
    sync, worker = service("syncer-sync.service"), service(WORKER)
    longest = load(environment={}).account.run_timeout + 60
    assert "20min" == sync["TimeoutStartSec"]
    assert longest < 20 * 60
    assert float(sync["TimeoutStopSec"]) > 60 + Timing().stop
    assert "18min" == worker["TimeoutStopSec"]
    assert longest + Timing().stop < 18 * 60
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
    modes = {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    files = dict.fromkeys(CREDENTIALS | {"owner_database_url"}, 0o600)
    assert {**files, "accounts": 0o700} == modes
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


@pytest.mark.parametrize("how", ["units", "cron-file"])
def test_what_was_installed_is_removed_and_what_is_left_is_named(tmp_path: Path, how: str) -> None:
    """Settings, credentials and data stay until --purge; the rest of the machine is left alone."""
    env = ("env", f"DESTDIR={tmp_path}", "PREFIX=/srv/syncer")
    run(*env, SYSTEMD / "install.sh", how)
    program, data = tmp_path / "srv/syncer/venv/bin/syncer", tmp_path / "var/lib/syncer/inventory"
    others = tmp_path / "etc/systemd/system/other.service"
    for path in (program, data, others):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    said = run(*env, SYSTEMD / "uninstall.sh")
    left = {tmp_path / "etc/syncer", tmp_path / "var/lib/syncer"}
    assert {str(path) for path in left} == {
        line.strip() for line in said.splitlines() if line.startswith("  ")
    }
    names = {path.relative_to(tmp_path).parts[:2] for path in tmp_path.rglob("*") if path.is_file()}
    assert {("etc", "syncer"), ("var", "lib"), ("etc", "systemd")} == names
    run(*env, SYSTEMD / "uninstall.sh", "--purge")
    assert [others] == [path for path in tmp_path.rglob("*") if path.is_file()]
    assert run(SYSTEMD / "uninstall.sh", "--data", code=2).startswith("usage: ")
