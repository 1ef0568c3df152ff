"""Rows of a training file: what a row says, and why the data of a tuning cannot be trained on.

InvalidArgument
└── DataFault                what is wrong with the data of a tuning, found after its request was accepted
    ├── RowFault                 a row that cannot be read as an example
    ├── TooManyDropped           too many examples are longer than the base model allows
    ├── TooManyExamples          a validation file has more examples than the base model allows
    └── NoExamples               a file has no example that can be trained on
"""

from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.conversation import Example
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.function_calls import CallingConversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a training file. `messages` is how many messages it lists, without the system instruction."""

    example: Example
    messages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallingRow:
    """A row in which functions are called. It becomes a `Row` as the base's chat template writes calls."""

    conversation: CallingConversation
    messages: int


RowReader = Callable[[bytes], Row | CallingRow]
"""Reads one line of a training file. It is a function of a module, so that it can be named to another process.

An example meets the rules of every dataset (`domain.dataset`, without limits of characters). The function raises
`InvalidArgument`, whose message says in a sentence what is wrong with the row.
"""


class DataFault(InvalidArgument):
    """The data of a tuning cannot be trained on. `is_validation`: it is the validation file that is at fault."""

    def __init__(self, message: str, *, is_validation: bool = False) -> None:
        super().__init__(message)
        self.is_validation = is_validation


class RowFault(DataFault):
    """A row cannot be read as an example. `row` counts from 0; `reason` is a sentence."""

    def __init__(self, row: int, reason: str, *, is_validation: bool = False) -> None:
        super().__init__(f"Row: {row}{_of(is_validation)}. {reason}", is_validation=is_validation)
        self.row = row
        self.reason = reason


class TooManyDropped(DataFault):
    """More than a share of the examples is longer than the base model allows; `first_reason` is why the first is."""

    def __init__(
        self, dropped: int, count: int, share: float, first_reason: str, *, is_validation: bool = False
    ) -> None:
        super().__init__(
            f"{dropped} of {count} examples{_of(is_validation)} would be dropped, and at most {share:.0%} of them may "
            f"be. The first: {first_reason}",
            is_validation=is_validation,
        )
        self.dropped = dropped
        self.count = count


class TooManyExamples(DataFault):
    """A validation file has more examples than the base model allows, which is `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(
            f"The validation dataset has more than {most} examples, which is the most for this base model: "
            "leave out the others.",
            is_validation=True,
        )
        self.most = most


class NoExamples(DataFault):
    """A file has no example that can be trained on."""

    def __init__(self, *, is_validation: bool = False) -> None:
        named = "validation" if is_validation else "training"
        super().__init__(f"The {named} dataset has no examples: give at least one.", is_validation=is_validation)


def _of(is_validation: bool) -> str:
    return " of the validation dataset" if is_validation else ""
