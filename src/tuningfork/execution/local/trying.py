"""Checks an imported adapter on its base model, before a tuned model is made of it."""

from safetensors import SafetensorError, safe_open

from tuningfork.artifacts.base import ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import LoadedBase


def try_adapter(artifacts: ArtifactStore, base: LoadedBase, adapter: ArtifactRef) -> None:
    """Check that an adapter can be loaded on a base: its layers, its shapes, and each of its numbers.

    Shapes come first, from the file's header, so that no more is read into memory than an adapter of this base has.

    Raises:
        InvalidArgument: it was made for another base, or it cannot be read.
        ArtifactMissing: there is none.

    """
    with artifacts.reading(adapter) as directory:
        try:
            with safe_open(directory / adapter_format.WEIGHTS, "pt") as file:
                # `keys` is no mapping's: a file of this format cannot be iterated.
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            base.slots.check(shapes, adapter_format.shape_in(directory).rank)
            known = adapter_format.base_fingerprint(directory)
            if None not in (known, base.fingerprint) and known != base.fingerprint:
                raise InvalidArgument(
                    "the adapter does not fit the base: it was trained over other weights of the same shapes, another "
                    "model, another revision, or converted to another type"
                )
            adapter_format.load(directory)
        except adapter_format.AdapterUnreadable as error:
            # Its message names a directory of the server.
            raise InvalidArgument(f"the adapter cannot be read: {error.reason}") from error
        except (OSError, SafetensorError) as error:
            raise InvalidArgument(f"the adapter cannot be read: {type(error).__name__}") from error
