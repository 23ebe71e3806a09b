"""``syncer demo``: the main job from end to end, on this machine, with nothing installed."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Final

import click
import msgspec

from syncer import app
from syncer.cli import changes, read
from syncer.cli.command import Command
from syncer.cli.common import run, settings
from syncer.cli.sync import summary
from syncer.config.accounts import Account
from syncer.config.settings import Settings
from syncer.secrets import Secret
from syncer.store.open import embedded_major, open_emptied
from syncer.zenlayer.credentials import Access, KeyPair

_KEY, _SECRET = "demo", "demo-secret"


@click.command(cls=Command)
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed, another drift.")
@run
async def demo(seed: int) -> int:
    """Start a simulator and an embedded PostgreSQL, sync, let images drift, sync, show the result.

    Starts from nothing each time, in a database of its own under the state directory. Uses no
    credentials.
    """
    started = time.monotonic()
    from syncer.simulator import Simulator, SimulatorOptions, World  # noqa: PLC0415  (start-up)

    base = settings(log_level="warning")
    # Its data are for show: beside those of another version it begins anew.
    home = base.state_dir / "demo" / str(await embedded_major(base.database))
    world = World.generate(seed=seed, zones=12, images=40)
    async with Simulator(
        world, SimulatorOptions(access_keys={_KEY: _SECRET}, latency=0.02)
    ) as simulator:
        loaded = msgspec.structs.replace(
            base,
            accounts=(
                Account(
                    name="demo",
                    api=Access(
                        endpoint=simulator.endpoint, credentials=KeyPair(_KEY, Secret(_SECRET))
                    ),
                ),
            ),
            missing=(),
            state_dir=home,
            database=msgspec.structs.replace(
                base.database, url=None, libpq=False, address=None, home=home / "postgres"
            ),
        )
        _say("1. A simulated Zenlayer Cloud and an embedded PostgreSQL are started.")
        async with open_emptied(loaded.database):
            first = await _sync(loaded, "2. First sync: every zone is read, every image stored.")
            drift = world.drift(seed, appear=3, change=4, remove=3)
            image = drift.changed[0][1]
            _say("\n3. The cloud drifts: images appear, change and vanish.")
            second = await _sync(loaded, "4. Second sync: only what changed is written.")
            _say("\n5. What is stored (syncer zones, then syncer changes):\n")
            await read.show_zones(loaded, output="table", paged=False)
            _say("")
            await changes.show_changes(loaded)
        _say(_look_further(home, image, time.monotonic() - started))
    return first or second


async def _sync(loaded: Settings, title: str) -> int:
    _say(f"\n{title}")
    [ended] = await app.sync(loaded, [app.run_options(loaded.account)])
    assert ended.report is not None  # noqa: S101  (what ends a single run is raised)
    report = ended.report
    _say("   " + summary(report, dry_run=False).replace("\n", "\n   "))
    return report.exit_code


def _look_further(home: Path, image: str, seconds: float) -> str:
    """Return what to try now."""
    command = _command()
    here = f"SYNCER_STATE_DIR={_folder(home)} {command}"
    return _LOOK_FURTHER.format(seconds=seconds, syncer=here, command=command, image=image)


def _command() -> str:
    """Return how the user can call this program again."""
    return "syncer" if shutil.which("syncer") else shlex.quote(sys.argv[0])


def _folder(home: Path) -> str:
    """Return a folder as a shell takes it, shortened where it can be."""
    below = Path("~") / home.relative_to(Path.home()) if home.is_relative_to(Path.home()) else home
    return str(below) if _PLAIN.fullmatch(str(below)) else shlex.quote(str(home))


_PLAIN: Final = re.compile(r"[\w/.~-]+", re.ASCII)


def _say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


_LOOK_FURTHER = """
That took {seconds:.0f} s. Try, on what the demo stored:

  {syncer} images --presence absent
  {syncer} history {image}
  {syncer} db url --hold

The last keeps the PostgreSQL running, for SQL:
select * from syncer.image_field_changes;

Your own account: set ZENLAYER_ACCESS_KEY_ID and ZENLAYER_ACCESS_KEY_SECRET, then

  {command} sync"""
