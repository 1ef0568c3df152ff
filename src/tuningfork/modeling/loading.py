"""Loads a base model, ready for adapters: from a Hub id, a directory, or this package.

Only safetensors files are read and no code that comes with a model is run. Weights are memory-mapped where they need no
conversion, so that the trainer and the generator of one machine share one copy.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from tuningfork.domain.base_model import BaseModel, WeightType
from tuningfork.domain.errors import BaseUnusable, TuningforkError
from tuningfork.domain.user_directories import NoHomeDirectory
from tuningfork.modeling.adapters.cohorts import CohortProducts
from tuningfork.modeling.adapters.slots import AdapterSlots, Slots
from tuningfork.modeling.attention.plans import AttentionParameters, AttentionPlan, PackedPlan
from tuningfork.modeling.attention.registration import ATTENTION
from tuningfork.modeling.chat_template import Chat
from tuningfork.modeling.compiled.cohorts import cohort_products
from tuningfork.modeling.compiled.library import Level
from tuningfork.modeling.compiled.products import CompiledProduct
from tuningfork.modeling.compiled.proof import proven
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.products import StoredProducts
from tuningfork.modeling.decoder.recipe import decoder_of, is_written_out
from tuningfork.modeling.describing import LOADING_FAULTS, chat_format, check_location
from tuningfork.modeling.device.processor import native_dtype
from tuningfork.modeling.files.base_files import fingerprint_of
from tuningfork.modeling.files.context_length import context_length_of
from tuningfork.modeling.files.int8_file import remove_stale_files
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.int8_weights import Int8Product, take_int8_
from tuningfork.modeling.kernels.base import Kernels
from tuningfork.modeling.kernels.choice import kernels_for
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.memory_plan import BaseMemoryShort, LoadingPlan, WeightCopies, plan_loading
from tuningfork.modeling.widening import are_converted, can_be_widened, two_bytes_of, widen_


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBase:
    """A base model in memory.

    `location` is its directory or Hub id (with `revision`). `exported_name` is what adapters call it.
    """

    location: str
    model: PreTrainedModel = field(repr=False)
    chat: Chat = field(repr=False)
    device: torch.device
    dtype: torch.dtype
    context_tokens: int
    slots: AdapterSlots = field(repr=False)
    kernels: Kernels = field(default=PLAIN, repr=False)
    gpu_shortcuts: bool = True
    """Whether engines may use CUDA graphs and torch's fused attention, if tests on the device find these correct."""
    weight_copies: WeightCopies = WeightCopies()
    revision: str | None = None
    exported_name: str = ""
    fingerprint: str | None = None
    weights: WeightType = WeightType.STORED
    converted: bool = False
    """Whether no weight has the type of its file any more, so that each process has copies of all of them."""
    decoder: Decoder | None = field(default=None, repr=False)
    """The project's own forward and backward pass of this model; None: the model runs by transformers' code."""

    def logits(self, ids_T: Tensor, positions_T: Tensor, kept_N: Tensor, plan: AttentionPlan, slots: Slots) -> Tensor:
        """Logits `NV` after the tokens `kept_N` of a packed row, under these adapters; no gradients.

        `kept_N` must be on the CPU: adapters are selected there, and reading a tensor on the GPU would wait for the
        GPU.
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


def load_base(
    base: BaseModel,
    *,
    device: str = "cpu",
    dtype: torch.dtype | None = None,
    gpu_shortcuts: bool = True,
    kernels: Kernels | None = None,
    chat: Chat | None = None,
    weights: WeightType = WeightType.STORED,
) -> LoadedBase:
    """Load the base, frozen, with adapter slots on its linear layers and attention over packed rows.

    Args:
        base: the base's catalog entry.
        device: a torch device.
        dtype: the type of all computing; None: bfloat16 where the device computes in it natively (AVX-512 BF16, AMX,
            Arm BF16, CUDA from compute capability 8.0), else float32. Weights have this type too. But on a CPU in
            float32, weights that are stored in two bytes keep these if the family is written out and the package has
            its compiled parts.
        gpu_shortcuts: whether CUDA graphs, Triton kernels and torch's fused attention may be tested and used. If one of
            them breaks the GPU's context, the process ends.
        kernels: the kernels to use; None: those that `kernels_for` chooses.
        chat: renders conversations for this base; None: its chat format is made in this process.
        weights: what its weights are kept in: in int8 on a CPU only, and only if the family is written out.

    Raises:
        BaseMemoryShort: there is too little free memory at the moment.
        BaseUnusable: files are missing, the machine has too little memory, or the model or `weights` cannot be had.

    """
    place = torch.device(device)
    dtype = dtype or native_dtype(place)
    location = check_location(base)
    products = _products(place, dtype, weights)
    stored, on_disk = _stored_dtypes(base, location, place, dtype, weights, is_compiled=products is not None)
    planned = _planned(base, location, place, dtype, stored)
    model = _load_model(base, location, on_disk)
    cast("nn.Module", model).to(place).eval()
    chat = chat or chat_format(base, location, model.generation_config)
    kernels = kernels or kernels_for(place, gpu_shortcuts=gpu_shortcuts)
    slots = AdapterSlots.attach(model, kernels.adapters, dtype, _trained_products(place, dtype))
    if stored != dtype:
        _narrow_(base, location, model, stored, dtype)
    parameters = _check_attention(base, model)
    return LoadedBase(
        location=location,
        model=model,
        chat=chat,
        device=place,
        dtype=dtype,
        context_tokens=_context_tokens(base, model),
        slots=slots,
        kernels=kernels,
        gpu_shortcuts=gpu_shortcuts,
        weight_copies=planned.weight_copies,
        revision=base.revision,
        exported_name=base.exported_name,
        **_about_weights(base, location, weights, stored),
        decoder=decoder_of(model, slots, parameters, kernels.layers, products),
    )


def _products(device: torch.device, dtype: torch.dtype, weights: WeightType) -> StoredProducts | None:
    """What makes the products of weights that are not in `dtype`; None: there are to be no such weights."""
    library = proven() if device.type == "cpu" and dtype == torch.float32 else None
    # Below AVX2, torch's products are faster than the code for any processor.
    if library is not None and library.level >= Level.AVX2:
        return partial(CompiledProduct, library)
    return partial(Int8Product, dtype=dtype) if weights is WeightType.INT8 else None


def _trained_products(device: torch.device, dtype: torch.dtype) -> CohortProducts | None:
    """What makes the products of adapters in training; None: torch computes them."""
    return cohort_products(proven(), dtype) if device.type == "cpu" else None


def _planned(
    base: BaseModel, location: str, device: torch.device, dtype: torch.dtype, stored: torch.dtype
) -> LoadingPlan:
    planned = plan_loading(
        location, revision=base.revision, rank=base.adapter.rank, dtype=dtype, device=device, stored=stored
    )
    if planned.shortage:
        kind = BaseMemoryShort if planned.may_pass else BaseUnusable
        raise kind(f"base model {base.name} ({location}) {planned.shortage}")
    return planned


def _stored_dtypes(
    base: BaseModel,
    location: str,
    device: torch.device,
    dtype: torch.dtype,
    weights: WeightType,
    *,
    is_compiled: bool,
) -> tuple[torch.dtype, torch.dtype]:
    """The type that the weights will have, and the one to read them from their files in.

    Raises:
        BaseUnusable: they cannot be in int8 as they are to be.

    """
    if weights is WeightType.STORED:
        stored = _kept_dtype(base, location, dtype) if is_compiled else dtype
        return stored, stored
    try:
        config = read_config(location, revision=base.revision)
        # Making modules takes it out of the configuration.
        on_disk = cast("torch.dtype | None", config.dtype) or dtype
        model = skeleton(config)
    except LOADING_FAULTS:
        # Loading the model finds the same fault, and reports it.
        return dtype, dtype
    reason = None
    if device.type != "cpu":
        reason = f"computes on {device}, and weights in int8 are for CPUs"
    elif getattr(config, "quantization_config", None) is not None:
        reason = "has weights that are quantized already"
    elif not (is_written_out(model) and can_be_widened(model)):
        reason = f"is a {type(model).__name__}, which runs by transformers' code, and that takes no weights in int8"
    if reason is not None:
        raise BaseUnusable(f"base model {base.name} ({location}) {reason}; start the server without --weights int8")
    return torch.int8, on_disk


def _narrow_(base: BaseModel, location: str, model: PreTrainedModel, stored: torch.dtype, dtype: torch.dtype) -> None:
    """Let the model compute in `dtype` with its weights in `stored`, a narrower type."""
    if stored == torch.int8:
        _take_int8_(base, location, model)
    widen_(model, dtype)


def _take_int8_(base: BaseModel, location: str, model: PreTrainedModel) -> None:
    try:
        take_int8_(model, location, base.revision)
    except TuningforkError as error:
        raise BaseUnusable(f"base model {base.name} ({location}) {error.message}") from error
    except (*LOADING_FAULTS, NoHomeDirectory) as error:
        raise BaseUnusable(
            f"base model {base.name} ({location}) could not be kept in int8: {error}; its weights in int8 are written "
            "to the user's cache once, and XDG_CACHE_HOME names another place for it"
        ) from error


def _kept_dtype(base: BaseModel, location: str, dtype: torch.dtype) -> torch.dtype:
    """The type of two bytes in which the weights stay while `dtype` is computed; `dtype`: they become `dtype`."""
    stored = two_bytes_of(location, base.revision)
    if stored is None:
        return dtype
    try:
        model = skeleton(read_config(location, revision=base.revision))
    except LOADING_FAULTS:
        # Loading the model finds the same fault, and reports it.
        return dtype
    return stored if is_written_out(model) and can_be_widened(model) else dtype


def _about_weights(base: BaseModel, location: str, weights: WeightType, stored: torch.dtype) -> dict[str, Any]:
    """The fields of `LoadedBase` that identify its weights: the fingerprint of their files, and how they are kept."""
    converted = stored != torch.int8 and are_converted(location, base.revision, stored)
    return {"fingerprint": fingerprint_of(location, base.revision), "weights": weights, "converted": converted}


def _load_model(base: BaseModel, location: str, dtype: torch.dtype) -> PreTrainedModel:
    # For every base, since the server may have kept weights in int8 only until it was started with another setting.
    remove_stale_files()
    # Progress bars of several child processes would overwrite each other. Those of downloads are still shown.
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # With `output_loading_info` the function returns a pair, which its type annotation does not say.
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
    except LOADING_FAULTS as error:
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


def _context_tokens(base: BaseModel, model: PreTrainedModel) -> int:
    trained = context_length_of(model.config.get_text_config().to_dict())
    return min(base.context_tokens, trained) if trained else base.context_tokens


class _Probe:
    """A packed attention plan that records the attention parameters of each layer."""

    def __init__(self, lengths: tuple[int, ...]) -> None:
        self._plan = PackedPlan(lengths)
        self.parameters: dict[int, AttentionParameters] = {}

    def attend(self, layer: int, *tensors: Tensor, **parameters: Any) -> Tensor:
        self.parameters[layer] = AttentionParameters(**parameters)
        return self._plan.attend(layer, *tensors, **parameters)


@torch.no_grad()
def _check_attention(base: BaseModel, model: PreTrainedModel) -> list[AttentionParameters]:
    """Run three tokens in two segments through the model, and check that every layer's attention uses the plan.

    Returns the attention parameters of each layer.
    """
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
    if len(probe.parameters) != layers or logits.shape[1] != 1:
        raise BaseUnusable(
            f"base model {base.name}: only {len(probe.parameters)} of the {layers} layers of {type(model).__name__} "
            "attend through transformers' attention interface; choose a model with attention in every layer (Llama, "
            "Qwen, Gemma, Mistral, Phi-3 and their kin)"
        )
    return [probe.parameters[layer] for layer in range(layers)]
