"""Which rpc is which method, and which fields of its request are in the path, query and body of the HTTP request.

Each row has the content of the HTTP annotation in the interface definition (google/api/http.proto): the path with the
fields of the request that fill it, and the field that is the body. All other fields are in the query.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.method import Method
from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.requests import refused

WHOLE = "*"
"""The body is the whole request except the fields that are in its path."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc. `path` names at most one field, in braces; dots lead to a nested field. `body` "": there is no body.

    `request_name` is needed only if it is not the rpc's name followed by `Request`.
    """

    method: Method
    path: str
    body: str = ""
    request_name: str = ""

    def __post_init__(self) -> None:
        if not self.request_name:
            object.__setattr__(self, "request_name", f"{self.method.full_name.rpartition('.')[2]}Request")

    @property
    def request(self) -> str:
        """The full name of its request message."""
        package = self.method.full_name.rpartition(".")[0].rpartition(".")[0]
        return f"{package}.{self.request_name}"

    @property
    def path_field(self) -> tuple[str, ...]:
        """The names that lead to the field in the path; empty if there is none."""
        found = _FIELD.search(self.path)
        return tuple(found[1].split(".")) if found else ()

    def path_of(self, name: str) -> str:
        """The path with a resource's name in it.

        `name` "": the path of the collection, as in ListOperations without a model.
        """
        return "/" + _FIELD.sub(lambda _: name, self.path).lstrip("/")


_FIELD = re.compile(r"{([\w.]+)}")

RPCS = (
    Rpc(GeminiMethod.LIST_MODELS, "/models"),
    Rpc(GeminiMethod.GET_MODEL, "/{name}"),
    Rpc(GeminiMethod.CREATE_TUNED_MODEL, "/tunedModels", "tuned_model"),
    Rpc(GeminiMethod.LIST_TUNED_MODELS, "/tunedModels"),
    Rpc(GeminiMethod.GET_TUNED_MODEL, "/{name}"),
    Rpc(GeminiMethod.UPDATE_TUNED_MODEL, "/{tuned_model.name}", "tuned_model"),
    Rpc(GeminiMethod.DELETE_TUNED_MODEL, "/{name}"),
    Rpc(GeminiMethod.GENERATE_CONTENT, "/{model}:generateContent", WHOLE),
    Rpc(GeminiMethod.STREAM_GENERATE_CONTENT, "/{model}:streamGenerateContent", WHOLE, "GenerateContentRequest"),
    Rpc(GeminiMethod.COUNT_TOKENS, "/{model}:countTokens", WHOLE),
    Rpc(GeminiMethod.GENERATE_TEXT, "/{model}:generateText", WHOLE),
    Rpc(GeminiMethod.CREATE_PERMISSION, "/{parent}/permissions", "permission"),
    Rpc(GeminiMethod.GET_PERMISSION, "/{name}"),
    Rpc(GeminiMethod.LIST_PERMISSIONS, "/{parent}/permissions"),
    Rpc(GeminiMethod.UPDATE_PERMISSION, "/{permission.name}", "permission"),
    Rpc(GeminiMethod.DELETE_PERMISSION, "/{name}"),
    Rpc(GeminiMethod.TRANSFER_OWNERSHIP, "/{name}:transferOwnership", WHOLE),
    Rpc(GeminiMethod.GET_OPERATION, "/{name}"),
    Rpc(GeminiMethod.LIST_OPERATIONS, "/{name}/operations"),
    Rpc(GeminiMethod.CANCEL_OPERATION, "/{name}:cancel", WHOLE),
    Rpc(GeminiMethod.DELETE_OPERATION, "/{name}"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """A binding that can answer an rpc, with the pattern of its path."""

    binding: Binding[Typed]
    form: re.Pattern[str]

    @classmethod
    def of(cls, binding: Binding[Typed]) -> "Address":
        """The address of a binding. `{x:id}` in its path is a segment without a colon, `{x:path}` any segments."""
        form = ""
        end = 0
        for found in _PARAMETER.finditer(binding.path):
            segment = ".+" if found[2] == "path" else "[^/:]+"
            form += f"{re.escape(binding.path[end : found.start()])}(?P<{found[1]}>{segment})"
            end = found.end()
        return cls(binding, re.compile(form + re.escape(binding.path[end:]), re.DOTALL))


_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")


def addresses(bindings: Iterable[Binding[Typed]]) -> Mapping[Method, tuple[Address, ...]]:
    """All addresses of each method."""
    found: dict[Method, tuple[Address, ...]] = {}
    for binding in bindings:
        found[binding.method] = (*found.get(binding.method, ()), Address.of(binding))
    return found


def find_address(rpc: Rpc, among: Iterable[Address], name: str) -> tuple[Binding[Typed], Mapping[str, str]]:
    """The binding whose path matches a resource's name, and the ids in the name.

    Args:
        rpc: the called rpc.
        among: the addresses of its method.
        name: the value of the field that is in the path; "" if there is none.

    Raises:
        InvalidArgument: no path matches; the message shows the form of valid names.

    """
    path = rpc.path_of(name)
    for address in among:
        if found := address.form.fullmatch(path):
            return address.binding, found.groupdict()
    subject = "model name" if rpc.path_field == ("model",) else "name"
    expected = " or ".join(filter(None, (_name_form(rpc, address.binding) for address in among)))
    reason = f"unexpected {subject} format: {shown(name)}; write {expected}"
    violation = FieldViolation(field=".".join(rpc.path_field), description=reason)
    raise refused(rpc.request_name, (violation,))


def _name_form(rpc: Rpc, binding: Binding[Typed]) -> str:
    """The part of a binding's path that an rpc's field fills: `tunedModels/{tuned_model}`."""
    before, _, after = _FIELD.sub("\0", rpc.path).partition("\0")
    return _PARAMETER.sub(r"{\1}", binding.path).removesuffix(after).removeprefix(before)
