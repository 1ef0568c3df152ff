"""Every way in which a call, or what goes into it, can fail on the caller's side.

    ClientError
    ├── ServerUnreachable     nobody answers, or the connection broke; it may pass
    ├── ServiceRefusal        the service answered with an error of the dialect
    ├── TextWithheld          the service rated the prompt or the answer harmful and keeps it to itself
    ├── UnexpectedAnswer      something answered, but not like the dialect
    ├── TrainingFileError     a file of examples cannot be read; names every line or row, and column
    └── PlotUnavailable       the library that draws image files is not installed

Each has a sentence for what happened and, in `advice`, one for what to do.
"""

from tuningfork.domain.errors import FieldViolation
from tuningfork.training_files.faults import Fault


class ClientError(Exception):
    """The root: a message for a person, and advice that may be empty."""

    def __init__(self, message: str, *, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    @property
    def may_pass(self) -> bool:
        """Whether the same call may go through in a moment."""
        return False


class ServerUnreachable(ClientError):
    """Nobody answers at the address, or the connection broke in the middle."""

    @property
    def may_pass(self) -> bool:
        """A server that is being restarted comes back."""
        return True


class ServiceRefusal(ClientError):
    """The service refused; `status` is the google.rpc code's name, `violations` say which fields are at fault."""

    def __init__(
        self,
        message: str,
        *,
        http_status: int,
        status: str,
        violations: tuple[FieldViolation, ...] = (),
        advice: str = "",
    ) -> None:
        super().__init__(message, advice=advice)
        self.http_status = http_status
        self.status = status
        self.violations = violations

    @property
    def may_pass(self) -> bool:
        """UNAVAILABLE is how the service says that a worker is being replaced."""
        return self.status == "UNAVAILABLE"


class TextWithheld(ClientError):
    """The prompt was not given to the model, or the answer is not given to the caller, because of a safety rating."""


class UnexpectedAnswer(ClientError):
    """The answer is not of the dialect: another program listens there, or a proxy stands between."""


class TrainingFileError(ClientError):
    """A training file is too large, of an unknown kind, or wrong at the named places."""

    def __init__(self, message: str, *, advice: str = "", faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message, advice=advice)
        self.faults = faults


class PlotUnavailable(ClientError):
    """No image of the loss curve can be drawn in this installation."""
