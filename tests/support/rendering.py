"""Rows of tokens that tests look at."""

from tuningfork.domain.conversation import Conversation
from tuningfork.modeling.chat_template import ChatFormat, RenderedRow


def row_of(chat: ChatFormat, example: Conversation) -> RenderedRow:
    """The only row of an example."""
    (row,) = chat.render_example(example)
    return row
