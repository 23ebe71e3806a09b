"""The rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted(ROOT.glob("syncer/**/*.py"))


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


UNCLEAR = (
    "told|tell|tells|telling|heard|ward|wards|patience|amiss|keepers|discretion|visit|visits|"
    "wholly|so many|of which|politely|lying|aside|chapter|chapters|mend|mends|mended"
)
"""Words that read as translated, or that meant something else in each room."""


def test_words_that_nobody_understands_on_hover_stay_away() -> None:
    """As names, in comments and in texts; not the sayings of migrations that ran long ago."""
    unclear = re.compile(rf"(?<![a-z])({UNCLEAR})(?![a-z])", re.IGNORECASE)
    files = [
        path
        for folder in ("syncer", "deploy", "tests")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sql", ".md", ".yml", ".yaml", ".toml", ".service"}
    ]
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [
            *files,
            ROOT / "README.md",
            ROOT / "migrations/README.md",
            ROOT / "migrations/queries.md",
        ]
        if path != Path(__file__)
        for line in path.read_text().splitlines()
        if unclear.search(line)
    ]
    assert [] == found


def test_only_config_reads_the_environment() -> None:
    """os.environ is read in one module, and named where people read of libpq's variables."""
    found = {p.name for p in MODULES if re.search(r"os\.(environ|getenv)", p.read_text())}
    assert {"settings.py", "machine.py"} == found


def test_the_seals_are_used_only_where_they_are_made() -> None:
    """Snapshot, Candidates, Cleared and Removal are built by their makers only."""
    building = re.compile(r"\b(Snapshot|Candidates|Cleared|Removal)\(")
    found = {p.name for p in MODULES if building.search(re.sub(r"class \w+\(", "", p.read_text()))}
    assert {"paging.py", "guard.py", "confirm.py"} == found


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
