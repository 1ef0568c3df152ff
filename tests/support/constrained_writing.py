"""Write as a model would that has no sense at all: of the tokens that are allowed, any."""

from dataclasses import dataclass
from random import Random

from tuningfork.domain.generation import AnswerFormat
from tuningfork.inference.constraints import Constraint, Grammars
from tuningfork.inference.detokenizer import Detokenizer
from tuningfork.modeling.chat_template import ChatFormat

SPARE_TOKENS = 5
"""The logits are wider than the tokenizer, as those of most models are."""


@dataclass(frozen=True)
class Written:
    """`ended`: by an end of turn or because nothing else could follow; otherwise the pen was taken away."""

    text: str
    tokens: tuple[int, ...]
    ended: bool


def grammars_of(chat: ChatFormat) -> Grammars:
    return Grammars(chat, vocabulary_size=len(chat.tokenizer) + SPARE_TOKENS)


def allowed_by(constraint: Constraint) -> list[int]:
    words = [word & 0xFFFFFFFF for word in constraint.allowed().tolist()]
    return [32 * index + bit for index, word in enumerate(words) for bit in range(32) if word >> bit & 1]


def write(chat: ChatFormat, grammars: Grammars, form: AnswerFormat, seed: int, *, most_tokens: int = 300) -> Written:
    """One text. Half the time a token that closes something is preferred, so that most texts come to an end."""
    constraint, random = grammars.begin(form), Random(seed)
    closing = {index for text in '"]},\n' for index in chat.tokenizer.encode(text, add_special_tokens=False)}
    ends = chat.end_of_turn_ids
    detokenizer = Detokenizer(
        lambda tokens: chat.tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        ),
        lead=chat.lead,
    )
    text, tokens = "", []
    for _ in range(most_tokens):
        allowed = allowed_by(constraint)
        assert constraint.fault is None, constraint.fault
        assert allowed, "nothing is allowed, so the model is stuck"
        preferred = [token for token in allowed if token in closing | ends]
        token = random.choice(preferred if preferred and random.random() < 0.5 else allowed)
        if token in ends:
            return Written(text + detokenizer.finish(), tuple(tokens), ended=True)
        tokens.append(token)
        text += detokenizer.push(token)
        constraint.accept(token)
        if constraint.complete:
            return Written(text + detokenizer.finish(), tuple(tokens), ended=True)
    return Written(text + detokenizer.finish(), tuple(tokens), ended=False)
