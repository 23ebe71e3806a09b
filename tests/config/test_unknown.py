"""A variable that no setting has is named, with the one that may be meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from syncer.config.settings import load_with_faults
from tests.config.support import Place

ROOT = Path(__file__).parents[2]
MISSPELT = "SYNCER_DATABSE_URL"
"""In a test of the doctor's."""


def nearest(**environment: str) -> dict[str, str | None]:
    loaded = load_with_faults(environment={"HOME": "/nowhere", **environment})
    return {variable.name: variable.nearest for variable in loaded.unknown}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("SYNCER_DATABSE_URL", "SYNCER_DATABASE_URL"),
        ("SYNCER_DATABASE", "SYNCER_DATABASE_URL"),
        ("SYNCER_LOGLEVEL", "SYNCER_LOG_LEVEL"),
        ("SYNCER_SERVICE", "SYNCER_SERVICES"),
        ("SYNCER_CONFIG_", "SYNCER_CONFIG"),
        ("SYNCER_STATE", "SYNCER_STATE_DIR"),
        ("SYNCER_COLOUR", None),
        ("SYNCER_X", None),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest(name: str, meant: str | None) -> None:
    """Nothing absurd is offered."""
    assert {name: meant} == nearest(**{name: "x"})


def test_what_is_set_for_others_is_not_unknown() -> None:
    """Nor is an empty one, nor what Kubernetes sets for Services, as of a chart's release."""
    for service in ("SYNCER", "SYNCER_POSTGRESQL"):
        host = {f"{service}_SERVICE_HOST": "10.0.0.1", f"{service}_SERVICE_PORT_HTTP": "80"}
        link = {f"{service}_PORT": "tcp://10.0.0.1:80", f"{service}_PORT_80_TCP_ADDR": "10.0.0.1"}
        assert {} == nearest(SYNCER_STATE="", **host, **link)


def test_a_credential_is_looked_at_too(place: Place) -> None:
    place.credential("syncer_databse_url", "postgresql://x")
    place.credential("grafana_password", "x")
    assert {"SYNCER_DATABSE_URL": "SYNCER_DATABASE_URL"} == nearest(
        CREDENTIALS_DIRECTORY=str(place.credentials)
    )


def test_no_variable_of_this_repository_is_unknown() -> None:
    """What its tests, tools and deployments read or set is known, or is none of ours."""
    files = [ROOT / "Makefile", *(ROOT / ".ci").iterdir()]
    files += [path for folder in ("tests", "deploy") for path in (ROOT / folder).rglob("*")]
    text = "".join(
        path.read_text(errors="ignore")
        for path in files
        if path.is_file() and path.suffix != ".pyc" and path != Path(__file__)
    )
    names = set(re.findall(r"\bSYNCER_[A-Z_]*[A-Z]\b", text)) - {"SYNCER_PORT"}
    assert {"SYNCER_TEST_WORLDS", "SYNCER_CONFIG", "SYNCER_PG_BIN", MISSPELT} <= names
    assert {MISSPELT} == set(nearest(**dict.fromkeys(names, "x")))


async def test_every_command_warns_once(syncer: Any) -> None:
    """The inventory of a misspelt address is none that was lost in silence."""
    done = await syncer("zones", SYNCER_LOG_LEVEL="warning", SYNCER_DATABSE_URL="x")
    assert (0, 1) == (done.code, done.err.count("setting.ignored")), done.err
    assert "did you mean SYNCER_DATABASE_URL?" in done.err
