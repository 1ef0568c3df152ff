"""transformers' `generate`, greedy, on a plain model or on one with PEFT's adapter, all prompts in one batch."""

import child  # it keeps what libraries print away from the answers

# isort: split

from time import perf_counter, process_time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


class Transformers:
    """A plain model and one with an adapter, each with weights of its own so that neither pays for the other."""

    def __init__(self, setup: dict) -> None:
        self._device = torch.device(setup["device"])
        self._dtype = getattr(torch, setup["dtype"])
        self._plain = self._load(setup["model"])
        self._adapted = PeftModel.from_pretrained(self._load(setup["model"]), setup["adapters"][0]).eval()

    @torch.inference_mode()
    def round(self, prompts: list[list[int]], new_tokens: int, adapters: int) -> dict:
        """Answer all prompts, which are of one length, on one adapter or on none."""
        model = self._adapted if adapters else self._plain
        begin, worked = perf_counter(), process_time()
        ids_BT = torch.tensor(prompts, device=self._device)
        written_BT = model.generate(
            input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), max_new_tokens=new_tokens, do_sample=False
        )
        tokens = (written_BT.shape[1] - ids_BT.shape[1]) * len(written_BT.tolist())
        return {"seconds": perf_counter() - begin, "processor": process_time() - worked, "tokens": tokens}

    def _load(self, location: str):
        model = AutoModelForCausalLM.from_pretrained(location, dtype=self._dtype).to(self._device).eval()
        # Every answer is as long as it may be.
        model.generation_config.eos_token_id = None
        return model


if __name__ == "__main__":
    child.serve(round=Transformers(child.setup()).round)
