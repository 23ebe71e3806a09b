"""What the documents say is so: commands run, queries answer, links and names lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import click
import msgspec
import pytest
from anyio.streams.text import TextReceiveStream

from syncer.cli import cli
from syncer.cli.demo import _LOOK_FURTHER
from syncer.core import errors
from syncer.core.model import TRACKED
from syncer.serve.metrics import Metrics
from syncer.serve.worker_metrics import Distribution
from syncer.simulator import World
from syncer.store.connection import sql
from tests.deploy.tools import DEPLOY, check_command
from tests.support import lose

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CONTRACT = ROOT / "migrations/README.md"
ENGINEERS = ROOT / "syncer/README.md"
READMES = sorted(
    [
        README,
        *(
            p
            for d in ("syncer", "migrations", "deploy", "tests")
            for p in (ROOT / d).rglob("README.md")
        ),
        ROOT / "migrations/queries.md",
        ROOT / "migrations/views.md",
        ROOT / "deploy/bi.md",
        ROOT / "deploy/replica.md",
        ROOT / "deploy/updating.md",
        ROOT / "deploy/prometheus/runbooks.md",
    ]
)
MAKEFILE = (ROOT / "Makefile").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROGRAM = re.compile(r"(?:\S*/)?syncer")
VARIABLE = re.compile(r"[A-Z_]+=")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(path: Path, language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", path.read_text(), re.MULTILINE | re.DOTALL)


def prose(path: Path) -> str:
    """A document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)


def commands(path: Path) -> list[str]:
    """The lines of the sh blocks, without their comments."""
    lines = [line for block in blocks(path, "sh") for line in block.splitlines()]
    return [command for line in lines if (command := re.sub(r"(^|\s+)#\s.*$", "", line))]


def test_the_readme_is_short() -> None:
    """A new user reads it in five minutes."""
    assert len(README.read_text().splitlines()) <= 200


# Every command of every README, and what is done with it here.


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Where commands run: a folder, the simulator, and a database with drift in it."""

    syncer: Any
    folder: Path
    environment: dict[str, str]


class Run(msgspec.Struct, frozen=True):
    """A command that is run; ``how`` raises AssertionError where it does not do as it says."""

    how: Callable[[Sandbox, str], Awaitable[None]]


class Check(msgspec.Struct, frozen=True):
    """A command that cannot be run here: ``why``, and what is checked instead."""

    why: str
    check: Callable[[str], None]


def runs(code: int = 0, *, below: str | None = None) -> Run:
    """It is run as it stands, but for a folder that is not ours: it is made ``below`` ours."""

    async def how(sandbox: Sandbox, command: str) -> None:
        if below is not None:
            assert below in command
            (sandbox.folder / below.strip("/")).mkdir(parents=True)
            command = command.replace(below, f"{sandbox.folder}{below}")
        for part in command.split(" && "):
            words = shlex.split(part)
            variables = dict(word.split("=", 1) for word in words if VARIABLE.match(word))
            words = words[len(variables) :]
            assert PROGRAM.fullmatch(words[0])
            done = await sandbox.syncer(*words[1:], **variables)
            assert code == done.code, (part, done.out, done.err)

    return Run(how)


def runs_until(text: str, number: signal.Signals, code: int) -> Run:
    """It is run as a process until it prints a text, and is then ended by a signal."""

    async def how(sandbox: Sandbox, command: str) -> None:
        program, *arguments = shlex.split(command)
        assert PROGRAM.fullmatch(program)
        async with await anyio.open_process(
            [sys.executable, "-m", "syncer", *arguments],
            stderr=subprocess.STDOUT,
            env=sandbox.environment,
            cwd=sandbox.folder,
        ) as process:
            assert process.stdout is not None
            printed = ""
            async for part in TextReceiveStream(process.stdout):
                if text not in printed and text in printed + part:
                    process.send_signal(number)
                printed += part
            assert (True, code) == (text in printed, await process.wait()), printed

    return Run(how)


def sets(name: str) -> Run:
    """It sets a variable, for which the sandbox has a value of its own."""

    async def how(sandbox: Sandbox, command: str) -> None:
        assert command.startswith(f"export {name}=")
        assert name in sandbox.environment

    return Run(how)


def parses(why: str) -> Check:
    """The command line understands it, options and values."""

    def check(command: str) -> None:
        words = [word for word in shlex.split(command) if not VARIABLE.match(word)]
        assert PROGRAM.fullmatch(words[0])
        check_command(*words[1:])

    return Check(why, check)


def makes(why: str) -> Check:
    """Make knows the target, and the variables are its own."""

    def check(command: str) -> None:
        words = shlex.split(command.removeprefix("sudo "))
        assert words[0] == "make"
        for word in words[1:]:
            variable, equals, _ = word.partition("=")
            assert f"$({variable})" in MAKEFILE if equals else f"\n{word}: " in MAKEFILE, word
        if make := shutil.which("make"):
            dry = [make, "--dry-run", *words[1:]]
            subprocess.run(dry, cwd=ROOT, check=True, capture_output=True)

    return Check(why, check)


def left(why: str) -> Check:
    """It is another program's; a shell can read it, and the paths that it names are there."""

    def check(command: str) -> None:
        subprocess.run(["/bin/sh", "-n", "-c", command], check=True)
        for path in re.findall(r"(?<![\w/.])(?:deploy|tests|syncer|migrations)/[\w./*-]+", command):
            assert list(ROOT.glob(path)), path

    return Check(why, check)


IN_A_BOX = left("a machine with systemd: tests/deploy/test_box.py has one")
DOCKER = left("there is no Docker here: tests/deploy/test_containers.py reads what it would run")
KUBECTL = left("there is no cluster here: tests/deploy/test_kubernetes.py checks the manifests")
GRAFANA = left("there is no Grafana here: tests/deploy/test_grafana.py compares what it names")
SIMULATOR = left("tests/simulator/test_readme.py sends it to a simulator")
ITS_PORT = parses("its port may be taken: tests/simulator/test_readme.py starts what it says")
BENCH = parses("it takes minutes: tests/bench/test_bench.py runs it with little to do")
FAR = parses("it takes minutes: tests/bench/test_far.py runs it with little to do")
SUITE = left("this is the suite")
CHECKS = makes("it is a step of .ci/run")
INSTALLS = makes("it installs on this machine: tests/deploy/test_systemd.py installs into a folder")

RESTORED = left("tests/e2e/test_dump.py does what stands there, in its order")
MOVED = parses("there is nothing embedded here: tests/e2e/test_move.py moves what is")

HOW: dict[str, Run | Check] = {
    "make demo": makes("tests/cli/test_commands.py runs `syncer demo`, which is all it does"),
    "make test": makes("this is the suite"),
    "make lint": CHECKS,
    "make build": CHECKS,
    "make dashboards-check": CHECKS,
    "make schema": makes("it writes a file: tests/store/test_schema.py compares it"),
    "export PATH=$PWD/.venv/bin:$PATH": sets("PATH"),
    "export ZENLAYER_ACCESS_KEY_ID=...": sets("ZENLAYER_ACCESS_KEY_ID"),
    "export ZENLAYER_ACCESS_KEY_SECRET=...": sets("ZENLAYER_ACCESS_KEY_SECRET"),
    "export SYNCER_DATABASE_URL=postgresql://syncer:password@db.example:5432/inventory": sets(
        "SYNCER_DATABASE_URL"
    ),
    "export SYNCER_DATABASE_URL=postgresql://syncer_owner:PASSWORD@db.example:5432/inventory": sets(
        "SYNCER_DATABASE_URL"
    ),
    "syncer sync": runs(4),
    "syncer db upgrade": runs(),
    "syncer db upgrade --sql": runs(),
    "syncer db dependents": runs(),
    "syncer db dependents --drop": runs(),
    "syncer db status": runs(),
    "syncer db repair-clock": runs(),
    "syncer db repair-clock --yes": runs(),
    "syncer db roles": runs(),
    "syncer db dump --file syncer.dump": runs(),
    "createdb --template template0 --encoding UTF8 inventory": RESTORED,
    "pg_restore --dbname inventory --no-owner --exit-on-error --single-transaction "
    "syncer.dump": RESTORED,
    "syncer db move": MOVED,
    "syncer db move --programs /usr/lib/postgresql/15/bin": MOVED,
    "syncer db move --to postgresql://syncer_owner@db.example:5432/inventory": MOVED,
    "syncer doctor": parses("it asks the API and more: tests/doctor/test_command.py runs it"),
    "syncer db roles --sql": runs(),
    "psql -v team=team_web -v accounts=prod,staging -d inventory -f deploy/sql/team.sql": left(
        "there is no such database here: tests/deploy/test_teams.py makes a team"
    ),
    "syncer db upgrade && syncer db roles": runs(),
    "syncer db dump --file /var/lib/syncer/before-update.dump": IN_A_BOX,
    "syncer retire FRA-A": runs(),
    "syncer serve --every 15m": runs_until("run.finished", signal.SIGTERM, 0),
    "syncer serve --every 15m --jitter 60s --http 127.0.0.1:9464": parses(
        "its port may be taken: tests/e2e/test_serve.py runs the daemon on another"
    ),
    "syncer baseline save release-42 --zone 'FRA-*'": runs(),
    "syncer check release-42": runs(),
    "syncer check pins.csv --max-age 2h": runs(),
    "syncer zones": runs(),
    "syncer images --withheld --zone FRA-A": runs(),
    "syncer approve FRA-A --max 60": runs(),
    "syncer changes --follow --cursor changes.cursor -o ndjson": runs_until(
        '"change_id"', signal.SIGINT, 130
    ),
    "syncer prune --keep 400d --dry-run": runs(),
    "syncer prune --keep 400d": runs(),
    "SYNCER_METRICS_FILE=/var/lib/node_exporter/syncer.prom syncer sync": runs(
        4, below="/var/lib/node_exporter"
    ),
    "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 syncer sync": parses(
        "there is no collector here: tests/serve/test_otel.py has one"
    ),
    "sudo make install-systemd PYTHON=/usr/bin/python3": INSTALLS,
    "sudo make install-cron PYTHON=/usr/bin/python3": INSTALLS,
    "sudo make uninstall-systemd": INSTALLS,
    "sudo make uninstall-systemd PURGE=1": INSTALLS,
    "sudoedit /etc/syncer/credentials/owner_database_url": IN_A_BOX,
    "sudo mv /etc/cron.d/syncer /root/syncer.cron": IN_A_BOX,
    "sudo mv /root/syncer.cron /etc/cron.d/syncer": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/zenlayer_access_key_id": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/zenlayer_access_key_secret": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/syncer_database_url": IN_A_BOX,
    "sudo systemctl enable --now syncer": IN_A_BOX,
    "sudo systemctl stop syncer": IN_A_BOX,
    "sudo systemctl start syncer": IN_A_BOX,
    "systemctl reload syncer": IN_A_BOX,
    "journalctl -u syncer": IN_A_BOX,
    "curl 127.0.0.1:9464/metrics": left("tests/e2e/test_serve.py asks the daemon for them"),
    "/opt/syncer/venv/bin/pip install 'syncer[distributed]'": left("it downloads"),
    "sudoedit /etc/syncer/syncer.toml": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/accounts/prod_access_key_id": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/accounts/prod_access_key_secret": IN_A_BOX,
    "sudoedit /etc/syncer/credentials/syncer_queue_url": IN_A_BOX,
    "sudo systemctl enable --now syncer-worker@1": IN_A_BOX,
    "sudo systemctl stop syncer-worker@1": IN_A_BOX,
    "sudo systemctl kill --kill-whom=main syncer-worker@1": IN_A_BOX,
    "syncer worker --forget lab": runs(2),  # no worker crawls it here, and it is said so
    "git pull": left("it changes the clone"),
    "psql -f deploy/sql/logins.sql": left("tests/deploy/test_sql.py runs it as a superuser"),
    "docker build -f deploy/Dockerfile -t registry.example/syncer:0.1.0 .": DOCKER,
    "docker run --rm registry.example/syncer:0.1.0 demo": DOCKER,
    "sh deploy/compose/secrets.sh && "
    "docker compose -f deploy/compose/compose.yaml --profile monitoring "
    "up --build --detach": DOCKER,
    "docker compose -f deploy/compose/compose.yaml up --build --detach": DOCKER,
    "docker compose -f deploy/compose/compose.yaml exec syncer "
    "syncer db dump --file /tmp/before-update.dump": DOCKER,
    "docker compose -f deploy/compose/compose.yaml cp syncer:/tmp/before-update.dump .": DOCKER,
    "docker compose -f deploy/compose/compose.yaml exec syncer syncer zones": DOCKER,
    "kubectl apply -k deploy/kubernetes/namespace": KUBECTL,
    "kubectl -n syncer scale deployment/syncer --replicas=0": KUBECTL,
    "kubectl -n syncer apply -k deploy/kubernetes/upgrade": KUBECTL,
    "kubectl -n syncer wait --for=condition=complete job/syncer-upgrade": KUBECTL,
    "kubectl -n syncer apply -k deploy/kubernetes/serve": KUBECTL,
    "kubectl -n syncer apply -k deploy/kubernetes/worker": KUBECTL,
    "promtool test rules deploy/prometheus/syncer.rules.test.yml "
    "deploy/prometheus/syncer.rules.6h.test.yml": left(
        "tests/deploy/test_prometheus.py runs it where promtool is installed"
    ),
    "/opt/syncer/venv/bin/pip install 'syncer[otel]'": left("it downloads"),
    "SYNCER_READER_ADDRESS=db.example:5432": GRAFANA,
    "SYNCER_READER_DATABASE=inventory": GRAFANA,
    "SYNCER_READER_USER=syncer_grafana": GRAFANA,
    "SYNCER_READER_PASSWORD=...": GRAFANA,
    "SYNCER_READER_SSLMODE=verify-full": GRAFANA,
    "SYNCER_READER_SSLROOTCERT=/etc/ssl/certs/inventory-ca.pem": GRAFANA,
    "cp deploy/grafana/provisioning/datasources/syncer.yaml "
    "/etc/grafana/provisioning/datasources/": GRAFANA,
    "cp deploy/grafana/provisioning/datasources/monitoring.yaml "
    "/etc/grafana/provisioning/datasources/": GRAFANA,
    "cp deploy/grafana/provisioning/alerting/syncer.yaml "
    "/etc/grafana/provisioning/alerting/": GRAFANA,
    "cp deploy/grafana/provisioning/dashboards/syncer.yaml "
    "/etc/grafana/provisioning/dashboards/": GRAFANA,
    "mkdir -p /var/lib/grafana/dashboards/syncer": GRAFANA,
    "cp deploy/grafana/dashboards/*.json /var/lib/grafana/dashboards/syncer/": GRAFANA,
    "systemctl restart grafana-server": GRAFANA,
    ".venv/bin/syncer bench": BENCH,
    ".venv/bin/syncer bench --images 500": BENCH,
    ".venv/bin/syncer bench --only G1,G6": BENCH,
    ".venv/bin/syncer bench --json": BENCH,
    ".venv/bin/syncer bench --peers": BENCH,
    ".venv/bin/syncer bench --only G14": BENCH,
    ".venv/bin/syncer bench --only G13,G15": FAR,
    ".venv/bin/syncer bench --peers --far": FAR,
    ".venv/bin/pip install -e '.[peers]'": left("it downloads"),
    "syncer simulate --zones 12 --images 200": ITS_PORT,
    "syncer simulate --service vm --service bmc": ITS_PORT,
    "syncer simulate --fault status=503,zone=FRA-A --fault page_cap=50": ITS_PORT,
    "syncer simulate --rate 20 --burst 20 --latency 100 --clock-skew 3600": ITS_PORT,
    "syncer simulate --list-faults": runs(),
    "curl -s http://127.0.0.1:8989/_control": SIMULATOR,
    "curl -s http://127.0.0.1:8989/_control "
    """-d '{"op": "drift", "appear": 3, "change": 3, "remove": 2}'""": SIMULATOR,
    "curl -s http://127.0.0.1:8989/_control "
    """-d '{"op": "add_fault", "fault": "status=503,times=3"}'""": SIMULATOR,
    """curl -s http://127.0.0.1:8989/_control -d '{"op": "set_rate", "rate": 10}'""": SIMULATOR,
    """curl -s http://127.0.0.1:8989/_control -d '{"op": "clear_faults"}'""": SIMULATOR,
    ".venv/bin/pytest -q tests/core": SUITE,
    ".venv/bin/pytest -q tests/core/test_guard.py -k latch": SUITE,
    "SYNCER_PG_BIN=/usr/lib/postgresql/15/bin "
    '.venv/bin/pytest -q -n 4 -m "not any_server" tests/store tests/e2e': SUITE,
}


@pytest.fixture
async def drifted(sync: Any, world: World) -> None:
    """A cloud that drifted between two runs, and whose zone FRA-A lost suspiciously much."""
    await sync()
    world.drift(5, appear=5, change=5, remove=5)
    lose(world, "FRA-A", 15)
    await sync()


@pytest.fixture
async def sandbox(
    drifted: None, syncer: Any, environment: dict[str, str], tmp_path: Path
) -> Sandbox:
    pins = await syncer("images", "--presence", "present", "-o", "csv")  # as the README says
    (tmp_path / "pins.csv").write_text(pins.out)
    path = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    quick = {"SYNCER_LOG_LEVEL": "info", "SYNCER_HTTP": "127.0.0.1:0"}
    return Sandbox(syncer=syncer, folder=tmp_path, environment={**environment, **path, **quick})


def test_every_command_has_an_entry() -> None:
    """A new one says in HOW how it is run, and one that no document has any more goes."""
    assert {command for path in READMES for command in commands(path)} == set(HOW)


def test_what_cannot_be_run_says_why_and_is_checked() -> None:
    for command, how in HOW.items():
        if isinstance(how, Check):
            assert how.why
            how.check(command)


RUN = [p for p in READMES if any(isinstance(HOW.get(c), Run) for c in commands(p))]


@pytest.mark.parametrize("path", RUN, ids=name_of)
async def test_every_command_does_what_it_says(path: Path, sandbox: Sandbox) -> None:
    """Run as it stands, in the order of the document; its exit code is the expected one."""
    for command in commands(path):
        how = HOW[command]
        if isinstance(how, Run):
            await how.how(sandbox, command)


def test_the_reasons_name_tests_that_are_there() -> None:
    source = Path(__file__).read_text()
    for named in re.findall(r"tests/\w+/test_\w+\.py", source):
        assert (ROOT / named).is_file(), named


ASKED_ELSEWHERE = {
    ROOT / "migrations/queries.md": "tests/test_queries.py",
    ROOT / "deploy/replica.md": "tests/deploy/test_replica.py",
}
ASKED = [p for p in READMES if blocks(p, "sql") and p not in ASKED_ELSEWHERE]


def test_what_is_asked_elsewhere_is_asked() -> None:
    for path, test in ASKED_ELSEWHERE.items():
        assert f'"{path.name}"' in (text := (ROOT / test).read_text()) or name_of(path) in text


@pytest.mark.parametrize("path", ASKED, ids=name_of)
async def test_every_query_answers(path: Path, drifted: None, db: Any) -> None:
    """As it stands, on a database with drift in it."""
    statements = [
        statement
        for block in blocks(path, "sql")
        for statement in re.sub(r"^--.*$", "", block, flags=re.MULTILINE).split(";")
        if statement.strip()
    ]
    change = db.transaction()
    await change.start()
    await db.execute(sql("schema/roles") + "; create role team_web")
    for statement in statements:
        await db.execute(statement)
    await change.rollback()
    assert statements


async def test_every_query_of_the_demo_answers(drifted: None, db: Any) -> None:
    for query in re.findall(r"    (select .*?);", _LOOK_FURTHER, re.DOTALL):
        assert await db.fetch(query)


# Every link, path and name leads somewhere.


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", [*READMES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    """Relative ones: to a file, and to a heading in it."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        target, _, anchor = link.partition("#")
        if target.startswith("http"):
            continue
        file = (path.parent / target).resolve() if target else path
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


OF_USERS = {"pins.csv", "syncer.toml", "plan.json"}
"""Files that are named in backticks and that users write."""


@pytest.mark.parametrize("path", READMES, ids=name_of)
def test_every_path_in_backticks_is_there(path: Path) -> None:
    """Beside the document, or from the root of the repository."""
    for code in re.findall(r"`([^`\n]+)`", prose(path)):
        is_file = re.fullmatch(
            r"[\w.*/-]+\.(py|sql|toml|lock|md|sh|ya?ml|json|conf|mako|csv)", code
        )
        is_folder = re.fullmatch(r"[\w.][\w./-]*/", code)
        if (is_file or is_folder) and code not in OF_USERS and code[0] not in "/~":
            found = [*path.parent.glob(code), *ROOT.glob(code)]
            assert found, code


TEXTS = [DEPLOY / "README.md", DEPLOY / "Dockerfile"]
TEXTS += [path for path in DEPLOY.rglob("*.*") if path.suffix in {".yaml", ".sh", ".sql", ".yml"}]


@pytest.mark.parametrize("path", sorted(TEXTS), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_path_that_the_files_of_deploy_name_is_there(path: Path) -> None:
    for named in re.findall(r"\bdeploy/[\w./-]*\w", path.read_text()):
        made_by_people = named.startswith("deploy/compose/secrets")
        assert made_by_people or (ROOT / named).exists(), named


@pytest.mark.parametrize("path", READMES, ids=name_of)
def test_every_command_in_backticks_exists(path: Path) -> None:
    """`syncer x --option`: the command, and the option."""
    for code in re.findall(r"`(syncer [^`]+)`", prose(path)):
        words = [word for word in shlex.split(code)[1:] if not re.match(r"[A-Z|]+$", word)]
        command: click.Command = cli
        context = click.Context(cli)
        while isinstance(command, click.Group) and words and "|" not in words[0]:
            found = command.get_command(context, words[0])
            assert found is not None, code
            command = found
            del words[0]
        options = {option for parameter in command.params for option in parameter.opts}
        named = {word.split("=")[0] for word in words if word.startswith("--")}
        assert named <= options | {"--help"}, code


# What the code has, its document names; what a document names, the code has.


def test_the_readme_names_every_command() -> None:
    """A command that README omits does not exist for its readers."""
    for command in cli.list_commands(None):  # type: ignore[arg-type]
        assert re.search(rf"`(syncer )?{command}\b", README.read_text()), command


def test_every_make_target_is_named() -> None:
    """What users need in README, the rest where an engineer looks."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    for target in targets - {"help", "setup", "clean"}:
        users = target in {"demo", "test", "sync", "install-systemd"}
        operators = target in {"install-cron", "uninstall-systemd", "uninstall-cron"}
        path = README if users else DEPLOY / "README.md" if operators else ENGINEERS
        assert f"make {target}" in path.read_text(), target
    for path in READMES:
        shown = prose(path) + "\n".join(commands(path))
        for target in re.findall(r"(?:`|^|sudo )make ([a-z-]+)", shown, re.MULTILINE):
            assert target in targets, (path, target)


def test_every_setting_is_named() -> None:
    """Every variable that config/ reads is in README, and every one that is named exists."""
    code = "".join(path.read_text() for path in (ROOT / "syncer/config").glob("*.py"))
    names = set(re.findall(r'"((?:SYNCER|ZENLAYER)\w*[A-Z])"', code)) - {"ZENLAYER"}
    assert not {name for name in names if name not in README.read_text()}
    for path in READMES:
        named = set(re.findall(r"\b(?:SYNCER|ZENLAYER(?:CLOUD)?)_\w*[A-Z]\b", path.read_text()))
        assert not {name for name in named - names if "_READER_" not in name}


def test_every_exit_code_is_named() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    used = {kind.exit_code for kind in kinds if issubclass(kind, errors.SyncerError)}
    shown = set(map(int, re.findall(r"^\| (\d) \|", README.read_text(), re.MULTILINE)))
    assert shown == set(range(7))
    assert used <= shown


def test_every_metric_is_named() -> None:
    """In the table of deploy/README.md, with its labels; nothing else is."""
    workers = Distribution("worker", holds=60)
    workers.take([], [])
    families = [*Metrics("a", live=True).registry.collect(), *workers.collect()]
    names = {f"{f.name}_total" if f.type == "counter" else f.name for f in families}
    section = (DEPLOY / "README.md").read_text().partition("## Metrics")[2].partition("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("|"))
    assert names == set(re.findall(r"`(syncer_\w+)", table))


def test_every_folder_of_deploy_is_named() -> None:
    for folder in DEPLOY.iterdir():
        assert not folder.is_dir() or f"`{folder.name}/`" in (DEPLOY / "README.md").read_text()


def test_every_folder_of_tests_is_named() -> None:
    text = (ROOT / "tests/README.md").read_text().partition("| folder |")[2]
    folders = {path.parent.name for path in (ROOT / "tests").glob("*/*.*")} - {"__pycache__"}
    assert not folders - set(re.findall(r"`(\w+)/`", text))


async def test_the_contract_names_every_view(db: Any) -> None:
    """Those of the schema, no more and no less; their columns are in a page that is made of it."""
    rows = await db.fetch("select viewname from pg_views where schemaname = 'syncer'")
    part = CONTRACT.read_text().partition("## The views")[2].partition("\n## ")[0]
    table = "\n".join(line.split("|")[1] for line in part.splitlines() if line.startswith("|"))
    assert sorted(row[0] for row in rows) == sorted(re.findall(r"`(\w+)`", table))


OF_NO_USE = {"ARRAY", "bytea", "interval", "jsonb"}
"""Types that tools for BI cannot group or filter by."""


async def test_the_recipe_for_bi_names_every_column_that_is_to_be_left_out(db: Any) -> None:
    """Of the views that it is about, by their types."""
    rows = await db.fetch("""
        select table_name, column_name, data_type from information_schema.columns
        where table_schema = 'syncer'""")
    text = (DEPLOY / "bi.md").read_text().partition("| view | leave out |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1:3] for line in text.splitlines()[2:]]
    named = [[set(re.findall(r"`(\w+)`", cell)) for cell in pair] for pair in cells]
    for views, columns in named:
        assert columns == {row[1] for row in rows if row[0] in views and row[2] in OF_NO_USE}
    said = set().union(*(views for views, _ in named))
    assert {row[0] for row in rows if row[2] in OF_NO_USE} == said


KEY = ("account", "service", "zone_id", "image_id")


async def test_the_contract_names_every_function(db: Any) -> None:
    """With its arguments and columns; what is said in other words there is named elsewhere."""
    rows = await db.fetch("""
        select proname, proargnames from pg_proc
        where pronamespace = 'syncer'::regnamespace""")
    part = CONTRACT.read_text().partition("## The functions")[2].partition("\n## ")[0]
    lines = dict(re.findall(r"^\| `(\w+)\((.*)$", part, re.MULTILINE))
    assert {row["proname"] for row in rows} == lines.keys()
    for row in rows:
        for name in row["proargnames"]:
            if row["proname"] != "images_asof" or name not in {*KEY, *TRACKED}:
                assert re.search(rf"\b{name}\b", lines[row["proname"]]), (row["proname"], name)


# What an engineer reads of the rooms is what is checked.

BASE = {"core", "files", "log", "secrets", "streams", "tracing"}
CONTRACTS = PYPROJECT["tool"]["importlinter"]["contracts"]


def allowed_imports() -> dict[str, tuple[set[str], dict[str, set[str]]]]:
    """What each room may import by the contracts: as a whole, and single modules of it."""
    (layers,) = (c["layers"] for c in CONTRACTS if c["type"] == "layers")
    floors = [set(layer.split(" | ")) for layer in layers]
    protected = {
        name: set(c["allowed_importers"])
        for c in CONTRACTS
        if c["type"] == "protected"
        for name in c["protected_modules"]
        if name.startswith("syncer.")
    }
    allowed: dict[str, tuple[set[str], dict[str, set[str]]]] = {}
    for number, floor in enumerate(floors):
        below = set().union(*floors[number + 1 :]) - BASE
        for room in floor - BASE - {"__main__"}:
            whole: set[str] = set()
            alone: dict[str, set[str]] = {}
            for other in below:
                importers = protected.get(f"syncer.{other}", {f"syncer.{room}"})
                if f"syncer.{room}" in importers:
                    whole.add(other)
                for module in importers:
                    if module.startswith(f"syncer.{room}."):
                        file = module.removeprefix("syncer.").replace(".", "/") + ".py"
                        alone.setdefault(file, set()).add(other)
            allowed[room] = whole, alone
    return allowed


def test_the_table_of_rooms_is_what_the_contracts_say() -> None:
    """Each room, and what it may import."""
    rooms = allowed_imports()
    section = ENGINEERS.read_text().partition("## Rooms")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", section, re.MULTILINE))
    assert {"core", *rooms} == rows.keys()
    assert rows.pop("core").startswith("nothing")
    for room, cell in rows.items():
        named = set(re.findall(r"\w+", cell.partition("`")[0])) - {"nothing"}
        only = dict(re.findall(r"`([\w/.]+)` alone: ([\w, ]+)", cell))
        assert (named, {f: set(o.split(", ")) for f, o in only.items()}) == rooms[room], room


def test_every_room_is_a_folder_or_a_module() -> None:
    modules = {p.stem for p in (ROOT / "syncer").glob("*.py")} - {"__init__", "__main__"}
    packages = {p.parent.name for p in (ROOT / "syncer").glob("*/__init__.py")}
    assert modules | packages == allowed_imports().keys() | BASE


def test_the_glossary_has_our_words() -> None:
    """The words that are ours, and that a reader cannot look up elsewhere."""
    words = set(re.findall(r"^\| \*\*(\w+)\*\* \|", ENGINEERS.read_text(), re.MULTILINE))
    ours = {
        "look",
        "whole",
        "torn",
        "walk",
        "gone",
        "withheld",
        "latch",
        "fence",
        "feed",
        "presence",
    }
    assert ours | {"account", "run", "scan", "snapshot", "version", "drift"} <= words


def test_nothing_cited_is_outside_of_the_repository() -> None:
    """No page that a reader of the repository does not have."""
    files = [*ROOT.glob("syncer/**/*.py"), *ROOT.glob("syncer/**/*.sql"), *READMES]
    files += [*ROOT.glob("tests/**/*.py"), *ROOT.glob("migrations/**/*.py")]
    files += [ROOT / "pyproject.toml", ROOT / "Makefile"]
    cited = re.compile(r"\b(DESIG[N]|HOUS[E]|ANCHOR[S]|PEER[S]|PERFORMANC[E])\b(\.md| §|\))")
    assert not [str(path) for path in files if cited.search(path.read_text())]
