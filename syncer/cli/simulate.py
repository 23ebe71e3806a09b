"""``syncer simulate``: the API simulator, for trying and testing."""

from __future__ import annotations

import errno
import signal
from shlex import quote
from typing import TYPE_CHECKING

import anyio
import click

from syncer.cli.command import Command

if TYPE_CHECKING:
    from syncer.simulator import Simulator

_KEEP_CALLS = 10_000  # of a process that may run for weeks
_MILLISECONDS = 1000
_MOST = 1e9  # calls a second, seconds, milliseconds: what a clock can be set to
_USAGE = 2
_SERVICES = ("vm", "zec", "bmc")


def _finite(_ctx: click.Context, _param: click.Parameter, number: float | None) -> float | None:
    if number is not None and not abs(number) < _MOST:
        raise click.BadParameter(f"{number} is too much, or no number")
    return number


@click.command(cls=Command)
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8989,
    show_default=True,
    help="Port; 0 takes any that is free.",
)
@click.option(
    "--zones", type=click.IntRange(0), default=12, show_default=True, help="Number of zones."
)
@click.option(
    "--images", type=click.IntRange(0), default=40, show_default=True, help="Images in each zone."
)
@click.option(
    "--service",
    "services",
    multiple=True,
    type=click.Choice(_SERVICES),
    show_default="all",
    help="Service to offer.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed, another world.")
@click.option(
    "--latency",
    type=click.FloatRange(0),
    callback=_finite,
    default=0,
    show_default=True,
    metavar="MS",
    help="Milliseconds before each answer.",
)
@click.option(
    "--access-key",
    "access_keys",
    multiple=True,
    metavar="ID:SECRET",
    show_default="simulator:simulator-secret",
    help="Key pair to accept.",
)
@click.option(
    "--token", "tokens", multiple=True, show_default="none", help="Bearer token to accept."
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    callback=_finite,
    show_default="no limit",
    help="Calls per second before 429.",
)
@click.option(
    "--burst",
    type=click.FloatRange(1),
    callback=_finite,
    show_default="--rate",
    help="Calls let through at once under --rate.",
)
@click.option("--retry-after", is_flag=True, help="Send Retry-After with those 429.")
@click.option(
    "--clock-skew",
    "skew",
    type=float,
    callback=_finite,
    default=0,
    show_default=True,
    metavar="SECONDS",
    help="How far the API's clock is ahead; signatures expire after 300.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="SPEC",
    show_default="none",
    help="What goes wrong, as in status=503,zone=FRA-*,page=2,times=3; see --list-faults.",
)
@click.option("--list-faults", is_flag=True, help="Explain the kinds of faults and exit.")
def simulate(
    *,
    host: str,
    port: int,
    zones: int,
    images: int,
    services: tuple[str, ...],
    seed: int,
    latency: float,
    access_keys: tuple[str, ...],
    tokens: tuple[str, ...],
    rate: float | None,
    burst: float | None,
    retry_after: bool,
    skew: float,
    faults: tuple[str, ...],
    list_faults: bool,
) -> None:
    """Run a stand-in for the Zenlayer Cloud API on this machine, until it is interrupted."""
    # The server's libraries take longer to load than all of `syncer --help`.
    from syncer.simulator import Simulator, SimulatorOptions, World  # noqa: PLC0415
    from syncer.simulator.kinds import COMMON_OPTIONS, FAULT_KINDS  # noqa: PLC0415
    from syncer.simulator.options import DEFAULT_ACCESS_KEYS  # noqa: PLC0415

    if list_faults:
        click.echo("\n".join((*(kind.usage for kind in FAULT_KINDS.values()), "", COMMON_OPTIONS)))
        return
    keys = dict(_key_pair(pair) for pair in access_keys) or dict(DEFAULT_ACCESS_KEYS)
    try:
        options = SimulatorOptions(
            access_keys=keys,
            tokens=tokens,
            host=host,
            port=port,
            latency=latency / _MILLISECONDS,
            rate=rate,
            burst=burst,
            retry_after=retry_after,
            skew=skew,
            faults=faults,
            seed=seed,
            keep_calls=_KEEP_CALLS,
        )
        made = dict.fromkeys(services or _SERVICES)
        worlds = [World.generate(seed, zones, images, service) for service in made]
        sim = Simulator(worlds, options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    _serve(sim)


def _serve(sim: Simulator) -> None:
    """Run the simulator until a signal ends it; exit 2 where it cannot listen."""
    try:
        anyio.run(_until_signalled, sim)
    except OSError as error:
        in_use = error.errno == errno.EADDRINUSE
        why = "it is in use" if in_use else error.strerror or str(error)
        click.echo(
            f"syncer simulate: cannot listen on port {sim.port} of {sim.host}: {why};"
            " choose another with --port",
            err=True,
        )
        raise SystemExit(_USAGE) from None


async def _until_signalled(sim: Simulator) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with sim:
            click.echo(_welcome(sim))
            async for _ in signals:
                break


def _welcome(sim: Simulator) -> str:
    from syncer.core.normalise import printable  # noqa: PLC0415  (as above)

    key, secret = next(iter(sim.gate.access_keys.items()))
    size = "; ".join(
        f"{name}: {world.count()} images"
        + ("" if world.unzoned else f" in {len(world.zones())} zones")
        for name, world in sim.worlds.items()
    )
    lines = [
        f"The simulated API is at {sim.endpoint} ({size}). To use it:",
        "",
        f"export ZENLAYER_ENDPOINT={sim.endpoint}",
        f"export ZENLAYER_ACCESS_KEY_ID={quote(key)}",
        f"export ZENLAYER_ACCESS_KEY_SECRET={quote(secret)}",
    ]
    if sim.gate.tokens:
        token = min(sim.gate.tokens)
        lines.append(f"# or, in place of the two: export ZENLAYER_TOKEN={quote(token)}")
    lines.append("")
    if sim.faults:
        lines += [*(f"Fault {armed.number}: {armed.fault}" for armed in sim.faults), ""]
    curl = f"curl -s {sim.endpoint}/_control -d"
    lines += [
        "To change it while it runs (a GET of that address explains more):",
        "",
        curl + """ '{"op": "drift", "appear": 3, "change": 3, "remove": 2}'""",
        curl + """ '{"op": "add_fault", "fault": "status=503,times=3"}'""",
        "",
        "Ctrl-C ends it.",
    ]
    return "\n".join(map(printable, lines))


def _key_pair(text: str) -> tuple[str, str]:
    key, colon, secret = text.partition(":")
    if not (colon and key and secret):
        # The text is not repeated: it may hold the secret.
        raise click.UsageError("--access-key is ID:SECRET, with a colon between the two")
    return key, secret
