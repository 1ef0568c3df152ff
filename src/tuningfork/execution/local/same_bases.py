"""Entries of the catalog that are the same base to a worker, so that it is in memory once.

A name, a rank, sampling defaults and limits are the server's affair: the worker is told what follows from them with
each request and each job. Its own work depends on the weights, the chat template and the context length.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tuningfork.domain.base_model import BaseModel, BaseModelName

_Key = tuple[str, str, str | None, int]


@dataclass(slots=True)
class SameBases:
    """The bases that a worker was told of. One that is the same as an earlier one is replaced by the earlier one."""

    _known: dict[_Key, list[BaseModel]] = field(default_factory=dict)

    def first(self, base: BaseModel) -> BaseModel:
        """The first base that the worker was told of with these weights, this template and this context length."""
        same = self._known.setdefault(_key(base), [])
        if base not in same:
            same.append(base)
        return same[0]

    def like(self, base: BaseModel) -> Iterable[BaseModel]:
        """All bases so far that are the same as this one."""
        return tuple(self._known.get(_key(base), (base,)))

    def under_every_name(self, told: Mapping[BaseModelName, str]) -> dict[BaseModelName, str]:
        """What is told of bases by their names, told of those that are the same too."""
        return dict(told) | {
            base.name: told[same[0].name] for same in self._known.values() if same[0].name in told for base in same
        }


def _key(base: BaseModel) -> _Key:
    return base.location, base.revision or "main", base.chat_template, base.context_tokens
