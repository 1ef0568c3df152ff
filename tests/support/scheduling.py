"""Drive a scheduler without a model: sequences of any length, and steps that do what it says."""

from random import Random
from zlib import crc32

import torch

from tuningfork.domain.generation import Sampling
from tuningfork.inference.detokenizer import Detokenizer
from tuningfork.inference.kv_cache import KvCache, LayerShape
from tuningfork.inference.prefill import ScheduledTokens
from tuningfork.inference.sampling import Draw
from tuningfork.inference.scheduler import Scheduler
from tuningfork.inference.sequence import Sequence, TokenRequest, Usage
from tuningfork.inference.stop_sequences import StopSequences
from tuningfork.modeling.adapters.slots import BASE_ALONE

HOW = Sampling(temperature=0, top_p=1, top_k=None, max_output_tokens=100)


def sequence(
    name: str,
    tokens: int,
    siblings: int = 0,
    *,
    begins: str = "",
    shared: int = 0,
    adapter: int = BASE_ALONE,
    owner: str = "",
    sharing_prefixes: bool = False,
) -> Sequence:
    """One whose prompt begins as no other does, or with `shared` tokens of a beginning that has a name of its own."""
    prompt_ids = (*[_token(begins)] * shared, *[_token(name)] * (tokens - shared))
    request = TokenRequest(id=name, prompt_ids=prompt_ids, sampling=HOW, owner=owner, sharing_prefixes=sharing_prefixes)
    usage = Usage(prompt_tokens=tokens)
    first, *others = [
        Sequence(
            request=request,
            adapter=adapter,
            candidate=candidate,
            tokens=list(request.prompt_ids),
            draw=Draw(HOW, Random(0)),
            detokenizer=Detokenizer(lambda _: ""),
            stops=StopSequences(()),
            usage=usage,
        )
        for candidate in range(1 + siblings)
    ]
    first.siblings = others
    return first


def scheduler(
    *,
    pages: int = 50,
    max_rows: int = 8,
    prefill_tokens: int = 64,
    attention_tokens: int | None = None,
    reads_apart: bool = False,
) -> Scheduler:
    cache = KvCache({0: LayerShape(1, 2, 2)}, pages=pages, dtype=torch.float32, device=torch.device("cpu"))
    return Scheduler(
        cache,
        max_rows=max_rows,
        prefill_tokens=prefill_tokens,
        attention_tokens=attention_tokens,
        reads_apart=reads_apart,
    )


def feed(plan: Scheduler) -> dict[str, int]:
    """Schedule one step, do what it says, and let those who are complete say a token."""
    turns = plan.schedule()
    carry_out(plan, turns)
    return {turn.sequence.request.id: turn.tokens for turn in turns}


def carry_out(plan: Scheduler, turns: list[ScheduledTokens]) -> None:
    """What an engine does with its turns, with a model that always says the same."""
    for turn in turns:
        completes = turn.completes
        turn.sequence.cached += turn.tokens
        if completes:
            for each in (turn.sequence, *plan.branch(turn.sequence)):
                each.tokens.append(2)


def _token(name: str) -> int:
    return crc32(name.encode())
