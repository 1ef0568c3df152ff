"""llama.cpp through its C interface: greedy streams side by side, on no adapter or on one for all, and long prompts."""

import child  # it keeps what libraries print away from the answers

# isort: split

import ctypes
from time import perf_counter, process_time

import llama_cpp as api
import numpy as np

BATCH_TOKENS = 2_048
"""The most tokens of one call, llama.cpp's default."""


class Context:
    """Keys and values of some sequences over one model, with all settings that are not named here at their defaults.

    Each sequence has a cache of its own, which is what llama.cpp advises for sequences that begin differently.
    """

    def __init__(self, model: int, *, sequences: int, tokens: int, threads: int) -> None:
        settings = api.llama_context_default_params()
        settings.n_ctx = sequences * tokens
        settings.n_seq_max = sequences
        settings.n_batch = BATCH_TOKENS
        settings.n_threads = settings.n_threads_batch = threads
        self._context = api.llama_init_from_model(model, settings)
        if not self._context:
            raise RuntimeError("llama.cpp made no context")
        self._vocabulary = api.llama_vocab_n_tokens(api.llama_model_get_vocab(model))
        self._batch = api.llama_batch_init(BATCH_TOKENS, 0, 1)

    def begin(self, adapter: int | None) -> None:
        """Forget what was read, and take this adapter or none."""
        api.llama_memory_clear(api.llama_get_memory(self._context), True)
        adapters = [adapter] if adapter else []
        pointers = (api.llama_adapter_lora_p_ctypes * len(adapters))(*adapters)
        scales = (ctypes.c_float * len(adapters))(*[1.0] * len(adapters))
        if api.llama_set_adapters_lora(self._context, pointers, len(adapters), scales) != 0:
            raise RuntimeError("llama.cpp did not take the adapter")

    def feed(self, tokens: list[tuple[int, int, int, bool]]) -> list[int]:
        """Feed pairs of token, position and sequence; the likeliest token after each that is to be answered."""
        chosen = []
        for begin in range(0, len(tokens), BATCH_TOKENS):
            part = tokens[begin : begin + BATCH_TOKENS]
            for index, (token, position, sequence, answered) in enumerate(part):
                self._batch.token[index] = token
                self._batch.pos[index] = position
                self._batch.n_seq_id[index] = 1
                self._batch.seq_id[index][0] = sequence
                self._batch.logits[index] = answered
            self._batch.n_tokens = len(part)
            failed = api.llama_decode(self._context, self._batch)
            if failed:
                raise RuntimeError(f"llama_decode says {failed}")
            chosen += [self._likeliest(index) for index, each in enumerate(part) if each[3]]
        return chosen

    def _likeliest(self, index: int) -> int:
        logits_V = np.ctypeslib.as_array(api.llama_get_logits_ith(self._context, index), shape=(self._vocabulary,))
        return int(logits_V.argmax())


class LlamaCpp:
    """One model with one adapter, a context for a single sequence and one for all streams."""

    def __init__(self, setup: dict) -> None:
        api.llama_backend_init()
        model = api.llama_model_load_from_file(setup["file"].encode(), api.llama_model_default_params())
        if not model:
            raise RuntimeError(f"llama.cpp did not load {setup['file']}")
        self._adapter = api.llama_adapter_lora_init(model, setup["adapter"].encode())
        if not self._adapter:
            raise RuntimeError(f"llama.cpp did not load {setup['adapter']}")
        threads, streams = setup["threads"], setup["streams"]
        self._single = Context(model, sequences=1, tokens=setup["longest"], threads=threads)
        self._many = Context(model, sequences=streams, tokens=setup["stream_tokens"], threads=threads)

    def round(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """Answer all prompts, on one adapter or on none."""
        context = self._single if len(prompts) == 1 else self._many
        context.begin(self._adapter if adapters else None)
        begin, worked = perf_counter(), process_time()
        written = _written(context, prompts, new_tokens)
        return {
            "seconds": perf_counter() - begin,
            "processor": process_time() - worked,
            "tokens": sum(len(each) for each in written),
        }

    def answers(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """The greedy answers, one prompt after the other."""
        answers = []
        for prompt in prompts:
            self._single.begin(self._adapter if adapters else None)
            answers += _written(self._single, [prompt], new_tokens)
        return {"answers": answers}


def _written(context: Context, prompts: list[list[int]], new_tokens: int) -> list[list[int]]:
    """The greedy answers of so many tokens, whatever they are."""
    fed = [
        (token, position, number, position == len(prompt) - 1)
        for number, prompt in enumerate(prompts)
        for position, token in enumerate(prompt)
    ]
    written: list[list[int]] = [[] for _ in prompts]
    while True:
        chosen = context.feed(fed)
        for answer, token in zip(written, chosen, strict=True):
            answer.append(token)
        length = len(written[0])
        if length == new_tokens:
            return written
        fed = [(token, len(prompts[number]) + length - 1, number, True) for number, token in enumerate(chosen)]


if __name__ == "__main__":
    llama = LlamaCpp(child.setup())
    child.serve(round=llama.round, answers=llama.answers)
