"""The tables of `docs/compatibility.md` as they should be.

Made from the published methods (tests/data/gemini/methods.json), the methods that the dialects bind, the message
tables of the wire, and what `docs/compatibility.toml` says of single methods and fields. Run as a script, it writes
the page; tests compare, and ask a server whether what is said of request fields is true.
"""

import importlib
import json
import pkgutil
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import tuningfork.wire.gemini
import tuningfork.wire.google
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.dialect.vertex.places import PARENTS
from tuningfork.dialect.vertex.serving import Serving
from tuningfork.dialect.vertex.table import VertexUseCases
from tuningfork.dialect.vertex.table import bindings as vertex_bindings
from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google.packages import Package
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.vertex import generation_messages as of_vertex

DOCS = Path(__file__).parents[2] / "docs"
PATH = DOCS / "compatibility.md"
PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "gemini" / "methods.json").read_text("utf-8"))["services"]
SAID = tomllib.loads((DOCS / "compatibility.toml").read_text("utf-8"))

GEMINI = Package(PACKAGE)

_UNNAMED = "PredictionService.NotServed"
"""The method of all bindings that are refused by name. `SAID` has the method's own name before the remark."""

VERTEX_MESSAGES: dict[str, Message] = {
    each.full_name: each
    for each in (
        *(of_vertex.GENERATE_CONTENT_REQUEST, of_vertex.CONTENT, of_vertex.PART, of_vertex.GENERATION_CONFIG),
        *(of_vertex.THINKING_CONFIG, of_vertex.SCHEMA, of_vertex.SAFETY_SETTING),
        *(of_vertex.COUNT_TOKENS_REQUEST, of_vertex.COMPUTE_TOKENS_REQUEST),
    )
}
"""The messages of Vertex AI's requests for text and tokens, by name."""

WORDS = ("served", "differs", "passed over", "refused", "never")
"""What can be said of a method or field; a reason may follow after a colon.

A field that is `passed over` is read and changes nothing; one that is `never` is part of answers and never set.
"""


def methods() -> list[tuple[str, str, str, str, str]]:
    """(service, method, HTTP binding, yes or no, remark) for every published binding, then for those of our own."""
    bound = {(each.verb, _plain(each.path)): each for each in bindings(_no_use_cases())}
    rows, told = [], set()
    for service, its_methods in PUBLISHED.items():
        short = service.rpartition(".")[2]
        for method, https in its_methods.items():
            remark = SAID["methods"].get(f"{short}.{method}", "")
            places = {(http["verb"], _plain(http["path"])): _shown(http["path"]) for http in https}
            told |= set(places)
            if not places:
                rows.append((short, method, "none", "no", remark))
            for place, shown in places.items():
                # A remark is on what is served, or says why nothing is.
                fits = place in bound or not set(places) & set(bound)
                served = "yes" if place in bound else "no"
                rows.append((short, method, f"{place[0]} {shown}", served, remark if fits else ""))
    for place, each in bound.items():
        if place not in told:
            service, _, method = each.method.full_name.rpartition(".")
            remark = SAID["methods"].get(f"{place[0]} {_shown(each.path)}", "the original has no such binding")
            rows.append((service.rpartition(".")[2], method, f"{place[0]} {_shown(each.path)}", "yes", remark))
    return rows


def vertex_methods() -> list[tuple[str, str, str, str, str]]:
    """(method, HTTP binding, yes or no, yes or no, remark) for every binding of Vertex AI's dialect, refused ones last.

    The first answer is whether it is served; the second whether also without a project and a location in its path.
    """
    below, *_ = PARENTS
    bound = vertex_bindings(_no_vertex_use_cases())
    bare = {(each.verb, each.path) for each in bound}
    rows = []
    for each in bound:
        if not each.path.startswith(below):
            continue
        path = each.path.removeprefix(below)
        service, _, method = each.method.full_name.rpartition(".")
        place, name = f"{each.verb} {_shown(path)}", f"{service.rpartition('.')[2]}.{method}"
        said = SAID["vertex_methods"]
        remark = said.get(place) or said.get(name, "")
        name, remark = (remark.split(": ", 1)) if name == _UNNAMED else (name, remark)
        refused = remark.startswith("refused: ")
        without = "yes" if (each.verb, path) in bare else "no"
        rows.append((name, place, "no" if refused else "yes", without, remark.removeprefix("refused: ")))
    return sorted(rows, key=lambda row: row[2] == "no")


def table_modules() -> list[ModuleType]:
    """The modules that state the Gemini API's messages, by name; some of them serve other dialects too."""
    names = {
        module.name: f"{room.__name__}.{module.name}"
        for room in (tuningfork.wire.gemini, tuningfork.wire.google)
        for module in pkgutil.iter_modules(room.__path__)
        if module.name.endswith("_messages")
    }
    return [importlib.import_module(names[name]) for name in sorted(names)]


def tables() -> list[Message | Enum]:
    """Every message and enum that these modules state; those that dialects share are in the Gemini API's package."""
    stated = [each for module in table_modules() for each in vars(module).values()]
    return [_packaged(each) for each in stated if isinstance(each, Message | Enum)]


def _packaged(table: Message | Enum) -> Message | Enum:
    if table.full_name.startswith("google."):
        return table
    return GEMINI.message(table) if isinstance(table, Message) else GEMINI.enum(table)


def messages() -> dict[str, Message]:
    """Every message that the Gemini tables state, by its short name, in the order of the modules."""
    return {short_name(each): each for each in tables() if isinstance(each, Message) and each.fields}


def short_name(message: Message) -> str:
    """The name within its package: `Permission`, `GenerateContentResponse.PromptFeedback`, `v1alpha.TuningExamples`."""
    packages = r"google\.ai\.generativelanguage(\.v1beta|(?=\.v1alpha))|google\.longrunning|google\.rpc"
    return re.sub(rf"^({packages})\.", "", message.full_name)


def said_of(message: Message, field: Field) -> str:
    """One of `WORDS`, perhaps with a reason. Of a field that is passed over, all fields below it are too."""
    said = SAID["fields"].get(short_name(message), {}).get(field.name)
    return str(said or ("passed over" if message.full_name in _passed_over() else "served"))


def said_of_vertex(message: Message, field: Field) -> str:
    """What is said of a field of `VERTEX_MESSAGES`, as `said_of`."""
    return str(SAID["vertex_fields"].get(message.full_name, {}).get(field.name, "served"))


@cache
def _passed_over() -> frozenset[str]:
    """The messages that occur only below fields that are passed over."""
    above: dict[str, list[tuple[str, bool]]] = {}
    for name, message in messages().items():
        for field in message.in_order:
            if isinstance(field.type, Message):
                said = str(SAID["fields"].get(name, {}).get(field.name, "served"))
                above.setdefault(field.type.full_name, []).append((message.full_name, said.startswith("passed over")))
    found: frozenset[str] = frozenset()
    while True:
        more = {name for name, places in above.items() if all(is_it or parent in found for parent, is_it in places)}
        if more <= found:
            return found
        found |= more


def render() -> str:
    """The whole page: what people wrote, with the tables between its marks made anew."""
    page = PATH.read_text(encoding="utf-8")
    tables = {
        "methods": _methods_table(),
        "methods of Vertex AI": _vertex_table(),
        "fields of Vertex AI": _vertex_fields_tables(),
        "fields": _fields_tables(),
    }
    for mark, table in tables.items():
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def _methods_table() -> str:
    lines = ["| method | binding | served | remarks |", "|---|---|---|---|"]
    lines += ["| {}.{} | `{}` | {} | {} |".format(*row) for row in methods()]
    return "\n".join(lines) + "\n"


def _vertex_table() -> str:
    lines = ["| method | binding | served | also without a project | remarks |", "|---|---|---|---|---|"]
    lines += ["| {} | `{}` | {} | {} | {} |".format(*row) for row in vertex_methods()]
    return "\n".join(lines) + "\n"


def _fields_tables() -> str:
    parts = []
    for name, message in messages().items():
        rows = [f"### {name}\n", "| field | type | here |", "|---|---|---|"]
        rows += [f"| `{field.json_name}` | {_type(field)} | {_said(message, field)} |" for field in message.in_order]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _vertex_fields_tables() -> str:
    """The fields that are not simply served, of each message that has any."""
    parts = []
    for name, message in VERTEX_MESSAGES.items():
        said = [(field.json_name, said_of_vertex(message, field)) for field in message.in_order]
        rows = [f"| `{field}` | {word} |" for field, word in said if word != "served"]
        if rows:
            parts.append("\n".join([f"**{name}**\n", "| field | here |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _said(message: Message, field: Field) -> str:
    said = said_of(message, field)
    rule = {Rule.OUTPUT_ONLY: "output only", Rule.INPUT_ONLY: "input only"}.get(field.rule)
    return f"{said} ({rule})" if rule and said == "served" else said


def _type(field: Field) -> str:
    if isinstance(field.type, Kind):
        name = field.type.value.removeprefix("TYPE_").lower()
        name = name.rpartition(".")[2] if "." in name else name
    else:
        name = re.sub(r"^google\.ai\.generativelanguage\.(v1beta\.)?", "", field.type.full_name)
        name = name if isinstance(field.type, Enum | Message) else ""
    return f"{name}[]" if field.repeated else name


def _plain(path: str) -> str:
    """`/{name=tunedModels/*}:cancel` and `/tunedModels/{tuned_model:id}:cancel` as the same text."""
    path = re.sub(r"{[\w.]+=([^}]*)}", r"\1", path)
    return re.sub(r"{\w+(:id)?}|\*+", "{}", path)


def _shown(path: str) -> str:
    path = re.sub(r"{[\w.]+=([^}]*)}", r"\1", path)
    return re.sub(r"{(\w+):id}", r"*", path)


def _no_use_cases() -> Any:
    return UseCases(**dict.fromkeys(UseCases.__dataclass_fields__))


def _no_vertex_use_cases() -> Any:
    serving: Any = Serving(**dict.fromkeys(Serving.__dataclass_fields__))
    return VertexUseCases(jobs=_nothing(), serving=serving)


def _nothing() -> Any:
    return None


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
