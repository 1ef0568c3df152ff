"""The files that the tests of this folder read."""

from training_file_fixtures import parquet_file, workbook, written

__all__ = ["parquet_file", "workbook", "written"]
