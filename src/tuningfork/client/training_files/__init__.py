"""Training data out of files: CSV, JSON, JSONL, XLSX, Parquet, on the disk or at an https address.

Offers `read`, which gives every example with the place it came from, or an error that names each fault; refuses to
know the service, whose rules for texts and lengths are its own.
"""

from tuningfork.client.training_files.examples import Columns
from tuningfork.client.training_files.reading import Source, TrainingData, read

__all__ = ["Columns", "Source", "TrainingData", "read"]
