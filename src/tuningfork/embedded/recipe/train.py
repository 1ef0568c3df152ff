"""The training loop: bfloat16 compute under float32 master weights, Muon for matrices, AdamW for the rest.

Shapes: B conversations, T tokens, N learned tokens, D hidden, V vocabulary.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tuningfork.embedded.recipe.architecture import new_model
from tuningfork.embedded.recipe.corpus import IGNORED, Batch, batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a training run: its last step, and the mix of skills of its text."""

    until: int
    focused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """All settings of a training run; the same plan on the same machine gives the same weights."""

    seed: int = 2
    stages: tuple[Stage, ...] = (
        Stage(until=700, focused=False),
        Stage(until=1400, focused=True),
        Stage(until=1580, focused=True),
    )
    warmup_steps: int = 100
    tokens_per_batch: int = 3072
    batches_per_step: int = 2
    matrix_rate: float = 6e-3
    vector_rate: float = 3e-3
    weight_decay: float = 0.1
    average_decay: float = 0.997
    averages_at: tuple[int, ...] = (1200, 1400, 1580)
    log_every: int = 20
    save_every: int = 100

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.stages[-1].until


class MasterWeights:
    """Float32 copies of a bfloat16 model's parameters. Optimizers update the copies; the model has them rounded."""

    def __init__(self, model: nn.Module) -> None:
        self.names = [name for name, _ in model.named_parameters()]
        self._working = list(model.parameters())
        self.values = [parameter.detach().float().clone() for parameter in self._working]
        for parameter in self._working:
            parameter.data = parameter.data.bfloat16()

    def take_gradients(self, scale: float) -> None:
        """Move the model's gradients to the master weights, multiplied by `scale`."""
        for value, parameter in zip(self.values, self._working, strict=True):
            assert parameter.grad is not None  # noqa: S101 - a bug of ours
            value.grad = parameter.grad.float() * scale
            parameter.grad = None

    def publish(self) -> None:
        """Write the rounded master weights into the model."""
        with torch.no_grad():
            torch._foreach_copy_([parameter.data for parameter in self._working], self.values)


class Trainer:
    """The state of a run: model, master weights, their running average, optimizers and step."""

    def __init__(self, plan: TrainingPlan) -> None:
        self.plan = plan
        self.model: LlamaForCausalLM = new_model(plan.seed)
        self.master = MasterWeights(self.model)
        self.average = [value.clone() for value in self.master.values]
        self.optimizers = _optimizers(self.master, plan)
        self.step = 0

    def train_step(self, group: list[Batch]) -> float:
        """Take one optimizer step on a group of batches; return the mean loss over its learned tokens."""
        count = sum(int((batch.labels_BT != IGNORED).sum()) for batch in group)
        total = 0.0
        for batch in group:
            loss = answer_loss(self.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        self.master.take_gradients(1 / count)
        torch.nn.utils.clip_grad_norm_(self.master.values, 1.0)
        warmth = min((self.step + 1) / self.plan.warmup_steps, 1.0)
        for optimizer in self.optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = parameters["initial_lr"] * warmth
            optimizer.step()
        self.master.publish()
        self.step += 1
        decay = min(self.plan.average_decay, self.step / (self.step + 10))
        torch._foreach_lerp_(self.average, self.master.values, 1 - decay)
        return total / count

    def save(self, path: Path) -> None:
        """Write the whole state, from which a run can resume, to a temporary file and rename it."""
        state = {
            "step": self.step,
            "master": dict(zip(self.master.names, self.master.values, strict=True)),
            "average": dict(zip(self.master.names, self.average, strict=True)),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def save_average(self, path: Path) -> None:
        """Write the running average alone."""
        torch.save(dict(zip(self.master.names, self.average, strict=True)), path)

    def restore(self, path: Path) -> None:
        """Resume from a saved state."""
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        with torch.no_grad():
            for name, value, average in zip(self.master.names, self.master.values, self.average, strict=True):
                value.copy_(state["master"][name])
                average.copy_(state["average"][name])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.master.publish()


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Sum the cross entropy over the learned tokens. Logits are computed only for these."""
    hidden_BTD = model.model(input_ids=batch.ids_BT[:, :-1], use_cache=False).last_hidden_state
    labels_BT = batch.labels_BT[:, 1:]
    is_learned_BT = labels_BT != IGNORED
    logits_NV = model.lm_head(hidden_BTD[is_learned_BT]).float()
    return nn.functional.cross_entropy(logits_NV, labels_BT[is_learned_BT], reduction="sum")


def train(plan: TrainingPlan, directory: Path) -> None:
    """Run the plan, resuming from `directory/state.pt` if it exists.

    Leaves `average-STEP.pt`, the running average at each of the steps `averages_at`, and `losses.jsonl`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / "state.pt"
    trainer = Trainer(plan)
    if state.exists():
        trainer.restore(state)
    with (directory / "losses.jsonl").open("a") as log:
        for before, stage in pairwise((Stage(until=0, focused=False), *plan.stages)):
            for line in _steps(trainer, before.until, stage):
                log.write(json.dumps(line) + "\n")
                log.flush()
                if trainer.step in plan.averages_at:
                    trainer.save_average(directory / f"average-{trainer.step}.pt")
                if trainer.step % plan.save_every == 0 or trainer.step == plan.steps:
                    trainer.save(state)


def _steps(trainer: Trainer, begin: int, stage: Stage) -> Iterator[dict[str, float]]:
    """Train to the end of the stage, yielding the mean loss of every `log_every` steps."""
    plan = trainer.plan
    if trainer.step >= stage.until:
        return
    stream = batches(plan.seed + 1000 * begin, plan.tokens_per_batch, focused=stage.focused)
    for _ in islice(stream, (trainer.step - begin) * plan.batches_per_step):
        pass  # A resumed run gets the same text as an uninterrupted one.
    losses: list[float] = []
    tokens, started = 0, time.perf_counter()
    while trainer.step < stage.until:
        group = list(islice(stream, plan.batches_per_step))
        losses.append(trainer.train_step(group))
        tokens += sum(batch.ids_BT.numel() for batch in group)
        if trainer.step % plan.log_every == 0:
            loss = round(sum(losses) / len(losses), 4)
            seconds = round(time.perf_counter() - started, 1)
            yield {"step": trainer.step, "loss": loss, "stage_tokens": tokens, "stage_seconds": seconds}
            losses.clear()


def _optimizers(master: MasterWeights, plan: TrainingPlan) -> list[torch.optim.Optimizer]:
    is_matrix = [
        value.ndim == 2 and ".layers." in name for name, value in zip(master.names, master.values, strict=True)
    ]
    matrices = [value for value, matrix in zip(master.values, is_matrix, strict=True) if matrix]
    others = [value for value, matrix in zip(master.values, is_matrix, strict=True) if not matrix]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(
            matrices,
            lr=plan.matrix_rate,
            weight_decay=plan.weight_decay,
            momentum=0.95,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=plan.vector_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for parameters in optimizer.param_groups:
            parameters["initial_lr"] = parameters["lr"]
    return optimizers
