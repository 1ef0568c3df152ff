"""Whatever stands in a file is shown as text, and never run."""

import pytest

pytestmark = pytest.mark.slow

CANARY = "globalThis.canary = 1"
HEADER = (":x", "a.b", "__proto__", f"<img src=x onerror='{CANARY}'>", "{{7*7}}")
CELLS = (
    f"<script>{CANARY}</script>",
    "=cmd|' /C calc'!A0",
    "${7*7} {% raw %}",
    "javascript:alert(1)",
    '"><svg onload=alert(1)>',
)


@pytest.fixture
def hostile(visitor):
    return visitor.stage([CELLS, *[tuple(f"{text} {n}" for text in CELLS) for n in range(30)]], HEADER, name="<b>x</b>")


def is_harmless(page):
    page.wait_for_load_state("networkidle")
    return page.evaluate(
        "globalThis.canary === undefined && ({}).x === undefined"
        " && !document.querySelector('main img, main svg[onload]')"
    )


def test_headers_and_cells_are_shown_as_they_are_at_every_step(visitor, hostile):
    page = visitor.page
    for step in ("", "/columns", "/check", "/settings", "/start"):
        visitor.open(f"/create/{hostile}{step}")
        assert is_harmless(page)
        shown = page.locator("main").inner_text() + " ".join(each.input_value() for each in page.locator("input").all())
        assert "<b>x</b>" in shown

    visitor.open(f"/create/{hostile}/columns")
    shown = page.locator("main").inner_text()
    assert all(name in shown for name in HEADER)
    assert all(cell in shown for cell in CELLS)


def test_the_grid_shows_and_keeps_them(visitor, hostile):
    page = visitor.open(f"/create/{hostile}/check").page
    heads = page.locator("example-grid thead th")
    cell = page.locator('example-grid td[data-row="0"][data-column="0"]')
    page.get_by_text(CELLS[0], exact=True).first.wait_for()
    assert heads.all_inner_texts()[1:] == list(HEADER)

    cell.dblclick()
    page.keyboard.type(f"<img src=x onerror='{CANARY}'>")
    page.keyboard.press("Enter")

    page.wait_for_function("cell => cell.textContent.startsWith('<img')", arg=cell.element_handle())
    page.reload()
    page.get_by_text(f"<img src=x onerror='{CANARY}'>", exact=True).last.wait_for()
    assert is_harmless(page)


def test_markup_in_an_answer_is_text_in_the_playground(visitor):
    page = visitor.open("/playground?p=x").page

    page.evaluate(f"""() => {{
        const stream = document.querySelector("token-stream");
        stream.begin();
        stream.add("<img src=x onerror='{CANARY}'>");
        stream.end();
    }}""")

    page.wait_for_function("document.querySelector('token-stream').textContent.startsWith('<img')")
    assert is_harmless(page)
