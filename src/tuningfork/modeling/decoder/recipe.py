"""Builds a `Decoder` from a transformers model of a supported family.

Any architecture that is not listed here runs by transformers' code.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from tuningfork.modeling.adapters.slot_layers import SlotLinear
from tuningfork.modeling.adapters.slots import AdapterSlots
from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import Layer, Product
from tuningfork.modeling.decoder.products import FrozenProduct, StoredProducts
from tuningfork.modeling.kernels.base import Activation, HeadNorms, LayerKernels, RmsNorm

FAMILIES = frozenset(
    {
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
        "GemmaForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "Phi3ForCausalLM",
        "SmolLM3ForCausalLM",
    }
)
"""The supported classes of transformers. SmolLM and SmolLM2 have Llama's class, Phi-4 has that of Phi-3."""

ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_tanh": "gelu_tanh",
}
"""The supported activation functions, by transformers' names."""


def decoder_of(
    model: PreTrainedModel,
    slots: AdapterSlots,
    parameters: Sequence[AttentionParameters],
    kernels: LayerKernels,
    stored: StoredProducts | None = None,
) -> Decoder | None:
    """The model as a `Decoder` that shares its weights; None: the family is not supported.

    Args:
        model: a model with adapter slots attached.
        slots: the model's adapter slots.
        parameters: each layer's attention parameters, as the model's own forward pass gives them to attention.
        kernels: compute the operations between the matrix products.
        stored: makes the matrix products from weights as they are stored; None: torch computes them in the type of
            the weights.

    """
    if not is_written_out(model):
        return None
    config = model.config.get_text_config()
    stem: Any = model.get_decoder()  # type: ignore[no-untyped-call]
    reader = _Reader(slots, kernels, stored, is_gemma=type(model).__name__.startswith("Gemma"))
    layers = [
        reader.layer(module, own, index)
        for index, (module, own) in enumerate(zip(stem.layers, parameters, strict=True))
    ]
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    embedding: Any = model.get_input_embeddings()
    return Decoder(
        kernels=kernels,
        embed=embedding,
        rotations={kind: _tables(stem.rotary_emb, kind) for kind in {layer.rotation for layer in layers} if kind},
        layers=[_last(layer) if layer is layers[-1] else layer for layer in layers],
        norm=reader.norm(stem.norm),
        head=reader.frozen([head]),
        logit_softcap=getattr(config, "final_logit_softcapping", None),
        slots=slots,
    )


def is_written_out(model: PreTrainedModel) -> bool:
    """Whether a model, with weights or on the meta device, is of a supported family and activation function."""
    return type(model).__name__ in FAMILIES and _activation_of(model.config.get_text_config()) in ACTIVATIONS


class _Reader:
    """Builds the decoder's `Layer`s from the modules of a model that transformers has loaded.

    Weights that read the same input are fused; the modules then hold views of the fused weight. Products of stored
    weights read them as parts, and copy none.
    """

    def __init__(
        self, slots: AdapterSlots, kernels: LayerKernels, stored: StoredProducts | None, *, is_gemma: bool
    ) -> None:
        self._kernels = kernels
        self._stored = stored
        self._is_gemma = is_gemma
        self._groups = {id(layer): index for index, group in enumerate(slots.groups) for layer in group.layers}

    def layer(self, module: Any, parameters: AttentionParameters, index: int) -> Layer:
        """One decoder layer."""
        attention, mlp = module.self_attn, module.mlp
        sandwiched = hasattr(module, "pre_feedforward_layernorm")
        after_attention = module.post_attention_layernorm
        mlp_norm = module.pre_feedforward_layernorm if sandwiched else after_attention
        size = attention.head_dim
        config = attention.config
        return Layer(
            kernels=self._kernels,
            index=index,
            last=False,
            heads=config.num_attention_heads,
            key_heads=config.num_key_value_heads,
            head_size=size,
            attention_parameters=parameters,
            rotation=_rotation_of(attention),
            activation=ACTIVATIONS[_activation_of(config)],
            attention_norm=self.norm(module.input_layernorm),
            query_key_value=self._product(attention, ("qkv_proj",), ("q_proj", "k_proj", "v_proj")),
            head_norms=self._head_norms(attention, config.num_attention_heads),
            out=self._product(attention, ("o_proj",)),
            after_attention=self.norm(after_attention) if sandwiched else None,
            mlp_norm=self.norm(mlp_norm),
            gate_up=self._product(mlp, ("gate_up_proj",), ("gate_proj", "up_proj")),
            down=self._product(mlp, ("down_proj",)),
            after_mlp=self.norm(module.post_feedforward_layernorm) if sandwiched else None,
        )

    def norm(self, module: Any) -> RmsNorm:
        """An RMS norm."""
        weight = module.weight.detach().float()
        epsilon = module.eps if hasattr(module, "eps") else module.variance_epsilon
        return RmsNorm(weight + 1 if self._is_gemma else weight, float(epsilon))

    def _head_norms(self, attention: Any, heads: int) -> HeadNorms | None:
        if not hasattr(attention, "q_norm"):
            return None
        return HeadNorms(heads, self.norm(attention.q_norm), self.norm(attention.k_norm))

    def _product(self, parent: Any, *choices: tuple[str, ...]) -> Product:
        names = next(names for names in choices if hasattr(parent, names[0]))
        layers: list[SlotLinear] = [getattr(parent, name) for name in names]
        return Product(self.frozen(layers), self._groups[id(layers[0])])

    def frozen(self, layers: Sequence[Any]) -> FrozenProduct:
        """The product with the weights of linear layers that read the same input."""
        if self._stored is None:
            return _fused(layers)
        parts = tuple(layer.weight.detach() for layer in layers)
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        scales = [layer.scale_O for layer in layers if getattr(layer, "scale_O", None) is not None]
        scale_O = torch.cat(scales) if scales else None
        product = self._stored(parts, scale_O)
        bias_O = torch.cat(biases).to(product.dtype) if biases else None
        return FrozenProduct(parts, bias_O, product, scale_O)


def _fused(layers: Sequence[Any]) -> FrozenProduct:
    if len(layers) == 1:
        weight, bias = layers[0].weight.detach(), layers[0].bias
        return FrozenProduct((weight,), None if bias is None else bias.detach())
    weight = torch.cat([layer.weight.detach() for layer in layers])
    begin = 0
    for layer in layers:
        layer.weight = nn.Parameter(weight[begin : begin + layer.out_features], requires_grad=False)
        begin += layer.out_features
    biases = [layer.bias for layer in layers]
    bias = None if biases[0] is None else torch.cat([each.detach() for each in biases if each is not None])
    return FrozenProduct((weight,), bias)


def _rotation_of(attention: Any) -> str | None:
    """The name of the rotary tables that a layer uses; None: it uses no positions (some layers of SmolLM3)."""
    if not getattr(attention, "use_rope", True):
        return None
    return getattr(attention, "layer_type", None) or "all"


@dataclass(frozen=True, slots=True)
class Tables:
    """A model's rotary tables for one kind of layer."""

    module: Any
    kinds: tuple[str, ...]
    """Arguments for `module`: the name of the kind of layer, if the module computes different tables for each kind."""

    def __call__(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, `TK` in fp32."""
        like = torch.empty(0, dtype=torch.float32, device=positions_T.device)
        cos_1TK, sin_1TK = self.module(like, positions_T[None], *self.kinds)
        return cos_1TK[0], sin_1TK[0]

    @property
    def is_fixed(self) -> bool:
        """Whether a position's rotation does not depend on the pass's other positions.

        In some models the largest position of a pass selects the frequencies.
        """
        how = self.module.rope_type
        types = [how] if isinstance(how, str) else list(how.values())
        return not any("dynamic" in each or each == "longrope" for each in types)


def _tables(module: Any, kind: str) -> Tables:
    by_kind = "layer_type" in inspect.signature(module.forward).parameters
    return Tables(module, (kind,) if by_kind else ())


def _activation_of(config: Any) -> str:
    return str(getattr(config, "hidden_activation", None) or config.hidden_act)


def _last(layer: Layer) -> Layer:
    return replace(layer, last=True)
