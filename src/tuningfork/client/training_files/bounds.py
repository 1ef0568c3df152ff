"""How large a training file may be, and what is made of it at most."""

from dataclasses import dataclass

from tuningfork.client.errors import TrainingFileError
from tuningfork.domain.base_model import with_prefix

MAX_BYTES = 64 * 1024 * 1024
"""Of a file for a base under its own name. What is sent of it is bounded by the server."""
GEMINI_MAX_BYTES = 4 * 1024 * 1024
"""The Gemini API's own bound for a training file (gemini-api section 7.5)."""

MAX_FAULTS = 200
"""Reading stops at so many: nobody mends more of them by hand, and each takes memory."""
MAX_ROWS = 300_000
"""More examples than this do not fit into the 8 MB of one request, however short they are."""
MAX_COLUMNS = 1_000
MAX_CELLS = 3_000_000
"""Of all rows together; each takes some 100 bytes of memory beside its text."""
MAX_RECORDS = 2_000_000
"""Rows that are empty included: each takes a microsecond to pass over."""
MAX_VALUES = 3_000_000
"""Of a JSON file, counted by the commas and brackets in it; the smallest takes some 70 bytes of memory."""

FEWER = "Keep the best examples: a few hundred usually teach as much as many thousands."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The most bytes that are read of a file, and why."""

    max_bytes: int
    reason: str = ""

    @classmethod
    def of(cls, base_model: str, chosen_bytes: int | None) -> "Bound":
        """The bound that was chosen, else that of the base: those under Gemini's names keep Gemini's own."""
        if chosen_bytes is not None:
            return cls(max_bytes=chosen_bytes)
        if with_prefix(base_model).startswith("models/gemini-"):
            return cls(
                max_bytes=GEMINI_MAX_BYTES,
                reason=f", because {base_model} bears the name of a Gemini model and keeps its limits",
            )
        return cls(max_bytes=MAX_BYTES)

    def refusal(self, name: str, size: int) -> TrainingFileError:
        """The error for a file that has at least so many bytes."""
        return TrainingFileError(
            f"{name} has at least {size:,} bytes; a training file may have at most {self.max_bytes:,} "
            f"({self.max_bytes / 2**20:g} MB){self.reason}.",
            advice=f"{FEWER} Or set another bound with --max-file-mb.",
        )
