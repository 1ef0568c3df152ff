"""Training data out of files on the disk, at an https address or from standard input.

Offers `read`, which gives every example with the place it came from, or an error that names each fault; refuses to
know the service, whose rules for texts and lengths are its own.
"""

from tuningfork.client.training_files.reading import Source, TrainingData, read, read_files
from tuningfork.training_files.columns import Columns

__all__ = ["Columns", "Source", "TrainingData", "read", "read_files"]
