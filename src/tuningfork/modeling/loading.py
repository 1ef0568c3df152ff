"""Bring a base model into memory, ready for adapters: from a Hub id, a directory, or the package itself.

Only safetensors files are read and no code that comes with a model is run. Weights are memory-mapped where they need no
conversion, so that the trainer and the generator of one machine share one copy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from tuningfork import embedded
from tuningfork.domain.base_model import EMBEDDED, BaseModel
from tuningfork.domain.errors import InternalError
from tuningfork.modeling.attention import ATTENTION, AttentionPlan, PackedPlan
from tuningfork.modeling.base_files import fingerprint_of
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.context_length import context_length_of
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import How
from tuningfork.modeling.decoder.recipe import decoder_of
from tuningfork.modeling.lora import AdapterSlots, Slots
from tuningfork.modeling.memory_plan import Luxuries, foresee

_LOADING_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)
"""What transformers raises for files it cannot read or an architecture it does not know."""


class BaseUnusable(InternalError):
    """The base model that the catalog names cannot be loaded, or not be tuned; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBase:
    """A resident base. An adapter's loader takes it from `location`, a directory or a Hub id (and then `revision`)."""

    location: str
    model: PreTrainedModel = field(repr=False)
    chat: ChatFormat = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    context_tokens: int
    slots: AdapterSlots = field(repr=False)
    luxuries: Luxuries = Luxuries()
    revision: str | None = None
    fingerprint: str | None = None
    decoder: Decoder | None = field(default=None, repr=False)
    """The model's own forward pass written out; None: its family runs by transformers' code."""

    def logits(self, ids_T: Tensor, positions_T: Tensor, kept_N: Tensor, plan: AttentionPlan, slots: Slots) -> Tensor:
        """Logits `NV` after the tokens `kept_N` of a packed row, under these adapters; no gradients.

        Nobody waits for a GPU if `kept_N` lies on the CPU: adapters are chosen there.
        """
        if self.decoder is not None:
            return self.decoder.logits(ids_T, positions_T, kept_N, plan, slots)
        with self.slots.routed(slots), torch.no_grad():
            logits_1NV: Tensor = self.model(
                input_ids=ids_T[None],
                position_ids=positions_T[None],
                use_cache=False,
                logits_to_keep=kept_N.to(ids_T.device),
                attention_plan=plan,
            ).logits
        return logits_1NV[0]


def load_base(base: BaseModel, *, device: str = "cpu", dtype: torch.dtype | None = None) -> LoadedBase:
    """Load the base, frozen, with adapter slots on its linear layers and attention over packed rows.

    Args:
        base: its catalog entry.
        device: a torch device.
        dtype: of the weights and of all computing; None: bfloat16 where the device computes in it natively (AVX-512
            BF16, AMX, Arm BF16, CUDA from compute capability 8.0), else float32.

    Raises:
        BaseUnusable: files are missing, there is too little memory, or the architecture has no pluggable attention or
            no linear layers.

    """
    place = torch.device(device)
    dtype = dtype or native_dtype(place)
    location = str(embedded.model_directory()) if base.location == EMBEDDED else base.location
    _check_directory(base, Path(location))
    foreseen = foresee(location, revision=base.revision, rank=base.adapter.rank, dtype=dtype, device=place)
    if foreseen.shortage:
        raise BaseUnusable(f"base model {base.name} ({location}) {foreseen.shortage}")
    model = _load_model(base, location, dtype)
    cast("nn.Module", model).to(place).eval()
    chat = ChatFormat(
        _load_tokenizer(base, location), template=base.chat_template, end_ids=_as_ids(model.generation_config)
    )
    slots = AdapterSlots.attach(model)
    hows = _check_attention(base, model)
    return LoadedBase(
        location=location,
        model=model,
        chat=chat,
        device=place,
        dtype=dtype,
        context_tokens=_context_tokens(base, model),
        slots=slots,
        luxuries=foreseen.luxuries,
        revision=base.revision,
        fingerprint=fingerprint_of(location, base.revision),
        decoder=decoder_of(model, slots, hows),
    )


def native_dtype(device: torch.device) -> torch.dtype:
    """The narrowest type that the device computes in natively: bfloat16, or else float32."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float32
    if device.type == "cpu":
        # Torch's newest releases only; an older one computes in float32, slower but right.
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        if any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16")):
            return torch.bfloat16
    return torch.float32


def _check_directory(base: BaseModel, directory: Path) -> None:
    """Name what is missing before transformers stumbles over it. A Hub id that is no directory passes."""
    if not directory.is_dir():
        if base.location == EMBEDDED or directory.is_absolute() or base.location.startswith((".", "~")):
            raise BaseUnusable(f"base model {base.name}: there is no directory {directory}; check its location")
        return
    wanted = {
        "config.json": ("config.json",),
        "weights in the safetensors format": ("*.safetensors",),
        "a tokenizer": ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    }
    missing = [what for what, patterns in wanted.items() if not any(any(directory.glob(each)) for each in patterns)]
    if missing:
        raise BaseUnusable(
            f"base model {base.name}: {directory} lacks {' and '.join(missing)}. It must be a transformers model with "
            "its tokenizer, as model.save_pretrained() and tokenizer.save_pretrained() write them; pickled weights "
            "(.bin, .pt) are never read"
        )


def _load_model(base: BaseModel, location: str, dtype: torch.dtype) -> PreTrainedModel:
    # Bars of child processes would write over each other; downloads keep theirs.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # With `output_loading_info` the model comes in a pair, which its type does not say.
        from_pretrained: Any = AutoModelForCausalLM.from_pretrained
        model, report = from_pretrained(
            location,
            revision=base.revision or "main",
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation=ATTENTION,
            output_loading_info=True,
        )
    except _LOADING_FAULTS as error:
        raise BaseUnusable(
            f"base model {base.name} ({location}) could not be loaded: {error}. It must be a causal language model of "
            "an architecture that transformers itself contains and whose attention is pluggable, with weights in the "
            "safetensors format"
        ) from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise BaseUnusable(
            f"base model {base.name} ({location}) lacks {len(absent)} of its weights, such as {absent[0]}, and random "
            "numbers would take their place; fetch or save the model again"
        )
    return cast("PreTrainedModel", model)


def _load_tokenizer(base: BaseModel, location: str) -> PreTrainedTokenizerBase:
    try:
        tokenizer = AutoTokenizer.from_pretrained(location, revision=base.revision or "main", trust_remote_code=False)
    except _LOADING_FAULTS as error:
        raise BaseUnusable(
            f"the tokenizer of base model {base.name} ({location}) could not be loaded: {error}"
        ) from error
    return cast("PreTrainedTokenizerBase", tokenizer)


def _as_ids(generation_config: Any) -> Iterable[int]:
    given = getattr(generation_config, "eos_token_id", None)
    if given is None:
        return ()
    return (given,) if isinstance(given, int) else tuple(given)


def _context_tokens(base: BaseModel, model: PreTrainedModel) -> int:
    trained = context_length_of(model.config.get_text_config().to_dict())
    return min(base.context_tokens, trained) if trained else base.context_tokens


class _Probe:
    """A packed plan that notes how the layers ask it."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self._plan = PackedPlan(lengths)
        self.hows: dict[int, How] = {}

    def attend(self, layer: int, *tensors: Tensor, **how: Any) -> Tensor:
        self.hows[layer] = How(**how)
        return self._plan.attend(layer, *tensors, **how)


@torch.no_grad()
def _check_attention(base: BaseModel, model: PreTrainedModel) -> list[How]:
    """Run three tokens in two segments through the model: every layer must attend through the plan. Says how."""
    probe = _Probe((2, 1))
    ids = torch.tensor([[0, 1, 2]], device=model.device)
    positions = torch.tensor([[0, 1, 0]], device=model.device)
    kept = torch.tensor([2], device=model.device)
    try:
        logits = model(
            input_ids=ids, position_ids=positions, use_cache=False, logits_to_keep=kept, attention_plan=probe
        ).logits
    except (TypeError, ValueError, NotImplementedError, RuntimeError, AttributeError, LookupError) as error:
        raise BaseUnusable(
            f"base model {base.name}: {type(model).__name__} cannot run on packed tokens: {error}. It takes a model "
            "whose layers hand on what they are told to transformers' attention interface; choose one of Llama, Qwen, "
            "Gemma, Mistral, Phi-3 and their kin"
        ) from error
    layers = model.config.get_text_config().num_hidden_layers
    if len(probe.hows) != layers or logits.shape[1] != 1:
        raise BaseUnusable(
            f"base model {base.name}: only {len(probe.hows)} of the {layers} layers of {type(model).__name__} attend "
            "through transformers' attention interface; choose a model with attention in every layer (Llama, Qwen, "
            "Gemma, Mistral, Phi-3 and their kin)"
        )
    return [probe.hows[layer] for layer in range(layers)]
