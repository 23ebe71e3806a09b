"""What is named and was never seen is exit 2 with what may be meant, whatever the command.

An answer about known things may be empty, and is exit 0.
"""

from __future__ import annotations

from typing import Any

from syncer.core.nearest import did_you_mean, nearest
from syncer.simulator import World
from tests.support import naming, rows

READING = [
    ["images"], ["changes", "--initial"], ["asof", "0s"], ["diff", "1", "0s"], ["spread"],
]  # fmt: skip
"""Commands that take --zone and --image."""
UNKNOWN: list[tuple[list[str], str]] = [
    *(([*c, "--zone", "FRA-B"], "no zone matches FRA-B: ") for c in READING),
    (["images", "--zone", "FRA-A", "--zone", "X-*"], "no zone matches X-*: "),
    *(([*c, "--image", "img-nope"], "no image img-nope was ever seen") for c in READING),
    (["asof", "0s", "--service", "vmm"], "did you mean vm?"),
    (["zones", "--zone", "fra-a"], "did you mean FRA-A?"),
    (["zones", "--service", "gpu"], "known are vm, zec, bmc, or all"),
    (["history", "nope"], "no image nope was ever seen"),
    (["history", "nope", "-o", "json"], "no image nope was ever seen"),
    (["history", "nope", "-o", "table"], "no image nope was ever seen"),
    (["history", "nope", "--zone", "NOPE"], "no zone matches NOPE"),
    (["approve", "FRA-B", "--max", "1"], "did you mean FRA-A?"),
    (["approve", "FRA-A", "--max", "1", "--service", "cev"], "unknown service 'cev'"),
    (["retire", "FRA-"], "did you mean FRA-A?"),
    (["check", "relase-1"], "did you mean release-1?"),
    (["baseline", "delete", "release1"], "did you mean release-1?"),
    (["baseline", "save", "b", "--zone", "FRA-B"], "did you mean FRA-A?"),
    (["sync", "--zone", "FRA-B"], "did you mean FRA-A?"),
    (["sync", "--service", "vmm"], "did you mean vm?"),
    (["runs", "--account", "defualt"], "did you mean default?"),
    (["schema", "imgaes"], "did you mean images?"),
]


async def test_an_unknown_name_is_exit_2_and_says_what_may_be_meant(
    syncer: Any, sync: Any, world: World
) -> None:
    await sync()
    assert 0 == (await syncer("baseline", "save", "release-1")).code
    image = min(world.images("FRA-A"))
    cases = [*UNKNOWN, (["history", image[:-1] + "?"], f"did you mean {image}?")]
    for arguments, words in cases:
        with naming(arguments):
            done = await syncer(*arguments)
            assert (2, "") == (done.code, done.out)
            assert words in done.err
    assert ": it has not come yet" in (await syncer("asof", "2099-01-01")).err
    later = rows(await syncer("diff", "1", "2099-01-01"))
    assert {"the later instant has not come yet"} == {row["reason"] for row in later}
    for command in (
        *([*command, "--service", "all", "--limit", "1"] for command in READING),
        ["images", "--zone", "FRA-*", "--image", image, "--presence", "absent"],
        ["changes", "--image", image],
        ["zones", "--service", "zec"],
        ["images", "--limit", "9" * 40],
    ):
        with naming(command):
            assert (0, "") == (await syncer(*command))[::2]


def test_the_nearest_name_is_one_that_is_much_alike() -> None:
    known = ["FRA-A", "LAX-A", "release-42"]
    assert "FRA-A" == nearest("fra-a", known)
    assert "release-42" == nearest("relaese-42", known)
    assert None is nearest("prod", known)
    assert ("; did you mean LAX-A?", "") == tuple(did_you_mean(n, known) for n in ("LAX", "x"))
