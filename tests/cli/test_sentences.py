"""On a terminal people read sentences of what runs warn of, not the fields of the log."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread

from syncer.cli.sentences import OfDaemon, OfRun
from syncer.simulator import World
from tests.cli.test_screens import left
from tests.terminal import on_a_terminal

APPROVAL = {
    "service": "vm", "zone": "FRA-A", "max_removals": 1, "removals": 2, "approved_by": "ana",
}  # fmt: skip


async def test_a_run_on_a_terminal_says_what_it_warns_of(
    environment: dict[str, str], tmp_path: Path, world: World, sync: Any, db: Any
) -> None:
    """A crashed run, and approvals that were not needed or too small."""
    await sync()
    await db.execute(
        "insert into syncer_store.approvals (zone_key, max_removals, approved_by) "
        "select zone_key, 5, 'ana' from syncer_store.zones where zone_id in ('FRA-A', 'HKG-A')"
    )
    for image_id in sorted(world.images("HKG-A"))[:8]:
        world.remove_image("HKG-A", image_id)
    await db.execute(
        "update syncer_store.runs set status = 'running', finished_at = null, change_base = null"
    )
    command = [sys.executable, "-m", "syncer", "sync"]
    env = environment | {"SYNCER_LOG_LEVEL": "auto"}
    code, said = await anyio.to_thread.run_sync(partial(on_a_terminal, command, env, tmp_path))
    assert 0 == code, said
    said = " ".join(" ".join(left(said)).split())
    for sentence in (
        "Run 1 had crashed; what it stored before that counts.",
        "The approval by ana of 5 removals in vm/FRA-A was not needed: no image is missing",
        "The approval by ana of 5 removals in vm/HKG-A does not apply: 8 images are missing.",
    ):
        assert sentence in said, said
    assert "[warning" not in said, said


def test_each_of_several_accounts_is_named() -> None:
    """One is one, and of one account nothing is said of it."""
    says = OfDaemon()
    event = {"account": "dev", **APPROVAL}
    sentence = says.sentences()["approval.exceeded"]
    alone = "The approval by ana of 1 removal in vm/FRA-A does not apply: 2 images are "
    assert f"{alone}missing." == sentence(event)
    says.several = True
    assert f"dev: {alone}missing." == sentence(event)
    lost = {"account": "dev", "error_message": "the server is away", "wait": 0.25}
    assert "The server is away; tried again in 0.2 s." == OfRun().sentences()["database.lost"](lost)
