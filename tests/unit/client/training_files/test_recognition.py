"""A file that is not read is named for what it is, with the cure, in one sentence."""

import gzip
import io
import shutil
import time
import zipfile
from pathlib import Path

import pytest

from speed import slowness
from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError
from tuningfork.domain.conversation import Conversation
from tuningfork.training_files.pages import is_page

CASES = Path(__file__).parents[3] / "data" / "training_files"
QUESTIONS = ("What are your hours?", "Do you ship abroad?", "Café open?")
ANSWERS = ("Nine to five.", "Yes, to the EU.", "Oui — bien sûr.")
PAIRS = tuple(map(Conversation.pair, QUESTIONS, ANSWERS))
CSV = "text_input,output\n1,2\n"


@pytest.mark.parametrize(
    "name",
    [
        "02_semicolon.csv",
        "06_utf16_tab.csv",
        "09_sep.csv",
        "17_array.jsonl",
        "19_pretty.jsonl",
        "34_dictwrap.json",
    ],
)
def test_files_as_people_have_them_are_read(name):
    assert training_files.read(CASES / name).examples == PAIRS


@pytest.mark.parametrize("name", ["21_openai.jsonl", "22_vertex.jsonl"])
def test_conversations_as_people_have_them_keep_their_system_text(name):
    examples = training_files.read(CASES / name).examples

    assert [example.system_instruction for example in examples] == ["Be short."] * 3
    assert [tuple(turn.text for turn in example.turns) for example in examples] == list(
        zip(QUESTIONS, ANSWERS, strict=True)
    )


def test_alpacas_instruction_is_part_of_what_is_asked():
    examples = training_files.read(CASES / "23_alpaca.json").examples

    assert [example.as_pair() for example in examples] == [
        (f"Answer.\n{question}", answer) for question, answer in zip(QUESTIONS, ANSWERS, strict=True)
    ]


def test_answers_are_not_taken_for_questions_because_they_come_first():
    assert training_files.read(CASES / "a2_sorted_keys.jsonl").examples[0] == Conversation.pair(
        "Capital of France?", "Paris"
    )
    assert training_files.read(CASES / "a3_label_text.csv").examples[0] == Conversation.pair("WIN a prize now", "spam")


def test_a_file_without_a_header_is_asked_about_and_read_when_that_is_said():
    with pytest.raises(TrainingFileError) as caught:
        training_files.read(CASES / "14_nohdr.csv")

    assert "--no-header" in caught.value.advice
    assert training_files.read(CASES / "14_nohdr.csv", training_files.Columns(header=False)).examples == PAIRS


def archive(*names):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        for name in names:
            file.writestr(name, "x")
    return packed.getvalue()


OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500)


@pytest.mark.parametrize(
    ("name", "content", "problem", "advice"),
    [
        ("p.csv", b"", "the file is empty", "Export it again"),
        ("p.xlsx", b"", "the file is empty", "Export it again"),
        ("p.xls", OLD, "an old .xls workbook", "save it as .xlsx"),
        ("p.xlsx", OLD + "EncryptedPackage".encode("utf-16-le"), "a workbook with a password", "without one"),
        ("p.doc", OLD + "WordDocument".encode("utf-16-le"), "an old Word document", "into a spreadsheet"),
        ("p.docx", archive("[Content_Types].xml", "word/document.xml"), "a Word document", "into a spreadsheet"),
        ("p.pptx", archive("[Content_Types].xml", "ppt/a.xml"), "a PowerPoint presentation", "into a spreadsheet"),
        ("p.ods", archive("mimetype", "content.xml"), "an OpenDocument file", "as .xlsx or as CSV"),
        ("p.xlsb", archive("[Content_Types].xml", "xl/workbook.bin"), "a binary workbook", "as .xlsx or as CSV"),
        ("p.numbers", archive("Index/Document.iwa"), "a Numbers or Pages document", "as CSV"),
        ("p.zip", archive("p.csv"), "a ZIP archive", "Unpack it"),
        ("p.csv", archive("p.csv"), "a ZIP archive", "Unpack it"),
        ("p.csv", b"<!DOCTYPE html><html>", "a page for people", "Download the file"),
        ("p.xls", b"\xef\xbb\xbf <!-- x --> <html xmlns='y'><table>", "a page for people", "Download the file"),
        ("p.xml", b"<?xml version='1.0'?><a/>", "an XML document", "as CSV"),
        ("p.pdf", b"%PDF-1.7", "a PDF document", "into a spreadsheet"),
        ("p.rtf", b"{\\rtf1", "a text document (RTF)", "into a spreadsheet"),
        ("p.csv.bz2", b"BZh91AY", "packed with bzip2", "Unpack it"),
        ("p.csv.xz", b"\xfd7zXZ\0", "packed with xz", "Unpack it"),
        ("p.csv.zst", b"(\xb5/\xfd", "packed with zstd", "Unpack it"),
        ("p.7z", b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it"),
        ("p.csv.gz", gzip.compress(gzip.compress(CSV.encode(), mtime=0), mtime=0), "gzipped twice", "Unpack it"),
        ("p.db", b"SQLite format 3\0", "an SQLite database", "as CSV"),
        ("p.arrow", b"ARROW1\0\0", "an Arrow file", "Parquet or CSV"),
        ("p.png", b"\x89PNG\r\n", "an image", "file of examples"),
        ("p.csv", b"version https://git-lfs.github.com/spec/v1\n", "the pointer to a large file", "git lfs pull"),
    ],
)
def test_what_is_not_read_is_named_in_one_sentence_with_a_cure(written, name, content, problem, advice):
    path = written(name, content)

    with pytest.raises(TrainingFileError) as caught:
        training_files.read(path)

    assert caught.value.message.startswith(f"{path}: ")
    assert problem in caught.value.message
    assert advice in caught.value.advice
    assert len(caught.value.message.splitlines()) == len(caught.value.advice.splitlines()) == 1


@pytest.mark.parametrize("name", ["71_old.xls", "72_html.csv", "75_empty.csv"])
def test_what_people_take_for_a_file_of_examples_is_told_what_it_is_under_any_name(name, tmp_path):
    for other in (name, "p.csv", "p.jsonl", "p.txt", "p"):
        shutil.copy(CASES / name, tmp_path / other)
        with pytest.raises(TrainingFileError, match=r"old \.xls|page for people|empty"):
            training_files.read(tmp_path / other)


@pytest.mark.parametrize(
    ("name", "read_as"), [("p.xlsx", "workbook"), ("p", "workbook"), ("p.parquet", "parquet"), ("p.data", "parquet")]
)
def test_a_file_without_a_known_suffix_is_read_by_its_content(written, workbook, parquet_file, name, read_as):
    rows = [["text_input", "output"], ["1", "2"]]
    content = workbook(rows) if read_as == "workbook" else parquet_file({"text_input": ["1"], "output": ["2"]})

    assert training_files.read(written(name, content)).examples == (Conversation.pair("1", "2"),)


@pytest.mark.parametrize("times", [1, 100, 50_000])
def test_a_file_that_begins_with_comments_takes_no_longer_for_more_of_them(times):
    began = time.process_time()

    assert not is_page(b"<!---->" * times + b"x")
    assert is_page(b"<!---->" * min(times, 500) + b" <html>")
    assert time.process_time() - began < 0.5 * slowness()


# Gzipped


def test_a_gzipped_file_is_read_by_the_name_that_it_has_without_gz(written):
    data = training_files.read(written("my pairs.csv.gz", gzip.compress(CSV.encode())))

    assert (data.examples, data.title) == ((Conversation.pair("1", "2"),), "my pairs")
    assert training_files.read(written("p.csv", gzip.compress(CSV.encode()))).examples == data.examples


def test_a_gzipped_file_of_several_members_is_read_to_its_end(written):
    content = gzip.compress(b"text_input,output\n") + gzip.compress(b"1,2\n") + bytes(100)

    assert training_files.read(written("p.csv.gz", content)).examples == (Conversation.pair("1", "2"),)


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-9], lambda whole: whole[:12] + b"xx" + whole[14:], lambda whole: whole + b"x"]
)
def test_a_damaged_gzipped_file_is_refused_in_one_sentence(written, damage):
    with pytest.raises(TrainingFileError, match="is gzipped, and damaged or cut off"):
        training_files.read(written("p.csv.gz", damage(gzip.compress(CSV.encode() * 100))))


def test_a_gzipped_file_is_unpacked_no_further_than_the_bound(written):
    path = written("p.csv.gz", gzip.compress(bytes(100 * 2**20)))

    began = time.process_time()
    with pytest.raises(TrainingFileError, match=r"unpacked, has at least 1,048,577 bytes"):
        training_files.read(path, max_bytes=2**20)
    assert time.process_time() - began < 1 * slowness()
