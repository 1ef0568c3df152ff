"""How many jobs may share a pass is asked of the products that the passes use."""

from dataclasses import replace
from datetime import UTC, datetime

import torch

from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import TrainingEngine


class Recording(FrozenProduct):
    """Notes when it is packed and when it is computed."""

    seen: list[str] = []  # noqa: RUF012 - the base class has slots

    def pack(self, *, backward):
        self.seen.append("packed")
        super().pack(backward=backward)

    def __call__(self, x_TD):
        self.seen.append("computed")
        return super().__call__(x_TD)


def test_products_are_packed_before_they_are_asked_whether_they_are_exact(tiny_llama):
    base = load_base(tiny_llama, dtype=torch.bfloat16)
    Recording.seen.clear()
    head = Recording(base.decoder.head.parts, base.decoder.head.bias_O)
    base = replace(base, decoder=replace(base.decoder, head=head))

    TrainingEngine(base, clock=lambda: datetime.now(UTC), max_jobs_per_step=None)

    assert base.weight_copies.prepacked
    assert Recording.seen[0] == "packed"
