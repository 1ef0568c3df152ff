"""TRL's `SFTTrainer`, whose own `train()` runs and waits before each step until it is told to go on.

Timed is what lies between its callbacks `on_step_begin` and `on_step_end`: forward, backward, optimizer. Collating and
logging happen outside.
"""

import child  # it keeps what libraries print away from the answers

# isort: split

import json
import queue
import tempfile
import threading
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer


def by_hand(dtype: str) -> dict[str, Any]:
    """What someone sets who knows that the job is small: weights in the machine's own type, nothing computed twice."""
    return {"bf16": False, "gradient_checkpointing": False, "model_init_kwargs": {"dtype": dtype}}


def defaults(dtype: str) -> dict[str, Any]:
    """Nothing, but where the machine has no bfloat16 products, which TRL takes for granted."""
    return {"bf16": False} if dtype == "float32" else {}


class Gate(TrainerCallback):
    """Lets one step pass for each word in `go`, and puts what it took and found into `done`."""

    def __init__(self, device: str) -> None:
        self.go: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.done: queue.SimpleQueue[tuple[float, float, float] | Exception] = queue.SimpleQueue()
        self._device = device
        self._begin = self._worked = self._seconds = self._processor = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Wait until it may begin."""
        self.go.get()
        self._begin, self._worked = perf_counter(), process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop the clock."""
        if self._device == "cuda":
            torch.cuda.synchronize()
        self._seconds = perf_counter() - self._begin
        self._processor = process_time() - self._worked

    def on_log(self, *_: Any, logs: dict[str, Any] | None = None, **__: Any) -> None:
        """Say what the step took and found."""
        if logs and "loss" in logs:
            self.done.put((self._seconds, self._processor, float(logs["loss"])))


class Trl:
    """A trainer with the adapter that everybody begins with, and the batches that everybody sees, in their order."""

    def __init__(self, setup: dict) -> None:
        if setup["device"] == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"torch {torch.__version__} of this environment sees no GPU: install its CUDA build there")
        data = json.loads(Path(setup["data"]).read_text(encoding="utf-8"))
        rows = [
            {
                "input_ids": data["rows"][index]["ids"],
                "completion_mask": [int(p >= data["rows"][index]["first_target"]) for p in range(_length(data, index))],
            }
            for batch in data["batches"]
            for index in batch
        ]
        self._gate = Gate(setup["device"])
        self._directory = tempfile.TemporaryDirectory()
        trainer = SFTTrainer(
            model=setup["model"],
            args=_arguments(setup, self._directory.name, len(data["batches"])),
            train_dataset=Dataset.from_list(rows),
            peft_config=LoraConfig(
                r=setup["rank"], lora_alpha=setup["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
            ),
            callbacks=[self._gate],
        )
        report = set_peft_model_state_dict(
            trainer.model, load_file(Path(setup["adapter"]) / "adapter_model.safetensors")
        )
        if report.unexpected_keys:
            raise ValueError(f"the adapter does not fit: {report.unexpected_keys[:3]}")
        self._found = {
            "weights": str(next(trainer.model.parameters()).dtype),
            "bf16": trainer.args.bf16,
            "checkpointing": trainer.args.gradient_checkpointing,
        }
        threading.Thread(target=self._train, args=(trainer,), daemon=True).start()

    def describe(self) -> dict:
        """What its defaults came to."""
        return self._found

    def round(self, steps: int) -> dict:
        """Some steps, and what each took and found."""
        seconds, processor, losses = [], [], []
        for _ in range(steps):
            self._gate.go.put(None)
            done = self._gate.done.get()
            if isinstance(done, Exception):
                raise done
            seconds.append(done[0])
            processor.append(done[1])
            losses.append(done[2])
        return {"seconds": seconds, "processor": processor, "losses": losses}

    def _train(self, trainer: SFTTrainer) -> None:
        try:
            trainer.train()
        except Exception as error:  # noqa: BLE001  it is told to whoever waits for the step
            self._gate.done.put(error)
        else:
            self._gate.done.put(RuntimeError("the trainer ran out of steps"))


def _arguments(setup: dict, directory: str, steps: int) -> SFTConfig:
    own = by_hand(setup["dtype"]) if setup["by_hand"] else defaults(setup["dtype"])
    return SFTConfig(
        output_dir=directory,
        use_cpu=setup["device"] == "cpu",
        per_device_train_batch_size=setup["batch_size"],
        max_steps=steps,
        # The same hyperparameters as ours.
        learning_rate=setup["learning_rate"],
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=0.0,
        completion_only_loss=True,
        train_sampling_strategy="sequential",
        # What a measurement needs.
        logging_steps=1,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **own,
    )


def _length(data: dict, index: int) -> int:
    return len(data["rows"][index]["ids"])


if __name__ == "__main__":
    trl = Trl(child.setup())
    child.serve(describe=trl.describe, round=trl.round)
