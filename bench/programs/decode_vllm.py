"""vLLM's offline engine, with room for all adapters or without any."""

import child  # it keeps what libraries print away from the answers

# isort: split

import os
from time import perf_counter, process_time

# The engine runs in this process, pinned like everybody else, and hands nothing through pipes.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
os.environ["VLLM_NO_USAGE_STATS"] = "1"

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest


class Vllm:
    """One engine. With `adapters` it is made for them, which slows it even where none is used: so there are two."""

    def __init__(self, setup: dict) -> None:
        count = len(setup["adapters"])
        lora = {"enable_lora": True, "max_loras": count, "max_lora_rank": setup["rank"]} if count else {}
        self._llm = LLM(
            setup["model"], dtype=setup["dtype"], max_model_len=2_048, max_num_seqs=setup["streams"], seed=0, **lora
        )
        self._requests = [LoRARequest(f"a{n}", n + 1, path) for n, path in enumerate(setup["adapters"])]

    def round(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """Answer all prompts; `adapters` says over how many different ones they are spread."""
        sampling = SamplingParams(temperature=0.0, max_tokens=new_tokens, ignore_eos=True)
        chosen = [self._requests[n % adapters] for n in range(len(prompts))] if adapters else None
        begin, worked = perf_counter(), process_time()
        outputs = self._llm.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts], sampling, lora_request=chosen, use_tqdm=False
        )
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        return {"seconds": perf_counter() - begin, "processor": process_time() - worked, "tokens": tokens}


if __name__ == "__main__":
    child.serve(round=Vllm(child.setup()).round)
