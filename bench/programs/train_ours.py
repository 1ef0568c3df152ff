"""Our training engine, step by step."""

import child  # it keeps what libraries print away from the answers

# isort: split

from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time

import torch

from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.base_model import AdapterShape, BaseModel, WeightType, with_prefix
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.training.batches import DataOrder
from tuningfork.training.engine import TrainingEngine, TrainingJob
from tuningfork.training.sharing import jobs_per_pass


class Ours:
    """One engine and one base; `jobs` are admitted anew for each round that wants several."""

    def __init__(self, setup: dict) -> None:
        self._setup = setup
        weights = WeightType(setup.get("weights", "stored"))
        self._base = load_base(_entry(setup["model"]), device=setup["device"], weights=weights)
        self._engine = TrainingEngine(
            self._base,
            clock=lambda: datetime.now(UTC),
            max_jobs_per_step=setup.get("max_jobs_per_step") or jobs_per_pass(self._base),
        )
        self._adapter = AdapterShape(rank=setup["rank"], alpha=float(setup["alpha"]))
        self._examples = tuple(Conversation.pair(*pair) for pair in setup["examples"])

    def begin(self, jobs: int = 1, epochs: int = 100_000) -> dict:
        """Admit so many jobs, the first with the setup's seed, the next with those after it."""
        for number in range(jobs):
            self._engine.admit(self._job(number, epochs))
        return {}

    def describe(self, steps: int, directory: str) -> dict:
        """The examples' token ids, the batches of the first steps, and the adapter that the first job begins with."""
        seed = self._setup["seed"]
        adapter_format.save(Path(directory), self._base.slots.fresh(self._adapter, seed), self._base.location)
        order = DataOrder(
            example_count=len(self._examples), epoch_count=100_000, batch_size=self._setup["batch_size"], seed=seed
        )
        rendered = [row for example in self._examples for row in self._base.chat.render_example(example)]
        return {
            "rows": [{"ids": list(each.ids), "first_target": each.targets[0][0]} for each in rendered],
            "batches": [order.batch(step) for step in range(1, steps + 1)],
        }

    def round(self, steps: int) -> dict:
        """Some steps of the only job."""
        seconds, processor, losses, tokens = [], [], [], []
        for _ in range(steps):
            begin, worked = perf_counter(), process_time()
            (report,) = self._engine.step()
            self._synchronize()
            seconds.append(perf_counter() - begin)
            processor.append(process_time() - worked)
            losses.append(report.snapshot.mean_loss)
            tokens.append(report.tokens)
        return {"seconds": seconds, "processor": processor, "losses": losses, "tokens": tokens}

    def whole(self, jobs: int, epochs: int, first: int = 0) -> dict:
        """From the admission of so many jobs to the end of the last: seconds, and each one's losses."""
        curves: dict[str, list[float]] = {f"job-{number}": [] for number in range(first, first + jobs)}
        begin = perf_counter()
        for number in range(first, first + jobs):
            self._engine.admit(self._job(number, epochs))
        while reports := self._engine.step():
            for report in reports:
                curves[report.job_id].append(report.snapshot.mean_loss)
        self._synchronize()
        seconds = perf_counter() - begin
        for number in range(first, first + jobs):
            self._engine.release(JobId(f"job-{number}"))
        return {"seconds": seconds, "curves": list(curves.values())}

    def _job(self, number: int, epochs: int) -> TrainingJob:
        hyperparameters = Hyperparameters(
            epoch_count=epochs,
            batch_size=self._setup["batch_size"],
            learning_rate=self._setup["learning_rate"],
        )
        return TrainingJob(
            id=JobId(f"job-{number}"),
            examples=self._examples,
            hyperparameters=hyperparameters,
            adapter=self._adapter,
            seed=self._setup["seed"] + number,
        )

    def _synchronize(self) -> None:
        if self._base.device.type == "cuda":
            torch.cuda.synchronize()


def _entry(model: str) -> BaseModel:
    if model == "embedded":
        return EMBEDDED_MODEL
    return BaseModel(name=with_prefix("shaped"), location=model, display_name="", context_tokens=8_192)


if __name__ == "__main__":
    ours = Ours(child.setup())
    child.serve(begin=ours.begin, describe=ours.describe, round=ours.round, whole=ours.whole)
