"""On a terminal people read sentences of what runs warn of, not the fields of the log."""

from __future__ import annotations

from syncer.cli.sentences import OfDaemon, OfRun

APPROVAL = {
    "service": "vm", "zone": "FRA-A", "max_removals": 1, "removals": 2, "approved_by": "ana",
}  # fmt: skip


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
