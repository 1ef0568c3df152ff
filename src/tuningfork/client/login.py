"""What a person has told the client to remember: one server, the key for it, and the tokens obtained with it.

Kept in one file that only its user can read, `$XDG_CONFIG_HOME/tuningfork/credentials.json`.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from tuningfork.client import private_file
from tuningfork.client.dialect import AccessToken
from tuningfork.client.errors import ClientError
from tuningfork.domain.user_directories import settings_directory

MARGIN = timedelta(minutes=5)
"""A token that expires sooner than this is not handed out again: its user needs it for more than one call."""

_MAX_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A server and how to call it. `api_key` is None for one that asks for none."""

    url: str
    api_key: str | None = field(repr=False)
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptToken:
    """A token, and what it was asked for with. `key` recognises the key and does not give it away."""

    url: str
    key: str
    scopes: tuple[str, ...]
    value: str = field(repr=False)
    expire_time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    login: Login | None = None
    tokens: tuple[_KeptToken, ...] = ()


def credentials_file() -> Path:
    """`$XDG_CONFIG_HOME/tuningfork/credentials.json`, which is below `~/.config` where that is not set.

    Raises:
        NoHomeDirectory: neither is known.

    """
    return settings_directory() / "credentials.json"


class LoginFile:
    """The file, read anew every time. Changes are whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def login(self) -> Login | None:
        """The remembered login, or None.

        Raises:
            ClientError: the file is damaged, or cannot be read.

        """
        return self._read().login

    def remember(self, login: Login) -> None:
        """Take this login's place for any other; tokens of others are forgotten.

        Raises:
            ClientError: the file cannot be written.

        """
        self._write(_Content(login=login))

    def forget(self) -> bool:
        """Remove the login and all tokens. Returns whether there was anything."""
        with self._explaining_errors():
            try:
                self.path.unlink()
            except FileNotFoundError:
                return False
            return True

    def token(self, login: Login, scopes: tuple[str, ...], now: datetime) -> AccessToken | None:
        """A token for these scopes that is good for a while yet, if one is kept.

        Raises:
            ClientError: the file is damaged, or cannot be read.

        """
        asked = (login.url, _recognition(login), scopes)
        kept = next((each for each in self._read().tokens if (each.url, each.key, each.scopes) == asked), None)
        if kept is None:
            return None
        with self._explaining_errors():
            expire_time = datetime.fromisoformat(kept.expire_time)
            good = expire_time - now > MARGIN
            return AccessToken(value=kept.value, expire_time=expire_time, scopes=scopes) if good else None

    def keep_token(self, login: Login, scopes: tuple[str, ...], token: AccessToken) -> None:
        """Remember a token beside the login, in the place of another for the same scopes.

        Raises:
            ClientError: the file cannot be written.

        """
        content = self._read()
        new = _KeptToken(
            url=login.url,
            key=_recognition(login),
            scopes=scopes,
            value=token.value,
            expire_time=token.expire_time.isoformat(),
        )
        others = [kept for kept in content.tokens if (kept.url, kept.key, kept.scopes) != (new.url, new.key, scopes)]
        self._write(replace(content, tokens=(new, *others[: _MAX_TOKENS - 1])))

    def _read(self) -> _Content:
        with self._explaining_errors():
            try:
                content = json.loads(self.path.read_text(encoding="utf-8"))
            except FileNotFoundError:
                return _Content()
            login = content["login"]
            return _Content(
                login=login and Login(**{**login, "scopes": tuple(login["scopes"])}),
                tokens=tuple(_KeptToken(**{**kept, "scopes": tuple(kept["scopes"])}) for kept in content["tokens"]),
            )

    def _write(self, content: _Content) -> None:
        with self._explaining_errors():
            private_file.write(self.path, json.dumps(asdict(content), indent=2))

    @contextmanager
    def _explaining_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ClientError(f"{self.path} cannot be used: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ClientError(
                f"{self.path} is damaged.", advice="Remove it with `tuningfork auth logout`, and log in again."
            ) from error


def _recognition(login: Login) -> str:
    return hashlib.sha256((login.api_key or "").encode()).hexdigest()[:16]
