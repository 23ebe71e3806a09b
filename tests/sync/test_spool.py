"""Pages that were spooled come back as they were, on a full disk too."""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from syncer.sync.spool import Spool
from tests.support import open_files

PAGES = [b"%d" % n * (n * 997 % 5000) for n in range(60)]


def test_what_was_put_comes_back_in_any_order() -> None:
    """Pages of any size, the empty one too, each as often as it is asked for."""
    spool = Spool()
    kept = [(spool.put(page), page) for page in PAGES]
    random.Random(1).shuffle(kept)  # noqa: S311
    for back, page in kept * 2:
        assert page == back()


def test_a_file_is_open_while_someone_can_ask_for_a_page() -> None:
    """One file of no name, opened for the first page, closed with the last who holds one."""
    gc.collect()
    before = open_files()
    spool = Spool()
    assert before == open_files()
    held = [spool.put(page) for page in PAGES]
    (file,) = open_files() - before
    assert "deleted" in file[1]
    del spool, held[1:]
    assert PAGES[0] == held[0]()
    assert {file} == open_files() - before
    del held[0]
    assert before == open_files()


CHILD = """
import resource, sys, tempfile
from syncer import log
from syncer.sync.spool import Spool
log.configure("json", "warning")
pages = [bytes([65 + n]) * 1000 for n in range(20)]
room = int(sys.argv[1])
if room < 0:
    tempfile.tempdir = "/dev/null/no-folder"
else:
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
spool = Spool()
kept = [spool.put(page) for page in pages]
assert [back() for back in kept] == pages
"""


@pytest.mark.parametrize("room", [-1, 0, 1, 4500, 10**6])
def test_where_the_disk_is_full_pages_stay_in_memory(room: int) -> None:
    """No page is lost, wherever the room ends (-1: no folder); it is said once, and what to do."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(room)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    said = [json.loads(line) for line in done.stderr.splitlines()]
    assert (room < 10**6) == len(said)
    for line in said:
        assert "pages.held_in_memory" == line["event"]
        assert "TMPDIR" in line["advice"]
        assert line["error_message"]
