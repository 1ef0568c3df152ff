"""Who may import whom, and what is too heavy to import."""

import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tuningfork"
LIGHT = ["tuningfork.api.app", "tuningfork.client", "tuningfork.cli", "tuningfork.tutorial.story"]
MUTUAL = {
    # What is wrong with a text is told by one module, in tables and in conversations; a table may be one of these.
    ("tuningfork.training_files", "tuningfork.training_files.conversations"),
}
"""Packages that import each other, each pair with its reason."""
HEAVY = {"torch", "transformers", "ray", "matplotlib", "numpy", "llguidance"}


def loaded_by(module):
    """The top-level names of all modules that importing this one loads into a fresh interpreter."""
    program = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    return set(ended.stdout.split())


@pytest.mark.parametrize(
    "module", ["tuningfork.api.app", "tuningfork.client", "tuningfork.cli", "tuningfork.tutorial.story"]
)
def test_nothing_heavy_is_loaded_where_there_are_no_tensors(module):
    assert not loaded_by(module) & HEAVY


def test_what_an_extra_brings_is_loaded_where_it_is_wanted():
    assert not loaded_by("tuningfork.server.compose") & {"grpc", "google", "proto"}


def test_a_server_starts_without_what_only_some_servers_need():
    assert not loaded_by("tuningfork.server.compose") & {"alembic", "mako", "httpx"}


def test_the_commands_of_clients_load_nothing_of_the_server():
    assert not loaded_by("tuningfork.cli") & {"fastapi", "uvicorn", "sqlalchemy", "pydantic_settings", "jwt"}


def test_the_words_of_the_business_need_the_standard_library_only():
    modules = [f"tuningfork.domain.{path.stem}" for path in (PACKAGE / "domain").glob("[a-z]*.py")]

    assert loaded_by(", ".join(modules)) - sys.stdlib_module_names <= {"tuningfork", "__main__", *_of_the_interpreter()}


def _of_the_interpreter():
    """What an interpreter of this environment loads by itself (the hooks of editable installs)."""
    return loaded_by("sys")


def test_imports_only_fall():
    ended = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("tuningfork", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    # Raises CycleError, which names the circle.
    TopologicalSorter(imports).prepare()


def test_no_two_packages_import_each_other():
    """A module lies in its folder. What `__init__` files import is left out, and the rooms that are single modules."""
    graph = grimp.build_graph("tuningfork", cache_dir=None)
    packages = {module.rpartition(".")[0] for module in graph.modules}
    imported = {
        (module.rpartition(".")[0], other.rpartition(".")[0])
        for module in graph.modules - packages
        for other in graph.find_modules_directly_imported_by(module) - packages
    }
    mutual = {pair for pair in imported if pair[0] < pair[1] and pair[::-1] in imported}

    assert {pair for pair in mutual if "tuningfork" not in pair} == MUTUAL


def test_nothing_stands_on_the_recipe():
    outside = [path for path in PACKAGE.rglob("*.py") if PACKAGE / "embedded" / "recipe" not in path.parents]

    assert [path.name for path in outside if "embedded.recipe" in path.read_text(encoding="utf-8")] == []


def test_every_room_has_its_layer():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layered = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    rooms = {
        f"tuningfork.{path.stem}"
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }

    assert rooms - {"tuningfork.__init__", "tuningfork.__main__"} == layered
