"""The training loop: bfloat16 compute under float32 master weights, Muon for matrices, AdamW for the rest.

Shapes: B conversations, T tokens, N learned tokens, D hidden, V vocabulary.
"""

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from tuningfork.embedded.recipe.architecture import new_model
from tuningfork.embedded.recipe.corpus import IGNORED, Batch, batches
from tuningfork.embedded.recipe.rehearsal import RehearsalPlan, rehearsal_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A part of a run: up to which step, on which mix of skills, and every how many steps a rehearsal (0 = never)."""

    until: int
    focused: bool
    rehearse_every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Everything a run depends on; the same plan on the same machine gives the same weights."""

    seed: int = 2
    stages: tuple[Stage, ...] = (
        Stage(until=700, focused=False),
        Stage(until=2600, focused=True),
        Stage(until=3200, focused=True, rehearse_every=1),
    )
    warmup_steps: int = 100
    decay_steps: int = 1000
    tokens_per_batch: int = 4096
    batches_per_step: int = 2
    matrix_rate: float = 6e-3
    vector_rate: float = 3e-3
    weight_decay: float = 0.1
    average_decay: float = 0.997
    rehearsal_weight: float = 1.0
    rehearsal: RehearsalPlan = RehearsalPlan()

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.stages[-1].until

    log_every: int = 20
    save_every: int = 100


class MasterWeights:
    """Float32 copies of a bfloat16 model's parameters: optimizers move these, the model computes with the rounding."""

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
        self.rehearsal_losses: list[float] = []

    def train_step(self, group: list[Batch], *, rehearse: bool = False) -> float:
        """Take one optimizer step on a group of batches; return the mean loss over its learned tokens."""
        count = sum(int((batch.labels_BT != IGNORED).sum()) for batch in group)
        total = 0.0
        for batch in group:
            loss = answer_loss(self.model, batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if rehearse:
            rng = random.Random(1_000_003 * self.plan.seed + self.step)
            loss = rehearsal_loss(self.model, self.plan.rehearsal, rng)
            self.rehearsal_losses.append(loss.item())
            (loss * count * self.plan.rehearsal_weight).backward()  # type: ignore[no-untyped-call]
        self.master.take_gradients(1 / count)
        torch.nn.utils.clip_grad_norm_(self.master.values, 1.0)
        scale = learning_rate_scale(self.step, self.plan)
        for optimizer in self.optimizers:
            for parameters in optimizer.param_groups:
                parameters["lr"] = parameters["initial_lr"] * scale
            optimizer.step()
        self.master.publish()
        self.step += 1
        decay = min(self.plan.average_decay, self.step / (self.step + 10))
        torch._foreach_lerp_(self.average, self.master.values, 1 - decay)
        return total / count

    def save(self, path: Path) -> None:
        """Write the whole state, so that a run can go on; written aside and renamed."""
        state = {
            "step": self.step,
            "master": dict(zip(self.master.names, self.master.values, strict=True)),
            "average": dict(zip(self.master.names, self.average, strict=True)),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def restore(self, path: Path) -> None:
        """Go on from a saved state."""
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
    """Sum the cross entropy over the learned tokens; logits are computed only where something is learned."""
    hidden_BTD = model.model(input_ids=batch.ids_BT[:, :-1], use_cache=False).last_hidden_state
    labels_BT = batch.labels_BT[:, 1:]
    is_learned_BT = labels_BT != IGNORED
    logits_NV = model.lm_head(hidden_BTD[is_learned_BT]).float()
    return nn.functional.cross_entropy(logits_NV, labels_BT[is_learned_BT], reduction="sum")


def learning_rate_scale(step: int, plan: TrainingPlan) -> float:
    """Warm up linearly, hold, then decay as one minus a square root (Hägele et al. 2024, arXiv:2405.18392)."""
    if step < plan.warmup_steps:
        return (step + 1) / plan.warmup_steps
    into_decay = step - (plan.steps - plan.decay_steps)
    return 1.0 if into_decay <= 0 else 1 - math.sqrt(min(into_decay / plan.decay_steps, 1.0))


def train(plan: TrainingPlan, directory: Path) -> Path:
    """Run the plan, going on from `directory/state.pt` if it is there; return the path of the final state."""
    directory.mkdir(parents=True, exist_ok=True)
    state = directory / "state.pt"
    trainer = Trainer(plan)
    if state.exists():
        trainer.restore(state)
    with (directory / "losses.jsonl").open("a") as log:
        stages = pairwise((Stage(until=0, focused=False), *plan.stages))
        for line in chain.from_iterable(_steps(trainer, before.until, stage) for before, stage in stages):
            log.write(json.dumps(line) + "\n")
            log.flush()
            if trainer.step % plan.save_every == 0 or trainer.step == plan.steps:
                trainer.save(state)
    return state


def _steps(trainer: Trainer, begin: int, stage: Stage) -> Iterator[dict[str, float | None]]:
    """Train to the end of the stage, yielding the mean loss of every `log_every` steps."""
    plan = trainer.plan
    stream = batches(plan.seed + 1000 * begin, plan.tokens_per_batch, focused=stage.focused)
    for _ in islice(stream, max(trainer.step - begin, 0) * plan.batches_per_step):
        pass  # A continued run sees the text it would have seen.
    losses: list[float] = []
    tokens, started = 0, time.perf_counter()
    while trainer.step < stage.until:
        group = list(islice(stream, plan.batches_per_step))
        is_due = stage.rehearse_every > 0 and trainer.step % stage.rehearse_every == 0
        losses.append(trainer.train_step(group, rehearse=is_due))
        tokens += sum(batch.ids_BT.numel() for batch in group)
        if trainer.step % plan.log_every == 0:
            yield {
                "step": trainer.step,
                "loss": _mean(losses),
                "rehearsal_loss": _mean(trainer.rehearsal_losses),
                "tokens": tokens,
                "seconds": round(time.perf_counter() - started, 1),
            }
            losses.clear()
            trainer.rehearsal_losses.clear()


def _mean(losses: list[float]) -> float | None:
    return round(sum(losses) / len(losses), 4) if losses else None


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
