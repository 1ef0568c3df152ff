"""What is exported: a base in a directory, and an adapter for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from gguf.constants import MODEL_ARCH
from gguf.tensor_mapping import get_tensor_name_map
from transformers import PreTrainedConfig

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.deltas import STORED_TYPES, check_identity, deltas_of, stored_names
from tuningfork.modeling.describing import LOADING_FAULTS
from tuningfork.modeling.files.base_files import weight_files
from tuningfork.modeling.files.skeleton import read_config, skeleton
from tuningfork.modeling.files.stored_weights import stored_in
from tuningfork.modeling.gguf_export.hyperparameters import architecture_of
from tuningfork.modeling.gguf_export.weights import Weight

EMBEDDING = "model.embed_tokens.weight"
_PARTS_FOR_IMAGES = ("vision_tower.", "multi_modal_projector.")
_OF_TEXT = "language_model."


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A base and an adapter. `weights`: by their names in a model for texts alone."""

    base: Path
    config: PreTrainedConfig
    architecture: str
    weights: Mapping[str, Weight]
    adapter: AdapterShape

    @classmethod
    def of(cls, base: Path, adapter: Path) -> "Source":
        """Read the base's configuration and the headers of its files, and the adapter.

        Raises:
            InvalidArgument: the adapter was made for another base, or a file cannot be read.
            BaseUnusable: GGUF files have no such model.

        """
        files = weight_files(base)
        check_identity(base, files, adapter)
        learned = adapter_format.load(adapter)
        deltas = deltas_of(base, files, learned)
        try:
            whole = read_config(str(base))
            expected = skeleton(whole).state_dict()
        except LOADING_FAULTS as error:
            raise InvalidArgument(f"the configuration in {base} cannot be read: {error}") from error
        config = whole.get_text_config()
        architecture = architecture_of(config)
        stored = {each.name: (file, each) for file in files for each in stored_in(file)}
        weights = {}
        for name, there in stored_names(base, stored, list(expected)).items():
            file, found = stored[there]
            if not any(part in name for part in _PARTS_FOR_IMAGES):
                weights[name.replace(_OF_TEXT, "")] = Weight(file, found, deltas.get(there))
        if config.tie_word_embeddings:
            # Some files have a tied head once more.
            weights.pop("lm_head.weight", None)
        _check_types(weights)
        return cls(
            base=base,
            config=config,
            architecture=architecture,
            weights=weights,
            adapter=learned.shape,
        )

    def tensor_names(self) -> dict[str, str]:
        """What a file calls each weight, by the gguf package's table.

        Raises:
            BaseUnusable: it has no name for one of them.

        """
        table = get_tensor_name_map(MODEL_ARCH[self.architecture.upper()], self.config.num_hidden_layers)
        names = {name: table.get_name(name, try_suffixes=(".weight", ".bias")) for name in self.weights}
        if nameless := [name for name, found in names.items() if found is None]:
            raise BaseUnusable(f"its weight {nameless[0]!r} has no place in files ({len(nameless)} such)")
        return {name: str(found) for name, found in names.items()}


def _check_types(weights: Mapping[str, Weight]) -> None:
    kinds: Iterable[tuple[str, str]] = ((name, weight.stored.kind) for name, weight in weights.items())
    if strange := [(name, kind) for name, kind in kinds if kind not in STORED_TYPES]:
        raise BaseUnusable(
            f"its weight {strange[0][0]!r} is stored as {strange[0][1]}, and {', '.join(STORED_TYPES)} can be read"
        )
