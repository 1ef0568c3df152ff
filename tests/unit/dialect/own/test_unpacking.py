"""The archive of an adapter becomes two files, whatever pieces it comes in and whoever made it."""

import tarfile

import pytest

import peft_adapters
from tuningfork.dialect.own.unpacking import Unpacking
from tuningfork.domain.errors import InvalidArgument, ResourceExhausted

STEP = 2**20


class Room:
    """A disk that reserves a megabyte at a time; `looks` are how many bytes were missing at each look at its room.

    `room` is how many bytes it has for the rest of a file at each of these looks, then none; None: always enough.
    """

    def __init__(self, room=None):
        self.room, self.looks = room, []

    def reserve(self, size):
        self.looks.append(size)
        if self.room is not None and (not self.room or self.room.pop(0) < size):
            raise ResourceExhausted(f"no room for {size}")
        return min(size, STEP)


def unpacked(content, directory, *, size=7_000, room=None):
    with Unpacking(directory, room or Room()) as unpacking:
        for begin in range(0, len(content), size):
            unpacking.add(content[begin : begin + size])
        unpacking.finish()
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def member(name, kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("size", [1, 511, 512, 513, 100_000])
def test_both_files_arrive_in_pieces_of_any_size(tmp_path, size):
    assert unpacked(peft_adapters.archive(), tmp_path, size=size) == peft_adapters.files()


def test_what_follows_the_end_is_not_looked_at(tmp_path):
    assert unpacked(peft_adapters.archive() + b"x" * 5_000, tmp_path) == peft_adapters.files()


@pytest.mark.parametrize(
    "name",
    ["README.md", "../adapter_config.json", "/adapter_config.json", "a/adapter_config.json", "adapter_model.bin", ""],
)
def test_no_other_name_is_written(tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(InvalidArgument, match="holds"):
        unpacked(peft_adapters.packed([(name, b"1")]), inside)

    assert [path.name for path in tmp_path.rglob("*")] == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_nothing_but_plain_files_is_written(tmp_path, kind):
    content = peft_adapters.packed([(member("adapter_config.json", kind, "/etc/passwd"), b"")])

    with pytest.raises(InvalidArgument, match=r"holds 'adapter_config\.json'"):
        unpacked(content, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_file_twice_is_refused(tmp_path):
    content = peft_adapters.packed([("adapter_config.json", b"1"), ("adapter_config.json", b"2")])

    with pytest.raises(InvalidArgument, match="once each"):
        unpacked(content, tmp_path)


def test_an_archive_that_lacks_a_file_or_ends_in_one_is_refused(tmp_path):
    with pytest.raises(InvalidArgument, match=r"lacks adapter_config\.json and adapter_model"):
        unpacked(bytes(1024), tmp_path)
    with pytest.raises(InvalidArgument, match="middle of a file"):
        unpacked(peft_adapters.archive()[:600], tmp_path)


@pytest.mark.parametrize("content", [b"\x1f\x8b" + b"x" * 600, b"PK" + b"x" * 600])
def test_what_is_no_tar_is_refused(tmp_path, content):
    with pytest.raises(InvalidArgument, match="no tar archive"):
        unpacked(content, tmp_path)


def test_a_file_that_says_it_has_gigabytes_is_refused_before_it_is_written(tmp_path):
    header = member("adapter_config.json")
    header.size = 2**33
    with pytest.raises(InvalidArgument, match="it must have 1 to"):
        unpacked(header.tobuf(tarfile.GNU_FORMAT), tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_of_a_file_for_which_the_disk_has_no_room_nothing_is_written(tmp_path):
    with pytest.raises(ResourceExhausted):
        unpacked(peft_adapters.archive(), tmp_path, room=Room([]))

    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


@pytest.mark.parametrize("piece", [1_000, 2**16, 10 * STEP], ids=["small pieces", "even pieces", "one piece"])
def test_room_is_reserved_in_steps_while_a_file_arrives(tmp_path, piece):
    room, size = Room(), 2 * STEP + 7
    content = peft_adapters.packed([("adapter_config.json", b"{}"), ("adapter_model.safetensors", bytes(size))])

    unpacked(content, tmp_path, size=piece, room=room)

    assert room.looks == [2, size, size - STEP, size - 2 * STEP]
    assert (tmp_path / "adapter_model.safetensors").stat().st_size == size


def test_a_disk_that_others_fill_meanwhile_ends_the_file(tmp_path):
    weights = ("adapter_model.safetensors", bytes(3 * STEP))
    content = peft_adapters.packed([("adapter_config.json", b"{}"), weights])
    with pytest.raises(ResourceExhausted):
        unpacked(content, tmp_path, size=1_000, room=Room([2, 3 * STEP, 2 * STEP, STEP - 1]))

    assert (tmp_path / "adapter_model.safetensors").stat().st_size == 2 * STEP
