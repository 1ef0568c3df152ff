"""Who visits: the cookies with the session, language and theme of a browser, and the browser's address."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from starlette.requests import Request
from starlette.responses import Response

from tuningfork.studio.frame.address import PREFIX

_YEAR_SECONDS = 365 * 24 * 3_600


class Theme(StrEnum):
    """Which colours pages have; `AUTO` are those of the visitor's system."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cookies:
    """The Studio's cookies of one request.

    Browsers send the cookies of a host to all of its ports. So the name of each has the port: two servers on one
    machine do not sign each other's visitors out.
    """

    port: int
    secure: bool
    values: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> "Cookies":
        """Those that came with a request."""
        secure = request.url.scheme == "https"
        return cls(port=request.url.port or (443 if secure else 80), secure=secure, values=request.cookies)

    @property
    def credential(self) -> str | None:
        """The credential of the session; None: the visitor is not signed in."""
        value = self.values.get(self._named("session"), "")
        return value if fits_a_header(value) else None

    @property
    def language(self) -> str | None:
        """The language that was chosen."""
        return self.values.get(self._named("language"))

    @property
    def theme(self) -> Theme:
        """The theme that was chosen."""
        chosen = self.values.get(self._named("theme"))
        return Theme(chosen) if chosen in set(Theme) else Theme.AUTO

    @property
    def notice(self) -> str | None:
        """What the next page is to tell, as `Visit.redirect` wrote it."""
        return self.values.get(self._named("notice"))

    @property
    def hop(self) -> str:
        """What was kept before the visitor went to an issuer; "": nothing."""
        return self.values.get(self._named("hop"), "")

    def keep_hop(self, response: Response, written: str, seconds: int) -> None:
        """Keep what only this browser can bring back from an issuer. Links from there have it: they are navigations."""
        self._set(response, "hop", written, seconds)

    def forget_hop(self, response: Response) -> None:
        """Forget it, so that it is good once."""
        self._set(response, "hop", "", 0)

    def sign_in(self, response: Response, credential: str, expire_time: str | None, now: datetime) -> None:
        """Keep a new credential in the browser, out of reach for scripts, until it expires."""
        self._set(response, "session", credential, _seconds_until(expire_time, now))

    def sign_out(self, response: Response) -> None:
        """Make the browser forget the credential."""
        self._set(response, "session", "", 0)

    def prefer(self, response: Response, name: str, value: str) -> None:
        """Keep a language or a theme for a year."""
        self._set(response, name, value, _YEAR_SECONDS)

    def tell(self, response: Response, notice: str) -> None:
        """Keep what the next page is to tell."""
        self._set(response, "notice", notice, 60)

    def told(self, response: Response) -> None:
        """Forget it."""
        self._set(response, "notice", "", 0)

    def _named(self, what: str) -> str:
        return f"tuningfork_{what}_{self.port}"

    def _set(self, response: Response, name: str, value: str, seconds: int | None) -> None:
        response.set_cookie(
            self._named(name), value, max_age=seconds, path=PREFIX, secure=self.secure, httponly=True, samesite="lax"
        )


def address_of(request: Request) -> str:
    """The address that a request comes from; "": it is unknown."""
    return request.client.host if request.client else ""


def fits_a_header(value: str) -> bool:
    """Whether this can be a credential at all: visible characters of ASCII."""
    return bool(value) and value.isascii() and value.isprintable() and " " not in value


def _seconds_until(expire_time: str | None, now: datetime) -> int | None:
    """None, an unknown time, is the end of the browser's own session."""
    if not expire_time:
        return None
    ends = datetime.fromisoformat(expire_time)
    return max(0, int((ends.astimezone(UTC) - now).total_seconds()))
