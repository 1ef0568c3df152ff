"""The shared message tables under the full names of one API.

Gemini's and Vertex's messages of generation differ only in the name of their package, which error messages print. The
tables in `wire/google` name messages without a package; each dialect adds its own.
"""

from dataclasses import dataclass, field, replace

from tuningfork.wire.google.proto_json.descriptors import SELF, Enum, Field, Kind, Message


@dataclass(frozen=True, slots=True)
class Package:
    """A proto package, such as `google.cloud.aiplatform.v1`. Tables under its name are made once and then reused."""

    name: str
    _messages: dict[Message, Message] = field(default_factory=dict, repr=False)
    _enums: dict[Enum, Enum] = field(default_factory=dict, repr=False)

    def message(self, table: Message) -> Message:
        """The shared message, and all messages in its fields, under this package's name."""
        if table not in self._messages:
            fields = tuple(replace(each, type=self._type(each, table)) for each in table.fields)
            self._messages[table] = Message(f"{self.name}.{table.full_name}", fields)
        return self._messages[table]

    def enum(self, table: Enum) -> Enum:
        """The shared enum under this package's name."""
        if table not in self._enums:
            self._enums[table] = Enum(f"{self.name}.{table.full_name}", table.numbers)
        return self._enums[table]

    def _type(self, held: Field, holder: Message) -> Kind | Enum | Message:
        if isinstance(held.type, Kind):
            return held.type
        if isinstance(held.type, Message):
            return SELF if held.type is holder else self.message(held.type)
        return self.enum(held.type)
