"""Where PostgreSQL is: what the URL, a service file and the environment say together.

``core.libpq`` has the rules; here are the environment, the files and the user at work.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from syncer.config.layers import SettingFault, UnknownVariable
from syncer.config.machine import user_name
from syncer.core import libpq
from syncer.core.libpq import Address, BadParameter, Machine, Parameter
from syncer.core.nearest import nearest
from syncer.secrets import remember

URL: Final = "SYNCER_DATABASE_URL"
QUEUE_URL: Final = "SYNCER_QUEUE_URL"
HONOURED: Final = (*libpq.VARIABLES, *libpq.OTHERS)
"""The ``PG*`` variables that are read."""
PLACE: Final = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE")
"""Those of them that say where a database is: else there is the embedded one."""
_OF_SERVERS: Final = ("PGDATA", "PG_", "PGADMIN_", "PGBOUNCER", "PGPOOL")
"""How variables of other programs begin."""


class DatabaseFault(ValueError):
    """The database's place cannot be made out of what is given."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.fault = SettingFault(name=name, message=f"{name}: {message}")


def find_address(
    url: str | None, environment: Mapping[str, str], home: str, *, name: str = URL
) -> Address:
    """Return where PostgreSQL is, by a URL (None: none is given) and all that libpq reads beside.

    ``name`` is the setting that the URL is from. Raises DatabaseFault.
    """
    given = libpq.of_environment(environment)
    in_url = {} if url is None else libpq.read_url(url)
    ours = {key: Parameter(value=value, place=name) for key, value in in_url.items()}
    if service := ours.get("service") or given.get("service"):
        given |= _of_service(service, environment, Path(home))
    given |= ours
    for key in libpq.SECRET:
        if key in given:
            remember(given[key].value)
    try:
        return libpq.resolve(given, Machine(user=user_name(), home=home))
    except BadParameter as error:
        place = error.place or (name if url is not None else "PGUSER")
        variable, _, beside = place.partition(" ")
        raise DatabaseFault(variable, f"{beside and beside + ': '}{error}") from None


def _of_service(
    service: Parameter, environment: Mapping[str, str], home: Path
) -> dict[str, Parameter]:
    """Return what the service files say. Raises DatabaseFault where none has the service."""
    name = service.value
    named = environment.get("PGSERVICEFILE")
    files = [Path(named) if named else home / ".pg_service.conf"]
    if folder := environment.get("PGSYSCONFDIR"):
        files.append(Path(folder) / "pg_service.conf")
    for path in files:
        try:
            found = libpq.read_service(path.read_text("utf-8-sig"), name)
        except FileNotFoundError:
            if named and path == files[0]:
                raise DatabaseFault("PGSERVICEFILE", f"there is no file {path}") from None
            continue
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is not UTF-8"
            raise DatabaseFault(service.place, f"{path} cannot be read: {why}") from None
        except ValueError as error:
            raise DatabaseFault(service.place, f"{path}: {error}") from None
        if found is not None:
            place = f"{service.place} {name} in {path}"
            return {key: Parameter(value=value, place=place) for key, value in found.items()}
    places = " and ".join(map(str, files))
    raise DatabaseFault(
        service.place,
        f"there is no service {name!r} in {places}: correct the name, or say where the file is "
        "(PGSERVICEFILE)",
    )


def unread(environment: Mapping[str, str]) -> Iterator[UnknownVariable]:
    """Yield the variables of libpq's that are set and mean nothing here, or are misspelt."""
    for name in sorted(environment):
        if not name.startswith("PG") or name in HONOURED or not environment[name]:
            continue
        if name in libpq.UNREAD:
            yield UnknownVariable(name=name, nearest=None, why="it changes nothing here")
        elif not name.startswith(_OF_SERVERS) and (near := nearest(name, HONOURED)):
            yield UnknownVariable(name=name, nearest=near)
