"""The loss curve drawn in characters and as an image."""

import math

import pytest

from tuningfork.client import loss_plot

FALLING = [3.0, 2.0, 1.0, 0.5, 0.25]


def test_the_drawing_has_the_asked_size_and_its_axes():
    lines = loss_plot.terminal_lines(FALLING, width=40, height=11)

    assert len(lines) == 13
    assert all(len(line) <= 40 for line in lines)
    assert lines[0].startswith("  3 ┤")
    assert lines[5].startswith("1.5 ┤")
    assert lines[10].startswith("  0 ┤")
    assert lines[-1].split() == ["step", "1", "5"]


def test_a_falling_loss_begins_at_the_top_left_and_ends_at_the_bottom_right():
    rows = [line.partition("┤")[2] or line.partition("│")[2] for line in loss_plot.terminal_lines(FALLING, width=40)]

    assert rows[0][0] != " "
    assert len(rows[9]) == max(len(row) for row in rows[:11])


def test_the_curve_is_unbroken():
    rows = [line[5:] for line in loss_plot.terminal_lines(FALLING, width=45)][:11]
    filled = {column for row in rows for column, cell in enumerate(row) if cell != " "}

    assert filled == set(range(40))


@pytest.mark.parametrize("losses", [[], [math.nan, math.inf]])
def test_nothing_is_drawn_where_there_is_nothing_to_draw(losses):
    assert loss_plot.terminal_lines(losses, width=40) == []


@pytest.mark.parametrize("losses", [[0.0], [0.0, 0.0], [1.0, math.nan, 0.5], [1e-9, 2e-9], [123456.0]])
def test_odd_curves_are_drawn_too(losses):
    assert loss_plot.terminal_lines(losses, width=20)


@pytest.mark.parametrize(("suffix", "head"), [(".png", b"\x89PNG"), (".svg", b"<?xml")])
def test_the_image_is_of_the_kind_that_its_suffix_says(tmp_path, suffix, head):
    pytest.importorskip("matplotlib")

    path = loss_plot.save_image(FALLING, 3.75, "number generator", tmp_path / f"loss{suffix}")

    assert path.read_bytes().startswith(head)
