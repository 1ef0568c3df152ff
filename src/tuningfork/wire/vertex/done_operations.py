"""Operations of models and endpoints, which are done when they are answered.

Nothing is stored of them: an operation's id says what was done and when.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum

from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import EMPTY
from tuningfork.wire.vertex import registry_messages as messages
from tuningfork.wire.vertex.names import number_in, operation_name
from tuningfork.wire.vertex.packages import PACKAGES

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIGITS = 17
"""An id is a digit for what was done, and the time in microseconds in so many digits."""


class Deed(Enum):
    """What an operation did: the first digit of its id, and the messages of its metadata and its response."""

    DELETE = ("1", messages.DELETE_METADATA, EMPTY)
    UNDEPLOY = ("2", messages.UNDEPLOY_METADATA, messages.UNDEPLOY_RESPONSE)
    DEPLOY = ("3", messages.DEPLOY_METADATA, messages.DEPLOY_RESPONSE)

    @property
    def digit(self) -> str:
        """The first digit of its id."""
        digit: str = self.value[0]
        return digit

    @property
    def metadata(self) -> Message:
        """The message of its metadata."""
        message: Message = self.value[1]
        return message

    @property
    def response(self) -> Message:
        """The message of its response."""
        message: Message = self.value[2]
        return message


@dataclass(frozen=True, slots=True, kw_only=True)
class DoneOperation:
    """What was done, and when."""

    deed: Deed
    time: datetime

    @property
    def id(self) -> str:
        """Its id in its name."""
        return f"{self.deed.digit}{(self.time - _EPOCH) // _MICROSECOND:0{_DIGITS}}"


def operation_of(id: str, now: datetime) -> DoneOperation | None:  # noqa: A002
    """The operation with this id; None if there has been none by now."""
    if number_in(id) is None or len(id) != _DIGITS + 1:
        return None
    deed = next((each for each in Deed if each.digit == id[0]), None)
    time = _EPOCH + int(id[1:]) * _MICROSECOND
    return None if deed is None or time > now else DoneOperation(deed=deed, time=time)


def render_done(place: ProjectLocation, done: DoneOperation, version: str, response: Typed | None = None) -> Typed:
    """The operation, with its response; None: one without fields."""
    package = PACKAGES[version]
    times = {"generic_metadata": {"create_time": done.time, "update_time": done.time}}
    empty = done.deed.response
    fields = {
        "name": operation_name(place, done.id),
        "metadata": Typed(package.message(done.deed.metadata), times),
        "done": True,
        "response": response or Typed(empty if empty is EMPTY else package.message(empty), {}),
    }
    return Typed(messages.OPERATION, fields)


def render_no_operations() -> Typed:
    """The list of operations that are not done, of which there are none."""
    return Typed(messages.LIST_OPERATIONS_RESPONSE, {})
