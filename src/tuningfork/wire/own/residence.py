"""Renders whether a tuned model's adapter is in the generator's memory."""

from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

RESIDENCE = Message(
    "tuningfork.v1.Residence",
    (
        Field(1, "tuned_model", Kind.STRING),
        Field(2, "resident", Kind.BOOL, presence=True),
        Field(3, "size_bytes", Kind.INT64, presence=True),
        Field(4, "pinned", Kind.BOOL, presence=True),
    ),
)


def render_residence(tuned_model: str, size_bytes: int | None, *, pinned: bool) -> Typed:
    """Whether a model's adapter is in the generator's memory.

    Args:
        tuned_model: the model's name.
        size_bytes: the adapter's size in memory; None: it is not in memory.
        pinned: whether the operator pinned it there.

    """
    resident = size_bytes is not None
    fields = {"tuned_model": tuned_model, "resident": resident, "size_bytes": size_bytes, "pinned": pinned}
    return Typed(RESIDENCE, fields)
