"""Compiles an answer format in a separate process first, in case the compiler crashes.

The compiler is native code and follows schemas recursively. Without the trial, a schema that passes all checks and
still crashes the compiler would end the generator with all its requests. `try_out` runs this module as `python -m
tuningfork.execution.local.form_trial`, with a grammar on its standard input.
"""

import resource
import subprocess
import sys

from llguidance import LLMatcher, LLTokenizer

from tuningfork.domain.generation import AnswerFormat
from tuningfork.inference.answer_schemas import grammar_of, refusal

CPU_SECONDS = 10
MEMORY_BYTES = 2 * 1024**3
_WALL_SECONDS = 60
"""The most elapsed time of a trial: more than `CPU_SECONDS`, since the machine may be busy."""


def try_out(answer_format: AnswerFormat) -> None:
    """Compile the format in a child process; if this returns, compiling it here is safe.

    Takes some tenths of a second. Errors that the compiler itself reports are not raised here.

    Raises:
        InvalidArgument: the format exceeds a limit, or the child process crashed or was stopped.

    """
    if not survives(grammar_of(answer_format)):
        raise refusal(
            f"the schema cannot be enforced: compiling it failed, or took more than {CPU_SECONDS} seconds or "
            f"{MEMORY_BYTES // 1024**3} GiB. Simplify it"
        )


def survives(grammar: str) -> bool:
    """Whether a process with these limits survives compiling the grammar."""
    command = [sys.executable, "-P", "-m", "tuningfork.execution.local.form_trial"]
    try:
        ended = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=grammar.encode(), check=False, capture_output=True, timeout=_WALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def main() -> None:
    """Compile the grammar on standard input, ignoring the result: the parent checks only that the process survives."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    LLMatcher(LLTokenizer("byte"), sys.stdin.read(), log_level=0).compute_bitmask()


if __name__ == "__main__":
    main()
