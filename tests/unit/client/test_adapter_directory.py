"""An adapter directory is looked at before anything is sent."""

import io
import math
import tarfile

import pytest

import peft_adapters
from tuningfork.client import adapter_directory
from tuningfork.client.errors import ClientError

A = f"{peft_adapters.LAYER}.lora_A.weight"


def refusal(directory):
    with pytest.raises(ClientError) as refused:
        adapter_directory.read(directory)
    return refused.value


def test_the_archive_has_both_files_and_nothing_else(tmp_path):
    peft_adapters.written(tmp_path, {**peft_adapters.files(), "README.md": b"about", "optimizer.pt": b"state"})

    read = adapter_directory.read(tmp_path)
    sent = b"".join(read.archive())

    assert len(sent) == read.archive_size
    with tarfile.open(fileobj=io.BytesIO(sent)) as tar:
        assert {member.name: tar.extractfile(member).read() for member in tar} == peft_adapters.files()


def test_a_pickle_is_never_read(tmp_path):
    peft_adapters.written(tmp_path, {"adapter_config.json": peft_adapters.config(), "adapter_model.bin": b"\x80\x04"})

    error = refusal(tmp_path)

    assert "is a pickle, which can run any program" in error.message
    assert "safe_serialization=True" in error.advice


@pytest.mark.parametrize("missing", ["adapter_config.json", "adapter_model.safetensors"])
def test_a_missing_file_is_named(tmp_path, missing):
    contents = peft_adapters.files()
    del contents[missing]
    peft_adapters.written(tmp_path, contents)

    assert refusal(tmp_path).message == f"There is no {tmp_path / missing}."


def test_a_directory_that_is_none_is_named(tmp_path):
    assert refusal(tmp_path / "nowhere").message == f"{tmp_path / 'nowhere'} is no directory."


def test_what_the_server_would_refuse_is_refused_here(tmp_path):
    peft_adapters.written(tmp_path, peft_adapters.files(use_dora=True))

    assert "use_dora=true" in refusal(tmp_path).message


def test_a_number_that_is_none_is_found_wherever_it_is(tmp_path):
    many = peft_adapters.matrices(inputs=100_000)
    numbers = {A: [0.25] * 399_999 + [math.nan]}
    contents = peft_adapters.files() | {"adapter_model.safetensors": peft_adapters.weights(many, numbers=numbers)}
    peft_adapters.written(tmp_path, contents)

    assert f"{A} has values that are not finite numbers" in refusal(tmp_path).message


def test_a_file_that_becomes_shorter_while_it_is_sent_is_an_error(tmp_path):
    read = adapter_directory.read(peft_adapters.written(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")

    with pytest.raises(ClientError, match="shorter"):
        b"".join(read.archive())
