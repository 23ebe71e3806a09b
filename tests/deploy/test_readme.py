"""deploy/README.md and the first lines of the files: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.deploy.tools import DEPLOY, ROOT, check_command

README = (DEPLOY / "README.md").read_text()
TEXTS = [DEPLOY / "README.md", DEPLOY / "Dockerfile"]
TEXTS += [path for path in DEPLOY.rglob("*.*") if path.suffix in {".yaml", ".sh", ".sql", ".yml"}]


@pytest.mark.parametrize("path", sorted(TEXTS), ids=lambda path: str(path.relative_to(DEPLOY)))
def test_a_path_that_is_named_is_there(path: Path) -> None:
    for named in re.findall(r"\bdeploy/[\w./-]*\w", path.read_text()):
        made_by_people = named.startswith("deploy/compose/secrets")
        assert made_by_people or (ROOT / named).exists(), named


def test_the_readme_tells_what_works() -> None:
    """Its commands of syncer parse, its make targets exist, its table has every folder."""
    block = "\n".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL))
    commands = re.findall(r"(?:^|&& |/)syncer ((?:db )?[a-z]+)", block, re.MULTILINE)
    assert len(commands) >= 3
    for command in commands:
        check_command(*command.split())
    for target in re.findall(r"\bmake ([a-z-]+)", README):
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()
    for folder in DEPLOY.iterdir():
        assert not folder.is_dir() or f"`{folder.name}/`" in README
