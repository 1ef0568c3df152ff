"""What a staged dataset would be trained as: checks with tokens, previews of rows, and estimates of a job."""

import asyncio
from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, MethodCall, translated_errors
from tuningfork.dialect.own.datasets import dataset_of
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.service.datasets.datasets import Datasets
from tuningfork.service.datasets.trying import Wanted
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import dataset_checks, dataset_trials
from tuningfork.wire.own.creations import parse_creation

_ONE = "/datasets/{dataset:id}"


@dataclass(frozen=True, slots=True)
class TrialMethods:
    """Methods for which a base model renders rows."""

    datasets: Datasets

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Three methods, none of which changes anything."""
        tries = OwnMethod.TRY_DATASETS
        return (
            Binding("POST", f"{_ONE}:check", tries, Awaited(self.check), counted_as="check_dataset"),
            Binding("POST", f"{_ONE}:preview", tries, Awaited(self.preview), counted_as="preview_dataset"),
            Binding("POST", f"{_ONE}:estimate", tries, Awaited(self.estimate), counted_as="estimate_dataset"),
        )

    async def check(self, call: MethodCall) -> Typed:
        """datasets.check: what is wrong with the rows, for one base model."""
        refuse_query(call.query)
        purpose = dataset_checks.parse_check(call.body)
        with translated_errors(dataset_checks.CHECK_WORDS):
            checked = await self.datasets.trying.check(call.principal, dataset_of(call), purpose)
        return dataset_checks.render_check(checked)

    async def preview(self, call: MethodCall) -> Typed:
        """datasets.preview: rows as the trainer will see them, and whether they equal what serving sends."""
        refuse_query(call.query)
        purpose, ids, start, count = dataset_trials.parse_preview(call.body)
        wanted = Wanted(ids=ids, start=start, count=count)
        with translated_errors(dataset_trials.PREVIEW_WORDS):
            rows, context_tokens = await self.datasets.trying.preview(call.principal, dataset_of(call), purpose, wanted)
        shown = [dataset_trials.PreviewedRow(id=each.row.id, index=each.index, example=each.example) for each in rows]
        return dataset_trials.render_preview(shown, context_tokens)

    async def estimate(self, call: MethodCall) -> Typed:
        """datasets.estimate: takes what tunedModels.create takes, and tells steps, tokens and time."""
        asked = await asyncio.to_thread(parse_creation, call.body, call.query)
        dataset: StagedDatasetId = dataset_of(call)
        with translated_errors(asked.words):
            found = await self.datasets.creating.estimate(call.principal, asked.wanted, dataset)
        tokens = found.total_tokens, found.trained_tokens
        return dataset_trials.render_estimate(found.tuned.job, found.preview, tokens, found.seconds, found.place)
