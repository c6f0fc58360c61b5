"""One database of the node's configuration: where it is, how long it may take, when it may be read."""

import re
from datetime import datetime, time
from typing import Annotated, Literal

from pydantic import Field, field_validator

from veilmatch_transport.settings import Section

Kind = Literal["postgres", "mysql"]  # as sqlglot calls their dialects

_SCHEMES: dict[str, Kind] = {
    "postgresql": "postgres",
    "postgres": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_WINDOW = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")


class Database(Section):
    """Where a database is and what may be asked of it (docs/databases.md).

    ``url`` is never shown: it may hold a password.  Times are in seconds.  ``window`` is
    "HH:MM-HH:MM" in this machine's time zone, over midnight where the second is the earlier one.
    """

    url: Annotated[str, Field(repr=False)]
    statement_timeout: Annotated[int, Field(ge=1, le=86_400)] = 900
    connect_timeout: Annotated[int, Field(ge=1, le=300)] = 10
    connections: Annotated[int, Field(ge=1, le=64)] = 2
    window: str | None = None

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if url.partition("://")[0] not in _SCHEMES:
            raise ValueError("a database's URL begins with postgresql://, mariadb:// or mysql://")
        return url

    @field_validator("window")
    @classmethod
    def _two_times(cls, window: str | None) -> str | None:
        if window is not None:
            found = _WINDOW.fullmatch(window)
            if found is None or found[1] == found[2]:
                raise ValueError('a window is two different times of day, "20:00-06:00", say')
        return window

    @property
    def kind(self) -> Kind:
        """What speaks at this URL, and in which SQL."""
        return _SCHEMES[self.url.partition("://")[0]]

    def may_be_read(self, now: datetime) -> bool:
        """Tell whether ``now`` (with a time zone) is within the window, its end excluded."""
        if self.window is None:
            return True
        begin, end = map(time.fromisoformat, self.window.split("-"))
        local = now.astimezone().time()
        return begin <= local < end if begin < end else local >= begin or local < end
