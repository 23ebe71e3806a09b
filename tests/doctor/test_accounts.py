"""The doctor looks at each account, and says whose a line is where there are several."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncer.doctor.finding import Finding
from syncer.simulator import Simulator
from tests.doctor.support import RunChecks, of, only, problems

NAMES = ("one", "two")


@pytest.fixture
def accounts(simulator: Simulator, tmp_path: Path) -> dict[str, str]:
    """The environment with two accounts, and no credentials outside their tables."""
    file = tmp_path / "accounts.toml"
    text = ""
    for name in NAMES:
        simulator.gate.access_keys[f"K-{name}"] = f"s3cr3t-{name}"
        text += f'[accounts.{name}]\naccess_key_id = "K-{name}"\n'
        text += f'access_key_secret = "s3cr3t-{name}"\n'
    file.write_text(text)
    file.chmod(0o600)
    none = dict.fromkeys(("ZENLAYER_ACCESS_KEY_ID", "ZENLAYER_ACCESS_KEY_SECRET"), "")
    return {"SYNCER_CONFIG": str(file), **none}


def edit(accounts: dict[str, str], before: str, after: str) -> None:
    file = Path(accounts["SYNCER_CONFIG"])
    file.write_text(file.read_text().replace(before, after))


def all_of(findings: list[Finding], check: str) -> list[str]:
    return [found.message for found in findings if found.check == check]


async def test_each_account_is_looked_at(
    check: RunChecks, accounts: dict[str, str], simulator: Simulator, syncer: Any
) -> None:
    """Its key and what is stored of it; the endpoint, which they share, once."""
    assert 0 == (await syncer("sync", **accounts)).code
    findings = await check(**accounts)
    assert [] == problems(findings)
    assert 1 == len(all_of(findings, "endpoint"))
    for name, said in (
        ("credentials", "accepted: 6 zones of vm"),
        ("runs", " succeeded "),
        ("zones", "all 6 had a whole look"),
        ("keys", "one key, under one name"),
    ):
        messages = all_of(findings, name)
        assert ["one: ", "two: "] == [message[:5] for message in messages], messages
        assert all(said in message for message in messages), messages

    del simulator.gate.access_keys["K-two"]
    found = only(await check(**accounts), "credentials", "failed", "two: ", "accounts.two")
    assert "accounts.one" not in (found.advice or "")


async def test_one_that_cannot_be_crawled_keeps_no_other_from_being_looked_at(
    check: RunChecks, accounts: dict[str, str]
) -> None:
    """Missing credentials are a line; a faulty option skips the checks of its account only."""
    bare, two = '[accounts.bare]\nprofile = "none"\n', "[accounts.two]\n"
    edit(accounts, two, bare + two)
    only(await check(**accounts), "credentials", "failed", "bare: ", "exit code 2")
    edit(accounts, bare + two, two + "page_size = 0\n")
    findings = await check(**accounts)
    only(findings, "settings_file", "failed", "accounts.two.page_size", "no command works")
    skipped = [found for found in findings if found.status == "skipped"]
    assert skipped
    assert all(found.message == "two: not without accounts.two" for found in skipped), skipped
    assert "one: accepted: 6 zones of vm" in all_of(findings, "credentials")


async def test_a_key_under_two_names_and_another_key_under_a_name(
    check: RunChecks, accounts: dict[str, str], simulator: Simulator, sync: Any, syncer: Any
) -> None:
    """Across settings files, by the digest that is stored with each zone."""
    assert "one key, under one name" == of(await check(), "keys").message
    await sync(SYNCER_ACCOUNT="elsewhere")
    says = "the key of account default read zones under another name too: elsewhere"
    only(await check(), "keys", "warning", says, "one key is one account")

    assert 0 == (await syncer("sync", **accounts)).code
    assert [] == problems(await check(**accounts))
    simulator.gate.access_keys["K-new"] = "s3cr3t-two"
    edit(accounts, "K-two", "K-new")
    says = "two: 6 zones of account two were last read with another key"
    only(await check(**accounts), "keys", "warning", says, "nothing, if the key was replaced")
    assert 0 == (await syncer("sync", **accounts)).code
    assert [] == problems(await check(**accounts))


async def test_too_few_connections_for_all_of_them(
    check: RunChecks, accounts: dict[str, str], role: str, db: Any
) -> None:
    await db.execute(f"alter role {role} connection limit 10")
    says = f"role {role} has 10 connections left: 2 accounts at once use 11"
    only(await check(**accounts), "connections", "warning", says, "SYNCER_ACCOUNTS_AT_ONCE")
    assert [] == problems(await check(SYNCER_ACCOUNTS_AT_ONCE="1", **accounts))
