"""The settings: where each came from, and what is wrong with them."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from syncer.config.layers import Fault
from syncer.config.settings import Loaded, Settings
from syncer.doctor import judge_machine as machine
from syncer.doctor.finding import Finding, failed, ok, warning
from syncer.zenlayer.credentials import KeyPair, Token

_SHORT = 4


def look_at_settings(loaded: Loaded, *, defaults: bool) -> Iterator[Finding]:
    """Yield a line for each setting that is faulty, or is set; with ``defaults`` for all."""
    for given in loaded.given:
        if given.origin is not None or defaults:
            yield ok(given.name, f"{given.value} ({given.origin or 'default'})")
    for fault in loaded.faults:
        yield _faulty(fault)
    yield from _roots(loaded)
    yield from _file(loaded)


def _faulty(fault: Fault) -> Finding:
    """Tell of a fault; its message names the place, unless that is a variable."""
    ours = fault.name is not None and fault.name.isupper()
    name = fault.name if fault.name and ours else "settings_file"
    return failed(
        name, fault.message.removeprefix(f"{name}: "), "mend that: until then no command works"
    )


def _roots(loaded: Loaded) -> Iterator[Finding]:
    for given in loaded.given:
        if given.name == "SSL_CERT_FILE" and not Path(given.value).is_file():
            yield warning(
                given.name,
                f"there is no file {given.value}: no certificate can be trusted",
                "correct SSL_CERT_FILE, or unset it",
            )


def _file(loaded: Loaded) -> Iterator[Finding]:
    """Look whether a settings file shows its secrets to everybody."""
    if loaded.file is None:
        return
    held = [g.name for g in loaded.given if g.secret and g.origin == str(loaded.file)]
    try:
        mode = loaded.file.stat().st_mode
    except OSError:  # a fault already
        return
    if held and mode & stat.S_IROTH:
        yield machine.exposed(str(loaded.file), held)


class Discretion:
    """Takes our secrets out of what others said: errors may repeat what they were given."""

    def __init__(self, settings: Settings) -> None:
        secrets = {text for text in _secrets(settings) if len(text) >= _SHORT}
        alternatives = "|".join(re.escape(text) for text in sorted(secrets, key=len, reverse=True))
        self._secrets = re.compile(alternatives) if secrets else None

    def __call__(self, text: str) -> str:
        """Return the text with stars for secrets."""
        return self._secrets.sub("***", text) if self._secrets else text


def _secrets(settings: Settings) -> Iterator[str]:
    match settings.api.credentials:
        case KeyPair(_, secret):
            yield secret.reveal()
        case Token(token):
            yield token.reveal()
    for url in (settings.database.url, settings.api.proxy):
        password = urlsplit(url.reveal()).password if url else None
        if password:
            yield password
            yield unquote(password)
