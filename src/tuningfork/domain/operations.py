"""What a server has done lately, and what it keeps on its disk, for whoever runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.api_key import ApiKey
from tuningfork.domain.library import LibraryRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a server has done: answers, the tokens of their prompts and of themselves, and training.

    Tokens of prompts and answers are counted in thousands, as everywhere, so that they do not reveal single requests.
    """

    answers: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    steps: int = 0
    trained_tokens: int = 0

    def since(self, earlier: "Work") -> "Work":
        """What was done after an earlier count."""
        return Work(
            answers=self.answers - earlier.answers,
            prompt_tokens=self.prompt_tokens - earlier.prompt_tokens,
            output_tokens=self.output_tokens - earlier.output_tokens,
            steps=self.steps - earlier.steps,
            trained_tokens=self.trained_tokens - earlier.trained_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOfMinute:
    """What was done in a minute that began at `time`."""

    time: datetime
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUse:
    """What a server keeps, in bytes, by kind, such as `adapters`; and the free space where its data directory is.

    `free_bytes` None: the system does not tell.
    """

    kinds: Mapping[str, int]
    free_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInUse:
    """An API key, and how many sessions there are that were begun with it. `mine`: it is the caller's."""

    key: ApiKey
    sessions: int
    mine: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedJob:
    """A job that waits or is at work, and whether the caller may cancel it."""

    row: LibraryRow
    may_cancel: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfinishedJobs:
    """The jobs that wait or are at work: those in training first, then in the order in which they are taken up.

    `everybodys`: also those of others, since the caller runs the server. `total` is how many there are, of which `jobs`
    may be the first.
    """

    jobs: tuple[UnfinishedJob, ...]
    total: int
    everybodys: bool
