"""A file that was made to harm costs little memory and little time, and ends in a sentence."""

import io
import subprocess
import sys
import zipfile

import openpyxl
import pytest

from patience import PATIENCE_SECONDS
from speed import slowness

MOST_MEGABYTES = 150
MOST_SECONDS = 20.0


def workbook(**parts):
    """A workbook of one example, with parts changed: by the beginning of their name, what they are made of."""
    book, plain, packed = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
    for row in (["text_input", "output"], ["1", "2"]):
        book.active.append(row)
    book.save(plain)
    with zipfile.ZipFile(plain) as before, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as after:
        for name in before.namelist():
            change = parts.get(name.rpartition("/")[2].partition(".")[0])
            after.writestr(name, change(before.read(name)) if change else before.read(name))
    return packed.getvalue()


def rows(xml):
    return lambda sheet: sheet.replace(b"</sheetData>", xml + b"</sheetData>")


HOSTILE = {
    "a workbook's row of cells": (
        "p.xlsx",
        lambda: workbook(sheet1=rows(b"<row>" + b"<c/>" * 1_500_000 + b"</row>")),
        "1,000 col",
    ),
    "a workbook's far column": (
        "p.xlsx",
        lambda: workbook(sheet1=rows(b'<row r="9"><c r="ZZZZZZ9"/></row>')),
        "1,000 col",
    ),
    "a workbook's styles": (
        "p.xlsx",
        lambda: workbook(styles=lambda xml: xml.replace(b"</styleSheet>", b"<a/>" * 1_000_000 + b"</styleSheet>")),
        "more than 200,000 elements",
    ),
    "a workbook's depth": (
        "p.xlsx",
        lambda: workbook(sheet1=rows(b"<a>" * 90_000 + b"</a>" * 90_000)),
        "nested more than 100",
    ),
    "a workbook's number format": (
        "p.xlsx",
        lambda: workbook(
            styles=lambda xml: xml.replace(
                b"<fonts",
                b'<numFmts count="1"><numFmt numFmtId="170" formatCode="' + b"[" * 100_000 + b'"/></numFmts><fonts',
                1,
            )
        ),
        "a number format of more than 255",
    ),
    "wrong rows": ("p.csv", lambda: b"text_input,output\n" + b"x\n" * 2_000_000, "reading stopped there"),
    "empty cells": ("p.csv", lambda: b"text_input,output\n" + b"x,\n" * 200_000, "reading stopped there"),
    "a row of commas": ("p.csv", lambda: b"a," * 4_000_000, "more than 1,000,000 commas"),
    "many rows": ("p.csv", lambda: b"text_input,output\n" + b"1,2\n" * 310_000, "more than 300,000 rows"),
    "many columns": (
        "p.csv",
        lambda: b",".join(b"%d" % number for number in range(2_000)) + b"\n1\n",
        "at most 1,000 are read",
    ),
    "rows of nothing": ("p.csv", lambda: b"text_input,output\n" + b",\n" * 2_100_000, "more than 2,000,000 rows"),
    "comments": ("p.csv", lambda: b"<!---->" * 100_000, "only one column"),
    "lists of nothing": ("p.json", lambda: b"[" + b"[]," * 1_600_000 + b"[]]", "more than 3,000,000 values"),
    "numbers a line": ("p.jsonl", lambda: b"1\n" * 500_000, "more than 300,000 records"),
    "brackets": ("p.json", lambda: b"[" * 2_000_000, "nested too deep"),
    "braces in a line": (
        "p.jsonl",
        lambda: b'{"text_input":"1","output":"2"}\n' + b'{"a":' * 100_000,
        "line 2: nested too deep",
    ),
    "fields": (
        "p.json",
        lambda: b"[{" + b",".join(b'"%d":1' % n for n in range(300_000)) + b"}]",
        "an object of 300,000 fields",
    ),
    "half a character in a name": ("p.json", lambda: rb'[{"\ud83d": "1", "b": "2"}]', r"'\ud83d', 'b'"),
    "zero bytes": ("p.txt", lambda: bytes(2_000_000), "no text, and of no kind that is known"),
    "wrong lines": (
        "p.jsonl",
        lambda: b'{"text_input":"1","output":"2"}\n' + b"{\n" * 400_000,
        "reading stopped there",
    ),
}


PROGRAM = """
import sys, time
from pathlib import Path
from tuningfork.client import training_files
from tuningfork.client.errors import TrainingFileError

def most_kilobytes():
    # `ru_maxrss` would begin with the memory of the process that started this one (getrusage(2)).
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

before, began = most_kilobytes(), time.process_time()
try:
    training_files.read(sys.argv[1])
except TrainingFileError as error:
    print((most_kilobytes() - before) // 1024, time.process_time() - began, error)
"""
"""Prints by how many megabytes memory grew, the processor time, and the refusal."""


SLOW = {"rows of nothing", "many rows", "empty cells", "numbers a line"}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, case in HOSTILE.items()],
)
def test_a_hostile_file_costs_little_and_is_refused_in_a_sentence(written, name, content, message):
    path = written(name, content())

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )

    megabytes, seconds, refusal = ended.stdout.split(" ", 2)
    most_seconds = MOST_SECONDS * slowness()
    assert message in refusal
    assert (int(megabytes) < MOST_MEGABYTES, float(seconds) < most_seconds, ended.stderr) == (True, True, "")
