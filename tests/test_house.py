"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from syncer.cli import cli
from syncer.cli.demo import _LOOK_FURTHER

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
MODULES = sorted(ROOT.glob("syncer/**/*.py"))
_QUERIES = re.findall(
    r"^-- \d+\. (.*?)$(.*?);$",
    README.partition("<!-- queries -->")[2].partition("```\n")[0],
    re.MULTILINE | re.DOTALL,
)


def _functions() -> list[tuple[str, int]]:
    """Every function of the program, and how many lines it has."""
    return [
        (f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_a_function_does_one_thing() -> None:
    """No function passes 50 lines."""
    assert [] == [name for name, lines in _functions() if lines > 50]


def test_only_config_reads_the_environment() -> None:
    """os.environ is read in one module, and named where people are told of libpq's variables."""
    found = {p.name for p in MODULES if re.search(r"os\.(environ|getenv)", p.read_text())}
    assert {"settings.py", "machine.py"} == found


def test_the_seals_are_used_only_where_they_are_made() -> None:
    """Snapshot, Candidates, Cleared and Removal are built by their makers only."""
    building = re.compile(r"\b(Snapshot|Candidates|Cleared|Removal)\(")
    found = {p.name for p in MODULES if building.search(re.sub(r"class \w+\(", "", p.read_text()))}
    assert {"paging.py", "guard.py", "confirm.py"} == found


def test_the_readme_names_every_command_and_target() -> None:
    """A command or make target that README omits does not exist for its readers."""
    for command in cli.list_commands(None):  # type: ignore[arg-type]
        assert re.search(rf"`(syncer )?{command}\b", README), command
    for target in re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE):
        if target not in {"help", "setup", "build", "lock", "clean"}:
            assert f"make {target}" in README, target


def test_the_readme_names_every_setting() -> None:
    """Every variable that config/settings.py reads is in README."""
    names = re.findall(
        r'"((?:SYNCER|ZENLAYER)\w*)"', (ROOT / "syncer/config/settings.py").read_text()
    )
    missing = {n for n in names if n not in README} - {
        "SYNCER_",
        "ZENLAYERCLOUD_ACCESS_KEY_PASSWORD",  # there as "_PASSWORD"
        "SYNCER_METRICS_FILE",  # comes with the metrics
    }
    assert not missing


async def test_every_query_of_the_readme_answers(sync: Any, world: Any, db: Any) -> None:
    """The queries run as they stand, on a database with drift in it."""
    await sync()
    world.drift(5, appear=5, change=5, remove=5)
    await sync()
    assert 12 == len(_QUERIES)
    for _, query in _QUERIES:
        await db.fetch(query)
    for query in re.findall(r"    (select .*?);", _LOOK_FURTHER, re.DOTALL):
        assert await db.fetch(query)


def test_nothing_private_is_committed() -> None:
    """No registry host, no path of a machine, no uv.lock."""
    files = subprocess.run(
        [shutil.which("git") or "git", "ls-files", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\0")
    assert "uv.lock" not in files
    private = re.compile(
        r"py[p]i[.]org|pythonhoste[d]|registry[.]np[m]js|de[b][.]debian|/wor[k]/|/far[m]/"
    )
    found = [
        name
        for name in files
        if name
        and (ROOT / name).is_file()
        and private.search((ROOT / name).read_text("utf-8", "replace"))
    ]
    assert not found
