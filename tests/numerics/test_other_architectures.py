"""Beyond the families that are proven part by part: another architecture is computed rightly or refused, never wrongly.

Each is built small from its own configuration. Where it loads, its logits are those of transformers, and with an
adapter those of PEFT; where it does not, the refusal is in words.
"""

import pytest
import torch
import transformers
from packaging.version import Version
from peft import PeftModel
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

from families import WINDOW
from tiny_models import CONTEXT_TOKENS, DIALECTS, Architecture, build_tokenizer, packed_logits, trained_looking
from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.domain.errors import InternalError
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

TOKENIZER = build_tokenizer(DIALECTS[Architecture.LLAMA])
TEXTS = [torch.randint(0, 250, (n,), generator=torch.Generator().manual_seed(n)).tolist() for n in (1, 40, 29)]
SHAPE = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": CONTEXT_TOKENS,
    "initializer_range": 0.15,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": None,
}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}

COMPUTED = {
    "apertus": {},
    "arcee": {},
    "cohere2": {"sliding_window": WINDOW},
    "ernie4_5": {},
    "exaone4": {"sliding_window": WINDOW},
    "gemma4_text": {"sliding_window": WINDOW},
    "glm4": {},
    "gpt_neox": {},
    "granite": {"embedding_multiplier": 3.0, "residual_multiplier": 0.5, "attention_multiplier": 0.2},
    "granitemoe": {},
    "helium": {},
    "hunyuan_v1_dense": {},
    "ministral": {"sliding_window": WINDOW},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "olmo2": {},
    "olmo3": {"sliding_window": WINDOW},
    "opt": {"ffn_dim": 96, "word_embed_proj_dim": 64},
    "qwen3_moe": {"num_experts": 4, "decoder_sparse_step": 1, **EXPERTS},
    "seed_oss": {},
    "starcoder2": {},
}
REFUSED = {
    "bloom": {"n_layer": 3, "n_head": 4},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv"]},
    "mamba": {"state_size": 8},
    "mpt": {"d_model": 64, "n_layers": 3, "n_heads": 4},
    "nemotron": {},
    "qwen3_next": {
        "num_experts": 4,
        "shared_expert_intermediate_size": 32,
        "linear_num_key_heads": 2,
        "linear_num_value_heads": 2,
        **EXPERTS,
    },
    "stablelm": {},
}

# Its code takes another attention than its own from transformers 5.24 on.
GPTJ = {"gptj": {"n_embd": 64, "n_layer": 3, "n_head": 4, "rotary_dim": 8}}
(COMPUTED if Version(transformers.__version__) >= Version("5.24") else REFUSED).update(GPTJ)


def saved(architecture, settings, directory):
    config = AutoConfig.for_model(architecture, **(SHAPE | settings))
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config)
    model.generation_config = GenerationConfig(eos_token_id=[1])
    model.save_pretrained(directory)
    TOKENIZER.save_pretrained(directory)
    return BaseModel(
        name=BaseModelName(f"models/{architecture}"),
        location=str(directory),
        display_name=architecture,
        context_tokens=CONTEXT_TOKENS,
    )


@torch.no_grad()
def logits_of(model):
    return torch.cat([model(torch.tensor([text])).logits[0] for text in TEXTS])


@pytest.mark.parametrize("architecture", COMPUTED)
def test_an_architecture_that_loads_computes_what_transformers_and_peft_compute(architecture, tmp_path):
    base_model = saved(architecture, COMPUTED[architecture], tmp_path / "model")
    base = load_base(base_model, dtype=torch.float32)
    plain = AutoModelForCausalLM.from_pretrained(base.location, attn_implementation="eager").eval()
    ours_TV = torch.cat(packed_logits(base, TEXTS, None))
    torch.testing.assert_close(ours_TV, logits_of(plain), rtol=0, atol=1e-4)

    weights = trained_looking(base.slots, AdapterShape(rank=4, alpha=8.0), seed=1)
    adapter_format.save(tmp_path / "adapter", weights, base.location)
    theirs = PeftModel.from_pretrained(plain, tmp_path / "adapter").eval()
    slot = base.slots.load(adapter_format.load(tmp_path / "adapter"))
    adapted_TV = torch.cat(packed_logits(base, TEXTS, slot))
    torch.testing.assert_close(adapted_TV, logits_of(theirs), rtol=0, atol=2e-4)
    assert (adapted_TV - ours_TV).abs().max() > 0.01


@pytest.mark.parametrize("architecture", REFUSED)
def test_an_architecture_that_cannot_be_computed_is_refused_in_words(architecture, tmp_path):
    base_model = saved(architecture, REFUSED[architecture], tmp_path)
    with pytest.raises(InternalError, match=r"It must be|choose"):
        load_base(base_model, dtype=torch.float32)
