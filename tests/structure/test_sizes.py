"""Nothing grows beyond what can be read at once, and everything public says what it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Migrations are written once and never again changed.
MODULES = sorted(path for path in (ROOT / "src" / "tuningfork").rglob("*.py") if path.parent.name != "versions")
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
MOST_MODULE_LINES = 400
MOST_FUNCTION_LINES = 60
USUAL_FUNCTION_LINES = 30


def named(path):
    return str(path.relative_to(ROOT))


def function_lines():
    return {
        f"{named(path)}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, FUNCTIONS)
    }


def test_no_module_is_longer_than_four_hundred_lines():
    lines = {named(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}

    assert {name: count for name, count in lines.items() if count > MOST_MODULE_LINES} == {}


def test_no_function_is_longer_than_sixty_lines():
    assert {name: count for name, count in function_lines().items() if count > MOST_FUNCTION_LINES} == {}


def test_nine_functions_of_ten_have_at_most_thirty_lines():
    counts = list(function_lines().values())

    assert sum(count <= USUAL_FUNCTION_LINES for count in counts) >= 0.9 * len(counts)


@pytest.mark.parametrize("path", MODULES, ids=named)
def test_everything_public_has_a_docstring(path):
    tree = TREES[path]
    silent = [] if ast.get_docstring(tree) else ["the module itself"]
    silent += [node.name for node in public(tree.body) if not ast.get_docstring(node)]

    assert silent == []


def public(body):
    """Classes, functions and methods whose names do not begin with an underscore."""
    for node in body:
        if isinstance(node, FUNCTIONS | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "manager", "common", "misc"])
def test_no_module_has_a_name_that_says_nothing(word):
    assert [named(path) for path in MODULES if word in path.stem.split("_")] == []
