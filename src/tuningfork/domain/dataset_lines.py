"""Examples as lines of a dataset file: one JSON object on each line, in ASCII.

    {"text_input": "1", "output": "2"}
    {"turns": [{"speaker": "user", "parts": ["1"]}, {"speaker": "model", "parts": ["2"]}], "system_instruction": "!"}
    {"prompt": {"turns": [...]}, "chosen": ["2"], "rejected": ["3"]}

The keys show whether it is a pair, a conversation or a preference. `system_instruction` and a turn's `weight` of 1 may
be left out. Files of versions up to 0.2 have only pairs, and are read like all others.
"""

import json
from typing import Any

from tuningfork.domain.conversation import Conversation, Example, Preference, Speaker, Turn


def line_of(example: Example) -> bytes:
    """The example as a line, with its line break.

    It is ASCII, so that a Unicode line separator in a text does not end a line.
    """
    return json.dumps(_object_of(example)).encode("ascii") + b"\n"


def example_in(line: bytes | str) -> Example:
    """The example in a line that `line_of` returned."""
    fields = json.loads(line)
    if "prompt" in fields:
        return Preference(
            prompt=_conversation_in(fields["prompt"]),
            chosen=tuple(fields["chosen"]),
            rejected=tuple(fields["rejected"]),
        )
    if "turns" in fields:
        return _conversation_in(fields)
    return Conversation.pair(fields["text_input"], fields["output"])


def _object_of(example: Example) -> dict[str, Any]:
    if isinstance(example, Preference):
        prompt = _turns_of(example.prompt)
        return {"prompt": prompt, "chosen": list(example.chosen), "rejected": list(example.rejected)}
    pair = example.as_pair()
    return _turns_of(example) if pair is None else {"text_input": pair[0], "output": pair[1]}


def _turns_of(conversation: Conversation) -> dict[str, Any]:
    turns = [
        {"speaker": turn.speaker.value, "parts": list(turn.parts), **({} if turn.weight else {"weight": 0})}
        for turn in conversation.turns
    ]
    instruction = conversation.system_instruction
    return {"turns": turns, **({} if instruction is None else {"system_instruction": instruction})}


def _conversation_in(fields: dict[str, Any]) -> Conversation:
    turns = (
        Turn(Speaker(turn["speaker"]), tuple(turn["parts"]), 1 if turn.get("weight", 1) else 0)
        for turn in fields["turns"]
    )
    return Conversation(turns=tuple(turns), system_instruction=fields.get("system_instruction"))
