"""A file of examples on the caller's disk becomes a dataset, or an error that names the place."""

import json

import pytest

from tuningfork.client import training_file
from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_file import MAX_FILE_BYTES, Columns
from tuningfork.domain.dataset import Example

PAIRS = (Example("1", "2"), Example("七", "八"), Example("twenty, two", "twenty\nthree"))
CSV = 'text_input,output\n1,2\n七,八\n"twenty, two","twenty\nthree"\n'
RECORDS = [{"text_input": example.text_input, "output": example.output} for example in PAIRS]
JSON_LIST = json.dumps(RECORDS)
JSON_COLUMNS = json.dumps({key: [record[key] for record in RECORDS] for key in ("text_input", "output")})
JSONL = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS) + "\n"


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.csv", CSV),
        ("PAIRS.CSV", CSV.replace("\n", "\r\n").replace("twenty\r\n", "twenty\n")),
        ("marked.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("wide.csv", CSV.encode("utf-16")),
        ("list.json", JSON_LIST),
        ("columns.json", JSON_COLUMNS),
        ("marked.json", b"\xef\xbb\xbf" + JSON_LIST.encode()),
        ("pairs.jsonl", JSONL),
        ("windows.jsonl", JSONL.replace("\n", "\r\n")),
    ],
)
def test_every_kind_of_file_gives_the_same_examples(written, name, content):
    assert training_file.read(written(name, content)).examples == PAIRS


def test_other_columns_may_be_named_and_further_ones_are_ignored(written):
    path = written("qa.csv", "id,question,answer\n7,1,2\n")

    assert training_file.read(path, Columns(text_input="question", output="answer")).examples == (Example("1", "2"),)


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("p.csv", 'text_input,output\n"a\nb",c\n\nd,e\n', ("line 2", "line 5")),
        ("p.jsonl", '{"text_input":"a","output":"b"}\n\n{"text_input":"c","output":"d"}', ("line 1", "line 3")),
        ("p.json", '[{"text_input":"a","output":"b"},{"text_input":"c","output":"d"}]', ("row 1", "row 2")),
    ],
)
def test_examples_remember_where_they_came_from(written, name, content, places):
    assert training_file.read(written(name, content)).places == places


def test_jsonl_texts_may_hold_line_separators_of_unicode(written):
    path = written("p.jsonl", '{"text_input":"a\u2028b","output":"c\x85d"}\n')

    assert training_file.read(path).examples == (Example("a\u2028b", "c\x85d"),)


def test_a_cell_may_be_longer_than_the_csv_module_usually_allows(written):
    long = "x" * 200_000

    assert training_file.read(written("p.csv", f"text_input,output\n{long},y\n")).examples == (Example(long, "y"),)


@pytest.mark.parametrize(
    ("name", "content", "message", "advice"),
    [
        ("p.csv", "", "line 1: no column 'text_input'; the columns are none", "--input-key"),
        ("p.csv", "a,output\n1,2\n", "line 1: no column 'text_input'; the columns are 'a', 'output'", "--input-key"),
        ("p.csv", "text_input;output\n1;2\n", "line 1: one single column 'text_input;output'", "';'"),
        ("p.csv", "text_input,output,output\n1,2,3\n", "line 1: two columns are named 'output'", "Rename"),
        ("p.csv", "text_input,output\n1,2\n3,4,5\n", "line 3: 3 cells, but the header has 2", "double quotes"),
        ("p.csv", "text_input,output\n1,2\n3\n", "line 3: 1 cells, but the header has 2", "double quotes"),
        ("p.csv", 'text_input,output\n"1"x,2\n', "line 2: not valid CSV", "twice"),
        ("p.csv", 'text_input,output\n1,2\n"3,4\n', "line 3: not valid CSV", "twice"),
        ("p.csv", "text_input,output\n1,2\n,4\n", "line 3, column 'text_input': empty", "Fill"),
        ("p.csv", "text_input,output\n1,\n", "line 2, column 'output': empty", "Fill"),
        ("p.csv", b"text_input,output\n1,2\n\xff,4\n", "line 3: not UTF-8", "UTF-8"),
        ("p.csv", "text_input,output\n", "holds no examples", "At least one"),
        ("p.json", "[{]", "line 1: not valid JSON", ""),
        ("p.json", '"text"', "at its top: a string; a list of objects", ""),
        ("p.json", "[]", "holds no examples", "At least one"),
        ("p.json", '[{"text_input":"1","output":"2"}, 3]', "row 2: the number 3", ""),
        ("p.json", '[{"text_input":"1"}]', "row 1: no column 'output'; it has 'text_input'", "--output-key"),
        ("p.json", '[{"text_input":1,"output":"2"}]', "row 1, column 'text_input': the number 1", "double quotes"),
        ("p.json", '[{"text_input":null,"output":"2"}]', "row 1, column 'text_input': null", "double quotes"),
        ("p.json", r'[{"text_input":"a\ud83d","output":"2"}]', "row 1, column 'text_input': '\\ud83d' is half", "both"),
        ("p.json", '{"text_input":["1"],"output":[]}', "'text_input' has 1 entries, 'output' has 0", ""),
        ("p.json", '{"text_input":["1"]}', "no column 'output'; the columns are 'text_input'", "--output-key"),
        ("p.json", '{"text_input":"1","output":"2"}', "column 'text_input': a string; a list of strings", ""),
        ("p.json", "[" * 100_000, "at its top: nested too deep", ""),
        ("p.jsonl", '{"text_input":"1","output":"2"}\n{"text_input":', "line 2: not valid JSON", ""),
        ("p.jsonl", '{"text_input":"1","output":"2"}\n[1]\n', "line 2: a list", ""),
        ("p.txt", "1 2", "no suffix that says how to read it", "*.csv, *.json, *.jsonl"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_cure(written, name, content, message, advice):
    with pytest.raises(TrainingFileError) as caught:
        training_file.read(written(name, content))

    assert message in caught.value.message
    assert advice in caught.value.advice
    assert name in caught.value.message


def test_a_file_above_four_megabytes_is_refused_with_the_reason(written):
    path = written("p.csv", b"x" * (MAX_FILE_BYTES + 1))

    with pytest.raises(TrainingFileError, match=r"4,194,305 bytes.*at most 4,194,304 \(4 MB\), because"):
        training_file.read(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(TrainingFileError, match="cannot be read: No such file"):
        training_file.read(tmp_path / "none.csv")
