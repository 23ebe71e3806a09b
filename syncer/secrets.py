"""Secrets are starred in every text that leaves the program, whoever wrote it.

Servers, proxies and libraries repeat in their errors what they were given: a header, a URL, a
DSN. So every secret of the settings is known here by its value, in each of its spellings.

The known secrets are process-wide on purpose: a text is starred whichever run, account or library
it comes from.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Final, NoReturn
from urllib.parse import quote, quote_plus, unquote, unquote_plus

STARS: Final = "***"
_NO_SECRET: Final = re.compile(r".{0,5}|[a-z]{0,8}", re.DOTALL | re.IGNORECASE)
"""Too short or too plain to be searched for: that would star ordinary sentences."""
_spellings: set[str] = set()
_known: re.Pattern[str] | None = None


def remember(secret: str) -> None:
    """Star this text from now on, unless it is too short or too plain to be searched for."""
    global _known  # noqa: PLW0603  (process-wide, see above)
    new = {s for s in _spellings_of(secret) if not _NO_SECRET.fullmatch(s)}
    if not _NO_SECRET.fullmatch(secret) and not new <= _spellings:
        _spellings.update(new)
        longest_first = sorted(_spellings, key=len, reverse=True)
        _known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def redacted(text: str) -> str:
    """Return a text with every known secret starred."""
    return _known.sub(STARS, text) if _known else text


def _spellings_of(secret: str) -> Iterator[str]:
    """Yield how a secret is spelled in a URL, in JSON, in a repr, and in base64."""
    raw = secret.encode(errors="surrogateescape")
    yield from (secret, repr(secret)[1:-1], ascii(secret)[1:-1], repr(raw)[2:-1])
    for to_ascii in (True, False):
        in_json = json.dumps(secret, ensure_ascii=to_ascii)[1:-1]
        yield from (in_json, in_json.replace("/", r"\/"))
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    for before in range(3):  # within something longer, base64 spells it in one of three ways
        encoded = base64.b64encode(bytes(before) + raw).decode()
        inner = encoded[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]
        yield from (inner, inner.translate({ord("+"): "-", ord("/"): "_"}))


class Secret:
    """A text that never shows: not in a repr, a log, an error or a pickle.

    From its creation on it is starred in other texts too (see ``redacted``); of a URL only the
    passwords are.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        if not re.match("[a-z]+://", value):
            remember(value)
        for text in _passwords(value):
            remember(text)

    def reveal(self) -> str:
        """Return the text itself, to hand it to whom it is meant for."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled")


_SECRET_PARAMETERS: Final = frozenset({"password", "sslpassword", "passfile"})


_PARAMETER: Final = re.compile(r"([\w%]+)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]*)")
"""Of a URL's query, or of libpq's ``host=h password='p w'``."""


def _passwords(address: str) -> Iterator[str]:
    """Yield the passwords in a URL or in libpq's keywords, quoted and unquoted."""
    *_, login, _at, _address = _split(address)
    _, colon, password = login.partition(":")
    found = [password] if colon else []
    found += [
        value.strip("'") for name, _, value in _PARAMETER.findall(address) if _is_secret(name)
    ]
    for each in found:
        yield from (each, unquote(each), unquote_plus(each))


def _split(address: str) -> tuple[str, str, str, str, str]:
    """Return scheme and ``://``, if there are any, the login, the ``@`` after it, and the rest.

    The address may be broken, perhaps by its password: all up to the last ``@`` is the login.
    """
    scheme, slashes, rest = address.partition("://")
    if not slashes:
        scheme, rest = "", address
    login, at, place = rest.rpartition("@")
    return scheme, slashes, login, at, place


def _is_secret(parameter: str) -> bool:
    return unquote(parameter).lower() in _SECRET_PARAMETERS


def _mask_parameter(parameter: re.Match[str]) -> str:
    name, sign, value = parameter.groups()
    return f"{name}{sign}{STARS if _is_secret(name) else value}"


def mask(address: str) -> str:
    """Return the address of a database or a proxy with its password starred, for showing."""
    scheme, slashes, login, at, place = _split(_PARAMETER.sub(_mask_parameter, address))
    if at:
        name, colon, _ = login.partition(":")
        login = f"{name}:{STARS}" if colon else name
    return f"{scheme}{slashes}{login}{at}{place}"


def mask_proxy(address: str) -> str:
    """Return the address of a proxy for showing; its login is starred where it may be a key.

    That is where it has no password beside it, as in ``http://KEY@proxy:3128``.
    """
    scheme, slashes, login, at, place = _split(address)
    _, _, password = login.partition(":")
    return mask(address) if password or not at else f"{scheme}{slashes}{STARS}@{place}"
