"""The sizes of a model by its GGUF file's metadata, and what holds for the metadata of every family."""

import math
from dataclasses import dataclass

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Plan

_MOST_LAYERS, _MOST_WIDTH, _MOST_CONTEXT = 1_024, 2**18, 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large a model is. `width`: the numbers of a token between layers; `inner`: those within its MLP."""

    layers: int
    width: int
    inner: int
    heads: int
    key_heads: int
    head: int
    vocabulary: int
    context: int
    rotated: int
    """How many numbers of a head are rotated by the position."""

    @property
    def queries(self) -> int:
        """The numbers of all query heads."""
        return self.heads * self.head

    @property
    def keys(self) -> int:
        """The numbers of all key heads, and of all value heads."""
        return self.key_heads * self.head


def sizes_of(metadata: Metadata, plan: Plan) -> Sizes:
    """The sizes that the metadata says; the vocabulary's is that of the embedding.

    Raises:
        BaseUnusable: a size is missing or makes no sense, or the file is no dense causal language model.

    """
    _check_kind(metadata)
    key = metadata.of_model
    heads = metadata.count(key("attention.head_count"), most=_MOST_WIDTH)
    width = metadata.count(key("embedding_length"), most=_MOST_WIDTH)
    key_heads = metadata.count(key("attention.head_count_kv"), heads, most=_MOST_WIDTH)
    if not heads or not key_heads or heads % key_heads:
        raise BaseUnusable(f"its {heads} attention heads cannot be divided among {key_heads} key heads")
    head = metadata.count(key("attention.key_length"), width // heads, most=_MOST_WIDTH)
    if metadata.count(key("attention.value_length"), head, most=_MOST_WIDTH) != head:
        raise BaseUnusable("its keys and values have different lengths, which transformers' class does not have")
    embedding = plan.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.shape) != 2:
        raise BaseUnusable("it lacks the tensor 'token_embd.weight' with a row for each token: it is no language model")
    sizes = Sizes(
        layers=metadata.count(key("block_count"), most=_MOST_LAYERS),
        width=width,
        inner=metadata.count(key("feed_forward_length"), most=_MOST_WIDTH),
        heads=heads,
        key_heads=key_heads,
        head=head,
        vocabulary=embedding.shape[0],
        context=metadata.count(key("context_length"), most=_MOST_CONTEXT),
        rotated=metadata.count(key("rope.dimension_count"), head, most=_MOST_WIDTH),
    )
    if not all((sizes.layers, sizes.width, sizes.inner, sizes.head, sizes.context)):
        raise BaseUnusable("its metadata has a size of zero")
    return sizes


def check_whole_rotation(metadata: Metadata, sizes: Sizes) -> None:
    """Refuse a file whose heads are rotated in part, for families whose heads never are."""
    if sizes.rotated != sizes.head:
        raise BaseUnusable(
            f"it rotates {sizes.rotated} of the {sizes.head} numbers of a head, which {metadata.architecture} "
            "does not have in transformers"
        )


def check_scale(metadata: Metadata, sizes: Sizes) -> None:
    """Refuse a file whose scores have another scale than 1 over the root of the head's length."""
    usual = 1 / math.sqrt(sizes.head)
    scale = metadata.real(metadata.of_model("attention.scale"), usual)
    if not math.isclose(scale, usual, rel_tol=1e-4):
        raise BaseUnusable(f"its attention has a scale of its own ({scale}), which transformers' class does not have")


def _check_kind(metadata: Metadata) -> None:
    if (kind := metadata.text("general.type", "model")) != "model":
        raise BaseUnusable(f"it is no model but says that it is of type {kind!r}")
    if metadata.count("split.count", 1) > 1:
        raise BaseUnusable(
            "it is one part of a model in several files; join them with llama.cpp: "
            "llama-gguf-split --merge FIRST_PART WHOLE_FILE"
        )
    key = metadata.of_model
    if not metadata.flag(key("attention.causal"), usual=True) or metadata.count(key("pooling_type"), 0):
        raise BaseUnusable("it is a model for embeddings, which generates no text")
    if metadata.count(key("expert_count"), 0) or metadata.count(key("expert_used_count"), 0):
        raise BaseUnusable("it is a mixture of experts, and dense models only can be converted here")
    # The embedding says it; and the layout is a note about the file that it was converted from.
    metadata.get(key("vocab_size"))
    metadata.get(key("tensor_data_layout"))
