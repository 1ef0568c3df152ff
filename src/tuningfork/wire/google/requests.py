"""Translates errors about a domain request into the field paths and texts of an API's request message."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason, TuningforkError
from tuningfork.domain.refusals import BaseModelNotFound


class BaseModelUnsupported(BaseModelNotFound):
    """No base model of this name can be used for what was asked, with the `method` that was called."""

    def __init__(self, found: BaseModelNotFound, method: str) -> None:
        super().__init__(found.model)
        self.method = method


def refused(request: str, violations: tuple[FieldViolation, ...]) -> InvalidArgument:
    """One error for many violations, with a line `* Request.path: reason` for each.

    Args:
        request: the request message's name, such as `CreateTunedModelRequest`.
        violations: at least one violation, with a field path of the request message.

    """
    lines = [_line(request, violation.field, violation.description) for violation in violations]
    return InvalidArgument("".join(lines), violations=violations)


def _line(request: str, path: str, reason: str) -> str:
    return f"* {request}{'.' + path if path else ''}: {reason}\n"


@dataclass(frozen=True, slots=True)
class RequestWords:
    """How errors that a use case finds in a request are written on the wire.

    `places` maps the beginning of a domain path to the beginning of a wire path; the longest one wins, and "" stands
    for all others. `said_of` names another field in the message than in the violation, for exact domain paths.
    `described` holds this API's own descriptions of faults, by the exact domain path and the reason. `method` is the
    short name of the method, which the error of a missing base model tells. With `sentences` descriptions are whole
    sentences.
    """

    request: str
    places: Mapping[str, str] = field(default_factory=dict)
    said_of: Mapping[str, str] = field(default_factory=dict)
    described: Mapping[tuple[str, Reason], str] = field(default_factory=dict)
    method: str = ""
    sentences: bool = True

    def translate(self, error: TuningforkError) -> TuningforkError:
        """The error for the API: a line `* Request.path: reason` and a violation for each fault.

        An error that is neither about a field nor about a base model is returned unchanged.
        """
        match error:
            case InvalidArgument(violations=violations) if violations:
                described = [(each.field, self._description(each)) for each in violations]
                lines = [_line(self.request, self.said_of.get(at) or self.place(at), said) for at, said in described]
                placed = tuple(
                    FieldViolation(field=self.place(at), description=_sentence(said) if self.sentences else said)
                    for at, said in described
                )
                return InvalidArgument("".join(lines), violations=placed)
            case BaseModelNotFound():
                return BaseModelUnsupported(error, self.method)
            case _:
                return error

    def place(self, path: str) -> str:
        """The path in the request message for a domain path."""
        for inner in sorted(self.places, key=len, reverse=True):
            if path == inner or (inner and path.startswith((f"{inner}.", f"{inner}["))):
                return self.places[inner] + path[len(inner) :]
        return self.places.get("", "") + path

    def _description(self, violation: FieldViolation) -> str:
        given = f"; {violation.given} was given" if violation.given else ""
        return self.described.get((violation.field, violation.reason), violation.description) + given


def _sentence(description: str) -> str:
    """A reason as a sentence. A reason that begins with a field's name keeps its small first letter."""
    first = description.split(" ", 1)[0]
    begun = description if "_" in first else description[:1].upper() + description[1:]
    return begun if begun.endswith((".", "?", "!", '"')) else f"{begun}."
