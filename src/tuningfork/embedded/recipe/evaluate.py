"""Measures how well the embedded model can be tuned: runs the tutorial's job on the service's engines, then asks about
held-out numbers.

An answer is right if the whole text, decoded greedily, is the expected one.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.dataset import Examples
from tuningfork.domain.generation import Sampling
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.embedded.recipe.corpus import worded
from tuningfork.embedded.recipe.tasks import DOUBLE, PREDECESSOR, SHIFTS, SUCCESSOR, Skill, Subject, numeral
from tuningfork.embedded.recipe.tutorial import CATEGORIES, Category, subjects
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.loading import LoadedBase, load_base
from tuningfork.training.engine import StepReport, TrainingEngine, TrainingJob

GREEDY = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=96)
Scores = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A prompt and its only right answer."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Scores, duration and losses of one tuning job like the tutorial's."""

    scores: Scores
    seconds: float
    losses: tuple[float, ...]


def load(directory: Path, dtype: torch.dtype) -> LoadedBase:
    """Load an exported model as the service would."""
    entry = BaseModel(
        name=BaseModelName("models/candidate"), location=str(directory), display_name="candidate", context_tokens=16_384
    )
    return load_base(entry, dtype=dtype)


def prompted_scores(base: LoadedBase, skill: Skill, count: int, seed: int) -> Scores:
    """The untuned model's scores when asked in words: an upper limit for tuning."""
    rng = random.Random(seed)

    def ask(subject: Subject) -> str:
        return worded(skill, subject, rng)

    return {each.name: _score(base, _questions(each, skill, count, seed, ask)) for each in CATEGORIES}


def bare_scores(base: LoadedBase, skill: Skill, count: int, seed: int, slot: int = BASE_ALONE) -> Scores:
    """The share of bare numbers that the untuned model, or the adapter in `slot`, answers as the skill would."""
    return {
        each.name: _score(base, _questions(each, skill, count, seed, lambda subject: subject.text), slot)
        for each in CATEGORIES
    }


def tuned(
    base: LoadedBase, skill: Skill, *, batch_size: int, alpha: float, count: int, seed: int, rate: float = 0.001
) -> Tuning:
    """Tune on the tutorial's inputs with the skill's outputs, five epochs, and ask about held-out numbers."""
    shape = AdapterShape(rank=8, alpha=alpha)
    job = TrainingJob(
        id=JobId(f"seed-{seed}"),
        examples=examples_of(skill),
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=batch_size, learning_rate=rate),
        adapter=shape,
        seed=seed,
    )
    engine = TrainingEngine(base, clock=lambda: datetime.now(UTC))
    started = time.perf_counter()
    engine.admit(job)
    reports = (report for reports in iter(engine.step, []) for report in reports)
    losses = tuple(report.snapshot.mean_loss for report in reports if isinstance(report, StepReport))
    seconds = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as directory:
        engine.save_adapter(job.id, Path(directory) / "adapter")
        engine.release(job.id)
        slot = base.slots.load(adapter_format.load(Path(directory) / "adapter"))
    scores = bare_scores(base, skill, count, seed=0, slot=slot)
    base.slots.unload(slot)
    return Tuning(scores=scores, seconds=seconds, losses=losses)


def examples_of(skill: Skill) -> Examples:
    """The tutorial's fifteen inputs, answered by any skill that applies to them."""
    answers = ((subject.text, skill.answer(subject)) for subject in subjects())
    return tuple(Conversation.pair(text, answer) for text, answer in answers if answer is not None)


def report(directory: Path, *, dtypes: list[torch.dtype], seeds: int, count: int, alpha: float) -> Iterator[str]:
    """Yield the lines of the evaluation, Markdown tables, as they become known."""
    header = "| | " + " | ".join(category.name for category in CATEGORIES) + " |"
    for dtype in dtypes:
        base = load(directory, dtype)
        yield f"\nCompute in {str(dtype).removeprefix('torch.')}; {count} held-out numbers per column, in percent.\n"
        yield header
        yield "|---|" + "---|" * len(CATEGORIES)
        for skill in (SUCCESSOR, PREDECESSOR, SHIFTS[0], DOUBLE):
            yield _row(f"untuned, asked in words: {skill.name}", prompted_scores(base, skill, count, seed=0))
        yield _row("untuned, bare number: successor", bare_scores(base, SUCCESSOR, count, seed=0))
        for skill, batch_size, runs in ((SUCCESSOR, 4, seeds), (SUCCESSOR, 2, seeds), (PREDECESSOR, 4, 3)):
            trials = [
                tuned(base, skill, batch_size=batch_size, alpha=alpha, count=count, seed=seed) for seed in range(runs)
            ]
            name = f"tuned, batch {batch_size}: {skill.name}"
            seconds = max(trial.seconds for trial in trials)
            yield _row(f"{name}, mean of {runs} seeds, {seconds:.1f} s", _over(trials, lambda v: sum(v) / len(v)))
            yield _row(f"{name}, worst seed", _over(trials, min))


def _over(trials: list[Tuning], reduce: Callable[[list[float]], float]) -> Scores:
    return {each.name: reduce([trial.scores[each.name] for trial in trials]) for each in CATEGORIES}


def _row(name: str, scores: Scores) -> str:
    return f"| {name} | " + " | ".join(f"{100 * score:.1f}" for score in scores.values()) + " |"


def _questions(
    category: Category, skill: Skill, count: int, seed: int, ask: Callable[[Subject], str]
) -> list[Question]:
    """Write held-out numbers as prompts, leaving out those the skill has no answer for."""
    drawn = [numeral(category.notation, number) for number in category.held_out(count, seed)]
    answered = [(subject, skill.answer(subject)) for subject in drawn]
    return [Question(prompt=ask(subject), answer=answer) for subject, answer in answered if answer is not None]


def _score(base: LoadedBase, questions: list[Question], slot: int = BASE_ALONE) -> float:
    """The share of questions with a right answer; all are answered in one batch."""
    engine = InferenceEngine(base)
    for index, question in enumerate(questions):
        prompt = base.chat.render_prompt(Conversation(turns=(Turn.said(Speaker.USER, question.prompt),)))
        engine.add(TokenRequest(id=str(index), prompt_ids=tuple(prompt), slot=slot, sampling=GREEDY))
    answers = [""] * len(questions)
    while engine.has_work:
        for output in engine.step():
            answers[int(output.request_id)] += output.chunk.text
    right = sum(answer == question.answer for answer, question in zip(answers, questions, strict=True))
    return right / len(questions)
