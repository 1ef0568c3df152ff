"""Which rpc is which method of the dialect, and where its request keeps what HTTP has in path, query and body.

A row says what the interface definition's HTTP annotation says (google/api/http.proto): the path with the fields of
the request that fill it, and the field that is the body. Whatever is left is the query.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.method import Method
from tuningfork.wire.proto_json.scalars import shown

WHOLE = "*"
"""The body is the whole request but the fields that are in its path."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc. `path` names at most one field in braces, by dots where it lies deeper; `body` "" is none.

    `request_name` is needed only where it is not that of the rpc and `Request`.
    """

    method: Method
    path: str
    body: str = ""
    request_name: str = ""

    def __post_init__(self) -> None:
        if not self.request_name:
            object.__setattr__(self, "request_name", f"{self.method.rpartition('.')[2]}Request")

    @property
    def request(self) -> str:
        """The full name of its request message."""
        package = self.method.rpartition(".")[0].rpartition(".")[0]
        return f"{package}.{self.request_name}"

    @property
    def path_field(self) -> tuple[str, ...]:
        """The way to the field that is in the path; empty where there is none."""
        found = _FIELD.search(self.path)
        return tuple(found[1].split(".")) if found else ()

    def path_of(self, name: str) -> str:
        """The path with a resource's name in it.

        A name that is left out stands for the collection above: ListOperations of all there are.
        """
        return "/" + _FIELD.sub(lambda _: name, self.path).lstrip("/")


_FIELD = re.compile(r"{([\w.]+)}")

RPCS = (
    Rpc(Method.LIST_MODELS, "/models"),
    Rpc(Method.GET_MODEL, "/{name}"),
    Rpc(Method.CREATE_TUNED_MODEL, "/tunedModels", "tuned_model"),
    Rpc(Method.LIST_TUNED_MODELS, "/tunedModels"),
    Rpc(Method.GET_TUNED_MODEL, "/{name}"),
    Rpc(Method.UPDATE_TUNED_MODEL, "/{tuned_model.name}", "tuned_model"),
    Rpc(Method.DELETE_TUNED_MODEL, "/{name}"),
    Rpc(Method.GENERATE_CONTENT, "/{model}:generateContent", WHOLE),
    Rpc(Method.STREAM_GENERATE_CONTENT, "/{model}:streamGenerateContent", WHOLE, "GenerateContentRequest"),
    Rpc(Method.COUNT_TOKENS, "/{model}:countTokens", WHOLE),
    Rpc(Method.GENERATE_TEXT, "/{model}:generateText", WHOLE),
    Rpc(Method.CREATE_PERMISSION, "/{parent}/permissions", "permission"),
    Rpc(Method.GET_PERMISSION, "/{name}"),
    Rpc(Method.LIST_PERMISSIONS, "/{parent}/permissions"),
    Rpc(Method.UPDATE_PERMISSION, "/{permission.name}", "permission"),
    Rpc(Method.DELETE_PERMISSION, "/{name}"),
    Rpc(Method.TRANSFER_OWNERSHIP, "/{name}:transferOwnership", WHOLE),
    Rpc(Method.GET_OPERATION, "/{name}"),
    Rpc(Method.LIST_OPERATIONS, "/{name}/operations"),
    Rpc(Method.CANCEL_OPERATION, "/{name}:cancel", WHOLE),
    Rpc(Method.DELETE_OPERATION, "/{name}"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """A binding that an rpc can lead to, with the form of its path."""

    binding: Binding
    form: re.Pattern[str]

    @classmethod
    def of(cls, binding: Binding) -> "Address":
        """The address of a binding: `{x:id}` is a segment without a colon, `{x:path}` any number of segments."""
        form = ""
        end = 0
        for found in _PARAMETER.finditer(binding.path):
            segment = ".+" if found[2] == "path" else "[^/:]+"
            form += f"{re.escape(binding.path[end : found.start()])}(?P<{found[1]}>{segment})"
            end = found.end()
        return cls(binding, re.compile(form + re.escape(binding.path[end:]), re.DOTALL))


_PARAMETER = re.compile(r"{(\w+)(?::(\w+))?}")


def addresses(bindings: Iterable[Binding]) -> Mapping[Method, tuple[Address, ...]]:
    """Every address of every method that is bound."""
    found: dict[Method, tuple[Address, ...]] = {}
    for binding in bindings:
        found[binding.method] = (*found.get(binding.method, ()), Address.of(binding))
    return found


def find_address(rpc: Rpc, among: Iterable[Address], name: str) -> tuple[Binding, Mapping[str, str]]:
    """The binding that a resource's name leads to, and the ids in the name.

    Args:
        rpc: the rpc that is called.
        among: the addresses of its method.
        name: the value of the field that is in its path; "" where there is none.

    Raises:
        InvalidArgument: there is no such resource; the message shows the form of those that are.

    """
    path = rpc.path_of(name)
    for address in among:
        if found := address.form.fullmatch(path):
            return address.binding, found.groupdict()
    subject = "model name" if rpc.path_field == ("model",) else "name"
    expected = " or ".join(filter(None, (_name_form(rpc, address.binding) for address in among)))
    reason = f"unexpected {subject} format: {shown(name)}; write {expected}"
    violation = FieldViolation(field=".".join(rpc.path_field), description=reason)
    raise InvalidArgument.of(rpc.request_name, (violation,))


def _name_form(rpc: Rpc, binding: Binding) -> str:
    """The part of a binding's path that an rpc's field fills: `tunedModels/{tuned_model}`."""
    before, _, after = _FIELD.sub("\0", rpc.path).partition("\0")
    return _PARAMETER.sub(r"{\1}", binding.path).removesuffix(after).removeprefix(before)
