"""Pages of templates: the names that every template has, and parts of pages for those who have the rest already."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, FileSystemLoader, Undefined
from jinja2.utils import missing

from tuningfork.studio.frame.address import address
from tuningfork.studio.frame.static_files import StaticFiles
from tuningfork.studio.texts.catalog import LANGUAGES, Texts

_SCRIPT_TEXTS = ("frame.script", "keys")
"""The beginnings of the ids of texts that scripts on every page need."""


@dataclass(frozen=True)
class Person:
    """Who visits a page, as the API says."""

    email: str
    operator: bool = False
    open_server: bool = False
    """Whether the server asks nobody for a key, so that there is nothing to sign out of."""


class Absent(Undefined):
    """What a template names and is not there: an unknown name is a bug, a field that the API has left out is empty."""

    def __str__(self) -> str:
        self._check()
        return ""

    def __bool__(self) -> bool:
        self._check()
        return False

    def __len__(self) -> int:
        self._check()
        return 0

    def __iter__(self) -> Iterator[Any]:
        self._check()
        return iter(())

    def _check(self) -> None:
        if self._undefined_obj is missing:
            self._fail_with_undefined_error()


@dataclass(frozen=True)
class Rendering:
    """The templates of one folder. Values are escaped wherever they stand."""

    static: StaticFiles
    paths: frozenset[str]
    """The paths of all pages, so that templates link only to those that there are."""
    issuer: str = ""
    """The host of the issuer at which people can sign in; "": there is none."""
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        folder = self.static.folder.with_name("templates")
        environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=True,
            undefined=Absent,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals |= {"static": self.static.address, "url": address, "languages": LANGUAGES}
        environment.globals["issuer"] = self.issuer
        environment.globals["has_page"] = self.paths.__contains__
        object.__setattr__(self, "environment", environment)

    def page(self, template: str, texts: Texts, values: Mapping[str, Any]) -> str:
        """A whole page."""
        return self.environment.get_template(template).render(self._names(texts, values))

    def block(self, template: str, block: str, texts: Texts, values: Mapping[str, Any]) -> str | None:
        """One block of a page; None: it has no such block."""
        found = self.environment.get_template(template)
        if block not in found.blocks:
            return None
        return "".join(found.blocks[block](found.new_context(self._names(texts, values))))

    def _names(self, texts: Texts, values: Mapping[str, Any]) -> dict[str, Any]:
        formats = texts.formats
        names: dict[str, Any] = {
            "t": texts,
            "lang": texts.language,
            "number": formats.number,
            "percent": formats.percent,
            "duration": formats.duration,
            "loss": formats.loss,
            "setting": formats.setting,
            "size": formats.size,
            "script_texts": (),
            "texts_for_scripts": lambda more: texts.beginning_with(*_SCRIPT_TEXTS, *more),
            **values,
        }
        parts = self.environment.get_template("parts.html")
        return {**names, "parts": parts.make_module(names)}


def tag_of(text: str) -> str:
    """An `ETag` of a page's text."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:24]}"'
