"""The system parameters of Google's APIs, which choose how answers are written (gemini-api section 2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.dialect.form import RequestHead, WholeAnswer
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.google.proto_json.encode import Typed, encode
from tuningfork.wire.google.proto_json.field_masks import FieldMask, parse_field_mask
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.proto_json.text import write

JSON_TYPE = "application/json; charset=UTF-8"

CREDENTIAL_PARAMETERS = frozenset({"key", "access_token", "oauth_token"})

_READ_HERE = frozenset({"alt", "fields", "prettyPrint"})
_PASSED_OVER = frozenset({"callback", "quotaUser", "userIp", "uploadType", "upload_protocol", ".xgafv"})
_SYSTEM_PARAMETERS = frozenset(
    spelling for name in CREDENTIAL_PARAMETERS | _READ_HERE | _PASSED_OVER for spelling in (name, f"${name}")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How the answer to a request is written. `sse` asks for a stream of server-sent events instead of an array."""

    pretty: bool = True
    sse: bool = False
    enums_as_numbers: bool = False
    mask: FieldMask | None = None

    @classmethod
    def of(cls, head: RequestHead) -> "AnswerOptions":
        """The options of a request.

        Raises:
            InvalidArgument: `alt` is not supported, or the field mask is invalid.

        """
        query = head.query
        form, _, encoding = (query.get("$alt") or query.get("alt") or "json").partition(";")
        if form not in ("json", "sse") or encoding not in ("", "enum-encoding=int"):
            raise _refused_alt(form if not encoding else f"{form};{encoding}")
        mask = query.get("$fields") or query.get("fields") or head.headers.get("x-goog-fieldmask")
        return cls(
            pretty=wants_pretty(head),
            sse=form == "sse",
            enums_as_numbers=bool(encoding),
            mask=parse_field_mask(mask) if mask else None,
        )

    def check_one_message(self) -> None:
        """Check that the request accepts an answer of one message.

        Raises:
            InvalidArgument: a stream was asked for.

        """
        if self.sse:
            raise _refused_alt("sse")

    def json_of(self, answer: Typed) -> dict[str, Any]:
        """The wanted part of an answer, as a JSON object."""
        whole = encode(answer.message, answer.fields, enums_as_numbers=self.enums_as_numbers)
        return self.mask.select(answer.message, whole) if self.mask else whole

    def whole(self, message: Typed) -> WholeAnswer:
        """The answer that is one message, with status 200."""
        return json_answer(200, self.json_of(message), pretty=self.pretty)


def wants_pretty(head: RequestHead) -> bool:
    """Whether the answer is indented, which is the default."""
    query = head.query
    return (query.get("$prettyPrint") or query.get("prettyPrint") or "true").lower() not in ("false", "0")


def wants_first_error_format(head: RequestHead) -> bool:
    """Whether errors are also printed in the first error format of Google's APIs."""
    return head.query.get("$.xgafv") == "1"


def json_answer(
    status: int, value: Any, *, pretty: bool = True, headers: Mapping[str, str] | None = None
) -> WholeAnswer:
    """A JSON document with its final newline."""
    # Half surrogates are refused earlier. If one gets here anyway, it becomes a question mark.
    body = (write(value, pretty=pretty) + "\n").encode("utf-8", "replace")
    return WholeAnswer(status=status, content_type=JSON_TYPE, body=body, headers=headers or {})


def method_parameters(head: RequestHead) -> dict[str, str]:
    """The query parameters that belong to the method."""
    return {name: value for name, value in head.query.items() if name not in _SYSTEM_PARAMETERS}


def _refused_alt(given: str) -> InvalidArgument:
    sentence = (
        f"Invalid value for alt: {shown(given)}. Use json or json;enum-encoding=int, "
        "or, for streamGenerateContent, also sse."
    )
    return InvalidArgument(sentence, violations=(FieldViolation(field="alt", description=sentence),))
