"""Renders whether a tuned model's adapter is in the generator's memory, and its shape."""

from tuningfork.domain.base_model import AdapterShape
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

RESIDENCE = Message(
    "tuningfork.v1.Residence",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "resident", Kind.BOOL, presence=True),
        Field(3, "size_bytes", Kind.INT64, presence=True),
        Field(4, "pinned", Kind.BOOL, presence=True),
        Field(5, "adapter_rank", Kind.INT32),
        Field(6, "adapter_alpha", Kind.DOUBLE),
    ),
)


def render_residence(tuned_model: str, size_bytes: int | None, shape: AdapterShape, *, pinned: bool) -> Typed:
    """Whether a model's adapter is in the generator's memory.

    Args:
        tuned_model: the model's name.
        size_bytes: the adapter's size in memory; None: it is not in memory.
        shape: the adapter's rank and alpha.
        pinned: whether the operator pinned it there.

    """
    resident = size_bytes is not None
    fields = {
        "tuned_model": tuned_model,
        "resident": resident,
        "size_bytes": size_bytes,
        "pinned": pinned,
        "adapter_rank": shape.rank,
        "adapter_alpha": shape.alpha,
    }
    return Typed(RESIDENCE, fields)
