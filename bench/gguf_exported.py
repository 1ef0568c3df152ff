"""Compares exported GGUF files, in llama.cpp, with the tuned model that they were made of, in transformers and PEFT.

    python bench/gguf_exported.py BASE ADAPTER --llama-python PATH/TO/bin/python [--length 32] [--prompts FILE]
    python bench/gguf_exported.py --families --llama-python PATH/TO/bin/python

BASE is a directory of a base model, ADAPTER one in PEFT's format; with --families small random models of every
family take their place. `--llama-python` is the interpreter of an environment with llama-cpp-python. The greedy
answers of PEFT in float32 are compared with those of the merged model in each type, and of the base's file with the
adapter's file beside it; token ids on hard texts with the tokenizer's. `--prompts`: a file with one question a line,
asked as chats.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.file_types import FileType
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.gguf_export.adapter_file import write_adapter
from tuningfork.modeling.gguf_export.hyperparameters import architecture_of, context_of
from tuningfork.modeling.gguf_export.model_file import write_model

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests"), str(ROOT / "bench")]
from gguf_cases import CASES  # noqa: E402
from gguf_compared import PROMPTS, ask  # noqa: E402
from gguf_exports import save_adapter, save_base  # noqa: E402
from hard_texts import HARD_TEXTS  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path)
    parser.add_argument("adapter", nargs="?", type=Path)
    parser.add_argument("--families", action="store_true")
    parser.add_argument("--llama-python", required=True)
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    warnings.simplefilter("ignore")
    for name, base, adapter in models(given):
        print(f"{name}:", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            compare(base, adapter, Path(directory), given)


def models(given: argparse.Namespace) -> Iterator[tuple[str, Path, Path]]:
    if not given.families:
        yield str(given.base), given.base, given.adapter
        return
    for case, (family, changed) in CASES.items():
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            save_adapter(save_base(family, changed, place / "base"), place / "adapter")
            yield case, place / "base", place / "adapter"


def compare(base: Path, adapter: Path, directory: Path, given: argparse.Namespace) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    config = AutoConfig.from_pretrained(base)
    context = min(context_of(config, architecture_of(config)), 1024)
    prompts = chats(tokenizer, given.prompts) or [tokenizer(text).input_ids for text in PROMPTS]
    prompts = [prompt[: context - given.length] for prompt in prompts]
    how = {"context": context, "exact": True}
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    tuned = PeftModel.from_pretrained(plain, adapter).eval()
    ends = sorted(ChatFormat(tokenizer).end_of_turn_ids)
    wanted = [greedy(tuned, prompt, given.length, ends) for prompt in prompts]
    del plain, tuned
    tokens = [tokenizer(text, add_special_tokens=False).input_ids for text in HARD_TEXTS]
    for file_type in (FileType.F32, FileType.F16) if given.families else FileType:
        file = directory / f"merged-{file_type}.gguf"
        try:
            write_model(base, adapter, file, name=base.name, file_type=file_type)
        except InvalidArgument as error:
            print(f"  {file_type}: {error.message[:300]}")
            continue
        report(f"merged, {file_type}", wanted, tokens, ask(file, prompts, given, **how))
        file.unlink()
    beside = directory / "adapter.gguf"
    write_adapter(base, adapter, beside, name=base.name)
    for file_type in (FileType.F32, FileType.F16):
        file = directory / f"base-{file_type}.gguf"
        write_model(base, doing_nothing(adapter, directory / f"zero-{file_type}"), file, name="x", file_type=file_type)
        report(f"base {file_type} and adapter", wanted, tokens, ask(file, prompts, given, adapter=str(beside), **how))
        file.unlink()


def greedy(model: Any, prompt: Sequence[int], length: int, ends: Sequence[int]) -> list[int]:
    """The likeliest tokens, up to one that ends an answer."""
    ids = torch.tensor([prompt])
    found = model.generate(input_ids=ids, max_new_tokens=length, do_sample=False, eos_token_id=list(ends))
    return [int(token) for token in found[0, len(prompt) :]]


def agreement(one: Sequence[int], two: Sequence[int]) -> int:
    """How many tokens at the beginning of the second are the first's."""
    return next((place for place, (left, right) in enumerate(zip(one, two, strict=False)) if left != right), len(one))


def chats(tokenizer: Any, questions: Path | None) -> list[list[int]]:
    if questions is None:
        return []
    chat = ChatFormat(tokenizer)
    lines = questions.read_text(encoding="utf-8").splitlines()
    return [chat.render_prompt(Conversation(turns=(Turn.said(Speaker.USER, line),))) for line in lines]


def doing_nothing(adapter: Path, into: Path) -> Path:
    """The same adapter with zeros: merged, it gives the base."""
    into.mkdir()
    (into / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    tensors = load_file(adapter / "adapter_model.safetensors")
    save_file({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, into / "adapter_model.safetensors")
    return into


def report(name: str, wanted: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], theirs: dict[str, Any]) -> None:
    other = [text for text, one, two in zip(HARD_TEXTS, tokens, theirs["tokens"], strict=True) if list(one) != two]
    same = [agreement(one, two) for one, two in zip(wanted, theirs["answers"], strict=True)]
    equal = sum(length == len(one) for length, one in zip(same, wanted, strict=True))
    print(f"  {name}: {equal} of {len(wanted)} answers equal; first tokens equal {same}", flush=True)
    print(f"  {name}: other tokens for {len(other)} of {len(HARD_TEXTS)} texts {other}", flush=True)


if __name__ == "__main__":
    main()
