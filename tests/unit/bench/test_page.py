import shlex

import pytest

import chart
import page
import processors
import report

RESULTS = report.read_results()


def result(*rows, name="training_step", **more):
    return {
        "name": name,
        "kind": "bfloat16",
        "title": "Steps",
        "command": "python bench/training_step.py --rounds 5",
        "date": "2026-11-20",
        "commit": "abc",
        "threads": 1,
        "machine": {"cpu": "a processor", "cores": 2, "memory_gib": 8, "python": "3.11.7"},
        "versions": {"ours": {"torch": "2.13"}, "TRL": {"torch": "2.13", "trl": "1.16"}},
        "caveats": ["nobody compiles"],
        "rows": [row.as_json() for row in rows],
        **more,
    }


def row(ours=10.0, theirs=40.0, **more):
    return report.Row(work="one step", unit="ms", samples={"ours": [ours], "TRL": [theirs]}, **more)


def test_the_page_says_what_was_wanted_beside_what_was_reached():
    text = page.markdown([result(row(wanted_ratios={"TRL": 6.0}))])

    assert "| one step: TRL | 6 x | 4.00 x | **no** |" in text
    assert "| one step | ms | TRL | 10 | 40 | 4.00 x (wanted: 6 x) |" in text


def test_kinds_of_processor_stand_side_by_side():
    laptop = result(row(ours=20.0, theirs=60.0, wanted_ratios={"TRL": 2.7}), kind="avx2")

    text = page.markdown(page.in_order([laptop, result(row(wanted_ratios={"TRL": 6.0}))]))

    assert "| what, and beside whom | bfloat16: wanted | reached |  | AVX2 only: wanted | reached |  |" in text
    assert "| one step: TRL | 6 x | 4.00 x | **no** | 2.7 x | 3.00 x | yes |" in text
    assert "| one step | ms | TRL | 10 | 40 | 4.00 x (wanted: 6 x) | 20 | 60 | 3.00 x (wanted: 2.7 x) |" in text


def test_work_and_peers_of_one_kind_of_processor_only_have_empty_cells_on_the_other():
    other = report.Row(
        work="another step", unit="ms", samples={"ours": [1.0], "PEFT": [3.0]}, wanted_ratios={"PEFT": 2}
    )

    text = page.markdown(page.in_order([result(row(at_most=5.0)), result(row(), other, kind="avx2")]))

    assert "| another step: PEFT |  |  |  | 2 x | 3.00 x | yes |" in text
    assert "| another step | ms | PEFT |  |  |  | 1 | 3 | 3.00 x (wanted: 2 x) |" in text


@pytest.mark.parametrize("order", [1, -1])
def test_an_emulated_processor_is_shown_until_there_is_a_real_one(order):
    emulated = result(row(ours=5.0), kind="avx2-emulated")
    real = result(row(ours=8.0), kind="avx2")

    assert page.in_order([emulated]) == [emulated]
    assert page.in_order([emulated, real][::order]) == [real]


def test_the_page_says_that_a_processor_was_emulated_and_how():
    machine = {**result(row())["machine"], "limits": {"ATEN_CPU_CAPABILITY": "avx2"}}

    text = page.markdown([result(row(), kind="avx2-emulated", machine=machine)])

    assert "AVX2 only (emulated): ours" in text
    assert "held to AVX2 by ATEN_CPU_CAPABILITY=avx2" in text


def test_the_page_says_how_far_below_its_bound_ours_stays():
    text = page.markdown([result(row(ours=1.0, at_most=2.0))])

    assert "| one step: at most 2 ms | 1 x | 2.00 x | yes |" in text


def test_the_page_names_machine_versions_command_and_caveats():
    text = page.markdown([result(row())])

    assert "    python bench/training_step.py --rounds 5" in text
    assert "a processor" in text
    assert "TRL with trl 1.16." in text
    assert "- nobody compiles" in text


def test_what_was_not_measured_is_listed_with_its_command():
    text = page.markdown([result(row())])

    missing = text.partition("## Not measured yet")[2]
    assert "`python bench/gpu.py --device cuda`" in missing
    assert "training_step.py" not in missing


def test_the_chart_has_a_bar_and_a_mark_for_every_wish():
    marks = page.bars([result(row(wanted_ratios={"TRL": 2.0}), row(at_most=20.0))])

    assert [(mark.reached, mark.wanted) for mark in marks] == [(4.0, 2.0), (2.0, 1.0)]
    assert chart.svg(marks).count("<rect") == 1 + len(marks)


def test_a_longer_bar_reached_more():
    drawn = chart.svg([chart.Bar("a", 2.0, 1.0), chart.Bar("b", 8.0, 1.0)])

    widths = [
        float(line.partition('width="')[2].partition('"')[0]) for line in drawn.splitlines() if 'height="17"' in line
    ]
    assert widths[0] < widths[1]


@pytest.mark.skipif(not RESULTS, reason="nothing was measured yet")
def test_the_page_in_the_docs_is_made_of_the_results_in_the_tree():
    known = page.in_order(RESULTS)

    assert page.PAGE.read_text(encoding="utf-8") == page.markdown(known)
    assert page.CHART.read_text(encoding="utf-8") == chart.svg(page.bars(known))


@pytest.mark.parametrize("name", page.EXPECTED)
def test_every_expected_result_has_a_program(name):
    program = shlex.split(page.EXPECTED[name][1])[1]

    assert (report.ROOT / program).is_file()


def test_making_everything_runs_every_program_that_needs_no_gpu():
    makefile = (report.ROOT / "Makefile").read_text(encoding="utf-8")
    recipe = makefile.partition("\nbench:")[2].partition("\n\n")[0]

    commands = [command for _, command in page.EXPECTED.values() if "cuda" not in command]
    assert [command for command in commands if command.removeprefix("python ") not in recipe] == []


@pytest.mark.parametrize("found", RESULTS, ids=lambda found: f"{found['name']}, {found['kind']}")
def test_every_result_in_the_tree_names_a_program_that_is_there_and_its_ratios_are_those_of_its_medians(found):
    assert (report.ROOT / shlex.split(found["command"])[1]).is_file()
    assert found["kind"] == processors.kind_of(found["machine"])
    for made in found["rows"]:
        again = report.Row(
            work=made["work"], unit=made["unit"], samples=made["all"], more_is_better=made["more_is_better"]
        ).as_json()
        assert again["ratios"] == pytest.approx(made["ratios"])
