"""What a caller asks of an answer's form, compiled for the first time in a process that may die of it.

The compiler is native code and follows schemas recursively. What its bounds and ours forget would otherwise end the
generator and everything in it, and once more each time it is asked. Run by `try_out` as
`python -m tuningfork.execution.form_trial`, with a grammar on its standard input.
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
"""Longer than the processor's time: machines are busy."""


def try_out(answer_format: AnswerFormat) -> None:
    """Compile it elsewhere; when this returns, compiling it here harms nobody.

    Takes some tenths of a second. Faults that the compiler itself tells are not told here.

    Raises:
        InvalidArgument: it is out of bounds, or the process that compiled it died or was stopped.

    """
    if not survives(grammar_of(answer_format)):
        raise refusal(
            f"the schema cannot be enforced: compiling it failed, or took more than {CPU_SECONDS} seconds or "
            f"{MEMORY_BYTES // 1024**3} GiB. Simplify it"
        )


def survives(grammar: str) -> bool:
    """Whether a process that compiles the grammar, within its limits, lives on."""
    command = [sys.executable, "-m", "tuningfork.execution.form_trial"]
    try:
        ended = subprocess.run(  # noqa: S603 - our own interpreter and module
            command, input=grammar.encode(), check=False, capture_output=True, timeout=_WALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0


def main() -> None:
    """Compile what comes on standard input; whether this returns is all that is asked."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    LLMatcher(LLTokenizer("byte"), sys.stdin.read(), log_level=0).compute_bitmask()


if __name__ == "__main__":
    main()
