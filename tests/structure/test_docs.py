"""What the documentation says is so."""

import re
from pathlib import Path

import pytest

import command_line_docs
import compatibility_docs
from tuningfork.catalog import build_catalog
from tuningfork.settings import Settings
from tuningfork.tutorial import lesson

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROOMS = sorted(path.name for path in (ROOT / "src" / "tuningfork").iterdir() if re.match(r"[a-z]+(\.py)?$", path.name))

MOST_DECISION_LINES = 70
"""Of a page in `docs/adr/`: what one reads at a sitting."""


def named(path):
    return str(path.relative_to(ROOT))


def test_the_command_line_page_is_what_the_program_says():
    assert command_line_docs.PATH.read_text(encoding="utf-8") == command_line_docs.render(), (
        "run: python tests/support/command_line_docs.py"
    )


def test_each_row_of_the_command_line_page_has_its_cells_and_no_value_of_python():
    rows = [line for line in command_line_docs.render().splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]

    assert [row for row in cells if len(row) != 4] == []
    assert [row for row in cells if row[2].strip("`") in {"None", "True", "False", "[]", "()", "frozenset()"}] == []


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

    assert page == compatibility_docs.render(), "run: python tests/support/compatibility_docs.py"


def test_the_catalog_in_the_readme_is_one(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text('{"max_position_embeddings": 1024}')
    (tmp_path / "models.toml").write_text(example.replace("Qwen/Qwen3-0.6B", str(tmp_path / "base")))

    catalog = build_catalog(catalog_file=tmp_path / "models.toml", named=[])

    assert catalog.find("models/qwen").base.location == str(tmp_path / "base")
    assert catalog.find("gemini-1.5-flash-001-tuning").base.name == "models/qwen"


def test_the_file_of_settings_in_the_documentation_is_one(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", command_line_docs.render(), re.DOTALL)
    (tmp_path / "tuningfork.toml").write_text(example)

    settings = Settings(config=tmp_path / "tuningfork.toml")

    assert (settings.data_dir, settings.requests_per_minute) == (tmp_path / "data", 600)
    assert len(settings.base_model) == 2


def test_decisions_are_numbered_without_gaps():
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    titles = [page.read_text(encoding="utf-8").splitlines()[0] for page in pages]

    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    assert [title.split()[1] for title in titles] == [f"{number}." for number in range(1, len(pages) + 1)]


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "adr").glob("*.md")), ids=named)
def test_a_decision_is_one_page_with_its_date_its_parts_and_a_line_in_the_map(page):
    text = page.read_text(encoding="utf-8")
    title, _, date, *lines = text.splitlines()
    number, _, name = title.removeprefix("# ").partition(". ")
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert re.match(r"\d{4}-\d\d-\d\d, accepted\.", date)
    assert [line for line in lines if line.startswith("## ")] == ["## Context", "## Decision", "## Consequences"]
    assert len(lines) <= MOST_DECISION_LINES
    assert f"\n{number}. [{name}](adr/{page.name})\n" in architecture, "list it at the end of docs/architecture.md"


@pytest.mark.parametrize("room", ROOMS)
def test_the_map_shows_every_room(room):
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

    assert f"`{room}`" in architecture or f"`{room}/`" in architecture


def test_entries_of_the_log_are_numbered_the_newest_first_and_all_in_its_index():
    log = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (\d+)\. (\d{4}-\d\d-\d\d): (.*)$", log, re.MULTILINE)
    index = re.findall(r"^\| (\d+) \| (\d{4}-\d\d-\d\d) \| \[(.*)\]\(#(.*)\) \|", log, re.MULTILINE)
    sections = re.findall(r"^## (.*)$", log, re.MULTILINE)

    assert sections == ["Index", *(f"{number}. {date}: {title}" for number, date, title in entries)]
    assert [int(number) for number, _, _ in entries] == list(range(len(entries), 0, -1))
    assert [date for _, date, _ in entries] == sorted((date for _, date, _ in entries), reverse=True)
    assert index == [(*entry, _anchor(f"{entry[0]}. {entry[1]}: {entry[2]}")) for entry in entries]


def _anchor(heading):
    """The name by which a heading can be linked to: letters, digits and hyphens, as code hosts make it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
