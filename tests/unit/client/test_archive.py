"""The adapter archive becomes a directory, whole or not at all."""

import io
import tarfile

import httpx
import pytest

from tuningfork.client import archive
from tuningfork.client.errors import ClientError, UnexpectedAnswer

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"\x00" * 100_000}


def packed(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def in_pieces(content, size=4096):
    return iter([content[start : start + size] for start in range(0, len(content), size)])


def names_in(directory):
    return [path.name for path in directory.iterdir()]


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_every_file_arrives_with_its_content(tmp_path):
    content = packed([(member(name), data) for name, data in FILES.items()])

    directory = archive.unpack(in_pieces(content), tmp_path / "exports" / "mine")

    assert {path.name: path.read_bytes() for path in directory.iterdir()} == FILES
    assert names_in(directory.parent) == ["mine"]


def test_an_empty_directory_may_be_the_target(tmp_path):
    (tmp_path / "mine").mkdir()

    archive.unpack(in_pieces(packed([(member("a"), b"1")])), tmp_path / "mine")

    assert (tmp_path / "mine" / "a").read_bytes() == b"1"


def test_what_is_there_already_is_not_touched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("kept")

    with pytest.raises(ClientError, match="is there already"):
        archive.unpack(in_pieces(packed([(member("a"), b"1")])), tmp_path / "mine")

    assert names_in(tmp_path / "mine") == ["precious"]


@pytest.mark.parametrize(
    "bad",
    [
        member("../outside"),
        member("/tmp/outside"),
        member("below/file"),
        member(".."),
        member("link", tarfile.SYMTYPE, "/etc/passwd"),
        member("hard", tarfile.LNKTYPE, "a"),
        member("pipe", tarfile.FIFOTYPE),
        member("folder", tarfile.DIRTYPE),
    ],
)
def test_anything_but_plain_files_is_refused_and_nothing_is_left(tmp_path, bad):
    with pytest.raises(UnexpectedAnswer, match="not a plain file"):
        archive.unpack(in_pieces(packed([(member("a"), b"1"), (bad, b"")])), tmp_path / "mine")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("content", [b"not a tar", packed([(member("a"), b"1" * 5000)])[:3000]])
def test_a_broken_archive_leaves_nothing(tmp_path, content):
    with pytest.raises(UnexpectedAnswer, match="broken"):
        archive.unpack(in_pieces(content), tmp_path / "mine")

    assert names_in(tmp_path) == []


def test_a_download_that_breaks_off_leaves_nothing(tmp_path):
    def breaking():
        yield packed([(member("a"), b"1")])[:100]
        raise httpx.ReadError("gone")

    with pytest.raises(httpx.ReadError):
        archive.unpack(breaking(), tmp_path / "mine")

    assert names_in(tmp_path) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a directory")

    with pytest.raises(ClientError, match=r"file/mine cannot be written"):
        archive.unpack(in_pieces(packed([(member("a"), b"1")])), tmp_path / "file" / "mine")
