"""A home with settings of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from syncer.config.settings import Settings, load
from syncer.core.errors import ConfigError

SECRET = "s3cr3t-Pl4nted"
KEYS = {"ZENLAYER_ACCESS_KEY_ID": "AKID1", "ZENLAYER_ACCESS_KEY_SECRET": SECRET}


class Place:
    """A home of its own: nothing of the machine's configuration is read."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "syncer.toml"
        self.credentials = home / "credentials"

    def load(self, flags: Mapping[str, Any] | None = None, /, **environment: str) -> Settings:
        env = {"HOME": str(self.home)}
        if self.file.exists():
            env["SYNCER_CONFIG"] = str(self.file)
        if self.credentials.exists():
            env["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        return load(flags, {**env, **environment})

    def credential(self, name: str, value: str) -> None:
        self.credentials.mkdir(exist_ok=True)
        (self.credentials / name).write_text(value)

    def faults(
        self, flags: Mapping[str, Any] | None = None, /, **environment: str
    ) -> tuple[str, ...]:
        with pytest.raises(ConfigError) as caught:
            self.load(flags, **environment)
        return caught.value.faults
