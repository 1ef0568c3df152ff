"""Compares converted GGUF files with llama.cpp: token ids of hard texts, and greedy answers.

    python bench/gguf_compared.py FILE.gguf [FILE.gguf ...] --llama-python PATH/TO/bin/python [--length 32]

`--llama-python` is the interpreter of an environment with llama-cpp-python. Answers are compared with two files: the
given one, whose products llama.cpp computes with activations of 8 bits, and one with the same weights in float32.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tuningfork.modeling.files.gguf.header import StoredTensor, Value, read_header
from tuningfork.modeling.files.gguf.process import convert_gguf
from tuningfork.modeling.files.gguf.values import Floats, nearest_bfloat16, precision_of, read_rows

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from hard_texts import HARD_TEXTS  # noqa: E402

PROMPTS = (
    "The capital of France is",
    "def fibonacci(n):\n",
    "1, 2, 3, 4,",
    "Once upon a time, in a small village,",
    "Die Hauptstadt von Deutschland",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--llama-python", required=True)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    for file in given.files:
        with tempfile.TemporaryDirectory() as directory:
            compare(file, Path(directory), given)


def compare(file: Path, directory: Path, given: argparse.Namespace) -> None:
    convert_gguf(file, directory / "ours", lambda *_: None)
    tokenizer = AutoTokenizer.from_pretrained(directory / "ours")
    model = AutoModelForCausalLM.from_pretrained(directory / "ours", dtype=torch.float32).eval()
    prompts = [tokenizer(text).input_ids for text in PROMPTS]
    ours = [greedy(model, prompt, given.length) for prompt in prompts]
    tokens = [tokenizer(text, add_special_tokens=False).input_ids for text in HARD_TEXTS]
    del model
    widened = widen(file, directory / "float32.gguf")
    print(f"{file.name}:")
    for name, path in (("the file", file), ("its weights in float32", widened)):
        theirs = ask(path, prompts, given)
        other = [text for text, one, two in zip(HARD_TEXTS, tokens, theirs["tokens"], strict=True) if one != two]
        same = [agreement(one, two) for one, two in zip(ours, theirs["answers"], strict=True)]
        print(f"  {name}: other tokens for {len(other)} of {len(HARD_TEXTS)} texts {other}")
        print(f"  {name}: equal tokens at the beginning of {len(same)} answers of {given.length}: {same}")


def greedy(model: Any, prompt: Sequence[int], length: int) -> list[int]:
    """The likeliest tokens, also beyond a token that ends an answer."""
    ids = torch.tensor([prompt])
    out = model.generate(ids, max_new_tokens=length, min_new_tokens=length, do_sample=False, eos_token_id=None)
    return [int(token) for token in out[0, len(prompt) :]]


def agreement(one: Sequence[int], two: Sequence[int]) -> int:
    pairs = enumerate(zip(one, two, strict=True))
    return next((place for place, (left, right) in pairs if left != right), len(one))


def ask(file: Path, prompts: list[list[int]], given: argparse.Namespace, **how: object) -> dict[str, Any]:
    asked = {
        "file": str(file),
        "texts": HARD_TEXTS,
        "prompts": prompts,
        "length": given.length,
        "threads": given.threads,
        **how,
    }
    program = ROOT / "bench" / "programs" / "llama_cpp_answers.py"
    done = subprocess.run(
        [given.llama_python, str(program)], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answered: dict[str, Any] = json.loads(done.stdout)
    return answered


def widen(file: Path, target: Path) -> Path:
    """Write the same file with the weights that it is converted to, in float32."""
    header = read_header(file)
    writer = gguf.GGUFWriter(target, str(header.metadata["general.architecture"]))
    for key, value in header.metadata.items():
        if key not in ("general.architecture", "general.alignment"):
            add(writer, key, value)
    for tensor in header.tensors.values():
        writer.add_tensor(tensor.name, values_of(file, tensor))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def values_of(file: Path, tensor: StoredTensor) -> Floats:
    rows = tensor.shape[0] if len(tensor.shape) > 1 else 1
    values = read_rows(file, tensor, np.arange(rows))
    return (values if precision_of(tensor) is None else nearest_bfloat16(values)).reshape(tensor.shape)


def add(writer: gguf.GGUFWriter, key: str, value: Value) -> None:
    kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    if isinstance(value, list):
        writer.add_array(key, value)
    else:
        kinds[type(value)](key, value)


if __name__ == "__main__":
    main()
