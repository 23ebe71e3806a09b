"""The units under a real systemd: what they forbid lets the program work."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.tools import DEPLOY, Box

pytestmark = pytest.mark.timeout(300)  # it installs and boots: seconds here, more on a busy machine
API = "http://127.0.0.1:8989"
SYNCER = "/opt/syncer/venv/bin/syncer"
CRONTAB = (DEPLOY / "cron/syncer").read_text()
KEYS = {"prod": "K-1:s3cr3t-1", "lab": "K-2:s3cr3t-2"}
"""Of the accounts that have a table."""


def journal(box: Box, unit: str) -> list[dict[str, Any]]:
    """What the unit logged, oldest first."""
    lines = box.run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def ask(box: Box, url: str, question: str) -> list[str]:
    """What a database in the box answers, the first column as text, once there are rows."""
    code = (
        "import asyncio, asyncpg, sys\n"
        "async def ask():\n"
        "    connection = await asyncpg.connect(sys.argv[1])\n"
        "    while not (rows := await connection.fetch(sys.argv[2])):\n"
        "        await asyncio.sleep(0.05)\n"
        "    print(*(row[0] for row in rows), sep='\\n')\n"
        "asyncio.run(ask())"
    )
    return box.run("/opt/syncer/venv/bin/python", "-c", code, url, question).splitlines()


def wait_for_runs(box: Box, unit: str, count: int) -> None:
    """Wait until the unit has logged this many runs."""
    logged = f"journalctl --unit={unit} --output=cat --no-pager | grep --count run.finished"
    box.run("sh", "-c", f'until [ "$({logged})" -ge {count} ]; do sleep 0.05; done')


def control(box: Box, **request: object) -> None:
    """Change the simulated API while it runs."""
    box.run("curl", "--fail", "--silent", f"{API}/_control", "--data", json.dumps(request))


def sync(box: Box, *, status: str, code: int = 0) -> dict[str, Any]:
    """Start the timer's unit; return the line of its run. ``code``: the exit code it fails with."""
    unit = "syncer-sync.service"
    box.run("systemctl", "start", unit, code=int(code > 0))
    if code:
        shown = box.run("systemctl", "show", unit, "--property=ExecMainStatus,Result")
        assert f"Result=exit-code\nExecMainStatus={code}\n" == shown
    run = [line for line in journal(box, unit) if line.get("event") == "run.finished"][-1]
    assert status == run["status"]
    return run


@pytest.fixture(scope="module")
def api(box: Box) -> None:
    """The simulated API in the box, and the settings of who uses it."""
    keys = [f"--access-key={key}" for key in ("simulator:simulator-secret", *KEYS.values())]
    box.start("api", SYNCER, "simulate", "--zones=3", "--images=30", *keys)
    box.write("/etc/syncer/syncer.toml", f'zenlayer_endpoint = "{API}"\n')
    box.write("/etc/syncer/credentials/zenlayer_access_key_id", "simulator\n")
    box.write("/etc/syncer/credentials/zenlayer_access_key_secret", "simulator-secret\n")
    box.run("sh", "-c", f"until curl --silent {API}/_control; do sleep 0.05; done")


@pytest.fixture(scope="module")
def database(box: Box) -> str:
    """The URL of a PostgreSQL that listens in the box, migrated."""
    where = "from syncer.embedded.binaries import find_binaries as f; print(f(None).directory)"
    programs = Path(box.run("/opt/syncer/venv/bin/python", "-c", where).strip())
    box.run("install", "--directory", "--owner=nobody", "/srv/postgres")
    box.run(
        *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", programs / "initdb"),
        *("--auth-local=trust", "--auth-host=scram-sha-256", "--no-sync"),
        *("--username=syncer", "--pgdata=/srv/postgres/data"),
    )
    server = (programs / "postgres", "-D/srv/postgres/data", "-k/srv/postgres", "-cfsync=off")
    box.start("postgres", "--uid=nobody", *server)
    psql = f"{programs / 'psql'} --host=/srv/postgres --username=syncer --dbname=postgres --command"
    asked = f"""{psql} "alter role syncer password 'p@ss'" 2>&-"""
    box.run("sh", "-c", f"until {asked}; do sleep 0.05; done")
    url = "postgresql://syncer:p%40ss@127.0.0.1/postgres"
    box.run("env", f"SYNCER_DATABASE_URL={url}", SYNCER, "db", "upgrade")
    return url


@pytest.mark.usefixtures("api")
def test_a_run_makes_its_own_database(box: Box) -> None:
    """Under the restrictions PostgreSQL is set up, started and stopped; root looks into it."""
    assert 90 == sync(box, status="succeeded")["appeared"]
    zones = [json.loads(line) for line in box.run("syncer", "zones").splitlines()]
    assert [30, 30, 30] == [zone["present_images"] for zone in zones]
    assert "drwx------" == box.run("stat", "--format=%A", "/var/lib/private/syncer").strip()


@pytest.mark.usefixtures("api")
def test_a_run_with_a_database_by_url_and_what_fails_the_unit(box: Box, database: str) -> None:
    """The password comes from a credential. A partial run is no failure; withheld removals are."""
    box.write("/etc/syncer/credentials/syncer_database_url", database)
    assert 90 == sync(box, status="succeeded")["appeared"]
    control(box, op="add_fault", fault="total=+3,zone=FRA-A")
    sync(box, status="partial")
    control(box, op="clear_faults")
    control(box, op="add_fault", fault="empty_listing,zone=FRA-A")
    assert 30 == sync(box, status="succeeded", code=4)["withheld"]
    box.run("env", "SUDO_USER=ann", "syncer", "approve", "FRA-A", "--max=1")
    assert [f"ann@{platform.node()}"] == ask(
        box, database, "select approved_by from syncer.approvals"
    )
    control(box, op="clear_faults")


@pytest.mark.usefixtures("api")
def test_the_daemon_is_ready_watched_reloaded_and_stopped(box: Box, database: str) -> None:
    """A run at start and at each reload; metrics; the restrictions hold; a clean end."""
    unit = "syncer.service"
    box.write("/etc/syncer/credentials/syncer_database_url", database)
    box.run("systemctl", "start", unit)
    wait_for_runs(box, unit, 1)
    for path in ("livez", "readyz"):
        box.run("curl", "--fail", "--silent", f"http://127.0.0.1:9464/{path}")
    assert "syncer_build_info{" in box.run("curl", "--silent", "http://127.0.0.1:9464/metrics")
    box.run("systemctl", "reload", unit)
    wait_for_runs(box, unit, 2)

    pid = box.run("systemctl", "show", unit, "--property=MainPID", "--value").strip()
    status = box.run("cat", f"/proc/{pid}/status")
    assert {"0"} != set(re.findall(r"Uid:\t(\d+)", status))
    assert ["1", "2"] == re.findall(r"(?:NoNewPrivs|Seccomp):\t(\d)", status)
    assert {"0000000000000000"} == set(re.findall(r"Cap(?:Prm|Eff|Bnd|Amb):\t(\w+)", status))

    box.run("systemctl", "stop", unit)
    shown = box.run("systemctl", "show", unit, "--property=Result,ExecMainStatus,NRestarts")
    assert {"Result=success", "ExecMainStatus=0", "NRestarts=0"} == set(shown.split())


@pytest.mark.usefixtures("api")
def test_the_timers_metrics_reach_node_exporter(box: Box, database: str) -> None:
    """With metrics.conf each run leaves a file that others may read where node_exporter looks.

    A link in the place of the file, to what only root may read, is not followed.
    """
    box.write("/etc/syncer/credentials/syncer_database_url", database)
    folder = "/var/lib/prometheus/node-exporter"
    dropin = "/etc/systemd/system/syncer-sync.service.d"
    box.run("mkdir", "--parents", folder, dropin)
    text = (DEPLOY / "systemd/metrics.conf").read_text()
    box.write(f"{dropin}/metrics.conf", text)
    box.run("systemctl", "daemon-reload")
    sync(box, status="succeeded")
    assert "-rw-r--r-- syncer.prom" == box.run("find", folder, "-type", "f", "-printf", "%M %f")
    assert "syncer_last_run_exit_code{" in box.run("cat", f"{folder}/syncer.prom")
    (copy,) = re.findall(r"^ExecStopPost=-\+/bin/sh -c '(.*)'$", text, re.MULTILINE)
    box.run("ln", "--symbolic", "--force", "/etc/shadow", "/var/lib/syncer/syncer.prom")
    assert "symbolic links" in box.run("sh", "-c", copy, code=1)


@pytest.fixture
def accounts(box: Box, api: None, database: str) -> Iterator[None]:
    """Two accounts, whose credentials are files of /etc/syncer/credentials/accounts."""
    del api
    credentials, settings = "/etc/syncer/credentials", "/etc/syncer/syncer.toml"
    before = box.run("cat", settings)
    for name in ("id", "secret"):
        box.write(f"{credentials}/zenlayer_access_key_{name}", "")
    box.write(f"{credentials}/syncer_database_url", database)
    box.write(settings, before + "".join(f'[accounts.{a}]\ncredential = "{a}"\n' for a in KEYS))
    box.run("mkdir", "--parents", f"{credentials}/accounts/lab")
    for account, form in {"prod": "prod_access_key_{}", "lab": "lab/access_key_{}"}.items():
        for name, value in zip(("id", "secret"), KEYS[account].split(":"), strict=True):
            box.write(f"{credentials}/accounts/{form.format(name)}", value)
    yield
    box.write(settings, before)
    box.write(f"{credentials}/zenlayer_access_key_id", "simulator\n")
    box.write(f"{credentials}/zenlayer_access_key_secret", "simulator-secret\n")


@pytest.mark.usefixtures("accounts")
def test_workers_take_accounts_and_end_with_what_is_under_way(box: Box, database: str) -> None:
    """Units and people are given the folder of accounts; two workers share it, and drain."""
    sync(box, status="succeeded")
    box.run("syncer", "doctor", "--account=lab")

    units = ("syncer-worker@1.service", "syncer-worker@2.service")
    box.run("systemctl", "start", *units)
    wait_for_runs(box, "syncer-worker@*", 2)
    assert ["lab", "prod"] == ask(
        box, database, "select account from syncer.account_schedule order by account"
    )
    for port in (9471, 9472):
        box.run("curl", "--fail", "--silent", f"http://127.0.0.1:{port}/readyz")
        metrics = box.run("curl", "--silent", f"http://127.0.0.1:{port}/metrics")
        assert 'syncer_scheduled_accounts{state="late"} 0.0' in metrics

    control(box, op="add_fault", fault="latency=1")
    box.run("systemctl", "reload", units[0])
    under_way = ask(box, database, "select run_id from syncer.runs where status = 'running'")
    box.run("systemctl", "stop", *units)
    control(box, op="clear_faults")
    shown = box.run("systemctl", "show", *units, "--property=Result,ExecMainStatus,NRestarts")
    assert {"Result=success", "ExecMainStatus=0", "NRestarts=0"} == set(shown.split())
    chosen = f"select status from syncer.runs where run_id in ({','.join(under_way)})"
    assert {"succeeded"} == set(ask(box, database, chosen))
    assert ["0"] == ask(box, database, "select count(*) from syncer.workers")
    assert ["waiting"] == ask(box, database, "select distinct state from syncer.account_schedule")


@pytest.mark.usefixtures("api")
def test_the_schemas_owner_is_another_than_who_runs(box: Box, database: str) -> None:
    """`syncer db roles` is done as whom owner_database_url names; nothing else is."""
    credentials = "/etc/syncer/credentials"
    box.write(f"{credentials}/syncer_database_url", "postgresql://nobody@127.0.0.1/none")
    box.write(f"{credentials}/owner_database_url", database)
    box.run("syncer", "db", "roles")
    made = "select rolname from pg_roles where rolname = 'syncer_writer'"
    assert ["syncer_writer"] == ask(box, database, made)
    assert "postgresql://nobody@127.0.0.1/none\n" == box.run("syncer", "db", "url")
    said = box.run("env", f"SYNCER_DATABASE_URL={database}", "syncer", "db", "roles", code=2)
    assert "SYNCER_DATABASE_URL is not passed on" in said
    assert database not in said


@pytest.mark.usefixtures("api")
def test_cron_runs_it_and_all_of_it_is_removed(box: Box, database: str) -> None:
    """The last of these: units are removed, cron's job works as its user, and is removed too.

    Without systemd (whose folder is hidden) the command for people becomes that user by itself. A
    folder of credentials that the user may not look into is one line, not one for each setting.
    """
    credentials, deploy = "/etc/syncer/credentials", "/srv/deploy/systemd"
    box.copy(DEPLOY, "/srv")
    box.write(f"{credentials}/syncer_database_url", database)
    box.run("systemctl", "enable", "syncer-worker@1.service")
    assert "/etc/syncer\n" in box.run("env", "PREFIX=/srv/none", f"{deploy}/uninstall.sh")
    assert "" == box.run("find", "/etc/systemd", "/usr/local/bin", "-name", "syncer*")

    assert "that of syncer's units" in box.run(f"{deploy}/install.sh", "cron-file", code=1)
    box.run("rm", "--recursive", "/var/lib/syncer", "/var/lib/private/syncer")
    box.run(f"{deploy}/install.sh", "cron-file")
    (job,) = re.findall(r"^\d\S*(?: +\S+){4} +syncer +(.*)", CRONTAB, re.MULTILINE)
    bare = [
        f"{name}={value}" for name, value in re.findall("^([A-Z_]+)=(.*)$", CRONTAB, re.MULTILINE)
    ]
    as_user = ("setpriv", "--reuid=syncer", "--regid=syncer", "--init-groups")
    as_cron = (*as_user, "env", "-i", *bare, "HOME=/var/lib/syncer", "sh", "-c", job)
    assert "" == box.run(*as_cron)
    hidden = "mount -t tmpfs none /run/systemd && syncer runs --limit=1 -o csv"
    assert ",succeeded," in box.run("unshare", "--mount", "sh", "-c", hidden)
    box.run("chmod", "700", credentials)
    box.run("chgrp", "root", credentials)
    said = "the user at work may not look into this folder (CREDENTIALS_DIRECTORY)"
    assert f"syncer: {credentials}: {said}\n" == box.run(*as_cron, code=2)

    box.run(f"{deploy}/uninstall.sh", "--purge")
    places = ("/etc/syncer", "/etc/cron.d/syncer", "/opt/syncer", "/var/lib/syncer")
    assert "" == box.run("sh", "-c", f"ls -d {' '.join(places)} 2>&-; getent passwd syncer", code=2)
