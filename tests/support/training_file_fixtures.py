"""Fixtures for files of every kind, made by the libraries that people make them with. A conftest.py imports them."""

import io

import openpyxl
import pyarrow as pa
import pytest
from pyarrow import parquet


def workbook_bytes(rows, formats=()):
    """A workbook of one sheet; `formats` gives number formats by cell, such as {"B2": "0%"}."""
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in rows:
        sheet.append(row)
    for cell, number_format in dict(formats).items():
        sheet[cell].number_format = number_format
    file = io.BytesIO()
    workbook.save(file)
    return file.getvalue()


def parquet_bytes(columns, **how):
    """A Parquet file of these columns: lists or Arrow arrays by name."""
    file = io.BytesIO()
    parquet.write_table(pa.table(columns), file, **how)
    return file.getvalue()


@pytest.fixture
def written(tmp_path):
    """Write a file, of text or bytes, and give its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def workbook():
    return workbook_bytes


@pytest.fixture
def parquet_file():
    return parquet_bytes
