"""The families' models on the disk, with weights, and as this package, transformers and PEFT load them."""

import copy
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
from peft import PeftModel
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedConfig, PreTrainedModel

from families import FAMILIES, Peculiarity, family_config
from tiny_models import CONTEXT_TOKENS, DIALECTS, build_tokenizer, trained_looking
from tuningfork.domain.base_model import AdapterShape, BaseModel, BaseModelName
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.loading import LoadedBase, load_base


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


def save_family(name: str, directory: Path, *, variant: str | None = None) -> Path:
    """Write the family's small random model (fixed seed) with tokenizer and template; returns the directory."""
    dialect = DIALECTS[FAMILIES[name].dialect]
    tokenizer = build_tokenizer(dialect)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(31)
        model = AutoModelForCausalLM.from_config(family_config(name, len(tokenizer), variant))
    _move_from_beginning(model)
    ends = [tokenizer.convert_tokens_to_ids(token) for token in dialect.ends]
    model.generation_config = GenerationConfig(eos_token_id=ends, bos_token_id=tokenizer.bos_token_id)
    model.save_pretrained(directory)
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
