"""The pages speak six languages: each has every text, with the same placeholders, in all of its plural forms."""

import ast
import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import tuningfork.studio
from tuningfork.studio.texts.catalog import (
    LANGUAGES,
    PLACEHOLDER,
    Texts,
    choose_language,
    plural_categories,
    texts_in,
)

STUDIO = Path(tuningfork.studio.__file__).parent
TEMPLATES = sorted((STUDIO / "templates").glob("*.html"))
OTHERS = sorted(LANGUAGES.keys() - {"en"})
NAMES = {"Tuningfork"}
"""What is written alike in every language."""


def forms(text):
    return [text] if isinstance(text, str) else list(text.values())


def placeholders(text):
    return {frozenset(PLACEHOLDER.findall(form)) for form in forms(text)}


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_the_same_texts_with_the_same_placeholders(language):
    english, other = texts_in("en"), texts_in(language)

    assert other.keys() ^ english.keys() == set()
    assert [name for name in english if placeholders(english[name]) != placeholders(other[name])] == []
    assert [name for name in english if isinstance(english[name], str) != isinstance(other[name], str)] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_text_with_a_count_has_every_plural_form_of_its_language(language):
    plural = {name: text for name, text in texts_in(language).items() if not isinstance(text, str)}

    assert plural
    assert {name for name, text in plural.items() if text.keys() != plural_categories(language)} == set()


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_is_empty_or_has_a_brace_that_is_no_placeholder(language):
    written = {(name, form) for name, text in texts_in(language).items() for form in forms(text)}

    assert [name for name, form in written if not form.strip() or form != form.strip()] == []
    assert [name for name, form in written if set("{}") & set(PLACEHOLDER.sub("", form))] == []


@pytest.mark.parametrize(
    ("language", "count", "said"),
    [
        ("en", 1, "1 job is ahead of yours."),
        ("en", 2, "2 jobs are ahead of yours."),
        ("ru", 1, "Перед вашим 1 задание."),
        ("ru", 2, "Перед вашим 2 задания."),
        ("ru", 5, "Перед вашим 5 заданий."),
        ("ru", 21, "Перед вашим 21 задание."),
        ("zh", 3, "您前面有 3 个任务。"),
        ("de", 1200, "1.200 Aufträge sind vor Ihrem an der Reihe."),
        ("tr", 2, "Sizinkinden önce 2 iş var."),
        ("hi", 2, "आपके काम से पहले 2 काम हैं।"),
    ],
)
def test_counts_are_said_as_the_language_says_them(language, count, said):
    assert Texts(language)("state.queued", count=count) == said


def test_values_are_text_whatever_they_hold():
    said = Texts("en")("library.progress", name="{count} <b> {name}")

    assert said == "Progress of {count} <b> {name}"


@pytest.mark.parametrize(
    ("language", "half", "loss", "seconds", "ago"),
    [
        ("en", "42%", "0.213", "3.1 seconds", "2 hours ago"),
        ("de", "42\xa0%", "0,213", "3,1 Sekunden", "vor 2 Stunden"),
        ("tr", "%42", "0,213", "3,1 saniye", "2 saat önce"),
        ("ru", "42\xa0%", "0,213", "3,1 секунды", "2 часа назад"),
        ("zh", "42%", "0.213", "3.1秒钟", "2小时前"),
    ],
)
def test_numbers_and_times_are_written_as_the_language_writes_them(language, half, loss, seconds, ago):
    formats, now = Texts(language).formats, datetime(2026, 12, 1, tzinfo=UTC)

    assert formats.percent(8 / 19) == half
    assert formats.loss(0.21349) == loss
    assert formats.duration(3.1) == seconds
    assert formats.ago(now - timedelta(hours=2), now) == ago


@pytest.mark.parametrize(
    ("value", "said"), [(0, "0.000"), (2.5, "2.50"), (0.00012345, "0.000123"), (1234.5, "1234"), (float("NaN"), "NaN")]
)
def test_losses_have_three_digits_that_count(value, said):
    assert Texts("en").formats.loss(value) == said


@pytest.mark.parametrize(("share", "said"), [(0.9999, "99%"), (1.0, "100%"), (0.29, "29%")])
def test_a_share_is_not_rounded_up_to_the_whole(share, said):
    assert Texts("en").formats.percent(share) == said


@pytest.mark.parametrize(
    ("chosen", "accepted", "language"),
    [
        (None, "de-AT,de;q=0.9,en;q=0.8", "de"),
        (None, "fr,ru;q=0.5,tr;q=0.7", "tr"),
        (None, "zh-Hans-CN", "zh"),
        (None, "", "en"),
        (None, "xx;q=nonsense, *", "en"),
        (None, "de;q=0, tr", "tr"),
        ("hi", "de", "hi"),
        ("xx", "de", "de"),
    ],
)
def test_the_language_is_the_chosen_one_or_the_best_that_the_browser_takes(chosen, accepted, language):
    assert choose_language(chosen, accepted) == language


def literal_words(template):
    """What a visitor reads and no text of the catalog says: between the tags, and in attributes that are read."""
    text = re.sub(r"\{#.*?#\}", "", template, flags=re.DOTALL)
    text = re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{.*?\}\}", "", text, flags=re.DOTALL)
    read = re.findall(r'\b(?:title|placeholder|aria-label|alt|aria-description)="([^"]*)"', text)
    between = re.sub(r"<code>.*?</code>", "", re.sub(r"<!doctype[^>]*>", "", text))
    between = re.sub(r"<(\"[^\"]*\"|[^>\"])*>", "\n", between)
    return [
        word for word in (*read, *between.split("\n")) if re.search(r"[^\W\d_]", word) and word.strip() not in NAMES
    ]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_have_no_words_of_their_own(path):
    words = [word.strip(" ·") for word in literal_words(path.read_text(encoding="utf-8"))]

    assert [word for word in words if word not in NAMES] == []


def test_words_in_templates_are_found():
    assert literal_words('<p title="Read {{ me }}">Hello {{ name }}<b>{{ t("x") }}</b></p>') == ["Read ", "Hello "]


def used_ids():
    """The beginnings of ids that templates, scripts and Python name; one that is put together ends with a dot."""
    sources = [*STUDIO.rglob("*.html"), *STUDIO.rglob("*.py"), *STUDIO.rglob("*.js")]
    found = set()
    for path in sources:
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r"""["'`]([a-z_]+(?:\.[a-z_]+)*\.?_?)(?:["'`{$])""", text))
        found |= {each.removesuffix("{") for each in re.findall(r'f"([a-z_.]+)\{', text)}
    return found


def test_every_text_is_used():
    used = used_ids()
    unused = [
        name
        for name in texts_in("en")
        if name not in used and not any(name.startswith(each) for each in used if each[-1] in "._" and "." in each)
    ]

    assert unused == []


def test_every_text_that_python_names_is_there():
    named = {
        node.args[0].value
        for path in STUDIO.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"texts", "visit.texts", "self.texts"}
        and isinstance(node.args[0], ast.Constant)
    }

    assert len(named) > 30
    assert {name for name in named if name not in texts_in("en")} == set()


@pytest.mark.parametrize("path", [*TEMPLATES, *sorted((STUDIO / "static").glob("*.js"))], ids=lambda path: path.name)
def test_every_text_that_a_template_or_a_script_names_is_there(path):
    named = set(re.findall(r"""\bt\(["']([a-z_.]+)["'][,)]""", path.read_text(encoding="utf-8")))

    assert {name for name in named if name not in texts_in("en")} == set()


@pytest.mark.parametrize(
    "path", sorted((STUDIO / "texts").rglob("*.toml")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_a_file_of_texts_is_one(path):
    assert tomllib.loads(path.read_text(encoding="utf-8"))
