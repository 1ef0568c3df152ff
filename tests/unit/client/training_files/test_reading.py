"""A source of examples becomes a dataset, or an error that names every fault."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairs import pairs_of
from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files import Columns
from tuningfork.domain.conversation import Conversation

PAIRS = (Conversation.pair("1", "2"), Conversation.pair("七", "八"), Conversation.pair("twenty, two", "twenty\nthree"))
CSV = 'text_input,output\n1,2\n七,八\n"twenty, two","twenty\nthree"\n'
RECORDS = [{"text_input": text_input, "output": output} for text_input, output in pairs_of(PAIRS)]
COLUMNS = {key: [record[key] for record in RECORDS] for key in ("text_input", "output")}
JSONL = "\n".join(json.dumps(record, ensure_ascii=False) for record in RECORDS) + "\n"
ROWS = [["text_input", "output"], *map(list, pairs_of(PAIRS))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pairs.csv", CSV),
        ("PAIRS.CSV", CSV.replace("\n", "\r\n").replace("twenty\r\n", "twenty\n")),
        ("marked.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("wide.csv", CSV.encode("utf-16")),
        ("wide_other.csv", b"\xfe\xff" + CSV.encode("utf-16-be")),
        ("list.json", json.dumps(RECORDS)),
        ("pairs.json", json.dumps(ROWS[1:])),
        ("columns.json", json.dumps(COLUMNS)),
        ("marked.json", b"\xef\xbb\xbf" + json.dumps(RECORDS).encode()),
        ("pairs.jsonl", JSONL),
        ("windows.jsonl", JSONL.replace("\n", "\r\n")),
    ],
)
def test_every_kind_of_text_gives_the_same_examples(written, name, content):
    assert training_files.read(written(name, content)).examples == PAIRS


def test_a_workbook_gives_the_same_examples(written, workbook):
    assert training_files.read(written("pairs.xlsx", workbook(ROWS))).examples == PAIRS


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_a_parquet_file_gives_the_same_examples(written, parquet_file, compression):
    content = parquet_file(COLUMNS, compression=compression)

    assert training_files.read(written("pairs.parquet", content)).examples == PAIRS


@pytest.mark.parametrize("values", [RECORDS, tuple(RECORDS), COLUMNS, ROWS[1:], [tuple(row) for row in ROWS[1:]]])
def test_values_of_a_program_give_the_same_examples(values):
    assert training_files.read(values).examples == PAIRS


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("p.csv", 'text_input,output\n"a\nb",c\n\nd,e\n', ("line 2", "line 5")),
        ("p.jsonl", '{"text_input":"a","output":"b"}\n\n{"text_input":"c","output":"d"}', ("line 1", "line 3")),
        ("p.json", '[{"text_input":"a","output":"b"},{"text_input":"c","output":"d"}]', ("row 1", "row 2")),
    ],
)
def test_examples_remember_where_they_came_from(written, name, content, places):
    data = training_files.read(written(name, content))

    assert data.places == places
    assert data.place(1, "output") == f"{data.name}, {places[1]}, column 'output'"


def test_examples_of_several_columns_remember_all_of_them(written):
    path = written("p.csv", "a,b,c\n1,2,3\n")

    data = training_files.read(path, Columns(inputs=("a", "b"), outputs=("c",)))

    assert data.place(0, "text_input") == f"{path}, line 2, columns 'a', 'b'"


def test_a_files_title_is_its_name_without_the_suffix(written):
    assert training_files.read(written("my pairs.v2.csv", CSV)).title == "my pairs.v2"


@pytest.mark.parametrize(
    ("name", "content", "message", "advice"),
    [
        ("p.csv", "", "the file is empty", "another file"),
        ("p.csv", " \n\n", "the file is empty", "another file"),
        ("p.csv", "a,b,output\n1,2,3\n", "which column is the input and which the output? The columns are", "--inp"),
        (
            "p.csv",
            "text_input output\n1 2\n",
            "line 1: only one column, 'text_input output'",
            "commas, tabs, semicolons",
        ),
        ("p.csv", "text_input,output,output\n1,2,3\n", "line 1: two columns are named 'output'", "Rename"),
        ("p.csv", "text_input,output\n1,2\n3,4,5\n", "line 3: 3 cells, but the header has 2", "double quotes"),
        ("p.csv", "text_input,output\n1,2\n3\n", "line 3: 1 cells, but the header has 2", "double quotes"),
        ("p.csv", 'text_input,output\n"1"x,2\n', "line 2: not valid CSV", "twice"),
        ("p.csv", 'text_input,output\n1,2\n"3,4\n', "line 3: not valid CSV: a cell is opened", "twice"),
        ("p.csv", "text_input,output\n1,2\n,4\n", "line 3, column 'text_input': empty", "Fill"),
        ("p.csv", "text_input,output\n1, \n", "line 2, column 'output': empty", "Fill"),
        ("p.csv", b"text_input,output\n1,2\n\xff,4\n", "line 3: not UTF-8 text: the byte 0xFF", "UTF-8"),
        ("p.csv", "text_input,output\n1,a\0b\n", "line 2, column 'output': it holds the character U+0000", "damaged"),
        ("p.csv", "text_input,output\n", "holds no examples", "At least one"),
        ("p.json", "[{]", "line 1: not valid JSON", ""),
        ("p.json", '"text"', "at its top: a string; a list of objects", ""),
        ("p.json", "[]", "holds no examples", "At least one"),
        ("p.json", "{}", "at its top: it is empty", ""),
        ("p.json", '[{"text_input":"1","output":"2"}, 3]', "row 2: the number 3; an object, or a pair", ""),
        ("p.json", '[["1","2"], ["1","2","3"]]', "row 2: a list of 3; an object, or a pair", ""),
        ("p.json", '[{"text_input":"1"}]', "only one column, 'text_input'", "Two are needed"),
        (
            "p.json",
            '[{"text_input":"1","output":"2"},{"text_input":"1"}]',
            "row 2: no column 'output'; it has 'text_input'",
            "--output-key",
        ),
        ("p.json", '[{"text_input":[1],"output":"2"}]', "row 1, column 'text_input': a list of 1; a text", "quotes"),
        ("p.json", '[{"text_input":true,"output":"2"}]', "row 1, column 'text_input': true or false", "double quotes"),
        ("p.json", '[{"text_input":NaN,"output":"2"}]', "row 1, column 'text_input': the number NaN", ""),
        ("p.json", '[{"text_input":null,"output":"2"}]', "row 1, column 'text_input': empty", "Fill"),
        ("p.json", r'[{"text_input":"a\ud83d","output":"2"}]', "row 1, column 'text_input': '\\ud83d' is half", "both"),
        ("p.json", r'[{"text_input":"\u0000","output":"2"}]', "row 1, column 'text_input': it holds the character", ""),
        ("p.json", '{"text_input":["1"],"output":[]}', "'text_input' has 1 entries, 'output' has 0", ""),
        ("p.json", '{"text_input":["1"]}', "only one column, 'text_input'", "Two are needed"),
        ("p.json", '{"text_input":{"a":"1"}}', "column 'text_input': an object; a list of strings", ""),
        ("p.json", "[" * 100_000, "at its top: nested too deep", ""),
        ("p.jsonl", '{"text_input":"1","output":"2"}\n{"text_input":', "line 2: not valid JSON", ""),
        ("p.jsonl", '{"text_input":"1","output":"2"}\n[1]\n', "line 2: a list of 1", ""),
        ("p.jsonl", f'{{"text_input":"1","output":"2"}}\n{"[" * 100_000}\n', "line 2: nested too deep", ""),
        ("p.txt", "some words\nand more", "line 1: only one column, 'some words'", "commas, tabs"),
        ("p.dat", bytes(range(256)), "its content is no text, and of no kind that is known", "as CSV, JSON or XLSX"),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_a_cure(written, name, content, message, advice):
    with pytest.raises(TrainingFileError) as caught:
        training_files.read(written(name, content))

    assert message in caught.value.message
    assert advice in caught.value.advice
    assert name in caught.value.message


def test_all_faults_are_told_at_once_each_cure_once(written):
    path = written("p.csv", 'text_input,output\n,2\n3,\n"5"x,6\n7,8,9\n1,2\n,\n')

    with pytest.raises(TrainingFileError) as caught:
        training_files.read(path)

    assert [fault.place for fault in caught.value.faults] == [
        "line 2, column 'text_input'",
        "line 3, column 'output'",
        "line 4",
        "line 5",
    ]
    assert caught.value.message.count(f"{path}, line ") == 4
    assert caught.value.advice.count("Fill it, or remove the example.") == 1


def test_at_very_many_faults_reading_stops(written):
    path = written("p.csv", "text_input,output\n" + "x,\n" * 1_000)

    with pytest.raises(TrainingFileError) as caught:
        training_files.read(path)

    assert len(caught.value.message.splitlines()) == 21
    assert caught.value.message.endswith("and at least 180 faults more; reading stopped there.")
    assert len(caught.value.faults) == 200


def test_of_many_faults_the_first_are_told_and_the_rest_counted(written):
    path = written("p.csv", "text_input,output\n" + "x,\n" * 100)

    with pytest.raises(TrainingFileError) as caught:
        training_files.read(path)

    assert caught.value.message.endswith("and 80 faults more.")
    assert len(caught.value.faults) == 100


def test_a_row_with_nothing_in_any_cell_is_no_example(written, workbook, parquet_file):
    rows = [["id", "text_input", "output"], [None, "a", "b"], [None, None, None], [None, " ", ""], [None, "c", "d"]]
    records = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    contents = {
        "p.csv": text.getvalue(),
        "p.json": json.dumps(records),
        "p.jsonl": "\n".join(map(json.dumps, records)),
        "p.xlsx": workbook(rows),
        "p.parquet": parquet_file({name: [record[name] for record in records] for name in rows[0]}),
    }

    read = {name: training_files.read(written(name, content)).examples for name, content in contents.items()}

    assert read == dict.fromkeys(contents, (Conversation.pair("a", "b"), Conversation.pair("c", "d")))


def test_numbers_become_the_text_that_a_person_sees(written, workbook, parquet_file):
    contents = {
        "p.json": '{"text_input": [1, 0.5], "output": [-2, 1e3]}',
        "p.xlsx": workbook([["text_input", "output"], [1.0, -2], [0.5, 1000.0]]),
        "p.parquet": parquet_file({"text_input": [1.0, 0.5], "output": [-2.0, 1000.0]}),
    }

    read = {name: training_files.read(written(name, content)).examples for name, content in contents.items()}

    assert read["p.xlsx"] == read["p.parquet"] == (Conversation.pair("1", "-2"), Conversation.pair("0.5", "1000"))
    # JSON shows its numbers to people as they are written.
    assert read["p.json"] == (Conversation.pair("1", "-2"), Conversation.pair("0.5", "1e3"))


def test_a_number_of_a_million_digits_in_json_is_as_good_as_any(written):
    digits = "7" * 1_000_000

    assert training_files.read(written("p.json", f'[[{digits}, "x"]]')).examples == (Conversation.pair(digits, "x"),)


@pytest.mark.parametrize(
    ("name", "beginning", "message"),
    [
        ("p.csv", b"PK\x03\x04", "an XLSX workbook, not CSV"),
        ("p.json", b"PAR1", "a Parquet file, not JSON"),
        ("p.xlsx", b"PAR1", "a Parquet file, not XLSX"),
        ("p.parquet", b"PK\x03\x04", "an XLSX workbook, not PARQUET"),
        ("p.csv", b"\xd0\xcf\x11\xe0", "an old .xls workbook"),
        ("p.jsonl", b"\x1f\x8b", "gzipped"),
        ("p.csv", b"%PDF-1.7", "a PDF document"),
        ("p.xlsx", b"text_input,output\n", "its content is text, not XLSX"),
        ("p.parquet", b"text_input,output\n", "its content is text, not PARQUET"),
    ],
)
def test_a_file_under_another_kinds_name_is_told_what_it_is(written, name, beginning, message):
    with pytest.raises(TrainingFileError, match=message):
        training_files.read(written(name, beginning + b"rest"))


def test_a_line_of_a_hundred_megabytes_is_read_if_that_is_wanted(written):
    # Built of long texts, so that the test is quick.
    long = "x" * 2_000_000
    path = written("p.json", "[" + ",".join([f'["{long}", "y"]'] * 50) + "]")

    with pytest.raises(TrainingFileError, match="has at least 100,000"):
        training_files.read(path)

    assert len(training_files.read(path, max_bytes=2**30).examples) == 50


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(TrainingFileError, match="cannot be read: No such file"):
        training_files.read(tmp_path / "none.csv")
    with pytest.raises(TrainingFileError, match="cannot be read: Is a directory"):
        training_files.read(_directory(tmp_path / "directory.csv"))


def _directory(path):
    path.mkdir()
    return path


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
DATASETS = st.lists(st.builds(Conversation.pair, TEXTS, TEXTS), min_size=1, max_size=5)


@given(examples=DATASETS)
def test_whatever_a_csv_writer_writes_is_read_back(examples, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "p.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text_input", "output"], *pairs_of(examples)])

    assert training_files.read(path).examples == tuple(examples)


@given(examples=DATASETS, ascii_only=st.booleans(), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_whatever_a_json_writer_writes_is_read_back(examples, ascii_only, encoding, tmp_path_factory):
    directory = tmp_path_factory.mktemp("files")
    records = [{"output": output, "text_input": text_input} for text_input, output in pairs_of(examples)]
    lines = [json.dumps(record, ensure_ascii=ascii_only) for record in records]
    (directory / "p.json").write_text(f"[{','.join(lines)}]", encoding=encoding)
    (directory / "p.jsonl").write_text("\n".join(lines), encoding=encoding)

    assert training_files.read(directory / "p.json").examples == tuple(examples)
    assert training_files.read(directory / "p.jsonl").examples == tuple(examples)


@given(examples=st.lists(st.builds(Conversation.pair, TEXTS, TEXTS), min_size=1, max_size=5), content=st.data())
def test_a_damaged_file_is_read_or_refused_but_never_a_surprise(examples, content, tmp_path_factory):
    records = [{"text_input": text_input, "output": output} for text_input, output in pairs_of(examples)]
    whole = json.dumps(records, ensure_ascii=False).encode()
    place = content.draw(st.integers(0, len(whole)))
    damaged = whole[:place] + content.draw(st.binary(max_size=8)) + whole[place + content.draw(st.integers(0, 8)) :]
    for suffix in ("csv", "json", "jsonl", "xlsx", "parquet"):
        path = tmp_path_factory.mktemp("files") / f"p.{suffix}"
        path.write_bytes(damaged)
        try:
            data = training_files.read(path)
        except TrainingFileError:
            continue
        assert all(text_input.strip() and output.strip() for text_input, output in pairs_of(data.examples))
