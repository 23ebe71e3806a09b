"""What a DBA runs: the database, its logins, and what each of them may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from syncer.embedded import EmbeddedPostgres
from syncer.embedded.binaries import find_binaries
from syncer.store.connection import Server, sql
from syncer.store.migrate import upgrade
from tests.deploy.tools import DEPLOY, run
from tests.support import assert_exact, connected

LOGINS = ("syncer_owner", "syncer_app", "syncer_grafana")
REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)


class Inventory:
    """The database that logins.sql made."""

    def __init__(self, postgres: EmbeddedPostgres, psql: str) -> None:
        self._postgres = postgres
        self._psql = psql

    def url(self, login: str, database: str = "inventory") -> str:
        return self._postgres.dsn(database).replace("://syncer@", f"://{login}@")

    def psql(self, *arguments: str | Path, database: str = "postgres") -> str:
        """As a superuser."""
        return run(self._psql, "--no-psqlrc", self._postgres.dsn(database), *arguments)

    async def ask(self, login: str, statement: str) -> Any:
        async with connected(self.url(login)) as connection:
            return await connection.fetch(statement)


@pytest.fixture
async def inventory(postgres: EmbeddedPostgres, pg_bin: str | None) -> AsyncIterator[Inventory]:
    made = Inventory(postgres, find_binaries(pg_bin).psql)
    for _ in range(2):  # harmless to run again
        made.psql(f"--file={DEPLOY / 'sql/logins.sql'}")
    await upgrade(Server(made.url("syncer_owner")))
    async with connected(made.url("syncer_owner")) as owner:
        await owner.execute(sql("schema/roles"))
    yield made
    made.psql("--command=drop database inventory with (force)")
    for login in (*LOGINS, "team_web"):
        made.psql(f"--command=drop role if exists {login}")


async def test_each_login_can_do_its_work_and_no_more(
    inventory: Inventory, sync: Any, world: Any
) -> None:
    """The owner, who is no superuser, migrates; the program syncs; dashboards read."""
    app = inventory.url("syncer_app")
    await sync(SYNCER_DATABASE_URL=app)
    world.drift(3, appear=2, change=2, remove=2)
    await sync(SYNCER_DATABASE_URL=app)
    owner = await asyncpg.connect(inventory.url("syncer_owner"))
    await assert_exact(owner, world)
    assert await inventory.ask("syncer_grafana", "select * from syncer.image_changes")
    assert await inventory.ask("syncer_grafana", "select * from syncer.images_asof(now())")

    team = "--set=team=team_web", "--set=accounts=default", f"--file={DEPLOY / 'sql/team.sql'}"
    for _ in range(2):
        inventory.psql(*team, database="inventory")
    inventory.psql("--command=grant team_web to syncer_grafana", database="inventory")
    for asked in ("images", "images_asof(now())", "pin_status('FRA-A', 'img-1', 'default')"):
        found = await inventory.ask("syncer_grafana", f"select * from team_web.{asked}")
        assert {"default"} == {row["account"] for row in found}
    functions = (
        "select proowner::regrole::text from pg_proc where pronamespace = 'team_web'::regnamespace"
    )
    assert {("syncer_owner",)} == {tuple(row) for row in await owner.fetch(functions)}

    # A table and a view of a later version.
    await owner.execute("create table syncer_store.later (); create view syncer.later as select 1")
    await owner.close()
    assert [] == await inventory.ask("syncer_app", "select * from syncer_store.later")
    assert await inventory.ask("syncer_grafana", "select * from syncer.later")

    for login, statement in (
        ("syncer_app", "drop table syncer_store.images"),
        ("syncer_app", "create table syncer_store.mine ()"),
        ("syncer_app", "create table public.mine ()"),
        ("syncer_app", "create temporary table mine ()"),
        ("syncer_app", "create or replace view syncer.runs as select 1"),
        ("syncer_app", "create role mine"),
        ("syncer_grafana", "select * from syncer_store.images"),
        ("syncer_grafana", "create temporary table mine ()"),
        ("syncer_grafana", "delete from syncer.runs"),
        ("syncer_owner", "create role mine"),
        ("syncer_owner", "create database mine"),
    ):
        with pytest.raises(REFUSED):
            await inventory.ask(login, statement)


async def test_nobody_else_comes_in(inventory: Inventory) -> None:
    inventory.psql("--command=create role stranger login")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(inventory.url("stranger"))
    finally:
        inventory.psql("--command=drop role stranger")


async def test_compose_gives_each_login_its_password(inventory: Inventory, tmp_path: Path) -> None:
    """passwords.sql reads them from the secrets, with whatever characters they have."""
    for name in ("owner", "app", "grafana"):
        (tmp_path / f"{name}_password").write_text(f"it's {name}'s\n")
    script = (DEPLOY / "compose/passwords.sql").read_text().replace("/run/secrets", str(tmp_path))
    (tmp_path / "passwords.sql").write_text(script)
    inventory.psql(f"--file={tmp_path / 'passwords.sql'}")
    given = (
        "select count(*) from pg_authid where rolname like 'syncer%' and rolpassword is not null"
    )
    assert "3" == inventory.psql("--tuples-only", f"--command={given}").strip()
