"""A tuning run that is to begin: reads its examples, shows what it would train, and begins it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import typer
from rich.console import Console

from tuningfork.cli import output
from tuningfork.cli.connection import INTERRUPTED
from tuningfork.cli.following import Follower, url_option
from tuningfork.cli.validation import Validated
from tuningfork.client import Client, ClientError, ServiceRefusal, preview, training_files
from tuningfork.client.dialect import Operation
from tuningfork.client.training_files import Columns, TrainingData
from tuningfork.domain import held_out
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.references import TunedRef
from tuningfork.domain.tuned_model import MAX_DISPLAY_NAME_CHARACTERS, TunedModelId
from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.training_files.table import listed

TUNED_MODELS = "tunedModels/"

_VALIDATION_FIELD = ".validation."
_EXAMPLE_FIELD = re.compile(r".*examples\[(?P<index>\d{1,9})\](?:\.(?P<field>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A request to tune, and the files that its examples are from.

    `validation` are the files of its validation set; None: it has none, or a share of the examples is held out.
    """

    client: Client
    request: TuningRequest
    data: TrainingData
    validation: TrainingData | None = None

    @classmethod
    def read(
        cls,
        client: Client,
        files: Sequence[str],
        columns: Columns,
        *,
        base_model: str | None,
        display_name: str | None,
        hyperparameters: RequestedHyperparameters,
        adapter_rank: int | None,
        validated: Validated,
        temperature: float | None,
        max_bytes: int | None,
        command: Sequence[str],
    ) -> Self:
        """Read the examples, and say on standard error what was taken from the files.

        Args:
            client: a client of the server that is to train.
            files: paths, addresses, or - for standard input.
            columns: those that were named.
            base_model: the name of a base model or of a tuned one; None: the first base model that the server lists.
            display_name: of the new model; None: the first file's name.
            hyperparameters: those that were named.
            adapter_rank: the rank of the adapter; None: the server chooses it.
            validated: what the run is validated with.
            temperature: of requests to the new model that say none; None: the server chooses it.
            max_bytes: of the files; None: the usual bound.
            command: the command line, for a question about the columns.

        Raises:
            ClientError: a file cannot be read, or something in it is wrong.

        """
        base_model = base_model or client.first_base_model()
        goes_on = base_model.startswith(TUNED_MODELS)
        root = client.tuned_model(base_model).base_model if goes_on else base_model
        data = training_files.read_files(files, columns, base_model=root, max_bytes=max_bytes, command=list(command))
        output.say(*_told(data))
        validation = None
        if validated.file is not None:
            validation = training_files.read_files(
                [validated.file], columns, base_model=root, max_bytes=max_bytes, command=list(command)
            )
            output.say(*(f"To validate with: {line}" for line in _told(validation)))
        request = TuningRequest(
            base_model="" if goes_on else base_model,
            source=TunedRef(TunedModelId(base_model.removeprefix(TUNED_MODELS))) if goes_on else None,
            examples=data.examples,
            hyperparameters=hyperparameters,
            adapter_rank=adapter_rank,
            validation=None if validation is None else validation.examples,
            held_out_percent=validated.held_out_percent,
            evaluate_every=validated.evaluate_every,
            keep_best=validated.keep_best,
            early_stopping=validated.early_stopping,
            temperature=temperature,
            display_name=data.title[:MAX_DISPLAY_NAME_CHARACTERS] if display_name is None else display_name,
        )
        return cls(client=client, request=request, data=data, validation=validation)

    def asking(self, prompts: Sequence[str]) -> Self:
        """The run with prompts that are asked before its training and after its epochs."""
        return replace(self, request=replace(self.request, probe_prompts=tuple(prompts)))

    def show(self, *, as_json: bool) -> None:
        """Print what would be trained, and begin nothing.

        Raises:
            ClientError: the tuning would be refused, or would fail.

        """
        with self.located_refusals():
            answer = self.client.preview_answer(self.request)
        seen, learned, places = preview.parse(answer), self._learned, self.data.places
        if as_json:
            output.result_json(answer)
        else:
            preview.tell(Console(highlight=False, markup=False), seen, lambda index: places[learned[index]])
        dataset = seen.dataset
        if dataset.longest_tokens > dataset.context_tokens:
            raise ClientError(
                f"{self.data.place(learned[dataset.longest_example], '')}: {dataset.longest_tokens:,} tokens, and "
                f"{seen.base_model} takes {dataset.context_tokens:,}: the tuning would fail.",
                advice="Shorten or split the example.",
            )

    @property
    def _learned(self) -> Sequence[int]:
        """The places in the request of the examples that are learned from; the server holds out the others."""
        share = self.request.held_out_percent
        parts = None if share is None else held_out.split(self.request.examples, share)
        return range(len(self.request.examples)) if parts is None else parts.training_indices

    def begin(self, context: typer.Context, *, detach: bool, as_json: bool) -> None:
        """Begin the run, and unless `detach` follow it until it ends. Prints it in either case.

        Raises:
            ClientError: the service refuses, or the run fails.
            typer.Exit: the person interrupts.

        """
        follower = Follower(self.client, context, as_json=as_json)
        try:
            if detach:
                follower.leave(self._create())
            else:
                follower.follow(self._create)
        except KeyboardInterrupt:
            output.say(
                "\nInterrupted before the server had answered, so the tuning may have begun or not. This tells:\n"
                f"  tuningfork jobs{url_option(self.client.url)}"
            )
            raise typer.Exit(INTERRUPTED) from None

    def _create(self) -> Operation:
        with self.located_refusals():
            return self.client.create_tuned_model(self.request)

    @contextmanager
    def located_refusals(self) -> Iterator[None]:
        """Name the places in the files where a refusal in the `with` block is about examples."""
        try:
            yield
        except ServiceRefusal as refusal:
            raise _located(refusal, self.data, self.validation) from refusal


def _told(data: TrainingData) -> Iterator[str]:
    """For each file, how many examples were read, and from which columns.

    Columns that the user did not name may have been chosen wrongly.
    """
    for file in data.files:
        examples = f"{file.name}: {len(file.examples):,} examples"
        if file.chosen is None:
            yield f"{examples}, conversations in {file.form!r}"
        else:
            after = f" after {listed([file.chosen.system])}" if file.chosen.system else ""
            unused = f"; left out: {listed(file.left_out)}" if file.left_out else ""
            yield f"{examples}, from {listed(file.chosen.inputs)} to {listed(file.chosen.outputs)}{after}{unused}"
        yield from (f"{file.name}: {note}" for note in file.notes)


def _located(refusal: ServiceRefusal, data: TrainingData, validation: TrainingData | None = None) -> ClientError:
    """The error; where it is about an example in the request, it names the example's place in the file."""
    lines = []
    for violation in refusal.violations:
        found = _EXAMPLE_FIELD.fullmatch(violation.field)
        read = validation if _VALIDATION_FIELD in violation.field else data
        if found is None or read is None or int(found["index"]) >= len(read.places):
            lines.append(violation.description)
        else:
            lines.append(f"{read.place(int(found['index']), found['field'] or '')}: {violation.description}")
    return ClientError("\n".join(lines) or refusal.message, advice=refusal.advice)
