"""Writes an adapter as a GGUF file, which llama.cpp puts beside a GGUF file of the adapter's base.

The rows of an adapter's B are in the order of the rows of its weight in files of the base, which our reader knows: a
header of such a file is written and read again.

Source: `src/llama-adapter.cpp` of llama.cpp. Shape suffixes: D inputs of a layer, O its outputs, R rank.
"""

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.files.gguf.header import Value, read_header
from tuningfork.modeling.files.gguf.plan import Change, Part
from tuningfork.modeling.gguf_export.base_header import read_base_header, write_base_header
from tuningfork.modeling.gguf_export.layout import TensorForm, write_header, write_numbers
from tuningfork.modeling.gguf_export.placing import placed_whole
from tuningfork.modeling.gguf_export.source import Source
from tuningfork.modeling.gguf_export.weights import Kind, model_rows

_OTHER_TEMPLATE = (
    "The model was tuned with a chat template of its server's catalog, and llama.cpp takes that of the base's file: "
    "fetch the adapter with --to DIR too, and give llama.cpp "
    f"--chat-template-file DIR/{adapter_format.CHAT_TEMPLATE}."
)


def write_adapter(base: Path, adapter: Path, target: Path, *, name: str, file: Path | None = None) -> tuple[str, ...]:
    """Write the adapter beside `target`, in float32, and rename it into place.

    Returns what users of the file should know, in sentences.

    Args:
        base: a transformers directory with safetensors weights; its configuration and the shapes of its weights are
            read.
        adapter: a directory in PEFT's format.
        target: a file that does not exist.
        name: what the file calls the adapter.
        file: the GGUF file of the base that llama.cpp is to put the adapter beside; None: it is not known.

    Raises:
        InvalidArgument: the adapter was made for another base, a file cannot be read, llama.cpp would compute something
            else for the base than this package, or `target` is there already.
        OSError: the file could not be written.

    """
    with placed_whole(target, base) as aside:
        source = Source.of(base, adapter)
        tensors = {}
        for part in _parts_of_base(source, aside.parent):
            delta = source.weights[part.name].delta
            if delta is None or part.source is None:
                continue
            if part.change is Change.SHIFTED:
                raise BaseUnusable(f"the adapter changes its weight {part.name!r}, which is no matrix")
            tensors[f"{part.source.name}.lora_a"] = delta.a_RD.numpy()
            tensors[f"{part.source.name}.lora_b"] = delta.b_OR.numpy()[model_rows(part)]
        if file is not None:
            _check_tensors(file, tensors)
        keys: dict[str, Value] = {
            "general.type": "adapter",
            "general.name": name,
            "adapter.type": "lora",
            "adapter.lora.alpha": float(source.adapter.alpha),
        }
        forms = {tensor: TensorForm(values.shape, Kind.F32) for tensor, values in tensors.items()}
        header = write_header(aside, source.architecture, keys, forms)
        for tensor, values in tensors.items():
            write_numbers(aside, header.tensors[tensor], np.asarray(values, np.float32))
    return () if adapter_format.chat_template(adapter) is None else (_OTHER_TEMPLATE,)


def _check_tensors(file: Path, tensors: Iterable[str]) -> None:
    there = read_header(file).tensors
    changed = (tensor.rpartition(".lora_")[0] for tensor in tensors)
    if missing := [name for name in changed if name not in there]:
        raise BaseUnusable(
            f"the adapter changes {missing[0]!r}, which {file.name} does not have, so llama.cpp would refuse it there "
            "(files of Phi 1 and 2 may have attn_qkv in place of attn_q, attn_k and attn_v); write the merged model "
            "(--gguf) instead"
        )


def _parts_of_base(source: Source, beside: Path) -> list[Part]:
    """What our reader makes of a file of the base, of which there is a header only."""
    with tempfile.NamedTemporaryFile(prefix=".", suffix=".header", dir=beside) as file:
        path = Path(file.name)
        header = write_base_header(path, source, {}, Kind.F32, with_room=False)
        return read_base_header(path, header, source)[1]
