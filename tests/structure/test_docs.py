"""What the documentation says is so."""

import re
from pathlib import Path

import pytest

import command_line_docs
import compatibility_docs
from tuningfork.catalog import build_catalog
from tuningfork.tutorial import lesson

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROOMS = sorted(path.name for path in (ROOT / "src" / "tuningfork").iterdir() if re.match(r"[a-z]+(\.py)?$", path.name))


def named(path):
    return str(path.relative_to(ROOT))


def test_the_command_line_page_is_what_the_program_says():
    assert command_line_docs.PATH.read_text(encoding="utf-8") == command_line_docs.render(), (
        "run: python tests/command_line_docs.py"
    )


@pytest.mark.parametrize("path", [path for path, _ in command_line_docs.commands()])
def test_the_readme_names_every_command(path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    group = " ".join(path.split()[:2])

    assert f"`{group}" in readme
    assert path.split()[-1] in readme


def test_the_readme_shows_a_whole_run_of_the_tutorial():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recorded = readme.partition("tutorial`: begin -->")[2].partition("tutorial`: end -->")[0]

    assert "step 19/19 · epoch 5" in recorded
    assert all(f"{question.prompt} " in recorded for question in lesson.QUESTIONS)


def test_every_command_and_option_says_what_it_is():
    silent = [
        f"{path} {parameter.name}"
        for path, command in command_line_docs.commands()
        for parameter in command.params
        if not parameter.help
    ]

    assert silent == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]

    assert missing == []


def test_the_tables_of_compatibility_are_the_servers():
    page = compatibility_docs.PATH.read_text(encoding="utf-8")

    assert page == compatibility_docs.render(), "run: python tests/compatibility_docs.py"


def test_the_catalog_in_the_readme_is_one(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"max_position_embeddings": 1024}')
    (tmp_path / "models.toml").write_text(example.replace("Qwen/Qwen3-0.6B", str(tmp_path / "base")))

    catalog = build_catalog(catalog_file=tmp_path / "models.toml", named=[])

    assert catalog.find("models/qwen").base.location == str(tmp_path / "base")
    assert catalog.find("gemini-1.5-flash-001-tuning").base.name == "models/qwen"


def test_decisions_are_numbered_without_gaps():
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    titles = [page.read_text(encoding="utf-8").splitlines()[0] for page in pages]

    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert [title.split()[1] for title in titles] == [f"{number}." for number in range(1, len(pages) + 1)]


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_shows_every_room(room):
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert f"`{room}`" in architecture or f"`{room}/`" in architecture
