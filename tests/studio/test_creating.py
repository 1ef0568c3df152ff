"""The steps of making a tuned model: nothing is lost, nothing bad can start, one start makes one job."""

import pytest

from visitor import PAIRS, csv_of

pytestmark = pytest.mark.slow


def rows_of(visitor, dataset):
    with visitor.server.client() as client:
        return [row["cells"] for row in client.get(f"/tuningfork/v1/datasets/{dataset}/rows").json().get("rows", [])]


def models(visitor):
    with visitor.server.client() as client:
        return client.get("/tuningfork/v1/tunedModels").json().get("totalSize", 0)


def test_a_file_that_is_chosen_arrives_whole(visitor):
    page = visitor.open("/create").page
    with page.expect_navigation(url="**/create/*"):
        page.locator("input[type=file]").set_input_files(
            {"name": "roman.csv", "mimeType": "text/csv", "buffer": csv_of(PAIRS)}
        )

    assert "15 rows" in page.locator("main").inner_text()
    assert rows_of(visitor, page.url.rpartition("/")[2]) == [list(pair) for pair in PAIRS]


def test_a_file_that_cannot_be_read_is_told_and_the_page_stays(visitor):
    page = visitor.open("/create").page
    visitor.watch.allow(400)
    page.locator("input[type=file]").set_input_files(
        {"name": "picture.csv", "mimeType": "text/csv", "buffer": b"\x89PNG\r\n\x1a\n\x00\x00\x00"}
    )

    page.locator("file-drop [role=alert]").wait_for()
    assert page.locator("file-drop [role=alert]").inner_text()
    assert page.url.endswith("/studio/create")


def test_cells_that_are_pasted_arrive_whole(visitor):
    page = visitor.open("/create").page
    rows = [(f"number {n}", f"number {n + 1}, with a long text {'x' * 350}") for n in range(5_000)]
    text = "\n".join("\t".join(row) for row in [("text_input", "output"), *rows])
    with page.expect_navigation(url="**/create/*"):
        page.evaluate(
            """text => {
                const data = new DataTransfer();
                data.setData("text/plain", text);
                document.querySelector("[data-paste] textarea").dispatchEvent(
                    new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
            }""",
            text,
        )

    assert "5,000 rows" in page.locator("main").inner_text()


def test_errors_keep_a_tuning_from_starting_until_they_are_mended(visitor):
    dataset = visitor.stage([*PAIRS, ("MCM", ""), ("nothing", "")])
    page = visitor.open(f"/create/{dataset}/start").page
    assert page.get_by_role("button", name="Mend 1 error").is_disabled()

    visitor.open(f"/create/{dataset}/check")
    assert "row 16, row 17" in page.locator("#findings").inner_text()
    visitor.press("Remove 2 rows")
    assert len(rows_of(visitor, dataset)) == len(PAIRS)
    visitor.press("Undo the last change")
    assert len(rows_of(visitor, dataset)) == len(PAIRS) + 2
    visitor.press("Remove 2 rows")
    visitor.open(f"/create/{dataset}/start")

    assert page.get_by_role("button", name="Start tuning").is_enabled()


def test_a_cell_that_is_mended_in_the_grid_mends_the_finding(visitor):
    dataset = visitor.stage([*PAIRS, ("MCM", "")])
    page = visitor.open(f"/create/{dataset}/check?finding=empty_output").page
    cell = page.locator('example-grid td[data-row="0"][data-column="1"]')
    page.locator("example-grid td", has_text="MCM").wait_for()
    page.locator("#findings").get_by_role("heading", name="Empty output").wait_for()
    cell.dblclick()
    page.keyboard.type("MCMI")
    page.keyboard.press("Enter")

    page.locator("#findings").get_by_role("heading", name="Empty output").wait_for(state="hidden")
    assert rows_of(visitor, dataset)[-1] == ["MCM", "MCMI"]


def test_what_is_typed_survives_a_reload_at_every_step(visitor):
    dataset = visitor.stage(header=("question", "answer"))
    page = visitor.open(f"/create/{dataset}/columns").page
    page.get_by_label("Prefix of question").fill("input: ")
    page.get_by_text("Kept", exact=True).wait_for()
    page.reload()
    assert page.get_by_label("Prefix of question").input_value() == "input: "

    visitor.open(f"/create/{dataset}/settings")
    page.get_by_label("Epochs").fill("half a numb")
    page.get_by_label("Description").fill("Counts on.")
    page.get_by_text("Kept", exact=True).wait_for()
    page.reload()

    assert page.get_by_label("Epochs").input_value() == "half a numb"
    assert page.get_by_label("Description").input_value() == "Counts on."
    visitor.open(f"/create/{dataset}/start")
    assert page.get_by_role("button", name="Correct the settings").is_disabled()


def test_starting_twice_quickly_makes_one_model(visitor):
    dataset = visitor.stage()
    before = models(visitor)
    page = visitor.open(f"/create/{dataset}/start").page
    form = page.evaluate("Object.fromEntries(new FormData(document.querySelector('form[data-once]')))")
    answers = page.evaluate(
        """fields => Promise.all([1, 2].map(() => fetch(location.href, {
            method: "POST", body: new URLSearchParams(fields), redirect: "follow" }).then((answer) => answer.url)))""",
        form,
    )

    assert answers[0] == answers[1]
    assert "/studio/models/" in answers[0]
    assert models(visitor) == before + 1


def test_the_last_of_many_rows_is_near(visitor):
    dataset = visitor.stage([(f"{n}", f"{n + 1}") for n in range(20_000)])
    page = visitor.open(f"/create/{dataset}/check").page
    page.locator('example-grid td[data-row="0"][data-column="0"]').click()
    page.keyboard.press("Control+End")

    page.get_by_text("20000", exact=True).last.wait_for()
    assert page.locator("example-grid tbody tr").count() < 100
    assert page.evaluate("document.activeElement.dataset.row") == "19999"
