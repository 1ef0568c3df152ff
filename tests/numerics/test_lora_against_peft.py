"""The same weights give the same logits here and in PEFT, in memory and by way of the disk, in both directions."""

import peft
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from tiny_models import packed_logits, trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.modeling.adapters import format as adapter_format

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

SHAPES = [AdapterShape(rank=1, alpha=1.0), AdapterShape(rank=4, alpha=8.0), AdapterShape(rank=16, alpha=12.0)]
TEXT = torch.randint(0, 200, (24,), generator=torch.Generator().manual_seed(7)).tolist()


def plain_model(base):
    return AutoModelForCausalLM.from_pretrained(base.location, attn_implementation="eager")


@torch.no_grad()
def logits_of(model) -> Tensor:
    return model(torch.tensor([TEXT])).logits[0]


@torch.no_grad()
def logits_with(base, weights) -> Tensor:
    return packed_logits(base, [TEXT], base.slots.load(weights))[0]


def assert_equal_logits(ours_TV, theirs_TV):
    torch.testing.assert_close(ours_TV, theirs_TV, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"rank{shape.rank}")
def test_an_adapter_saved_here_gives_the_same_logits_in_peft(loaded_tiny, tmp_path, shape):
    weights = trained_looking(loaded_tiny.slots, shape, seed=1)
    adapter_format.save(tmp_path / "adapter", weights, loaded_tiny.location)
    theirs = peft.PeftModel.from_pretrained(plain_model(loaded_tiny), tmp_path / "adapter")
    ours_TV = logits_with(loaded_tiny, weights)
    assert_equal_logits(ours_TV, logits_of(theirs))
    assert not torch.allclose(ours_TV, logits_of(plain_model(loaded_tiny)), atol=0.01)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"rank{shape.rank}")
def test_an_adapter_saved_by_peft_gives_the_same_logits_here(loaded_tiny, tmp_path, shape):
    config = peft.LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        target_modules="all-linear",
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    torch.manual_seed(3)
    theirs = peft.get_peft_model(plain_model(loaded_tiny), config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    weights = adapter_format.load(tmp_path / "adapter")
    assert weights.shape == shape
    assert_equal_logits(logits_with(loaded_tiny, weights), logits_of(theirs))


def test_an_adapter_of_peft_may_leave_layers_out(loaded_tiny, tmp_path):
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    torch.manual_seed(3)
    theirs = peft.get_peft_model(plain_model(loaded_tiny), config).eval()
    theirs.save_pretrained(tmp_path / "adapter")
    assert_equal_logits(logits_with(loaded_tiny, adapter_format.load(tmp_path / "adapter")), logits_of(theirs))


def test_both_adapt_the_same_layers(loaded_tiny):
    config = peft.LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    theirs = peft.get_peft_model_state_dict(peft.get_peft_model(plain_model(loaded_tiny), config))
    ours = loaded_tiny.slots.fresh(AdapterShape(rank=4, alpha=8.0), seed=0).tensors
    assert {name: tensor.shape for name, tensor in ours.items()} == {
        name: tensor.shape for name, tensor in theirs.items()
    }


def test_an_adapter_can_be_merged_into_its_base(loaded_tiny, tmp_path):
    weights = trained_looking(loaded_tiny.slots, SHAPES[1], seed=1)
    adapter_format.save(tmp_path / "adapter", weights, loaded_tiny.location)
    merged = peft.PeftModel.from_pretrained(plain_model(loaded_tiny), tmp_path / "adapter").merge_and_unload()
    assert_equal_logits(logits_with(loaded_tiny, weights), logits_of(merged))
