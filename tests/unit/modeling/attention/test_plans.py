"""Our attention gives transformers' own logits, alone and packed, on every architecture we claim."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tuningfork.modeling.attention.plans import PackedPlan, attend_segment
from tuningfork.modeling.attention.registration import ATTENTION

SMALL = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
WINDOWED = {"sliding_window": 7, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
ARCHITECTURES = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SMALL)),
    "llama without shared heads": (LlamaForCausalLM, LlamaConfig(**(SMALL | {"num_key_value_heads": 4}))),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SMALL)),
    "qwen2 windowed": (Qwen2ForCausalLM, Qwen2Config(**SMALL, use_sliding_window=True, **WINDOWED)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SMALL, head_dim=16)),
    "gemma2": (
        Gemma2ForCausalLM,
        # Small caps bend the scores of random weights too.
        Gemma2Config(**SMALL, head_dim=16, attn_logit_softcapping=0.5, final_logit_softcapping=5.0, **WINDOWED),
    ),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(**SMALL, head_dim=16, **WINDOWED)),
    "mistral windowed": (MistralForCausalLM, MistralConfig(**SMALL, sliding_window=7)),
    "phi3": (Phi3ForCausalLM, Phi3Config(**SMALL)),
}
EXACT = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(params=ARCHITECTURES, name="pair")
def _pair(request):
    """One random model twice: with transformers' eager attention, and with ours."""
    torch.manual_seed(0)
    kind, config = ARCHITECTURES[request.param]
    theirs = kind._from_config(deepcopy(config), attn_implementation="eager").eval()
    # The default initialization is so small that every token would attend to all alike.
    for name, parameter in theirs.named_parameters():
        if "q_proj" in name or "k_proj" in name or "qkv_proj" in name:
            parameter.data.mul_(20)
    ours = kind._from_config(deepcopy(config), attn_implementation=ATTENTION).eval()
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def packed_logits(model: PreTrainedModel, segments: list[Tensor]) -> Tensor:
    positions_T = torch.cat([torch.arange(len(segment)) for segment in segments])
    return model(
        input_ids=torch.cat(segments)[None],
        position_ids=positions_T[None],
        use_cache=False,
        attention_plan=PackedPlan(tuple(len(segment) for segment in segments)),
    ).logits[0]


def random_segments(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(1, 101, (length,), generator=generator) for length in lengths]


def test_one_segment_gives_the_logits_of_eager_attention(pair):
    theirs, ours = pair
    [tokens_T] = random_segments(33)
    torch.testing.assert_close(packed_logits(ours, [tokens_T]), theirs(tokens_T[None]).logits[0], **EXACT)


def test_packed_segments_give_the_logits_each_has_alone(pair):
    theirs, ours = pair
    segments = random_segments(5, 1, 33, 8)
    alone_TV = torch.cat([theirs(segment[None]).logits[0] for segment in segments])
    torch.testing.assert_close(packed_logits(ours, segments), alone_TV, **EXACT)


def test_gradients_are_those_of_eager_attention(pair):
    theirs, ours = pair
    segments = random_segments(5, 20)
    torch.cat([theirs(segment[None]).logits[0] for segment in segments]).square().mean().backward()
    packed_logits(ours, segments).square().mean().backward()
    for (name, wanted), (_, found) in zip(theirs.named_parameters(), ours.named_parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("softcap", [None, 1.0])
@pytest.mark.parametrize("sliding_window", [None, 5, 150])
@pytest.mark.parametrize("tokens", [1, 37, 200])
def test_blocks_of_queries_change_nothing(tokens, sliding_window, softcap):
    torch.manual_seed(0)
    query_HTK = torch.randn(4, tokens, 8)
    key_GSK, value_GSK = torch.randn(2, 2, 200, 8)
    options = {"scaling": 0.3, "sliding_window": sliding_window, "softcap": softcap}
    whole_THK = attend_segment(query_HTK, key_GSK, value_GSK, **options)
    in_blocks_THK = attend_segment(query_HTK, key_GSK, value_GSK, mask_elements=16 * 200, **options)
    torch.testing.assert_close(in_blocks_THK, whole_THK)
    # A second implementation, token by token.
    scores_HTS = query_HTK @ key_GSK.repeat_interleave(2, dim=0).transpose(1, 2) * 0.3
    scores_HTS = scores_HTS if softcap is None else softcap * torch.tanh(scores_HTS / softcap)
    for token in range(tokens):
        position = 200 - tokens + token
        first = 0 if sliding_window is None else max(0, position - sliding_window + 1)
        weights_HS = torch.softmax(scores_HTS[:, token, first : position + 1], dim=-1)
        wanted_HK = torch.einsum("hs,hsk->hk", weights_HS, value_GSK[:, first : position + 1].repeat_interleave(2, 0))
        torch.testing.assert_close(whole_THK[token], wanted_HK)


def test_attention_in_both_directions_is_refused():
    config = Gemma3TextConfig(**SMALL, head_dim=16, use_bidirectional_attention=True)
    model = Gemma3ForCausalLM._from_config(config, attn_implementation=ATTENTION)
    with pytest.raises(NotImplementedError, match="plain causal model"):
        packed_logits(model, random_segments(4))


def test_more_than_one_row_is_refused():
    model = LlamaForCausalLM._from_config(LlamaConfig(**SMALL), attn_implementation=ATTENTION)
    with pytest.raises(ValueError, match="one packed row of tokens; 2 rows"):
        model(input_ids=torch.ones(2, 3, dtype=torch.long), attention_plan=PackedPlan((3,)))


@pytest.mark.bf16
def test_half_precision_stays_close_to_eager_attention(pair):
    theirs, ours = (model.bfloat16() for model in pair)
    segments = random_segments(5, 33)
    alone_TV = torch.cat([theirs(segment[None]).logits[0] for segment in segments])
    packed_TV = packed_logits(ours, segments)
    assert packed_TV.dtype == torch.bfloat16
    torch.testing.assert_close(packed_TV.float(), alone_TV.float(), rtol=0.1, atol=0.05)
