"""From the text of a setting to its value; a ValueError says what to write instead."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from syncer.core.libpq import read_url
from syncer.core.moment import duration
from syncer.core.nearest import did_you_mean
from syncer.secrets import STARS, Secret, remember
from syncer.zenlayer.sources import SOURCES

DEFAULT_ENDPOINT: Final = "https://console.zenlayer.com"
EVERY_SERVICE: Final = "all"
"""Stands for every known service."""
_PLACE: Final = re.compile(r"(?:\[(?P<bare>[^]]*)\]|(?P<name>[^:\[\]]+))(?::(?P<port>\d{1,5}))?")
"""An entry of NO_PROXY with a port; without one an IPv6 address needs no brackets."""
_LAST_PORT: Final = 65535
_DAY: Final = 86400


def brief(text: str) -> str:
    """Return the beginning of an id, for showing: a secret may have been put in its place."""
    return f"{text[:4]}..." if len(text) > 8 else STARS  # noqa: PLR2004


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, and surely so: a name would be asked for elsewhere."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Return whether NO_PROXY says that a host is reached without the proxy.

    It lists names (which stand for what is below them too, with or without ``.`` or ``*.`` before
    them), addresses and networks (10.0.0.0/8), each perhaps with a port; ``*`` is every host.
    """
    host = host.lower().rstrip(".")
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        named = _PLACE.fullmatch(entry)
        name = named["bare"] or named["name"] if named else entry
        if name == "*":
            return True
        if named and named["port"] and int(named["port"]) != port:
            continue
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            name = name.removeprefix("*").strip(".")
            if name and (host == name or host.endswith(f".{name}")):
                return True
        else:
            with contextlib.suppress(ValueError):
                if ipaddress.ip_address(host) in network:
                    return True
    return False


def proxy(text: str) -> Secret:
    """Read the URL of a proxy; a fault never quotes it (it may hold a password)."""
    if text.lower().startswith("socks"):
        raise ValueError("a SOCKS proxy is not spoken to: write http://host:port")
    try:
        endpoint_address(text)
    except ValueError:
        raise ValueError("is not a URL: write http://host:port") from None
    return Secret(text)


def endpoint_address(text: str) -> tuple[SplitResult, str]:
    """Return an http or https URL in parts, and its host; never quotes it (it may hold secrets)."""
    fault = f"is not a URL: write for example {DEFAULT_ENDPOINT}"
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
        host.encode("idna")
        port = parts.port
    except ValueError:
        raise ValueError(fault) from None
    if port == 0 or parts.scheme not in {"http", "https"} or not host:
        raise ValueError(fault)
    return parts, host


def endpoint(text: str) -> str:
    """Read the base URL of the API."""
    text = text.strip()
    if not text.isprintable() or " " in text:
        raise ValueError(f"is not a URL: write for example {DEFAULT_ENDPOINT}")
    parts, host = endpoint_address(text)
    if parts.username or parts.password or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("write only scheme, host and port, without credentials, path or query")
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError(f"plain http is allowed to this machine only, not to {host}: use https")
    return text.rstrip("/")


def database_url(text: str) -> Secret:
    """Read a PostgreSQL URL; what it leaves open is not known yet."""
    read_url(text)  # a ValueError of it never quotes the password
    return Secret(text)


def remember_others(environment: Mapping[str, str]) -> None:
    """Star the secrets that libraries read from the environment by themselves."""
    remember(environment.get("PGPASSWORD", ""))
    for name, value in environment.items():
        if name.startswith("OTEL_") and name.endswith("_HEADERS"):  # name=value,name=Bearer value
            words = [unquote(part.partition("=")[2]).split() for part in value.split(",")]
            for word in (word for part in words for word in part):
                remember(word)
        elif name.upper().endswith(("_PROXY", "_ENDPOINT")) and "://" in value:
            Secret(value)


def traces(environment: Mapping[str, str]) -> bool:
    """Whether traces are asked for, by OpenTelemetry's variables (it reads the others itself)."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    none = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none"
    return any(environment.get(name) for name in endpoints) and not off and not none


def account(text: str) -> str:
    """Read the name of an account."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}", text):
        raise ValueError(
            f"{text!r} is no account name: use 1 to 63 letters, digits, and . _ @ - after the first"
        )
    return text


def services(text: str) -> tuple[str, ...]:
    """Read a list of services; ``all`` is every known one."""
    given = [part for part in re.split(r"[,\s]+", text) if part]
    if unknown := [name for name in given if name not in {*SOURCES, EVERY_SERVICE}]:
        raise ValueError(unknown_service(unknown[0]))
    if not given:
        raise ValueError(f"name at least one service of {', '.join(SOURCES)}, or all")
    return tuple(SOURCES) if EVERY_SERVICE in given else tuple(dict.fromkeys(given))


def unknown_service(name: str) -> str:
    """Return what is wrong with the name of a service that there is not."""
    known = f"known are {', '.join(SOURCES)}, or {EVERY_SERVICE}"
    return f"unknown service {name!r}: {known}{did_you_mean(name, [*SOURCES, EVERY_SERVICE])}"


def header(text: str) -> str:
    """Check what goes into a request header: one line of visible ASCII, trimmed as the SDK does."""
    bare = text.strip()
    if not bare.isascii() or not bare.isprintable() or " " in bare or "," in bare:
        raise ValueError("holds characters that no key has; was it copied whole?")
    return bare


def secret(text: str) -> Secret:
    """Read a secret, trimmed as the SDK does."""
    bare = text.strip()
    if not bare:
        raise ValueError("is blank")
    if not bare.isprintable():
        raise ValueError("holds characters that no key has; was it copied whole?")
    return Secret(bare)


def positive(text: str) -> float:
    """Read a duration that is more than nothing."""
    seconds = duration(text)
    if seconds <= 0:
        raise ValueError(f"{text!r} is not a time to wait: it must be more than nothing")
    return seconds


def interval(text: str) -> float:
    """Read the time from run to run: a second at least, or runs would follow on one another."""
    seconds = duration(text)
    if seconds < 1:
        raise ValueError(f"{text!r} is too short a time between runs: write for example 15m")
    return seconds


def rate(text: str) -> float | None:
    """Read a number of requests per second, or none."""
    if text in {"none", "off"}:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < 1e6:  # noqa: PLR2004
        raise ValueError(f"{text!r} is not a rate: write requests per second, for example 10")
    return rate


def keep(text: str) -> float | None:
    """Read how long history is kept, in seconds, or none: for ever."""
    if text in {"none", "off"}:
        return None
    seconds = duration(text)
    if seconds < _DAY:
        raise ValueError(f"{text!r} is less than a day: write for example 400d, or none for ever")
    return seconds


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text.strip()) or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return read


def threshold(high: int | None) -> Callable[[str], int | None]:
    """Return a reader of a limit of the removal guard: a number, or off (None)."""

    def read(text: str) -> int | None:
        if text.strip().lower() == "off":
            return None
        if not re.fullmatch(r"\d{1,9}", text.strip()) or (high is not None and int(text) > high):
            upto = f"from 0 to {high}" if high else "of 0 or more"
            raise ValueError(f"{text!r} is not a whole number {upto}, nor 'off'")
        return int(text)

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a reader of one of a few words."""

    def read(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is not one of {', '.join(choices)}")
        return text.lower()

    return read


def listen(text: str) -> tuple[str, int] | None:
    """Return the address to listen on (port 0: any free one); None for ``off``."""
    if text == "off":
        return None
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    if not (port.isascii() and port.isdigit()) or int(port) > _LAST_PORT:
        raise ValueError(f"{text!r} is no address to listen on: write 127.0.0.1:9464, or off")
    return host, int(port)
