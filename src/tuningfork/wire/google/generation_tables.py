"""The messages of generation that a dialect's methods read and write, under the names of its package."""

from dataclasses import dataclass
from typing import Self

from tuningfork.wire.google import generation_messages as shared
from tuningfork.wire.google.packages import Package
from tuningfork.wire.google.proto_json.descriptors import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationTables:
    """Requests for text and for token counts, and the answers to them."""

    generate_request: Message
    generate_response: Message
    count_request: Message
    count_response: Message

    @classmethod
    def of(cls, package: Package) -> Self:
        """The tables of one API."""
        return cls(
            generate_request=package.message(shared.GENERATE_CONTENT_REQUEST),
            generate_response=package.message(shared.GENERATE_CONTENT_RESPONSE),
            count_request=package.message(shared.COUNT_TOKENS_REQUEST),
            count_response=package.message(shared.COUNT_TOKENS_RESPONSE),
        )
