"""A batch computes the common prefix of its examples once, and its gradients are as without sharing the prefix."""

from dataclasses import replace

import pytest
import torch

from rendering import row_of
from training_runs import curve, engine_over, job, run_to_the_end
from tuningfork.domain.conversation import Conversation
from tuningfork.training.batches import OwnedSegment, Segment, pack

SAME = "You are asked for one word, in lower case letters, and nothing else beside it. "
EXAMPLES = tuple(
    Conversation.pair(SAME + given, wanted) for given, wanted in [("a", "bee"), ("bb", "c"), ("c", "dd"), ("d", "e")]
)


def trained(base):
    engine = engine_over(base)
    one = job("one", examples=EXAMPLES, batch_size=4)
    engine.admit(one)
    reports = run_to_the_end(engine)
    return curve(reports), engine._jobs[one.id].weights_P.clone()


def test_the_curve_and_the_adapter_are_those_of_autograd_over_every_token(family):
    base = family.fresh_base()
    if base.decoder is None:
        pytest.skip("runs by transformers' code, which shares nothing")
    placed = [OwnedSegment(segment=Segment.of(row_of(base.chat, each)), owner=0) for each in EXAMPLES]
    together, apart = (len(pack(placed, share=share).ids_T) for share in (True, False))
    assert together < 0.5 * apart
    losses, weights_P = trained(base)
    plain = family.fresh_base()
    losses_wanted, wanted_P = trained(replace(plain, decoder=None))
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(losses_wanted), rtol=1e-4, atol=1e-5)
    begun_P = base.slots.flatten(base.slots.fresh(job("one").adapter, job("one").seed))
    moved_P = wanted_P - begun_P
    assert (weights_P - wanted_P).norm() < 0.02 * moved_P.norm()
