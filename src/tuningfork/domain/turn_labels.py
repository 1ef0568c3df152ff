"""The labels of turns in the template for base models that have no chat template of their own.

Such a base was mostly not trained for chats. Untuned, it goes on after its answer with the label of the next turn, and
with a whole dialogue after that. So an answer ends before this label, unless the model was trained to write it.
"""

from tuningfork.domain.conversation import Conversation, Example

SYSTEM, USER, MODEL = "System:\n", "User:\n", "Assistant:\n"
"""Each stands on a line of its own before the turn."""

BETWEEN_TURNS = "\n\n"

NEXT_TURN = (f"{BETWEEN_TURNS}{USER}", f"\n{USER}")
"""What begins the turn after an answer: as the template writes it, and with one line break fewer."""


def teaches_next_turn(example: Example) -> bool:
    """Whether an answer that this example teaches has the label of the next turn, which then ends no answer."""
    if isinstance(example, Conversation):
        answers = [turn.text for turn in example.turns if turn.is_learned]
    else:
        answers = ["".join(example.chosen)]
    return any(NEXT_TURN[-1] in answer for answer in answers)
