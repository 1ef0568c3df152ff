"""The tables of `docs/compatibility.md` as they should be.

Made from the published methods (tests/data/gemini/methods.json), the methods that the dialect binds, the message
tables of the wire, and what `docs/compatibility.toml` says of single methods and fields. Run as a script, it writes
the page; tests compare, and ask a server whether what is said of request fields is true.
"""

import importlib
import json
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any

import tuningfork.wire.gemini
from tuningfork.dialect.gemini.table import UseCases, bindings
from tuningfork.wire.proto_json.descriptors import Enum, Field, Kind, Message, Rule

DOCS = Path(__file__).parents[1] / "docs"
PATH = DOCS / "compatibility.md"
PUBLISHED = json.loads((Path(__file__).parent / "data" / "gemini" / "methods.json").read_text("utf-8"))["services"]
SAID = tomllib.loads((DOCS / "compatibility.toml").read_text("utf-8"))

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
            service, _, method = each.method.value.rpartition(".")
            remark = SAID["methods"].get(f"{place[0]} {_shown(each.path)}", "the original has no such binding")
            rows.append((service.rpartition(".")[2], method, f"{place[0]} {_shown(each.path)}", "yes", remark))
    return rows


def messages() -> dict[str, Message]:
    """Every message that the Gemini tables state, by its short name, in the order of the modules."""
    found: dict[str, Message] = {}
    for module in pkgutil.iter_modules(tuningfork.wire.gemini.__path__):
        if not module.name.endswith("_messages"):
            continue
        stated = vars(importlib.import_module(f"tuningfork.wire.gemini.{module.name}")).values()
        found |= {short_name(each): each for each in stated if isinstance(each, Message) and each.fields}
    return found


def short_name(message: Message) -> str:
    """The name within its package: `Permission`, `GenerateContentResponse.PromptFeedback`."""
    return re.sub(r"^(google\.ai\.generativelanguage\.v1beta|google\.longrunning|google\.rpc)\.", "", message.full_name)


def said_of(message: Message, field: Field) -> str:
    """One of `WORDS`, perhaps with a reason."""
    return str(SAID["fields"].get(short_name(message), {}).get(field.name, "served"))


def render() -> str:
    """The whole page: what people wrote, with the tables between its marks made anew."""
    page = PATH.read_text(encoding="utf-8")
    for mark, table in (("methods", _methods_table()), ("fields", _fields_tables())):
        begin, end = f"<!-- {mark} -->\n", f"<!-- end of {mark} -->"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n{table}\n{end}{after}"
    return page


def _methods_table() -> str:
    lines = ["| method | binding | served | remarks |", "|---|---|---|---|"]
    lines += ["| {}.{} | `{}` | {} | {} |".format(*row) for row in methods()]
    return "\n".join(lines) + "\n"


def _fields_tables() -> str:
    parts = []
    for name, message in messages().items():
        rows = [f"### {name}\n", "| field | type | here |", "|---|---|---|"]
        rows += [f"| `{field.json_name}` | {_type(field)} | {_said(message, field)} |" for field in message.in_order]
        parts.append("\n".join(rows) + "\n")
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
        name = field.type.full_name.removeprefix("google.ai.generativelanguage.v1beta.")
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


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
