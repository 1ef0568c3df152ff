"""Exports a training run as the model's directory: bfloat16 weights, configuration, tokenizer and chat template."""

from pathlib import Path
from typing import cast

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from torch import nn
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tuningfork.embedded.recipe.architecture import new_model
from tuningfork.embedded.recipe.vocabulary import BEGIN, END, MARKERS, PAD

# `model` and `assistant` are two names of one role: Gemini's and the Hub's.
CHAT_TEMPLATE = """\
{{- '<|bos|>' -}}
{%- for message in messages -%}
  {%- if message['role'] == 'system' -%}
    {{- '<|system|>' + message['content'] -}}
  {%- elif message['role'] == 'user' -%}
    {{- '<|user|>' + message['content'] -}}
  {%- elif message['role'] in ('model', 'assistant') -%}
    {{- '<|model|>' + message['content'] + '<|end|>' -}}
  {%- else -%}
    {{- raise_exception('roles are system, user and model (or assistant), not ' + message['role']) -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|model|>' -}}
{%- endif -%}
"""


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: token i is byte i, without merges, so a text is encoded as its UTF-8 bytes."""
    vocabulary = {token: index for index, token in enumerate([*_printable_bytes(), *MARKERS])}
    backend = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = ByteLevelDecoder()
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        bos_token=MARKERS[BEGIN - 256],
        eos_token=MARKERS[END - 256],
        pad_token=MARKERS[PAD - 256],
        extra_special_tokens=list(MARKERS),
        model_max_length=163_840,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def export(averages: list[Path], directory: Path) -> None:
    """Average several saved running averages of the weights, and write the result as a transformers directory.

    A model averaged over a long part of the training can be tuned better: see docs/embedded-model.md.
    """
    states = [torch.load(path, weights_only=True) for path in averages]
    model: LlamaForCausalLM = new_model(seed=0)
    model.load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
    cast("nn.Module", model).to(torch.bfloat16)
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=BEGIN, eos_token_id=END, pad_token_id=PAD, do_sample=False, max_new_tokens=256
    )
    model.save_pretrained(directory)
    byte_tokenizer().save_pretrained(directory)


def _printable_bytes() -> list[str]:
    """Map bytes to the printable characters that stand for them in byte-level vocabularies (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    stand_ins = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(stand_ins)) for byte in range(256)]
