"""The programs that are measured from start to exit: ``syncer sync`` and its competitors."""

from __future__ import annotations

from importlib.metadata import version
from importlib.util import find_spec
from typing import Final

import msgspec


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program: how it is run, where it stores the images, what must be installed for it.

    ``stores`` is a key of ``fixture.STORED``; ``needs`` has the module of each package it needs.
    """

    name: str
    command: tuple[str, ...]
    stores: str
    environment: dict[str, str] = {}
    needs: dict[str, str] = {}

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        return all(find_spec(module) for module in self.needs.values())

    @property
    def versions(self) -> dict[str, str]:
        """The versions of what it needs, if they are installed."""
        return {package: version(package) for package in self.needs} if self.installed else {}


ACCOUNTS: Final = "accounts"
"""Where programs store the images of many accounts."""
_SDK: Final = {"zenlayercloud-sdk-python": "zenlayercloud", "psycopg": "psycopg"}
_QUEUE: Final = {"procrastinate": "procrastinate"}
_DLT: Final = {"dlt": "dlt", "psycopg2-binary": "psycopg2"}
_SIXTEEN_WORKERS: Final = {"EXTRACT__WORKERS": "16", "RUNTIME__DLTHUB_TELEMETRY": "false"}

SYNCER: Final = Program(name="syncer sync", command=("syncer", "sync"), stores="syncer")


class AccountsRun(msgspec.Struct, frozen=True, kw_only=True):
    """A way to run all of many accounts: a program that does it, from its start to its exit.

    With nothing but latency in its way it takes ``turns`` times as long as an account alone.
    """

    program: Program
    turns: int


def alone(account: str) -> Program:
    """Return ``syncer sync`` of one account of many."""
    command = (*SYNCER.command, "--account", account)
    return Program(name="an account alone", command=command, stores=ACCOUNTS)


def side_by_side(accounts: int, at_once: int) -> AccountsRun:
    """Return ``syncer sync`` of all accounts, in one process, a number of them at once."""
    program = Program(
        name=f"{accounts} accounts, {at_once} at once",
        command=SYNCER.command,
        stores=ACCOUNTS,
        environment={"SYNCER_ACCOUNTS_AT_ONCE": str(at_once)},
    )
    return AccountsRun(program=program, turns=-(-accounts // at_once))


def workers(number: int) -> Program:
    """Return a number of workers that share the accounts, one account at a time each."""
    name = "1 worker" if number == 1 else f"{number} workers"
    command = ("syncer.bench.fleet", str(number))
    return Program(name=name, command=command, stores=ACCOUNTS, needs=_QUEUE)


SDK_LOOP: Final = Program(
    name="SDK loop + upsert",
    command=("syncer.bench.competitors.sdk", "1"),
    stores="sdk",
    needs=_SDK,
)
SDK_THREADS: Final = Program(
    name="SDK in 16 threads",
    command=("syncer.bench.competitors.sdk", "16"),
    stores="sdk",
    needs=_SDK,
)
DLT: Final = Program(
    name="dlt scd2",
    command=("syncer.bench.competitors.scd2",),
    stores="dlt",
    environment=_SIXTEEN_WORKERS,
    needs=_DLT,
)
DLT_TUNED: Final = Program(
    name="dlt scd2, tuned",
    command=DLT.command,
    stores=DLT.stores,
    # Two processes normalise, which pays only where there is more than one file to share.
    environment={
        **_SIXTEEN_WORKERS,
        "NORMALIZE__WORKERS": "2",
        "DATA_WRITER__FILE_MAX_ITEMS": "25000",
    },
    needs=_DLT,
)
COMPETITORS: Final = (SDK_LOOP, SDK_THREADS, DLT, DLT_TUNED)


def installed_competitors() -> tuple[Program, ...]:
    """Return the competitors that can be run here."""
    return tuple(program for program in COMPETITORS if program.installed)
