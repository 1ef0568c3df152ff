"""Steps per second of our training engine beside PEFT with a plain loop, in one run.

    python bench/training_step.py [--rounds 5] [--threads 1]

Same base, same examples, same hyperparameters (LoRA rank 8 on all linear layers, AdamW). The runs are interleaved and
the medians compared, because machines are shared: only the ratio means anything.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.base_model import AdapterShape, BaseModel, with_prefix
from tuningfork.domain.dataset import Dataset, Example
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.embedded import model_directory
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import TrainingEngine, TrainingJob
from tuningfork.tutorial import EXAMPLES

SHAPE = AdapterShape(rank=8, alpha=32.0)
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RESULTS = Path(__file__).parent / "results"


def tutorial_examples() -> Dataset:
    return tuple(Example(text_input, output) for text_input, output in EXAMPLES)


def mixed_length_examples() -> Dataset:
    """Lengths 96, 48, 40 and 32 with 12 trained tokens each: the shape that `docs/log.md` compares with."""
    return tuple(Example("x" * (length - 12), "y" * 11) for length in (92, 44, 36, 28))


def smollm_shaped(directory: Path) -> Path:
    """A random Llama of SmolLM2-135M's shape: speed does not depend on what the weights are."""
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1_536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8_192,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    AutoTokenizer.from_pretrained(model_directory()).save_pretrained(directory)
    return directory


def ours(base: BaseModel, examples: Dataset, batch_size: int) -> Callable[[int], float]:
    """Returns a function that takes some steps and says how many seconds each took."""
    engine = TrainingEngine(load_base(base), clock=lambda: datetime.now(UTC))
    hyperparameters = Hyperparameters(epoch_count=100_000, batch_size=batch_size, learning_rate=0.001)
    engine.admit(TrainingJob(id=JobId("a"), examples=examples, hyperparameters=hyperparameters, adapter=SHAPE, seed=1))

    def run(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            engine.step()
        return (time.perf_counter() - begin) / steps

    return run


def peft_loop(directory: Path, examples: Dataset, batch_size: int, dtype: torch.dtype) -> Callable[[int], float]:
    """The loop that PEFT's own examples show: padded batches, labels, `loss.backward()`, one optimizer."""
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(directory, dtype=dtype),
        LoraConfig(r=SHAPE.rank, lora_alpha=int(SHAPE.alpha), target_modules=TARGETS, task_type="CAUSAL_LM"),
    )
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.001, weight_decay=0.0)
    batches = endless_padded_batches(tokenizer, examples, batch_size)
    model.train()

    def run(steps: int) -> float:
        begin = time.perf_counter()
        for _ in range(steps):
            loss = model(**next(batches)).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return (time.perf_counter() - begin) / steps

    return run


def endless_padded_batches(tokenizer, examples: Dataset, batch_size: int) -> Iterator[dict[str, torch.Tensor]]:
    rows = []
    for example in examples:
        turn = [{"role": "user", "content": example.text_input}]
        prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=True, return_dict=False)
        answer = [*tokenizer.encode(example.output, add_special_tokens=False), tokenizer.eos_token_id]
        rows.append((prompt + answer, [-100] * len(prompt) + answer))
    position = 0
    while True:
        chosen = [rows[(position + i) % len(rows)] for i in range(batch_size)]
        position += batch_size
        width = max(len(ids) for ids, _ in chosen)
        yield {
            "input_ids": torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in chosen]),
            "attention_mask": torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids, _ in chosen]),
            "labels": torch.tensor([labels + [-100] * (width - len(labels)) for _, labels in chosen]),
        }


def compare(name: str, base: BaseModel, directory: Path, examples: Dataset, rounds: int, steps: int) -> dict:
    runs = {
        "ours": ours(base, examples, 4),
        "PEFT loop, float32": peft_loop(directory, examples, 4, torch.float32),
        "PEFT loop, bfloat16": peft_loop(directory, examples, 4, torch.bfloat16),
    }
    for run in runs.values():
        run(2)
    seconds: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(rounds):
        for label, run in runs.items():
            seconds[label].append(run(steps))
    medians = {label: statistics.median(values) for label, values in seconds.items()}
    print(f"\n{name}: {rounds} interleaved rounds of {steps} steps, {torch.get_num_threads()} threads")
    for label, median in medians.items():
        print(f"  {label:22} {median * 1000:8.1f} ms a step   {median / medians['ours']:5.2f} x ours")
    return {"name": name, "threads": torch.get_num_threads(), "median_seconds": medians, "all_seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    results = [
        compare("embedded base, tutorial", EMBEDDED_MODEL, model_directory(), tutorial_examples(), arguments.rounds, 19)
    ]
    with tempfile.TemporaryDirectory() as folder:
        directory = smollm_shaped(Path(folder))
        base = BaseModel(
            name=with_prefix("smollm-shaped"), location=str(directory), display_name="", context_tokens=8_192
        )
        results.append(
            compare("SmolLM2-135M shape, batch 4", base, directory, mixed_length_examples(), arguments.rounds, 3)
        )
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "training_step.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
