"""How large a training file may be for the base that is to be tuned."""

from dataclasses import dataclass

from tuningfork.client.errors import TrainingFileError
from tuningfork.domain.base_model import with_prefix
from tuningfork.training_files.bounds import FEWER, MAX_BYTES

GEMINI_MAX_BYTES = 4 * 1024 * 1024
"""The Gemini API's own bound for a training file (gemini-api section 7.5)."""


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
