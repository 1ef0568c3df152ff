"""Tests construct what they want; a test that patches our own modules says why nothing can be handed in instead."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
OURS = re.compile(r"tuningfork\b")
PATCHES = {"setattr", "setitem", "delattr", "patch", "object"}
BECAUSE = re.compile(r"#\s*[Ww]hy: \S")


def patches_without_a_reason(source: str) -> list[int]:
    """The lines on which a module of ours, or what it imports to us, is patched without `# Why: ...` on or above."""
    tree = ast.parse(source)
    ours = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if OURS.match(getattr(node, "module", None) or alias.name)
    }
    lines = source.splitlines()
    return [
        call.lineno
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and _is_patch(call)
        and _names_ours(call.args[0], ours)
        and not any(BECAUSE.search(line) for line in lines[max(0, call.lineno - 2) : call.lineno])
    ]


def _is_patch(call: ast.Call) -> bool:
    """Whether this is `monkeypatch.setattr(...)`, `mock.patch(...)` or one of their kin, with an argument."""
    name = call.func
    return isinstance(name, ast.Attribute) and name.attr in PATCHES and _root(name) != "" and bool(call.args)


def _names_ours(target: ast.expr, ours: set[str]) -> bool:
    if isinstance(target, ast.Constant):
        return isinstance(target.value, str) and OURS.match(target.value) is not None
    return _root(target) in ours


def _root(expression: ast.expr) -> str:
    while isinstance(expression, ast.Attribute | ast.Subscript):
        expression = expression.value
    return expression.id if isinstance(expression, ast.Name) else ""


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_our_own_modules_are_patched_only_where_a_comment_says_why(path):
    assert patches_without_a_reason(path.read_text(encoding="utf-8")) == []


def test_patches_are_found_and_reasons_are_read():
    found = patches_without_a_reason(
        "from tuningfork.cli import connection\n"
        "import tuningfork.modeling.attention\n"
        "import sys\n"
        "monkeypatch.setattr(connection, 'LOCAL_URL', 'x')\n"
        "monkeypatch.setattr(sys, 'stdin', None)\n"
        "monkeypatch.setattr('tuningfork.cli.connection.LOCAL_URL', 'x')\n"
        "# Why: nobody can hand it in.\n"
        "monkeypatch.setattr(connection, 'LOCAL_URL', 'x')\n"
        "monkeypatch.setitem(tuningfork.modeling.attention.TABLE, 'a', 1)\n"
    )
    assert found == [4, 6, 9]
