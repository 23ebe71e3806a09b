"""Files are written whole, and where their name says, whatever a stranger does."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from syncer import files
from syncer.files.ownership import NotTrusted
from tests.support import STRANGER, needs_root


def test_a_file_is_replaced_when_it_is_whole(tmp_path: Path) -> None:
    """Until then, and if it fails, the old one stays; no draft is left."""
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as file:
        file.write(b"half" * (1 // 0))
    assert [b"old"] == [path.read_bytes() for path in tmp_path.iterdir()]
    with files.replacing(path, mode=0o640) as file:
        file.write(b"new")
        file.flush()
        assert "old" == path.read_text()
    files.try_replacing(path)
    assert [path] == list(tmp_path.iterdir())
    assert (b"new", 0o640) == (files.read(path), path.stat().st_mode & 0o777)
    assert files.read(tmp_path / "none" / "file") is None
    with files.replacing(tmp_path / ("x" * 255)) as file:
        file.write(b"a name of the greatest length")


def test_a_link_of_ours_stays_one(tmp_path: Path) -> None:
    """What it names is replaced, also where that is not there yet."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to("folder/file")
    for text in (b"first", b"second"):
        with files.replacing(tmp_path / "link") as file:
            file.write(text)
        assert text == files.read(tmp_path / "link") == (folder / "file").read_bytes()
    assert {"file"} == {path.name for path in folder.iterdir()}
    assert (tmp_path / "link").is_symlink()


@needs_root
@pytest.mark.parametrize("which", ["file", "folder", "planted"])
def test_what_a_stranger_planted_is_not_followed(which: str, tmp_path: Path) -> None:
    """A link for the file or for a folder; in a folder like /tmp, a file too."""
    victim, public = tmp_path / "victim", tmp_path / "public"
    victim.mkdir()
    public.mkdir()
    public.chmod(0o1777)
    (victim / "file").write_text("7")
    planted = path = public / "file"
    if which == "planted":
        planted.write_text("7")
    elif which == "file":
        planted.symlink_to(victim / "file")
    else:
        planted = public / "folder"
        planted.symlink_to(victim)
        path = planted / "file"
    os.chown(planted, STRANGER, STRANGER, follow_symlinks=False)
    for act in (files.read, files.try_replacing, lambda path: files.replacing(path).__enter__()):
        with pytest.raises(NotTrusted, match=str(planted)):
            act(path)
    assert [("file", "7")] == [(path.name, path.read_text()) for path in victim.iterdir()]


@needs_root
def test_who_exchanges_the_folder_meanwhile_gets_nothing_elsewhere(tmp_path: Path) -> None:
    """In a folder of another user's: what was opened is written in, not what has its name now."""
    victim, theirs = tmp_path / "victim", tmp_path / "theirs"
    (theirs / "spot").mkdir(parents=True)
    victim.mkdir()
    os.chown(theirs, STRANGER, STRANGER)
    with files.replacing(theirs / "spot" / "file") as file:
        (theirs / "spot").rename(theirs / "was")
        (theirs / "spot").symlink_to(victim)
        file.write(b"text")
    assert [] == list(victim.iterdir())
    assert "text" == (theirs / "was" / "file").read_text()


@needs_root
def test_a_stranger_cannot_know_the_drafts_name(tmp_path: Path) -> None:
    """Or what lies there beforehand would be in the way for good."""
    names = set()
    for _ in range(2):
        with files.replacing(tmp_path / "file"):
            names |= {path.name for path in tmp_path.iterdir()} - {"file"}
    assert 2 == len(names)


def test_a_file_on_a_full_disk_is_known_beforehand(tmp_path: Path) -> None:
    """A name can be made where nothing can be written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.try_replacing(tmp_path / "cursor")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [] == list(tmp_path.iterdir())
