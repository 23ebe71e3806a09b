"""What is installed for real is part of what is tested."""

from __future__ import annotations

import re
from importlib.metadata import requires

import pytest
from packaging.requirements import Requirement

from tests.deploy.tools import DEPLOY, ROOT


def pins(name: str) -> dict[str, str]:
    """Each package of a lock, with its version and hashes as they stand."""
    text = (ROOT / name).read_text()
    return {pin.partition("==")[0]: pin.strip() for pin in re.split(r"\n(?=\S)", text)}


def wanted(requirement: str) -> set[str]:
    """Names of all packages that a requirement brings here."""
    found: set[str] = set()
    todo = [Requirement(requirement)]
    while todo:
        asked = todo.pop()
        for line in requires(asked.name) or []:
            needed = Requirement(line)
            marker = needed.marker
            if marker is None or any(marker.evaluate({"extra": e}) for e in asked.extras or {""}):
                name = re.sub(r"[-_.]+", "-", needed.name).lower()
                if name not in found or needed.extras:
                    found.add(name)
                    todo.append(needed)
    return found


@pytest.mark.parametrize(
    ("lock", "what"),
    [("run.lock", "syncer[embedded,fast,distributed]"), ("build.lock", "hatchling")],
)
def test_a_lock_is_whole_and_the_very_pins_of_the_tests(lock: str, what: str) -> None:
    """`make lock` writes all three: nothing is missing here, nothing differs."""
    pinned = pins(f"deploy/{lock}")
    assert wanted(what) <= set(pinned)
    tested = pins("requirements.lock")
    assert pinned == {name: tested[name] for name in pinned}
    assert "pytest" not in pinned
    assert not re.search("https?://|--index", (DEPLOY / lock).read_text())
