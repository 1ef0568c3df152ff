"""An adapter directory on the caller's disk, checked before it is sent: what its files say, and each of its numbers."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from tuningfork.client.errors import ClientError
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.peft import CONFIG, WEIGHTS
from tuningfork.wire.peft.config import MOST_CONFIG_BYTES, parse_config
from tuningfork.wire.peft.weights import StoredMatrix, has_strange_numbers, number_bytes, parse_weights

_PIECE_BYTES = 2**20
_WAIT_SECONDS = 600.0
"""For the next bytes to be taken, and for the answer, before which the server may have to load the base."""
_PICKLED = ("adapter_model.bin", "adapter_model.pt", "adapter_model.pth")


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterDirectory:
    """The two files of an adapter that can be sent, with their sizes in bytes."""

    directory: Path
    sizes: tuple[tuple[str, int], ...]

    def request(self) -> dict[str, Any]:
        """The request's body, for httpx."""
        headers = {"content-type": "application/x-tar", "content-length": str(self.archive_size)}
        # A server whose disk is slow lets the sender wait.
        timeout = httpx.Timeout(_WAIT_SECONDS, connect=5.0)
        return {"content": self.archive(), "headers": headers, "timeout": timeout}

    @property
    def archive_size(self) -> int:
        """The bytes of the archive."""
        return 2 * tarfile.BLOCKSIZE + sum(tarfile.BLOCKSIZE + size + _padding(size) for _, size in self.sizes)

    def archive(self) -> Iterator[bytes]:
        """The files as a tar archive, piece by piece.

        Raises:
            ClientError: a file has changed, or cannot be read any more.

        """
        for name, size in self.sizes:
            header = tarfile.TarInfo(name)
            header.size = size
            yield header.tobuf(tarfile.GNU_FORMAT)
            left = size
            with _opened(self.directory / name) as file:
                while left and (piece := file.read(min(left, _PIECE_BYTES))):
                    left -= len(piece)
                    yield piece
            if left:
                raise ClientError(f"{self.directory / name} has become shorter while it was sent.")
            yield bytes(_padding(size))
        yield bytes(2 * tarfile.BLOCKSIZE)


def read(directory: Path) -> AdapterDirectory:
    """Check an adapter directory, as PEFT's `save_pretrained` and `tuningfork export --to` write it.

    Raises:
        ClientError: it is none, it cannot be served, or a number in it is infinite or none.

    """
    if not directory.is_dir():
        raise ClientError(
            f"{directory} is no directory.", advice="Name the directory that PEFT's save_pretrained wrote."
        )
    pickled = [name for name in _PICKLED if (directory / name).is_file()]
    if pickled and not (directory / WEIGHTS).is_file():
        raise ClientError(
            f"{directory / pickled[0]} is a pickle, which can run any program when it is read, and is never read.",
            advice="Save the adapter again: model.save_pretrained(DIR, safe_serialization=True).",
        )
    try:
        with _opened(directory / CONFIG) as file:
            config = parse_config(file.read(MOST_CONFIG_BYTES + 1))
        size = (directory / WEIGHTS).stat().st_size if (directory / WEIGHTS).exists() else 0
        with _opened(directory / WEIGHTS) as file:
            _check_numbers(file, parse_weights(file, size, config.shape))
    except InvalidArgument as error:
        raise ClientError(f"{directory} cannot be imported: {error.message}.") from error
    except OSError as error:
        raise ClientError(f"{directory} cannot be read: {error}.") from error
    return AdapterDirectory(
        directory=directory, sizes=tuple((name, (directory / name).stat().st_size) for name in (CONFIG, WEIGHTS))
    )


def _check_numbers(file: BinaryIO, matrices: tuple[StoredMatrix, ...]) -> None:
    for matrix in matrices:
        file.seek(matrix.begin)
        left = matrix.end - matrix.begin
        # A piece has whole numbers of every type.
        while piece := file.read(min(left, _PIECE_BYTES)):
            left -= len(piece)
            if len(piece) % number_bytes(matrix.kind) or has_strange_numbers(matrix.kind, piece):
                raise InvalidArgument(f"{WEIGHTS} is damaged: {matrix.name} has values that are not finite numbers")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise ClientError(
            f"There is no {path}.",
            advice=f"An adapter has {CONFIG} and {WEIGHTS}, as PEFT's save_pretrained writes them.",
        ) from error
    except OSError as error:
        raise ClientError(f"{path} cannot be read: {error.strerror}.") from error


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE
