"""The loop that PEFT's own examples show: padded batches, labels, `loss.backward()`, one optimizer."""

import child  # it keeps what libraries print away from the answers

# isort: split

import json
from pathlib import Path
from time import perf_counter, process_time

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM


class PeftLoop:
    """A model with the adapter that everybody begins with, and the batches that everybody sees."""

    def __init__(self, setup: dict) -> None:
        self._data = json.loads(Path(setup["data"]).read_text(encoding="utf-8"))
        self._device = torch.device(setup["device"])
        base = AutoModelForCausalLM.from_pretrained(setup["model"], dtype=getattr(torch, setup["dtype"]))
        self._model = PeftModel.from_pretrained(base.to(self._device), setup["adapter"], is_trainable=True).train()
        trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
        self._optimizer = torch.optim.AdamW(trained, lr=setup["learning_rate"], weight_decay=0.0)
        self._batches = iter(self._data["batches"])

    def round(self, steps: int) -> dict:
        """Some steps, and what each took and found."""
        seconds, processor, losses = [], [], []
        for _ in range(steps):
            batch = self._padded(next(self._batches))
            begin, worked = perf_counter(), process_time()
            loss = self._model(**batch).loss
            loss.backward()
            self._optimizer.step()
            self._optimizer.zero_grad()
            if self._device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(perf_counter() - begin)
            processor.append(process_time() - worked)
            losses.append(loss.item())
        return {"seconds": seconds, "processor": processor, "losses": losses}

    def _padded(self, indices: list[int]) -> dict[str, torch.Tensor]:
        rows = [self._data["rows"][index] for index in indices]
        width = max(len(row["ids"]) for row in rows)
        batch: dict[str, list[list[int]]] = {"input_ids": [], "attention_mask": [], "labels": []}
        for row in rows:
            ids, first = row["ids"], row["first_target"]
            rest = width - len(ids)
            batch["input_ids"].append(ids + [0] * rest)
            batch["attention_mask"].append([1] * len(ids) + [0] * rest)
            batch["labels"].append([-100] * first + ids[first:] + [-100] * rest)
        return {name: torch.tensor(values, device=self._device) for name, values in batch.items()}


if __name__ == "__main__":
    child.serve(round=PeftLoop(child.setup()).round)
