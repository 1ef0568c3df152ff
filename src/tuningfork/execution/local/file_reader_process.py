"""A reader of files: a process that reads one uploaded file, within limits, and ends.

Uploaded files come from whoever has a key. What a workbook or a Parquet file does to time and memory it does in this
process, which the system ends at its limits.
"""

import errno
from collections.abc import Iterator

from tuningfork.domain.errors import InternalError, InvalidArgument, ResourceExhausted, TuningforkError
from tuningfork.domain.exhaustion import is_out_of_memory, reason_of
from tuningfork.execution.local import worker
from tuningfork.execution.local.file_reader_messages import FileRefused, FileReport, FileWasRead, ReadThis
from tuningfork.execution.local.process_limits import limit_memory, limit_time
from tuningfork.execution.local.process_names import FILE_READER, name_this_process
from tuningfork.execution.local.rows_of_files import read_rows

READER_BYTES = 2 * 2**30
"""What a reader may take besides what it starts with: a file of 64 MB in the most costly form takes some 1.2 GB."""

READER_SECONDS = 120
"""How long reading may take, in seconds of computing. The largest files take some 30."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class FileReader:
    """Implements `worker.Worker`: reads one file when it is told which."""

    idle = True

    def obey(self, command: ReadThis) -> Iterator[FileReport]:
        """Read the file and write its rows."""
        limit_memory(READER_BYTES)
        limit_time(READER_SECONDS)
        try:
            report: FileReport = FileWasRead(read_rows(command.file, command.name, command.to, header=command.header))
        except Exception as error:  # noqa: BLE001 - what a library makes of a hostile file may be any error
            if is_out_of_memory(error):
                report = FileRefused(InvalidArgument("Reading the file takes more memory than is allowed: shorten it."))
            else:
                report = FileRefused(_as_tuningfork_error(error))
        yield report

    def advance(self) -> Iterator[FileReport]:
        """Nothing is left to do after the one file."""
        yield from ()


def _as_tuningfork_error(error: Exception) -> TuningforkError:
    if isinstance(error, TuningforkError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return ResourceExhausted("The server's disk is full, so the rows could not be written. Try again later.")
    return InternalError(f"the file could not be read: {reason_of(error)}")


if __name__ == "__main__":
    name_this_process(FILE_READER)
    worker.step_back(worker.PREPARER_NICENESS)
    worker.run(FileReader(), with_torch=False)
