"""What a caller may say of any answer: the system parameters of Google's APIs (gemini-api section 2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.proto_json.encode import Typed, encode
from tuningfork.wire.proto_json.field_masks import FieldMask, parse_field_mask
from tuningfork.wire.proto_json.scalars import shown
from tuningfork.wire.proto_json.text import write

JSON_TYPE = "application/json; charset=UTF-8"

CREDENTIAL_PARAMETERS = frozenset({"key", "access_token", "oauth_token"})

_READ_HERE = frozenset({"alt", "fields", "prettyPrint"})
_PASSED_OVER = frozenset({"callback", "quotaUser", "userIp", "uploadType", "upload_protocol", ".xgafv"})
_SYSTEM_PARAMETERS = frozenset(
    spelling for name in CREDENTIAL_PARAMETERS | _READ_HERE | _PASSED_OVER for spelling in (name, f"${name}")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How an answer is to be written. `sse` asks for a stream of server-sent events instead of an array."""

    pretty: bool = True
    sse: bool = False
    enums_as_numbers: bool = False
    mask: FieldMask | None = None

    @classmethod
    def of(cls, request: Request) -> "AnswerOptions":
        """The options of a request.

        Raises:
            InvalidArgument: an `alt` that is not served, or a field mask that is none.

        """
        query = request.query_params
        form, _, encoding = (query.get("$alt") or query.get("alt") or "json").partition(";")
        if form not in ("json", "sse") or encoding not in ("", "enum-encoding=int"):
            raise _refused_alt(form if not encoding else f"{form};{encoding}")
        mask = query.get("$fields") or query.get("fields") or request.headers.get("x-goog-fieldmask")
        return cls(
            pretty=wants_pretty(request),
            sse=form == "sse",
            enums_as_numbers=bool(encoding),
            mask=parse_field_mask(mask) if mask else None,
        )

    def without_sse(self) -> "AnswerOptions":
        """The options for a method whose answer is one message.

        Raises:
            InvalidArgument: a stream was asked for.

        """
        if self.sse:
            raise _refused_alt("sse")
        return self

    def json_of(self, answer: Typed) -> dict[str, Any]:
        """The wanted part of an answer, as a JSON object."""
        whole = encode(answer.message, answer.fields, enums_as_numbers=self.enums_as_numbers)
        return self.mask.select(answer.message, whole) if self.mask else whole

    def response(self, answer: Typed) -> Response:
        """The whole HTTP answer: every success is a 200."""
        return json_response(200, self.json_of(answer), pretty=self.pretty)


def wants_pretty(request: Request) -> bool:
    """Whether the answer is to be indented, which is usual."""
    query = request.query_params
    return (query.get("$prettyPrint") or query.get("prettyPrint") or "true").lower() not in ("false", "0")


def wants_first_error_format(request: Request) -> bool:
    """Whether errors are to be told in the first format of Google's APIs too."""
    return request.query_params.get("$.xgafv") == "1"


def json_response(
    status: int, value: Any, *, pretty: bool = True, headers: Mapping[str, str] | None = None
) -> Response:
    """A JSON document with its final newline."""
    # Half surrogates cannot come this far; should one ever, a question mark is better than a broken answer.
    content = (write(value, pretty=pretty) + "\n").encode("utf-8", "replace")
    return Response(content, status, headers, JSON_TYPE)


def method_parameters(request: Request) -> dict[str, str]:
    """The query parameters that belong to the method; of a repeated one, the last."""
    return {name: value for name, value in request.query_params.multi_items() if name not in _SYSTEM_PARAMETERS}


def _refused_alt(given: str) -> InvalidArgument:
    sentence = (
        f"Invalid value for alt: {shown(given)}. Use json or json;enum-encoding=int, "
        "or, for streamGenerateContent, also sse."
    )
    return InvalidArgument(sentence, violations=(FieldViolation(field="alt", description=sentence),))
