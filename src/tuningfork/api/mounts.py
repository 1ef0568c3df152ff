"""Finds the form for a path, and converts between Starlette's requests and responses and the values of a form."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response
from starlette.types import Scope

from tuningfork.api.disconnects import StreamedResponse
from tuningfork.dialect.faults import public_error
from tuningfork.dialect.form import Dialect, Form, RequestHead, StreamedAnswer, WholeAnswer


class Mounts:
    """The dialects of a server, by prefix.

    Answers to paths below no prefix have the `default_form`. If two dialects share a prefix, errors of paths without a
    route are written in the form of the first of them.
    """

    def __init__(self, dialects: Sequence[Dialect[Any]], *, default_form: Form[Any]) -> None:
        self.dialects = tuple(dialects)
        self.default_form = default_form
        self._forms: dict[str, Form[Any]] = {}
        for dialect in self.dialects:
            for prefix in dialect.prefixes:
                self._forms.setdefault(prefix, dialect.form)
        self._encoded = {prefix for each in self.dialects if each.encoded_paths for prefix in each.prefixes}
        self._longest_first = sorted(self._forms, key=len, reverse=True)

    def form_of(self, path: str) -> Form[Any]:
        """The form of the dialect with the longest prefix of this path; the default form if none has one."""
        prefix = self.prefix_of(path)
        return self.default_form if prefix is None else self._forms[prefix]

    def has_encoded_paths(self, path: str) -> bool:
        """Whether paths are split before they are decoded, in the dialect with the longest prefix of this path."""
        return self.prefix_of(path) in self._encoded

    def prefix_of(self, path: str) -> str | None:
        """The longest prefix of any dialect that this path begins with; None if it begins with none."""
        return next((each for each in self._longest_first if path == each or path.startswith(f"{each}/")), None)

    def error_response(
        self,
        error: Exception,
        head: RequestHead,
        *,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """The whole answer for any exception, in the form of the request's path.

        Args:
            error: the exception.
            head: the request.
            status: the HTTP status, if it is not the usual one of the error's code.
            headers: further headers.

        """
        answer = self.form_of(head.path).error(public_error(error), head, status=status)
        return whole_response(replace(answer, headers={**answer.headers, **(headers or {})}))


def head_of(scope: Scope) -> RequestHead:
    """The head of a request."""
    query = QueryParams(scope["query_string"])
    several = {name: values for name in query if len(values := tuple(query.getlist(name))) > 1}
    return RequestHead(
        verb=scope["method"],
        path=scope["path"],
        query=query,
        headers=Headers(scope=scope),
        scheme=scope.get("scheme", "http"),
        repeated=several,
    )


def whole_response(answer: WholeAnswer) -> Response:
    """An answer that is written at once, as a response."""
    return Response(answer.body, answer.status, answer.headers, answer.content_type)


def streamed_response(answer: StreamedAnswer) -> Response:
    """An answer that is sent while it is made, as a response."""
    return StreamedResponse(answer.pieces, {"content-type": answer.content_type, **answer.headers})
