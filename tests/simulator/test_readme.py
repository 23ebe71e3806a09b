"""Everything that the simulator's README shows works as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import syncer.simulator
from syncer.cli.simulate import simulate
from syncer.simulator import InjectedFault, Simulator

FOLDER = Path(syncer.simulator.__file__).parent
README = (FOLDER / "README.md").read_text()


def test_every_command_is_understood() -> None:
    """Options parse, and the faults that they name exist."""
    commands = re.findall(r"^syncer simulate (.*)$", README, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        context = simulate.make_context("simulate", shlex.split(command))
        for fault in context.params["faults"]:
            assert str(InjectedFault.parse(fault)) == fault


async def test_every_operation_shown_is_done(client: Any, sim: Simulator) -> None:
    """Each request of the control address is answered with success."""
    requests = re.findall(r"/_control -d '(.*)'$", README, re.MULTILINE)
    assert len(requests) == 4
    for request in requests:
        assert (await client.control(sim, request.encode())).json["ok"] is True


async def test_the_code_shown_runs() -> None:
    """The example of a test does what it says."""
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    body = "".join(f"    {line}\n" for line in example.splitlines())
    names: dict[str, Any] = {}
    exec(f"async def shown():\n{body}    return sim", names)  # noqa: S102  (our own README)
    assert "status=503,zone=FRA-A,times=3" in {
        str(one.fault) for one in (await names["shown"]()).faults
    }


def test_every_option_of_a_fault_shown_is_one() -> None:
    """The table of options is written as faults are."""
    cells = re.findall(r"^\| (`\S+=.*?`) \|", README, re.MULTILINE)
    shown = [option for cell in cells for option in re.findall(r"`([^`]+)`", cell)]
    assert len(shown) == 10
    for option in shown:
        InjectedFault.parse("reset," + option.replace("\\|", "|"))


def test_every_file_is_named() -> None:
    """Whoever opens the folder finds each of its files explained."""
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    assert files - {"__init__.py", "README.md"} == set(
        re.findall(r"`(\w+\.(?:py|json))`", README.partition("## The files")[2])
    )
