"""Writes an adapter as a GGUF file, which llama.cpp puts beside a GGUF file of the adapter's base.

The rows of an adapter's B are in the order of the rows of its weight in files of the base, which our reader knows: a
header of such a file is written and read again.

Source: `src/llama-adapter.cpp` of llama.cpp. Shape suffixes: D inputs of a layer, O its outputs, R rank.
"""

import tempfile
from pathlib import Path

import numpy as np

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import Value
from tuningfork.modeling.files.gguf.plan import Change, Part
from tuningfork.modeling.gguf_export.base_header import read_base_header, write_base_header
from tuningfork.modeling.gguf_export.layout import TensorForm, write_header, write_numbers
from tuningfork.modeling.gguf_export.placing import placed_whole
from tuningfork.modeling.gguf_export.source import Source
from tuningfork.modeling.gguf_export.weights import Kind, model_rows


def write_adapter(base: Path, adapter: Path, target: Path, *, name: str) -> None:
    """Write the adapter beside `target`, in float32, and rename it into place.

    Args:
        base: a transformers directory with safetensors weights; its configuration and the shapes of its weights are
            read.
        adapter: a directory in PEFT's format.
        target: a file that does not exist.
        name: what the file calls the adapter.

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


def _parts_of_base(source: Source, beside: Path) -> list[Part]:
    """What our reader makes of a file of the base, of which there is a header only."""
    with tempfile.NamedTemporaryFile(prefix=".", suffix=".header", dir=beside) as file:
        path = Path(file.name)
        header = write_base_header(path, source, {}, Kind.F32)
        return read_base_header(path, header, source)[1]
