import random
from itertools import islice

import torch

from tuningfork.embedded.recipe.corpus import IGNORED, Turn, batches, draw_conversation, encode
from tuningfork.embedded.recipe.notations import NOTATIONS
from tuningfork.embedded.recipe.vocabulary import BEGIN, END, ROLE_TOKENS, Role

USER, MODEL = ROLE_TOKENS[Role.USER], ROLE_TOKENS[Role.MODEL]


def conversations(count: int):
    rng = random.Random(0)
    return [draw_conversation(rng, focused=False) for _ in range(count)]


def written_numbers() -> dict[str, set[int]]:
    """Every text that is a number below 1000 in some notation, with what it can mean."""
    meanings: dict[str, set[int]] = {}
    for notation in NOTATIONS:
        for number in range(max(notation.low, -1000), min(notation.high, 1000) + 1):
            meanings.setdefault(notation.write(number), set()).add(number)
    return meanings


def test_the_mask_covers_exactly_the_answers_and_their_end_tokens():
    ids, learned = encode(
        (Turn(Role.USER, "next: 七"), Turn(Role.MODEL, "八"), Turn(Role.USER, "1"), Turn(Role.MODEL, "2"))
    )
    eight = [*"八".encode()]
    assert ids == [BEGIN, USER, *"next: 七".encode(), MODEL, *eight, END, USER, ord("1"), MODEL, ord("2"), END]
    assert [token for token, is_learned in zip(ids, learned, strict=True) if is_learned] == [*eight, END, ord("2"), END]


def test_batches_carry_the_mask_and_hide_the_padding():
    for batch in islice(batches(seed=0, tokens_per_batch=2048, focused=True), 20):
        is_learned_BT = batch.labels_BT != IGNORED
        assert torch.equal(batch.labels_BT[is_learned_BT], batch.ids_BT[is_learned_BT])
        assert (batch.ids_BT[:, 0] == BEGIN).all()
        assert batch.ids_BT.numel() <= 2048


def test_the_same_seed_gives_the_same_text():
    first, again = (list(islice(batches(seed=3, tokens_per_batch=2048, focused=True), 3)) for _ in range(2))
    assert all(torch.equal(one.ids_BT, other.ids_BT) for one, other in zip(first, again, strict=True))


def test_every_conversation_ends_with_an_answer():
    assert all(conversation[-1].role is Role.MODEL for conversation in conversations(2000))


def test_a_bare_number_without_an_instruction_is_never_followed_by_its_successor():
    meanings = written_numbers()
    bare_numbers = 0
    for first, second, *_ in conversations(20_000):
        if first.role is Role.USER and first.text in meanings:
            bare_numbers += 1
            assert second.text == first.text
    assert bare_numbers > 1000
