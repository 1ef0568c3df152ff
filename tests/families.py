"""The families of real models, each as a small random model of its real architecture: what the proofs run on.

Sizes keep what can go wrong at full size: several groups of key/value heads with several query heads each, head sizes
that are no power of two or not hidden size / heads, windows shorter than the texts, caps within reach of what they cap,
rotations that are scaled within the first few dozen positions, and norms and biases away from where training begins.
`PECULIARITIES` says what each family does that others do not, as the change that would undo it.
"""

import copy
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    PhiConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
    SmolLM3Config,
)

from tiny_models import CONTEXT_TOKENS, DIALECTS, Architecture, build_tokenizer, trained_looking
from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.modeling import adapter_format
from tuningfork.modeling.loading import LoadedBase, load_base
from tuningfork.modeling.lora import BASE_ALONE, AdapterWeights

WINDOW = 12
"""Of every family with sliding windows; shorter than most texts of the proofs."""

_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 48,
}
LONGROPE_TOKENS = 256
_PHI4_ROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "partial_rotary_factor": 0.75,
    "short_factor": [1.0 + 0.3 * index for index in range(9)],
    "long_factor": [2.0 + 2 * index for index in range(9)],
    "original_max_position_embeddings": LONGROPE_TOKENS,
}
_GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1_000_000.0, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}


@dataclass(frozen=True, kw_only=True)
class Peculiarity:
    """One thing that a family does, as what takes it away: other settings, or weights that do nothing."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    neutral: str | None = None
    """Parameters whose names match this pattern are set back to where their training begins."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture: its configuration, whose tokenizer and template it has, and what sets it apart."""

    config: Callable[..., PreTrainedConfig]
    shape: Mapping[str, Any]
    dialect: Architecture = Architecture.LLAMA
    peculiarities: Mapping[str, Peculiarity] = field(default_factory=dict)


_WINDOWED = Peculiarity(settings={"sliding_window": CONTEXT_TOKENS})
_NORMED_HEADS = Peculiarity(neutral=r"\.[qk]_norm\.")
_WEIGHTED_NORMS = Peculiarity(neutral=r"(layernorm|\.norm)\.weight")


def _unscaled(theta: float) -> Peculiarity:
    return Peculiarity(settings={"rope_parameters": {"rope_type": "default", "rope_theta": theta}})


FAMILIES: dict[str, Family] = {
    # Llama 3.1 and later: rotations stretched by frequency.
    "llama3": Family(
        config=LlamaConfig,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "rope_parameters": _LLAMA3_ROPE,
        },
        peculiarities={"rope scaling": _unscaled(500_000.0), "norms": _WEIGHTED_NORMS},
    ),
    # SmolLM 1 and 2: a Llama with a tied head and an odd number of heads.
    "smollm2": Family(
        config=LlamaConfig,
        shape={
            "hidden_size": 144,
            "intermediate_size": 200,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        },
        dialect=Architecture.QWEN3,
        peculiarities={"rope theta": _unscaled(10_000.0)},
    ),
    # SmolLM3: every so many layers have no rotation.
    "smollm3": Family(
        config=SmolLM3Config,
        shape={
            "hidden_size": 80,
            "intermediate_size": 96,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "no_rope_layer_interval": 2,
            "tie_word_embeddings": True,
        },
        dialect=Architecture.QWEN3,
        peculiarities={
            "layers without rotation": Peculiarity(settings={"no_rope_layers": [1, 1, 1]}),
            "rope theta": _unscaled(10_000.0),
        },
    ),
    "qwen2": Family(
        config=Qwen2Config,
        shape={
            "hidden_size": 96,
            "intermediate_size": 112,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
        },
        dialect=Architecture.QWEN3,
        peculiarities={
            "biases of q, k, v": Peculiarity(neutral=r"_proj\.bias"),
            "rope theta": _unscaled(10_000.0),
        },
    ),
    # Qwen 2 with its upper layers windowed, as its configuration allows, and a tied head, as its small ones have.
    "qwen2-windowed": Family(
        config=Qwen2Config,
        shape={
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "use_sliding_window": True,
            "sliding_window": WINDOW,
            "max_window_layers": 1,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"sliding window": _WINDOWED},
    ),
    "qwen3": Family(
        config=Qwen3Config,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "tie_word_embeddings": False,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"norms of q and k": _NORMED_HEADS},
    ),
    "qwen3-tied": Family(
        config=Qwen3Config,
        shape={
            "hidden_size": 56,
            "intermediate_size": 72,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "tie_word_embeddings": True,
        },
        dialect=Architecture.QWEN3,
        peculiarities={"norms of q and k": _NORMED_HEADS},
    ),
    "gemma2": Family(
        config=Gemma2Config,
        shape={
            "hidden_size": 48,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 24,
            "query_pre_attn_scalar": 18,
            "sliding_window": WINDOW,
            "attn_logit_softcapping": 3.0,
            "final_logit_softcapping": 4.0,
        },
        dialect=Architecture.GEMMA3,
        peculiarities={
            "soft-capped scores": Peculiarity(settings={"attn_logit_softcapping": None}),
            "soft-capped logits": Peculiarity(settings={"final_logit_softcapping": None}),
            "sliding window": _WINDOWED,
            "windows in turn": Peculiarity(settings={"layer_types": ["sliding_attention"] * 3}),
            "scaling of queries": Peculiarity(settings={"query_pre_attn_scalar": 24}),
            "norms after attention and MLP": Peculiarity(neutral=r"post_(attention|feedforward)_layernorm"),
            "norms": Peculiarity(neutral=r"norm\.weight"),
        },
    ),
    "gemma3": Family(
        config=Gemma3TextConfig,
        shape={
            "hidden_size": 60,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "query_pre_attn_scalar": 20,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "rope_parameters": _GEMMA3_ROPE,
        },
        dialect=Architecture.GEMMA3,
        peculiarities={
            "norms of q and k": _NORMED_HEADS,
            "sliding window": _WINDOWED,
            "a rotation for each kind of layer": Peculiarity(
                settings={"rope_parameters": dict.fromkeys(_GEMMA3_ROPE, _GEMMA3_ROPE["full_attention"])}
            ),
            "scaled global rotation": Peculiarity(
                settings={
                    "rope_parameters": _GEMMA3_ROPE
                    | {"full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0}}
                }
            ),
            "scaling of queries": Peculiarity(settings={"query_pre_attn_scalar": 16}),
        },
    ),
    "mistral": Family(
        config=MistralConfig,
        shape={
            "hidden_size": 64,
            "intermediate_size": 104,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 20,
            "sliding_window": WINDOW,
            "tie_word_embeddings": False,
        },
        peculiarities={"sliding window": _WINDOWED},
    ),
    # Phi-3 mini: fused projections, as many key/value heads as query heads, a window.
    "phi3": Family(
        config=Phi3Config,
        shape={
            "hidden_size": 72,
            "intermediate_size": 88,
            "num_attention_heads": 3,
            "num_key_value_heads": 3,
            "sliding_window": WINDOW,
            "tie_word_embeddings": False,
        },
        peculiarities={"sliding window": _WINDOWED},
    ),
    # Phi-4 mini has Phi-3's architecture with groups of heads, a tied head, and a rotation of part of each head, of
    # which there are two: for texts of the pretraining's length, and for longer ones.
    "phi4-mini": Family(
        config=Phi3Config,
        shape={
            "hidden_size": 96,
            "intermediate_size": 80,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "original_max_position_embeddings": LONGROPE_TOKENS,
            "rope_parameters": _PHI4_ROPE,
        },
        peculiarities={
            "partial rotation": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
                }
            ),
            "rope scaling": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 0.75}
                }
            ),
        },
    ),
    # Phi-1, 1.5 and 2: attention and MLP side by side behind one norm, biases everywhere.
    "phi": Family(
        config=PhiConfig,
        shape={
            "hidden_size": 64,
            "intermediate_size": 112,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "partial_rotary_factor": 0.5,
            "tie_word_embeddings": False,
        },
        peculiarities={
            "partial rotation": Peculiarity(
                settings={
                    "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "partial_rotary_factor": 1.0}
                }
            ),
            "biases": Peculiarity(neutral=r"(dense|fc1|fc2|_proj|lm_head)\.bias"),
            "norms with biases": Peculiarity(neutral=r"layernorm\."),
        },
    ),
}

LAYERS = 3


def family_config(name: str, vocabulary_size: int) -> PreTrainedConfig:
    family = FAMILIES[name]
    return family.config(
        vocab_size=vocabulary_size,
        num_hidden_layers=LAYERS,
        max_position_embeddings=CONTEXT_TOKENS,
        # So wide that logits, scores and gates differ from token to token.
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        **family.shape,
    )


def _begins_at(model: PreTrainedModel, name: str) -> float:
    """Where the training of a norm's weight or a bias begins; Gemma's norms multiply with 1 + weight."""
    return 0.0 if name.endswith("bias") or model.config.model_type.startswith("gemma") else 1.0


@torch.no_grad()
def _move_from_beginning(model: PreTrainedModel) -> None:
    """Norms and biases have weights that differ, as training leaves them."""
    generator = torch.Generator().manual_seed(5)
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            spread = 0.3 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(_begins_at(model, name) + spread)


def save_family(name: str, directory: Path, *, dtype: torch.dtype = torch.float32) -> Path:
    """Write the family's small random model (fixed seed) with tokenizer and template; returns the directory."""
    dialect = DIALECTS[FAMILIES[name].dialect]
    tokenizer = build_tokenizer(dialect)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(31)
        model = AutoModelForCausalLM.from_config(family_config(name, len(tokenizer)))
    _move_from_beginning(model)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in dialect.ends]
    model.generation_config = GenerationConfig(eos_token_id=ends, bos_token_id=tokenizer.bos_token_id)
    model.to(dtype).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def without(model: PreTrainedModel, peculiarity: Peculiarity) -> PreTrainedModel:
    """The same weights in a model that lacks one thing that its family does."""
    config = copy.deepcopy(model.config)
    for setting, value in peculiarity.settings.items():
        setattr(config, setting, copy.deepcopy(value))
    other = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    other.load_state_dict(model.state_dict())
    if peculiarity.neutral is not None:
        matching = [each for each in other.named_parameters() if re.search(peculiarity.neutral, each[0])]
        assert matching
        for name, parameter in matching:
            nn.init.constant_(parameter, _begins_at(other, name))
    return other


ADAPTERS = {
    "a": AdapterShape(rank=4, alpha=8.0),
    "b": AdapterShape(rank=16, alpha=24.0),
    "c": AdapterShape(rank=3, alpha=3.0),
}


@dataclass
class FamilyModels:
    """One family's model on the disk, as this package loads it and as transformers and PEFT do; loaded once each.

    All tests share them: who loads adapters unloads them, who trains takes a base of its own.
    """

    name: str
    directory: Path
    _bases: dict[torch.dtype, LoadedBase] = field(default_factory=dict)
    _slots: dict[torch.dtype, dict[str | None, int]] = field(default_factory=dict)
    _with_peft: dict[torch.dtype | None, PeftModel] = field(default_factory=dict)

    @property
    def base_model(self) -> BaseModel:
        """Its catalog entry."""
        return BaseModel(
            name=BaseModelName(f"models/small-{self.name}"),
            location=str(self.directory),
            display_name=self.name,
            context_tokens=CONTEXT_TOKENS,
            output_tokens=64,
            adapter=AdapterShape(rank=4, alpha=8.0),
        )

    def fresh_base(self, dtype: torch.dtype = torch.float32) -> LoadedBase:
        """Ours, for one test alone."""
        return load_base(self.base_model, dtype=dtype)

    def base(self, dtype: torch.dtype = torch.float32) -> LoadedBase:
        """Ours, shared, with `ADAPTERS` in its slots."""
        if dtype not in self._bases:
            base = self._bases[dtype] = self.fresh_base(dtype)
            self._slots[dtype] = {name: base.slots.load(weights) for name, weights in self.adapters.items()}
        return self._bases[dtype]

    def slots(self, names: Iterable[str | None], dtype: torch.dtype = torch.float32) -> list[int]:
        """Where the shared base has these adapters; None: the base alone."""
        self.base(dtype)
        return [BASE_ALONE if name is None else self._slots[dtype][name] for name in names]

    @cached_property
    def adapters(self) -> dict[str, AdapterWeights]:
        """`ADAPTERS` with weights that change every layer."""
        slots = self.fresh_base().slots
        return {name: trained_looking(slots, shape, seed) for seed, (name, shape) in enumerate(ADAPTERS.items())}

    def adapter_directory(self, name: str) -> Path:
        """Where one of the adapters is saved."""
        directory = self.directory / "adapters" / name
        if not directory.exists():
            adapter_format.save(directory, self.adapters[name], str(self.directory))
        return directory

    @cached_property
    def config(self) -> PreTrainedConfig:
        return AutoConfig.from_pretrained(self.directory)

    @cached_property
    def _plain(self) -> PreTrainedModel:
        return AutoModelForCausalLM.from_pretrained(self.directory, attn_implementation="eager").eval()

    def plain(self, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
        """A copy of transformers' own, free to be changed."""
        return copy.deepcopy(self._plain).to(dtype)

    def with_peft(self, dtype: torch.dtype = torch.float32) -> PeftModel:
        """Transformers' own with the adapters in PEFT's layers, shared."""
        return self._with_peft_of(dtype, self.plain(dtype))

    def exact(self) -> PeftModel:
        """What bf16 comes near to: the weights rounded to it, and all else in fp32."""
        return self._with_peft_of(None, self.plain(torch.bfloat16).float())

    def _with_peft_of(self, key: torch.dtype | None, plain: PreTrainedModel) -> PeftModel:
        if key not in self._with_peft:
            first, *others = ADAPTERS
            model = PeftModel.from_pretrained(plain, self.adapter_directory(first), adapter_name=first)
            for name in others:
                model.load_adapter(self.adapter_directory(name), name)
            self._with_peft[key] = model.eval()
        return self._with_peft[key]
