"""What the pages name is there: files, folders, functions, classes and variables of the environment."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tuningfork"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
FILE_NAMES = {path.name for folder in ("src", "tests", "bench", "docs") for path in (ROOT / folder).rglob("*")}
FILE_NAMES |= {path.name for path in ROOT.glob("*.py")}
# What stands between backticks; listings are no names.
SPAN = re.compile(r"`([^`\n]+)`")
# A path, in which there may be `{a,b}` and `*`; or the name of a Python file alone.
_PART = r"(?:[\w.*-]|\{[\w,]+\})+"
PATH = re.compile(
    rf"(?<![\w./:~$<>{{}}*-])(?!-)(?:{_PART}/)+(?:{_PART})?(?![\w/{{}}<:])|(?<![\w./*-])[\w-]+\.py(?![\w/])"
)
VARIABLE = re.compile(r"\bTUNINGFORK_[A-Z_]*[A-Z]\b")
# Those of options and settings: another test holds this page to what the program says.
VARIABLES = set(VARIABLE.findall((ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")))
for conftest in (ROOT / "tests").rglob("conftest.py"):
    VARIABLES |= set(VARIABLE.findall(conftest.read_text(encoding="utf-8")))
CLASS = re.compile(r"(?:[A-Z][a-z0-9]+){2,}")
# What names of models begin with, on the Hub too; types of content; our API; a server's data; an API that is not there
# yet: `wire/x/`.
NO_PATHS = re.compile(
    r"(models|tunedModels|gemini|text|application|tuningfork|google-genai-sdk|DATA_DIR|Qwen)/|.*/x(/|$)"
)
MADE_LATER = (".venv/", ".contract/", ".screenshots/", ".tutorial/", "bench/.peers")
"""Folders that are made by `make` or by a test, and are in no checkout."""
CLASSES_ON = ("docs/architecture.md", "docs/glossary.md", "docs/gpu.md", "docs/prefix-cache.md", "CONTRIBUTING.md")
FORMER: dict[str, set[str]] = {}
"""Names that a page uses for what was there once, each with its reason."""


def named(path):
    return path.relative_to(ROOT).as_posix()


def places(page, name):
    """The files and folders that a name on this page can mean."""
    alternatives = re.fullmatch(r"(.*)\{([\w,]+)\}(.*)", name)
    if alternatives:
        before, names, after = alternatives.groups()
        each = [places(page, f"{before}{one}{after}") for one in names.split(",")]
        return [found for one in each for found in one] if all(each) else []
    roots = (ROOT, PACKAGE, page.parent)
    found = [path for root in roots for path in root.glob(name.rstrip("/"))]
    if name.endswith("/"):
        return [path for path in found if path.is_dir()]
    return found or [path for root in roots for path in root.glob(f"{name}.py")]


def is_there(page, name):
    """Whether there is such a file, folder, module, or a definition in a module: `training/passes.forward_backward`."""
    if "/" not in name:
        return name in FILE_NAMES
    if places(page, name):
        return True
    module, _, definition = name.rpartition(".")
    return bool(module and definition) and any(
        re.search(rf"\b{re.escape(definition)}\b", path.read_text(encoding="utf-8"))
        for path in places(page, module)
        if path.suffix == ".py"
    )


def missing_paths(page, text):
    names = {found[0] for span in SPAN.findall(text) for found in PATH.finditer(span)}
    # In drawings and listings, Python files only.
    names |= {found[0] for found in PATH.finditer(text) if found[0].endswith(".py")}
    looked_at = (name for name in names if not NO_PATHS.match(name) and not name.startswith(MADE_LATER))
    return {name for name in looked_at if not is_there(page, name)}


def missing_variables(text):
    return {name for name in VARIABLE.findall(text) if name not in VARIABLES and name not in SOURCES}


def missing_classes(text):
    spans = (re.match(r"[A-Za-z]+", span) for span in SPAN.findall(text))
    names = {found[0] for found in spans if found and CLASS.fullmatch(found[0])}
    return {name for name in names if not re.search(rf"\b{name}\b", SOURCES)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_and_folders_that_a_page_names_are_there(page):
    missing = missing_paths(page, page.read_text(encoding="utf-8"))

    assert missing - FORMER.get(named(page), set()) == set(), "name the place of today, or add the name to FORMER"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_variables_of_the_environment_that_a_page_names_are_read(page):
    assert missing_variables(page.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("name", CLASSES_ON)
def test_classes_that_a_page_names_are_there(name):
    assert missing_classes((ROOT / name).read_text(encoding="utf-8")) == set()


def test_every_former_name_is_still_on_its_page():
    unused = {
        page: names - missing_paths(ROOT / page, (ROOT / page).read_text(encoding="utf-8"))
        for page, names in FORMER.items()
    }

    assert {page: names for page, names in unused.items() if names} == {}


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`training/engine.py` and `domain/`", set()),
        ("`service/{tuning,sharing}` and `dialect/*/methods.py`", set()),
        ("`training/passes.forward_backward` and `test_docs.py`", set()),
        ("`modeling/kernels.py` and `nowhere/`", {"modeling/kernels.py", "nowhere/"}),
        ("`service/{tuning,nowhere}`", {"service/{tuning,nowhere}"}),
        (
            "`training/passes.backward_forward` and `test_nowhere.py`",
            {"training/passes.backward_forward", "test_nowhere.py"},
        ),
        ("`models/qwen`, `text/x.enum`, `wire/x/`, `~/.local/share`, `/healthz`, `https://a.example/b`", set()),
    ],
)
def test_missing_places_are_found(text, missing):
    assert missing_paths(ROOT / "docs" / "page.md", text) == missing


def test_missing_variables_and_classes_are_found():
    assert missing_variables("`TUNINGFORK_PORT`, `TUNINGFORK_NOWHERE=1`") == {"TUNINGFORK_NOWHERE"}
    assert missing_classes("`TrainingEngine.admit(job)`, `RpcCode`, `NotThere(x)`") == {"RpcCode", "NotThere"}
