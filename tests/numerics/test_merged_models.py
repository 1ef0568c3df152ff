"""A merged model is, to transformers alone, what base and adapter are to PEFT and to our engines.

In fp32 the three differ in the order of their sums: up to 3e-5 on logits of a spread of 1 to 2. A base in bf16 gets its
merged weights rounded to bf16, which is what storing them in the base's type means; there the exact answer for the
rounded weights is asked for.
"""

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from family_models import ADAPTERS
from tiny_models import packed_logits
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.merging import merge

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOLERANCE = 1e-4
TEXT = torch.randint(0, 250, (45,), generator=torch.Generator().manual_seed(3)).tolist()


@torch.no_grad()
def logits_of(model) -> Tensor:
    """`TV` of the text."""
    return model(torch.tensor([TEXT])).logits[0]


def loaded(directory):
    """By transformers alone."""
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager").eval()


def assert_same(found_TV: Tensor, wanted_TV: Tensor) -> None:
    torch.testing.assert_close(found_TV, wanted_TV, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_merged_model_computes_what_base_and_adapter_compute(family, tmp_path, name):
    merge(family.directory, family.adapter_directory(name), tmp_path / "merged")

    merged_TV = logits_of(loaded(tmp_path / "merged"))

    with_peft = family.with_peft()
    with_peft.set_adapter(name)
    assert_same(merged_TV, logits_of(with_peft))
    with torch.no_grad():
        [ours_TV] = packed_logits(family.base(), [TEXT], family.slots([name]))
    assert_same(merged_TV, ours_TV)
    assert (merged_TV - logits_of(family.plain())).abs().max() > 100 * TOLERANCE


def test_weights_in_bf16_are_merged_and_rounded_once(family, tmp_path):
    base = tmp_path / "base"
    family.plain(torch.bfloat16).save_pretrained(base)
    adapter = family.adapter_directory("b")
    merge(base, adapter, tmp_path / "merged")
    wanted, weights = loaded(base), adapter_format.load(adapter)
    for name, parameter in wanted.named_parameters():
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{layer}.lora_A.weight" in weights.tensors:
            a_RD, b_OR = (weights.tensors[f"{layer}.lora_{which}.weight"] for which in "AB")
            scale = weights.shape.alpha / weights.shape.rank
            parameter.data = torch.addmm(parameter.data, b_OR, a_RD, alpha=scale).bfloat16().float()

    assert_same(logits_of(loaded(tmp_path / "merged")), logits_of(wanted))
