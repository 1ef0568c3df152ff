"""The adapter archive on the caller's disk: a tar of plain files becomes a directory, whole or not at all."""

import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tuningfork.client.errors import ClientError, UnexpectedAnswer


def unpack(pieces: Iterator[bytes], directory: Path) -> Path:
    """Write the archive's files into a new directory, which is renamed into place at the end.

    Stricter than tarfile's own "data" filter: the archive may hold only plain files, none of them below a folder,
    so no name can lead outside and no link can be followed.

    Raises:
        ClientError: `directory` is there already and not empty, or cannot be written.
        UnexpectedAnswer: the archive is broken, or holds anything else.

    """
    directory = directory.absolute()
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ClientError(f"{directory} is there already.", advice="Name a new or an empty directory with --to.")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".tuningfork-export-") as aside:
            packed = Path(aside, "adapter.tar")
            with packed.open("wb") as file:
                file.writelines(pieces)
            unpacked = Path(aside, "adapter")
            unpacked.mkdir()
            _write_files(packed, unpacked)
            unpacked.rename(directory)
    except OSError as error:
        raise ClientError(f"{directory} cannot be written: {error}.") from error
    return directory


def _write_files(packed: Path, directory: Path) -> None:
    try:
        with tarfile.open(packed) as archive:
            for member in archive:
                content = archive.extractfile(member) if _is_plain(member) else None
                if content is None:
                    raise UnexpectedAnswer(f"The adapter archive holds {member.name!r}, which is not a plain file.")
                with content, (directory / PurePosixPath(member.name).name).open("xb") as file:
                    shutil.copyfileobj(content, file)
    except tarfile.TarError as error:
        raise UnexpectedAnswer(f"The adapter archive is broken: {error}.", advice="Export it again.") from error


def _is_plain(member: tarfile.TarInfo) -> bool:
    return member.isfile() and len(PurePosixPath(member.name).parts) == 1 and PurePosixPath(member.name).name != ".."
