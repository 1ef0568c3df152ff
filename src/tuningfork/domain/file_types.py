"""In which types of numbers files of exported models hold weights."""

from enum import StrEnum


class FileType(StrEnum):
    """The type in which a file has most of its weights, by the name that tools for GGUF files give it.

    `Q8_0`: integers of 8 bits, and a scale for each block of 32.
    """

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
