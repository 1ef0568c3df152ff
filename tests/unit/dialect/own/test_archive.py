"""An adapter directory as a tar archive."""

import asyncio
import io
import shutil
import tarfile

import pytest

from tuningfork.dialect.own.archive import AdapterArchive


@pytest.fixture
def directory(tmp_path):
    directory = tmp_path / "adapter"
    directory.mkdir()
    (directory / "adapter_config.json").write_bytes(b'{"r": 8}')
    (directory / "adapter_model.safetensors").write_bytes(bytes(range(256)) * 10_000)
    (directory / "empty").write_bytes(b"")
    (directory / "whole_block").write_bytes(b"x" * tarfile.BLOCKSIZE)
    (directory / "folder").mkdir()
    return directory


async def gather(archive):
    return b"".join([piece async for piece in archive.pieces()])


def unpacked(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_the_archive_holds_the_files_and_is_as_long_as_it_says(directory):
    archive = AdapterArchive(directory)

    content = asyncio.run(gather(archive))

    assert len(content) == archive.size
    assert unpacked(content) == {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_contents_are_put_in_the_place_of_files_and_besides(directory):
    archive = AdapterArchive(directory, {"empty": b"no more", "chat_template.jinja": b"{{ 1 }}"})

    content = asyncio.run(gather(archive))

    assert len(content) == archive.size
    found = unpacked(content)
    assert (found["empty"], found["chat_template.jinja"], found["adapter_config.json"]) == (
        b"no more",
        b"{{ 1 }}",
        b'{"r": 8}',
    )


def test_a_model_that_is_deleted_meanwhile_is_still_sent_whole(directory):
    archive = AdapterArchive(directory)
    shutil.rmtree(directory)

    assert len(unpacked(asyncio.run(gather(archive)))["adapter_model.safetensors"]) == 2_560_000


@pytest.mark.parametrize("heard", [1, 3, None])
def test_the_files_are_closed_when_nobody_listens_any_more(directory, heard):
    archive = AdapterArchive(directory)

    async def listen():
        pieces = archive.pieces()
        count = 0
        async for _ in pieces:
            count += 1
            if count == heard:
                break
        await pieces.aclose()

    asyncio.run(listen())

    assert all(file.closed for file in archive._files)
