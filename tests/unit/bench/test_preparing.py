"""The rows that preparing is measured with are ones that a preparer takes, all different."""

from itertools import islice

import preparing
from tuningfork.wire.vertex.rows import read_row


def test_rows_are_examples_of_about_the_length_that_was_asked_for():
    rows = list(islice(preparing.rows(1_000), 50))
    texts = ["".join(turn.text for turn in read_row(row).example.turns) for row in rows]

    assert len(set(texts)) == 50
    assert all(700 <= len(text) <= 1_010 for text in texts)


def test_the_library_encodes_the_texts_of_the_same_rows(tmp_path):
    preparing.write(tmp_path / "rows", 20_000, 1_000)
    lines = (tmp_path / "rows").read_bytes().splitlines()
    texts = preparing.texts_of(tmp_path / "rows", 10**9)

    assert len(texts) == len(lines)
    assert texts[0].replace("\n", "") == "".join(
        turn.text.replace("\n", "") for turn in read_row(lines[0]).example.turns
    )
