"""The metadata of a GGUF file, read key by key: in the end no key of consequence may be left over."""

import re
import struct
from collections.abc import Mapping

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.header import Value

_HARMLESS = re.compile(
    r"""
    general\.(?!architecture$|type$|alignment$).*      # descriptions: name, author, licence, base models, how quantized
    | tokenizer\.ggml\.(fim_(pre|suf|mid|pad|rep|sep)|prefix|suffix|middle)_token_id  # for filling gaps in code
    | tokenizer\.ggml\.(seperator|mask|cls)_token_id   # for encoders
    | tokenizer\.ggml\.token_type_count                # for encoders: rows of another embedding, which would be refused
    | tokenizer\.huggingface\.json                     # the same tokenizer once more
    | tokenizer\.chat_templates | tokenizer\.chat_template\.\w+   # templates for tools and documents
    | split\.(no|tensors\.count)
    """,
    re.VERBOSE,
)
_READ_BY_PROGRAMS = ("general", "tokenizer", "split", "adapter", "clip", "control_vector", "imatrix")
"""The namespaces that runners read, besides the one of the file's architecture.

Keys of other ones are notes of whoever made the file (GGUF specification, "Metadata": community keys).
"""


class Metadata:
    """A file's metadata, and which of its keys were asked for."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = values
        self._used: set[str] = {"general.alignment"}
        self.architecture = self.text("general.architecture")

    def get(self, key: str) -> Value | None:
        """The value of a key; None: the file lacks it."""
        self._used.add(key)
        return self._values.get(key)

    def text(self, key: str, usual: str | None = None) -> str:
        """A text.

        Raises:
            BaseUnusable: it is something else, or is not there and there is no usual one.

        """
        value = self._needed(key, usual)
        if not isinstance(value, str):
            raise _strange(key, value, "a text")
        return value

    def count(self, key: str, usual: int | None = None, *, most: int = 2**31 - 1) -> int:
        """A number from 0 to `most`. For each layer the same one may be given.

        Raises:
            BaseUnusable: it is something else, or is not there and there is no usual one.

        """
        value = self._needed(key, usual)
        if isinstance(value, list) and value and all(each == value[0] for each in value):
            value = value[0]
        if type(value) is not int or not 0 <= value <= most:
            raise _strange(key, value, f"one number from 0 to {most} for all layers")
        return value

    def real(self, key: str, usual: float | None = None) -> float:
        """A positive number, as its shortest decimal: 1e-05 where the file has the nearest number of 32 bits.

        Raises:
            BaseUnusable: it is something else, or is not there and there is no usual one.

        """
        value = self._needed(key, usual)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            raise _strange(key, value, "a positive number")
        return _shortest(float(value))

    def flag(self, key: str, *, usual: bool) -> bool:
        """Whether something holds.

        Raises:
            BaseUnusable: the value is neither true nor false.

        """
        value = self._needed(key, usual)
        if not isinstance(value, bool):
            raise _strange(key, value, "true or false")
        return value

    def of_model(self, name: str) -> str:
        """The key of the architecture's own namespace."""
        return f"{self.architecture}.{name}"

    def refuse_others(self) -> None:
        """Refuse the file if it has keys that nobody asked for and that may matter.

        Raises:
            BaseUnusable: it has such keys; the message names them.

        """
        namespaces = (*_READ_BY_PROGRAMS, self.architecture)
        left = [
            key
            for key in self._values
            if key not in self._used and key.partition(".")[0] in namespaces and not _HARMLESS.fullmatch(key)
        ]
        if left:
            raise BaseUnusable(
                f"its metadata has {', '.join(map(repr, left[:5]))}, whose meaning for {self.architecture} is not "
                "known here: answers could be wrong without it"
            )

    def _needed(self, key: str, usual: Value | None) -> Value:
        value = self.get(key)
        if value is None:
            value = usual
        if value is None:
            raise BaseUnusable(f"its metadata lacks {key!r}")
        return value


def _shortest(value: float) -> float:
    """The shortest decimal with the same 32 bits."""
    bits = struct.pack("<f", value)
    decimals = (float(f"{value:.{digits}g}") for digits in range(1, 10))
    return next((decimal for decimal in decimals if struct.pack("<f", decimal) == bits), value)


def _strange(key: str, value: object, wanted: str) -> BaseUnusable:
    return BaseUnusable(f"its metadata has {key!r} = {str(value)[:60]}, and {wanted} is needed")
