"""The cells of a text are told apart by whichever separator it has."""

import csv
import io

import pytest

from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.domain.conversation import Conversation

ROWS = [["question", "answer"], ["Café open, or not?", "Oui; bien sûr | toujours."], ["Two\nlines", 'and "quotes"']]
EXAMPLES = tuple(Conversation.pair(*row) for row in ROWS[1:])


def separated(separator, rows=ROWS):
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.txt", "p", "p.CSV"])
def test_every_separator_is_found_under_every_name(written, separator, name):
    assert training_files.read(written(name, separated(separator))).examples == EXAMPLES


@pytest.mark.parametrize("separator", [";", "\t", ":", ","])
@pytest.mark.parametrize("said", ["sep={}\r\n", "SEP={}\n", '"sep={}"\n'])
def test_a_line_that_says_it_is_believed_and_no_row(written, separator, said):
    data = training_files.read(written("p.csv", said.format(separator) + separated(separator)))

    assert data.examples == EXAMPLES
    assert data.places == ("line 3", "line 4")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("separator", ["\t", ";"])
def test_what_spreadsheet_programs_save_as_unicode_text_is_read(written, encoding, separator):
    assert training_files.read(written("p.txt", separated(separator).encode(encoding))).examples == EXAMPLES


def test_a_separator_within_texts_is_not_taken_for_one(written):
    text = "prompt,completion\na;b;c,d\ne;f;g,h\n"

    assert training_files.read(written("p.csv", text)).examples == (
        Conversation.pair("a;b;c", "d"),
        Conversation.pair("e;f;g", "h"),
    )


def test_the_tab_of_a_tsv_file_wins_where_the_text_does_not_tell(written):
    rows = "x,y\tz,w\na,b\tc,d\n"

    with pytest.raises(TrainingFileError, match="'x,y', 'z,w'"):
        training_files.read(written("p.tsv", rows))
