"""Our inference engine: streams side by side, on no adapter, on one, or each on its own."""

import child  # it keeps what libraries print away from the answers

# isort: split

from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from tuningfork.domain.base_model import BaseModel, WeightType, with_prefix
from tuningfork.domain.generation import Sampling
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.loading import load_base


class _Endless:
    """A base's chat format without tokens that end a turn: every answer is as long as it may be, as the peers' are."""

    end_of_turn_ids: frozenset[int] = frozenset()

    def __init__(self, chat: Any) -> None:
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)


class Ours:
    """One engine with all adapters resident."""

    def __init__(self, setup: dict) -> None:
        entry = BaseModel(
            name=with_prefix("shaped"), location=setup["model"], display_name="", context_tokens=setup["context_tokens"]
        )
        base = load_base(entry, device=setup["device"], weights=WeightType(setup.get("weights", "stored")))
        base = replace(base, chat=_Endless(base.chat))
        self._slots = [base.slots.load(adapter_format.load(Path(each))) for each in setup["adapters"]]
        self._engine = InferenceEngine(base)

    def round(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """Answer all prompts; `adapters` says over how many different ones they are spread."""
        written = dict.fromkeys(map(str, range(len(prompts))), 0)
        begin, worked = perf_counter(), process_time()
        self._add(prompts, adapters, _greedy(new_tokens))
        while self._engine.has_work:
            for output in self._engine.step():
                written[output.request_id] = output.chunk.output_tokens
        return {
            "seconds": perf_counter() - begin,
            "processor": process_time() - worked,
            "tokens": sum(written.values()),
        }

    def answers(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """The tokens of greedy answers, one prompt after the other."""
        answers = []
        for prompt in prompts:
            self._add([prompt], adapters, _greedy(new_tokens, logprobs=0))
            answers.append([])
            while self._engine.has_work:
                for output in self._engine.step():
                    answers[-1] += [each.chosen.token_id for each in output.chunk.tokens]
        return {"answers": answers}

    def _add(self, prompts: list[list[int]], adapters: int, sampling: Sampling) -> None:
        for number, prompt in enumerate(prompts):
            slot = self._slots[number % adapters] if adapters else BASE_ALONE
            self._engine.add(
                TokenRequest(
                    id=str(number), prompt_ids=tuple(prompt), slot=slot, sampling=sampling, stops_at_labels=False
                )
            )


def _greedy(new_tokens: int, *, logprobs: int | None = None) -> Sampling:
    return Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=new_tokens, logprobs=logprobs)


if __name__ == "__main__":
    ours = Ours(child.setup())
    child.serve(round=ours.round, answers=ours.answers)
