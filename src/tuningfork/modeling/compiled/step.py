"""The compiled decoding step: rows with one new token each, each on its own adapter, through a whole decoder.

Weights stay in the type in which they are loaded, and are widened in registers. Activations and sums are in fp32. For a
base that computes in bfloat16, on a processor with AVX-512 BF16, activations are rounded before each product. Each
number is computed by sums in one fixed order, so a row's logits do not depend on the other rows of the step, nor on the
number of threads.

Shape suffixes: B rows, D hidden features, S features of a head that are rotated, V vocabulary, T tokens.
"""

import ctypes
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.modeling.adapters.tables import RankTables
from tuningfork.modeling.compiled.library import Level, Library
from tuningfork.modeling.compiled.structures import MOST_PARTS, TYPES, declare
from tuningfork.modeling.compiled.structures import Layer as CLayer
from tuningfork.modeling.compiled.structures import Model as CModel
from tuningfork.modeling.compiled.structures import Norm as CNorm
from tuningfork.modeling.compiled.structures import Product as CProduct
from tuningfork.modeling.compiled.structures import Rank as CRank
from tuningfork.modeling.compiled.structures import Rotation as CRotation
from tuningfork.modeling.compiled.structures import Row as CRow
from tuningfork.modeling.compiled.structures import Step as CStep
from tuningfork.modeling.decoder.decoder import Decoder
from tuningfork.modeling.decoder.layer import Layer
from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.decoder.rotary import RotaryTables
from tuningfork.modeling.kernels.base import RmsNorm, Rotation

_CACHE_TYPES = (torch.float32, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A sequence with one new token, at position `end - 1`.

    `pages` are the sequence's pages, of which those that hold its first `end` tokens are used.
    """

    token: int
    pages: Sequence[int]
    end: int
    slot: int


@dataclass(frozen=True, slots=True)
class Pages:
    """The cache: keys and values `GXK` of each of a decoder's layers, where X = pages * page_tokens."""

    layers: Sequence[tuple[Tensor, Tensor]]
    page_tokens: int


class DecodingStep:
    """Computes steps of one decoder over one cache. Not thread-safe.

    Args:
        library: the compiled library.
        decoder: the model; `unsupported` says None of it.
        pages: the cache.
        level: the instructions to use; None: the most that the library uses on this processor, but none that round
            activations unless the cache is in bfloat16.

    Raises:
        AttributeError: the library lacks the functions.
        ValueError: the library's structures are others than this module's.

    """

    def __init__(self, library: Library, decoder: Decoder, pages: Pages, level: Level | None = None) -> None:
        declare(library.calls)
        self._calls = library.calls
        self._level = _usual(library.level, pages) if level is None else level
        self._decoder = decoder
        self._kept: list[object] = []
        self._rotations = list(decoder.rotations)
        self._words = decoder.head.outputs
        self._model = self._described(pages)
        self._ranks: dict[int, tuple[int, CRank]] = {}
        self._workspace = torch.empty(0, dtype=torch.uint8)

    def takes(self, slots: Sequence[int]) -> bool:
        """Whether rows with these slots can be computed: none of the slots is in training."""
        return self._decoder.slots.tables.placed(slots) is not None

    def logits(self, rows: Sequence[TokenRow]) -> Tensor:
        """Logits `BV` in fp32 after the rows' new tokens, whose keys and values are written to the cache.

        Raises:
            ValueError: a slot is in training; ask `takes` first.
            RuntimeError: the processor lacks the instructions of the level.

        """
        placed = self._decoder.slots.tables.placed([row.slot for row in rows])
        if placed is None:
            raise ValueError("a row's slot is in training, and so in no table; load it for serving")
        ids_B = torch.tensor([row.token for row in rows])
        # A lookup makes a tensor of its own, which the step may overwrite.
        stream_BD = self._decoder.embed(ids_B).float().contiguous()
        rotations = [self._rotation(self._decoder.rotations[kind], rows) for kind in self._rotations]
        logits_BV = torch.empty(len(rows), self._words)
        used = array("i", [page for row in rows for page in row.pages[: self._pages_of(row)]])
        step = CStep(
            rows=self._rows(rows, placed, used),
            row_count=len(rows),
            ranks=(CRank * max(1, len(placed)))(*(self._rank(tables) for tables, _ in placed)),
            rank_count=len(placed),
            rotations=(CRotation * max(1, len(rotations)))(
                *(CRotation(_address(own.cos_T1K), _address(own.sin_T1K), own.cos_T1K.shape[-1]) for own in rotations)
            ),
            stream=_address(stream_BD),
            logits=_address(logits_BV),
            threads=torch.get_num_threads(),
            level=self._level,
        )
        needed = self._calls.tf_step_bytes(self._model, step)
        if len(self._workspace) < needed:
            self._workspace = torch.empty(needed, dtype=torch.uint8)
        step.workspace = _address(self._workspace)
        if self._calls.tf_step(self._model, step):
            raise RuntimeError(f"this processor lacks the instructions of level {self._level!r}")
        return logits_BV

    def _pages_of(self, row: TokenRow) -> int:
        return -(-row.end // int(self._model.page_tokens))

    def _rows(
        self, rows: Sequence[TokenRow], placed: Sequence[tuple[RankTables, list[int]]], used: "array[int]"
    ) -> "ctypes.Array[CRow]":
        found = (CRow * len(rows))()
        pages, _ = used.buffer_info()
        for index, (row, own) in enumerate(zip(rows, found, strict=True)):
            own.pages, own.end = pages, row.end
            own.rank, own.place = next(
                ((rank, places[index]) for rank, (_, places) in enumerate(placed) if places[index] >= 0), (-1, -1)
            )
            pages += used.itemsize * self._pages_of(row)
        return found

    def _rank(self, tables: RankTables) -> CRank:
        """The addresses of all tables of one rank, collected again after the tables have moved."""
        version, found = self._ranks.get(tables.rank, (-1, None))
        if found is None or version != tables.version:
            a = [_address(group.a_CDR) for group in tables.groups]
            b = [address for group in tables.groups for address in _filled([_address(each) for each in group.bs_CRO])]
            found = CRank(
                tables.rank,
                TYPES[tables.groups[0].a_CDR.dtype],
                (ctypes.c_void_p * len(a))(*a),
                (ctypes.c_void_p * len(b))(*b),
            )
            self._ranks[tables.rank] = tables.version, found
        return found

    @staticmethod
    def _rotation(tables: RotaryTables, rows: Sequence[TokenRow]) -> Rotation:
        positions = [row.end - 1 for row in rows]
        if tables.is_fixed:
            found = Rotation.of(*tables(torch.tensor(positions)))
        else:
            # The largest position of a pass selects the frequencies: each row is a pass of its own.
            alone = [tables(torch.tensor([position])) for position in positions]
            found = Rotation.of(torch.cat([cos for cos, _ in alone]), torch.cat([sin for _, sin in alone]))
        return Rotation(found.cos_T1K.float().contiguous(), found.sin_T1K.float().contiguous())

    def _described(self, pages: Pages) -> CModel:
        decoder, first = self._decoder, self._decoder.layers[0]
        layers = (CLayer * len(decoder.layers))(
            *(self._layer(layer, *own) for layer, own in zip(decoder.layers, pages.layers, strict=True))
        )
        keys_GXK, _ = pages.layers[0]
        return CModel(
            layers=layers,
            layer_count=len(layers),
            norm=self._norm(decoder.norm),
            head=self._product(decoder.head, -1),
            logit_softcap=decoder.logit_softcap or 0.0,
            hidden=first.query_key_value.frozen.inputs,
            heads=first.heads,
            key_heads=first.key_heads,
            head_size=first.head_size,
            features=first.down.frozen.inputs,
            gelu=first.activation == "gelu_tanh",
            cache_places=keys_GXK.shape[1],
            page_tokens=pages.page_tokens,
            cache_type=TYPES[keys_GXK.dtype],
        )

    def _layer(self, layer: Layer, keys_GXK: Tensor, values_GXK: Tensor) -> CLayer:
        attention, norms = layer.attention_parameters, layer.head_norms
        self._kept += [keys_GXK, values_GXK]
        return CLayer(
            attention_norm=self._norm(layer.attention_norm),
            query_norm=self._norm(None if norms is None else norms.query),
            key_norm=self._norm(None if norms is None else norms.key),
            after_attention=self._norm(layer.after_attention),
            mlp_norm=self._norm(layer.mlp_norm),
            after_mlp=self._norm(layer.after_mlp),
            **{
                name: self._product(own.frozen, own.group)
                for name, own in zip(("query_key_value", "out", "gate_up", "down"), layer.products, strict=True)
            },
            keys=_address(keys_GXK),
            values=_address(values_GXK),
            rotation=-1 if layer.rotation is None else self._rotations.index(layer.rotation),
            scaling=attention.scaling,
            window=attention.sliding_window or 0,
            softcap=attention.softcap or 0.0,
        )

    def _norm(self, norm: RmsNorm | None) -> CNorm:
        if norm is None:
            return CNorm(None, 0.0)
        self._kept.append(norm.weight)
        return CNorm(_address(norm.weight), norm.epsilon)

    def _product(self, frozen: FrozenProduct, group: int) -> CProduct:
        parts = frozen.parts
        bias_O = None if frozen.bias_O is None else frozen.bias_O.float().contiguous()
        scale_O = None if frozen.scale_O is None else frozen.scale_O.float().contiguous()
        self._kept += [*parts, scale_O, bias_O]
        layers = () if group < 0 else self._decoder.slots.groups[group].out_features
        return CProduct(
            weights=(ctypes.c_void_p * MOST_PARTS)(*map(_address, parts)),
            outputs=(ctypes.c_int64 * MOST_PARTS)(*map(len, parts)),
            parts=len(parts),
            inputs=parts[0].shape[1],
            type=TYPES[parts[0].dtype],
            scales=None if scale_O is None else _address(scale_O),
            bias=None if bias_O is None else _address(bias_O),
            group=group,
            layers=len(layers),
            layer_outputs=(ctypes.c_int64 * MOST_PARTS)(*layers),
        )


def unsupported(decoder: Decoder, pages: Pages) -> str | None:
    """What of this decoder or its cache the compiled step cannot compute; None: nothing."""
    return next(_unsupported(decoder, pages), None)


def _unsupported(decoder: Decoder, pages: Pages) -> Iterator[str]:
    shapes = {(layer.heads, layer.key_heads, layer.head_size, layer.activation) for layer in decoder.layers}
    features = {layer.down.frozen.inputs for layer in decoder.layers}
    if len(shapes) > 1 or len(features) > 1:
        yield "layers of different shapes"
    for product in (decoder.head, *(own.frozen for layer in decoder.layers for own in layer.products)):
        parts = product.parts
        if parts[0].device.type != "cpu":
            yield f"weights on {parts[0].device}"
        if len({part.dtype for part in parts}) > 1 or parts[0].dtype not in TYPES:
            yield f"weights in {', '.join(sorted({str(part.dtype) for part in parts}))}"
        if not all(part.is_contiguous() for part in parts) or len(parts) > MOST_PARTS:
            yield "weights that are not stored row by row"
    for layer, (keys_GXK, values_GXK) in zip(decoder.layers, pages.layers, strict=True):
        if keys_GXK.dtype not in _CACHE_TYPES:
            yield f"a cache in {keys_GXK.dtype}"
        expected = layer.key_heads, keys_GXK.shape[1], layer.head_size
        if keys_GXK.shape != expected or values_GXK.shape != expected or not keys_GXK.is_contiguous():
            yield f"a cache of shapes {tuple(keys_GXK.shape)} and {tuple(values_GXK.shape)}"


def _usual(level: Level, pages: Pages) -> Level:
    exact = any(keys_GXK.dtype == torch.float32 for keys_GXK, _ in pages.layers)
    return min(level, Level.AVX512) if exact else level


def _address(tensor: Tensor) -> int:
    return tensor.data_ptr()


def _filled(addresses: list[int]) -> list[int | None]:
    return [*addresses, *[None] * (MOST_PARTS - len(addresses))]
