"""Makes files of rows into files of examples, a batch of rows at a time, in memory that does not grow with the files.

While one batch is being encoded, in threads of the library tokenizers, the next one is read and rendered.
"""

import hashlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tuningfork.artifacts.base import ArtifactStore
from tuningfork.domain.answer_kind import AnswerSurvey
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Example
from tuningfork.domain.data_statistics import StatisticsBuilder
from tuningfork.domain.dataset import DatasetStatistics, characters_of
from tuningfork.domain.dataset_lines import line_of
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.training_rows import CallingRow, NoExamples, Row, RowFault, TooManyDropped, TooManyExamples
from tuningfork.domain.turn_labels import teaches_next_turn
from tuningfork.execution.preparation import LineSource, PreparationRequest, Prepared, PreparedDataset
from tuningfork.modeling.function_calls import FunctionCallTexts
from tuningfork.modeling.token_counting import TokenCount, TokenCounter, Written

_BATCH_CHARACTERS = 2**20
"""How much text is encoded together. A token takes some hundred bytes until it is counted."""
_BATCH_ROWS = 2_000
_NEAR = 0.95
"""From this share of the most tokens on, an example is rendered as in training: there a token more or less matters."""

_Progress = Generator[int, None, None]
"""Yields, after each batch, how many rows of the file have been read."""


class DatasetMaking:
    """Makes the files of one request.

    Args:
        request: what is wanted.
        counter: counts tokens as the request's base makes them.
        artifacts: where the files are written.

    """

    def __init__(self, request: PreparationRequest, counter: TokenCounter, artifacts: ArtifactStore) -> None:
        self._request = request
        self._artifacts = artifacts
        self._counter = counter
        self._calls = FunctionCallTexts(counter.chat)
        most, context = request.max_example_tokens, request.base.context_tokens
        self._most_tokens = context if most is None else min(most, context)
        self._statistics = StatisticsBuilder()
        self._answers = AnswerSurvey()
        self._teaches_next_turn = False

    def run(self) -> Generator[int, None, Prepared]:
        """Make the files, and yield after each batch how many rows of its file have been read.

        Raises:
            DataFault: the data cannot be trained on.
            TuningforkError: a file is not there, or cannot be read.
            OSError: the disk failed, or is full.

        """
        request, work = self._request, self._request.work
        with ExitStack() as files, ThreadPoolExecutor(1, thread_name_prefix="encode") as encoding:
            self._reading = self._counter, self._calls, self._most_tokens, encoding
            training = _Writer.within(files, self._artifacts, work.below("training.jsonl"))
            validation = None
            if request.validation is not None or request.validation_share:
                validation = _Writer.within(files, self._artifacts, work.below("validation.jsonl"))
            yield from self._make_training(training, validation)
            if request.validation is not None and validation is not None:
                yield from self._make_validation(request.validation, validation)
        return Prepared(
            training=training.finished(),
            validation=validation.finished() if validation is not None and validation.count else None,
            statistics=self._statistics.finish(),
            teaches_next_turn=self._teaches_next_turn,
            answers=self._answers.kind,
        )

    def _make_training(self, training: "_Writer", held_out: "_Writer | None") -> _Progress:
        file = _RowFile(self._request, self._request.training, *self._reading)
        share = self._request.validation_share if self._request.validation is None else 0.0
        for batch in file.batches():
            for each in batch:
                if each.example is None or each.count is None:
                    self._statistics.drop(each.reason)
                elif _is_held_out(each.line, share) and held_out is not None:
                    held_out.write(each.example, each.line)
                else:
                    self._learn(each.example, each.messages, each.count)
                    training.write(each.example, each.line)
            yield file.rows
        file.check_end()
        if not training.count:
            raise NoExamples

    def _make_validation(self, source: LineSource, validation: "_Writer") -> _Progress:
        most = self._request.max_validation_examples
        file = _RowFile(self._request, source, *self._reading, is_validation=True)
        for batch in file.batches():
            for each in batch:
                if each.example is not None:
                    validation.write(each.example, each.line)
            if most is not None and file.rows > most:
                raise TooManyExamples(most)
            yield file.rows
        file.check_end()

    def _learn(self, example: Example, messages: int, count: TokenCount) -> None:
        self._statistics.add(
            example, messages=messages, input_tokens=count.tokens - count.learned, output_tokens=count.learned
        )
        self._answers.add(example)
        self._teaches_next_turn = self._teaches_next_turn or teaches_next_turn(example)


@dataclass(frozen=True, slots=True)
class _Counted:
    """A row that was read. A row that is dropped has no example, and a reason."""

    example: Example | None = None
    line: bytes = b""
    messages: int = 0
    count: TokenCount | None = None
    reason: str = ""


@dataclass(slots=True)
class _RowFile:
    """Reads one file of rows. Blank lines are no rows."""

    request: PreparationRequest
    source: LineSource
    counter: TokenCounter
    calls: FunctionCallTexts
    most_tokens: int
    encoding: ThreadPoolExecutor
    is_validation: bool = False
    rows: int = 0
    dropped: int = 0
    first_reason: str = ""

    def batches(self) -> Iterator[list[_Counted]]:
        """All rows in order, each with its tokens.

        Raises:
            RowFault: a row cannot be read as an example, or the base's template refuses it.

        """
        before = None
        for batch in self._read():
            written = [each for _, each in batch if each is not None]
            begun = self.encoding.submit(self.counter.encode, written)
            if before is not None:
                yield self._finish(*before[:2], before[2].result())
            before = batch, written, begun
        if before is not None:
            yield self._finish(*before[:2], before[2].result())

    def check_end(self) -> None:
        """Check the number of rows and of dropped ones, after the last batch.

        Raises:
            DataFault: there are none, or too many were dropped.

        """
        if not self.rows:
            raise NoExamples(is_validation=self.is_validation)
        share = self.request.drop_share
        if self.dropped > share * self.rows:
            raise TooManyDropped(self.dropped, self.rows, share, self.first_reason, is_validation=self.is_validation)

    def _read(self) -> Iterator[list[tuple[Row, Written | None]]]:
        """Batches of rows, each with its text; None instead of the text: it is too long for certain."""
        batch: list[tuple[Row, Written | None]] = []
        characters = 0
        for line in self.source.lines():
            if not line.strip():
                continue
            row = self._row(line)
            characters += len(line)
            batch.append(row)
            if len(batch) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        if batch:
            yield batch

    def _row(self, line: bytes) -> tuple[Row, Written | None]:
        number, self.rows = self.rows, self.rows + 1
        try:
            row = self._in_texts(self.request.read_row(line))
            if self.counter.is_surely_longer(row.example, self.most_tokens):
                return row, None
            return row, self.counter.write(row.example)
        except InvalidArgument as error:
            raise RowFault(number, error.message, is_validation=self.is_validation) from error

    def _in_texts(self, row: Row | CallingRow) -> Row:
        """The row, with function calls as the base's chat template writes them."""
        if isinstance(row, Row):
            return row
        return Row(example=self.calls.in_texts(row.conversation), messages=row.messages)

    def _finish(
        self, batch: list[tuple[Row, Written | None]], written: list[Written], encodings: list[object]
    ) -> list[_Counted]:
        counts = iter(self.counter.count(written, encodings))
        return [self._counted(row, None if text is None else next(counts)) for row, text in batch]

    def _counted(self, row: Row, count: TokenCount | None) -> _Counted:
        most = self.most_tokens
        if count is not None and count.longest > _NEAR * most:
            count = self.counter.exact(row.example)
        if count is not None and count.longest <= most:
            return _Counted(row.example, line_of(row.example), row.messages, count)
        given = f"more than {most}" if count is None else count.longest
        reason = f"The example has {given} tokens, and {most} are the most for this base model."
        self.dropped += 1
        self.first_reason = self.first_reason or reason
        return _Counted(reason=reason)


class _Writer:
    """Writes one file of examples, and computes its digest and statistics."""

    def __init__(self, file: ArtifactRef, path: Path) -> None:
        self.count = 0
        self._file = file
        self._lines = path.open("wb")
        self._digest = hashlib.sha256()
        self._characters = self._longest = 0

    @classmethod
    def within(cls, files: ExitStack, artifacts: ArtifactStore, file: ArtifactRef) -> "_Writer":
        """A writer of this artifact, which is complete when `files` is closed without an error."""
        writer = cls(file, files.enter_context(artifacts.writing(file)))
        files.callback(writer._lines.close)
        return writer

    def write(self, example: Example, line: bytes) -> None:
        """Write an example, whose line is given."""
        self._lines.write(line)
        self._digest.update(line)
        own = characters_of(example)
        self.count, self._characters, self._longest = self.count + 1, self._characters + own, max(self._longest, own)

    def finished(self) -> PreparedDataset:
        """The file, which has been closed."""
        statistics = DatasetStatistics(characters=self._characters, longest_characters=self._longest)
        return PreparedDataset(
            file=self._file, count=self.count, digest=self._digest.hexdigest(), statistics=statistics
        )


def _is_held_out(line: bytes, share: float) -> bool:
    """Whether an example is part of a held-out share. The same examples always are; equal ones stay together."""
    return share > 0 and int.from_bytes(hashlib.sha256(line).digest()[:8], "big") < share * 2**64
