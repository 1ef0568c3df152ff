"""Settings tried on the use cases of `examples`: rates, scales, ranks, batches and epochs, with the answers' scores.

    python bench/use_cases_sweep.py --base DIRECTORY --case bank_messages --alpha 16 64 --epochs 1 2 3 [--record]
    python bench/use_cases_sweep.py --base DIRECTORY --case tutorial --epochs 5
    python bench/use_cases_page.py     writes docs/use-cases.md from what was recorded

Both engines run in this process, on one thread and over one copy of the base, so a setting costs nothing but its
training and its answers. The rate is constant, so one training shows all its numbers of epochs: the held-out questions
are asked after each epoch of `--epochs`. A seed shuffles the examples and draws the adapter's first weights, as in
`use_cases.py`. What was found is printed; `--record` appends it to `bench/results/answers/sweep.jsonl`, line by line,
or to the file that it names, and a setting whose lines are there already is not tried again. `--answers FILE` keeps all
answers, each beside its question, to be read one by one.
"""

import argparse
import importlib
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import report
import use_cases_page
from tuningfork.domain.base_model import AdapterShape, BaseModel, with_prefix
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.generation import Sampling
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import TrainingEngine, TrainingJob
from use_cases_page import CASES
from use_cases_runs import data_of

sys.path.insert(0, str(report.ROOT / "examples"))

SPEAKERS = {"user": Speaker.USER, "assistant": Speaker.MODEL}
SETTING = ("learning_rate", "alpha", "rank", "batch_size", "seed")
KEY = ("base", "case", "data", *SETTING)
"""The fields of a line that say what was tried; `epoch` says after how much of it."""


class Engines:
    """Both engines over one base."""

    def __init__(self, location: str) -> None:
        entry = BaseModel(name=with_prefix("swept"), location=location, display_name="", context_tokens=8_192)
        self._base = load_base(entry, device="cpu")
        self._training = TrainingEngine(self._base, clock=lambda: datetime.now(UTC), max_jobs_per_step=1)
        self._inference = InferenceEngine(self._base)

    def answers(self, prompts: Sequence[Any], *, max_tokens: int, slot: int = BASE_ALONE) -> list[str]:
        """The likeliest answers to texts or conversations."""
        sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=max_tokens)
        texts = dict.fromkeys(map(str, range(len(prompts))), "")
        for name, prompt in zip(texts, prompts, strict=True):
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            ids = tuple(self._base.chat.render_prompt(conversation(messages)))
            self._inference.add(TokenRequest(id=name, prompt_ids=ids, slot=slot, sampling=sampling))
        while self._inference.has_work:
            for output in self._inference.step():
                texts[output.request_id] += output.chunk.text
        return [text.strip() for text in texts.values()]

    def trained(self, job: TrainingJob, ask_after: Sequence[int], case: Any) -> Iterator[dict[str, Any]]:
        """Train the job to its end; after each of these epochs, what has been found so far."""
        self._training.admit(job)
        losses: list[float] = []
        tokens, done, completed, began = 0, False, 0, time.process_time()
        while not done:
            for step in self._training.step():
                losses.append(step.snapshot.mean_loss)
                tokens, done = tokens + step.tokens, step.done
                epoch = job.hyperparameters.epoch_count if done else step.snapshot.epoch
                if epoch == completed:
                    continue
                completed, in_epoch = epoch, -(-len(losses) // epoch)
                if epoch in ask_after:
                    spent = time.process_time() - began
                    answers = self._tuned_answers(job, case)
                    yield {
                        "epoch": epoch,
                        "scores": case.score(answers),
                        "answers": answers,
                        "loss": sum(losses[-in_epoch:]) / in_epoch,
                        "steps": len(losses),
                        "tokens": tokens,
                        "training_seconds": round(spent, 1),
                    }
                    began = time.process_time() - spent
        self._training.release(job.id)

    def _tuned_answers(self, job: TrainingJob, case: Any) -> list[str]:
        weights_P = self._training.state(job.id).weights_P
        slots = self._base.slots
        slot = slots.load(slots.unflatten(job.adapter, weights_P))
        adapter = slots.generation(slot)
        answers = self.answers(case.PROMPTS, max_tokens=case.MAX_TOKENS, slot=slot)
        self._inference.forget_adapter(adapter)
        slots.unload(slot)
        return answers


def conversation(messages: Sequence[Mapping[str, str]]) -> Conversation:
    """Messages as the engines take them."""
    return Conversation(turns=tuple(Turn.said(SPEAKERS[each["role"]], each["content"]) for each in messages))


def example(row: Mapping[str, Any]) -> Conversation:
    """A row for training: its messages, or its pair."""
    if "messages" in row:
        return conversation(row["messages"])
    return Conversation.pair(row["text_input"], row["output"])


def job_of(tried: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], epochs: int) -> TrainingJob:
    """The job of one setting."""
    shuffled = random.Random(tried["seed"]).sample(rows, len(rows))
    return TrainingJob(
        id=JobId("-".join(str(tried[name]) for name in KEY)),
        examples=tuple(map(example, shuffled)),
        hyperparameters=Hyperparameters(
            epoch_count=epochs, batch_size=tried["batch_size"], learning_rate=tried["learning_rate"]
        ),
        adapter=AdapterShape(rank=tried["rank"], alpha=tried["alpha"]),
        seed=tried["seed"],
    )


def is_known(tried: Mapping[str, Any], epochs: Sequence[int], lines: Sequence[Mapping[str, Any]]) -> bool:
    """Whether there is a line for each of the epochs of this setting."""
    there = {line["epoch"] for line in lines if all(line[name] == tried[name] for name in KEY)}
    return there.issuperset(epochs)


def settings(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every combination of what was asked for."""
    given = (arguments.rate, arguments.alpha, arguments.rank, arguments.batch, arguments.seeds)
    for values in itertools.product(*given):
        yield dict(zip(SETTING, values, strict=True))


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", required=True, help="the base model's directory; its name is the base's name")
    parser.add_argument("--case", choices=CASES, action="append", required=True, help="may be given again")
    parser.add_argument("--rate", type=float, nargs="+", default=[0.001], help="learning rates")
    parser.add_argument("--alpha", type=float, nargs="+", default=[16.0])
    parser.add_argument("--rank", type=int, nargs="+", default=[8])
    parser.add_argument("--batch", type=int, nargs="+", default=[4])
    parser.add_argument("--epochs", type=int, nargs="+", default=[3], help="the epochs after which questions are asked")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ask-base", action="store_true", help="ask the base too, which is told what to do")
    parser.add_argument(
        "--record", type=Path, nargs="?", const=use_cases_page.SWEEP, help="append to this file, or to the tree's"
    )
    parser.add_argument("--answers", type=Path, help="append every answer to this file")
    return parser.parse_args()


def main() -> None:
    """Try every setting on every case."""
    arguments = parsed()
    torch.set_num_threads(1)
    engines = Engines(arguments.base)
    about = {"base": Path(arguments.base).name, "cpu": report.machine()["cpu"], "commit": report.commit()}
    for name in arguments.case:
        case = importlib.import_module(CASES[name])
        of_case = {**about, "case": name, "data": data_of(name)}
        if arguments.ask_base:
            answers = engines.answers(case.BASE_PROMPTS, max_tokens=case.MAX_TOKENS)
            found = {"epoch": 0, "scores": case.score(answers), "answers": answers}
            record(arguments, {**of_case, **dict.fromkeys(SETTING), **found}, case)
        for setting in settings(arguments):
            tried = {**of_case, **setting}
            if arguments.record and is_known(tried, arguments.epochs, use_cases_page.recorded(arguments.record)):
                continue
            job = job_of(tried, case.TRAINING, max(arguments.epochs, default=0))
            for found in engines.trained(job, arguments.epochs, case):
                record(arguments, {**tried, **found}, case)


def record(arguments: argparse.Namespace, found: dict[str, Any], case: Any) -> None:
    """Print a line, and append it to the file of `--record`; append the answers to that of `--answers`."""
    answers = found.pop("answers")
    line = json.dumps({**found, "date": datetime.now(UTC).date().isoformat()})
    print(line, flush=True)
    if arguments.record:
        with arguments.record.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    if arguments.answers:
        asked = {name: found[name] for name in (*KEY, "epoch")}
        with arguments.answers.open("a", encoding="utf-8") as file:
            for prompt, answer in zip(case.PROMPTS, answers, strict=True):
                file.write(json.dumps({**asked, "prompt": prompt, "answer": answer}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
