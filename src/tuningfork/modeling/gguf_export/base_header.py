"""The header of a GGUF file of a base: written from the base, read again by our reader, and compared."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tuningfork.modeling.files.gguf.families import configuration_of
from tuningfork.modeling.files.gguf.header import Header, Value
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Part, Plan
from tuningfork.modeling.gguf_export.hyperparameters import model_keys
from tuningfork.modeling.gguf_export.layout import TensorForm, write_header, write_numbers
from tuningfork.modeling.gguf_export.reading_back import check_config, check_parts
from tuningfork.modeling.gguf_export.source import Source
from tuningfork.modeling.gguf_export.weights import Kind, kind_of


def write_base_header(file: Path, source: Source, keys: Mapping[str, Value], kind: Kind, *, with_room: bool) -> Header:
    """Write the header of a file of the base, and the small tensors that belong to its rotation.

    Args:
        file: to be made.
        source: the base.
        keys: further ones than those of the model itself.
        kind: the type of matrices.
        with_room: the file gets the length of the whole file; False: it ends with those small tensors.

    Raises:
        BaseUnusable: GGUF files have no such model.
        OSError: the file cannot be written.

    """
    own, small = model_keys(source.config)
    forms = {name: TensorForm((len(numbers),), Kind.F32) for name, numbers in small.items()}
    for name, stored_as in source.tensor_names().items():
        shape = source.weights[name].stored.shape
        forms[stored_as] = TensorForm(shape, kind_of(shape, kind))
    header = write_header(file, source.architecture, {**keys, **own}, forms, with_room=with_room)
    for name, numbers in small.items():
        write_numbers(file, header.tensors[name], np.asarray(numbers, np.float32))
    return header


def read_base_header(file: Path, header: Header, source: Source) -> tuple[Metadata, list[Part]]:
    """What our reader makes of such a header: its metadata, whose keys of the model are read, and how to read weights.

    Raises:
        BaseUnusable: it is another model than the base.

    """
    metadata = Metadata(header.metadata)
    plan = Plan(file, header.tensors)
    config = configuration_of(metadata, plan)
    check_config(source.config, config, source.architecture)
    check_parts(
        {part.name: part.shape for part in plan.parts},
        {name: weight.stored.shape for name, weight in source.weights.items()},
    )
    return metadata, plan.parts
