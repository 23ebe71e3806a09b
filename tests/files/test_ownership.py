"""Which paths are trusted: those that nobody but us and root can change."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncer.files import ownership
from syncer.files.ownership import NotTrusted, check_file, trusted_folder
from tests.support import STRANGER, as_user, folder_for_data, needs_root, open_files

pytestmark = needs_root
ROOT = Path(__file__).resolve().parents[1]
OURS = 54322
"""The user that we are, where we are not root."""


@pytest.fixture
def top() -> Iterator[Path]:
    """A folder of root's in which everybody may make things, as in /tmp."""
    with folder_for_data() as folder:
        folder.chmod(0o1777)
        yield folder


def given(path: Path, owner: int) -> Path:
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def folder(path: Path, owner: int, mode: int = 0o755) -> Path:
    path.mkdir()
    path.chmod(mode)
    return given(path, owner)


def link(path: Path, target: Path | str, owner: int) -> Path:
    path.symlink_to(target)
    return given(path, owner)


def of_a_stranger(top: Path, us: int) -> tuple[Path, Path]:
    return (it := folder(top / "state", STRANGER, 0o777)), it


def below_a_stranger(top: Path, us: int) -> tuple[Path, Path]:
    return folder((it := folder(top / "state", STRANGER)) / "home", us), it


def open_to_all(top: Path, us: int) -> tuple[Path, Path]:
    return (it := folder(top / "state", us, 0o777)), it


def below_one_open_to_all(top: Path, us: int) -> tuple[Path, Path]:
    return folder((it := folder(top / "state", us, 0o777)) / "home", us), it


def below_one_open_to_all_of_root(top: Path, us: int) -> tuple[Path, Path]:
    return folder((it := folder(top / "state", 0, 0o777)) / "home", us), it


def open_to_a_group(top: Path, us: int) -> tuple[Path, Path]:
    it = folder(top / "state", us, 0o775)
    os.chown(it, us, STRANGER)
    return it, it


def sticky_itself(top: Path, us: int) -> tuple[Path, Path]:
    return (it := folder(top / "state", us, 0o1777)), it


def sticky_of_a_stranger(top: Path, us: int) -> tuple[Path, Path]:
    return folder((it := folder(top / "state", STRANGER, 0o1777)) / "home", us), it


def by_a_link(top: Path, us: int) -> tuple[Path, Path]:
    return (it := link(top / "link", folder(top / "state", us), STRANGER)), it


def below_a_link(top: Path, us: int) -> tuple[Path, Path]:
    folder(folder(top / "state", us) / "home", us)
    return (it := link(top / "link", "state", STRANGER)) / "home", it


def by_our_link_through_theirs(top: Path, us: int) -> tuple[Path, Path]:
    it = folder(top / "theirs", STRANGER)
    folder(it / "state", us)
    return link(top / "link", "theirs/./../theirs/state", us), it


PREPARED = [
    of_a_stranger,
    below_a_stranger,
    open_to_all,
    below_one_open_to_all,
    below_one_open_to_all_of_root,
    open_to_a_group,
    sticky_itself,
    sticky_of_a_stranger,
    by_a_link,
    below_a_link,
    by_our_link_through_theirs,
]


@pytest.mark.parametrize("us", [0, OURS], ids=["root", "user"])
@pytest.mark.parametrize("prepare", PREPARED)
def test_what_a_stranger_can_change_is_refused(
    prepare: Callable[[Path, int], tuple[Path, Path]], us: int, top: Path
) -> None:
    """The error names the one place at which a stranger could."""
    path, culprit = prepare(top, us)
    with as_user(us), pytest.raises(NotTrusted) as refused:
        trusted_folder(path, make=True)
    assert str(culprit) == refused.value.filename


def below_sticky(top: Path, us: int) -> Path:
    return folder(top / "state", us, 0o700)


def of_our_group(top: Path, us: int) -> Path:
    it = folder(top / "state", us, 0o2775)
    os.chown(it, us, 777)
    return it


def below_a_volume_of_our_group(top: Path, us: int) -> Path:
    volume = folder(top / "volume", 0, 0o2775)
    os.chown(volume, 0, 777)
    return folder(volume / "postgres", us)


def by_our_link(top: Path, us: int) -> Path:
    return link(top / "link", folder(top / "state", us), us)


def by_a_link_of_root(top: Path, us: int) -> Path:
    folder(top / "private", 0)
    folder(top / "private" / "state", us)
    return link(top / "link", "private/../private/state", 0)


@pytest.mark.parametrize("us", [0, OURS], ids=["root", "user"])
@pytest.mark.parametrize(
    "prepare",
    [below_sticky, of_our_group, below_a_volume_of_our_group, by_our_link, by_a_link_of_root],
)
def test_what_we_or_root_alone_can_change_is_used(
    prepare: Callable[[Path, int], Path], us: int, top: Path
) -> None:
    """Below /tmp, in a volume of Kubernetes (fsGroup), by a link of ours or of the system's."""
    path = prepare(top, us)
    with as_user(us, 777):
        assert path.resolve() == trusted_folder(path)
        made = trusted_folder(path / "a" / "b", make=True)
    assert made == path.resolve() / "a" / "b"
    assert (us, 0o700) == (made.stat().st_uid, made.stat().st_mode & 0o777)
    assert (us, 0) == (made.parent.stat().st_uid, made.parent.stat().st_mode & 0o022)


def test_a_path_that_leads_nowhere_is_an_error_with_its_place(top: Path) -> None:
    (top / "file").write_text("")
    (top / "round").symlink_to("round")
    (top / "nowhere").symlink_to("none")
    for path, error in (
        (top / "none" / "x", FileNotFoundError),
        (top / "nowhere", FileNotFoundError),
        (top / "file", NotADirectoryError),
        (top / "file" / "x", NotADirectoryError),
        (top / "round", OSError),
    ):
        with pytest.raises(error, match=str(top)) as said:
            trusted_folder(path)
        assert not isinstance(said.value, NotTrusted)
    for asked in (top / "nowhere", top / "nowhere" / "x"):  # its disk may not be mounted
        with pytest.raises(FileNotFoundError, match=str(top / "none")):
            trusted_folder(asked, make=True)


def test_a_path_needs_no_working_directory(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be removed while a daemon is at work in it."""
    (gone := top / "gone").mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert top / "state" == trusted_folder(top / "state", make=True)


def test_no_descriptor_is_left_open(top: Path) -> None:
    before = open_files()
    trusted_folder(top / "a" / "b", make=True)
    with pytest.raises(FileNotFoundError):
        trusted_folder(top / "c")
    assert before == open_files()


def test_in_a_namespace_without_root_its_files_are_those_of_nobody() -> None:
    """As in a sandbox that maps one user only: / belongs to whom the kernel shows for root."""
    inside = ["unshare", "--user", "--map-user=7", "--"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode:
        pytest.skip("user namespaces are closed here")
    look = "from syncer.files import ownership; print(ownership._trusted_users())"
    said = subprocess.check_output([*inside, sys.executable, "-c", look], cwd=ROOT, text=True)
    assert "{65534, 7}" == said.strip()
    assert {0} == ownership._trusted_users()


def test_a_file_counts_with_its_folders(top: Path) -> None:
    """Of a file it matters who may write in it, and in each folder above."""
    place = folder(top / "etc", 0)
    file = place / "s.toml"
    file.write_text("")
    check_file(file)
    for path, change in (
        (file, lambda: file.chmod(0o666)),
        (file, lambda: given(file, STRANGER)),
        (place, lambda: place.chmod(0o777)),
    ):
        file.chmod(0o644)
        given(file, 0)
        change()
        with pytest.raises(NotTrusted) as refused:
            check_file(file)
        assert str(path) == refused.value.filename
