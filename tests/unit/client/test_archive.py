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


def compressed(content, method):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=f"w:{method}") as tar:
        info = tarfile.TarInfo("a")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def headed(kind, size, content=b""):
    """An archive whose only header announces a size, whatever follows."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(1024)


@pytest.mark.parametrize("method", ["gz", "bz2", "xz"])
def test_a_compressed_archive_is_not_unpacked(tmp_path, method):
    with pytest.raises(UnexpectedAnswer, match="broken"):
        archive.unpack(in_pieces(compressed(bytes(50 * 2**20), method)), tmp_path / "mine")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_SPARSE, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_what_could_stand_for_more_than_is_sent_is_refused(tmp_path, kind):
    with pytest.raises(UnexpectedAnswer, match="not a plain file"):
        archive.unpack(in_pieces(headed(kind, 2**40)), tmp_path / "mine")

    assert names_in(tmp_path) == []


@pytest.mark.parametrize("size", [2**40, 2**62])
def test_a_file_that_is_shorter_than_it_says_is_broken(tmp_path, size):
    with pytest.raises(UnexpectedAnswer, match="broken: it ends within a file"):
        archive.unpack(in_pieces(headed(tarfile.REGTYPE, size, b"1" * 512)), tmp_path / "mine")


def test_an_archive_without_an_end_is_read_no_further_than_the_bound(tmp_path):
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield bytes(2**20)

    with pytest.raises(UnexpectedAnswer, match="more than 10,485,760 bytes"):
        archive.unpack(endless(), tmp_path / "mine", max_bytes=10 * 2**20)

    assert (len(taken), names_in(tmp_path)) == (11, [])


def test_very_many_files_or_one_twice_are_refused(tmp_path):
    for members in ([member("a"), member("a")], [member(str(number)) for number in range(1_001)]):
        with pytest.raises(UnexpectedAnswer, match="twice, or more than 1,000 files"):
            archive.unpack(in_pieces(packed([(each, b"") for each in members])), tmp_path / "mine")


def test_a_name_that_would_disturb_a_terminal_is_refused(tmp_path):
    with pytest.raises(UnexpectedAnswer, match="not a plain file"):
        archive.unpack(in_pieces(packed([(member("a\x1b[2J"), b"1")])), tmp_path / "mine")


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
