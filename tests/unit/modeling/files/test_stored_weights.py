import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.files.stored_weights import fingerprint, stored_in

TENSORS = {
    "wide": torch.arange(600.0).view(2, 300).bfloat16(),
    "long": torch.arange(7),
    "empty": torch.zeros(0, 3),
    "single": torch.tensor(5.0),
}


@pytest.fixture
def file(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def test_tensors_are_found_where_they_lie(file):
    content, stored = file.read_bytes(), stored_in(file)

    assert {each.name: each.shape for each in stored} == {name: tuple(each.shape) for name, each in TENSORS.items()}
    for each in stored:
        tensor = TENSORS[each.name]
        assert content[each.begin : each.end] == tensor.flatten().view(torch.uint8).numpy().tobytes()
    assert stored[-1].end == len(content)
    assert [one.end for one in stored[:-1]] == [other.begin for other in stored[1:]]


def test_types_have_safetensors_names(file):
    with safe_open(file, "pt") as theirs:
        assert {each.name: each.kind for each in stored_in(file)} == {
            name: theirs.get_slice(name).get_dtype() for name in TENSORS
        }


@pytest.mark.parametrize("keep", [0, 5, 40, -1])
def test_a_file_that_was_cut_off_is_told(file, keep):
    file.write_bytes(file.read_bytes()[:keep])

    with pytest.raises(InvalidArgument, match="cannot be read from"):
        stored_in(file)


def test_a_fingerprint_does_not_depend_on_the_cut_into_files(file, tmp_path):
    parts = [tmp_path / "1.safetensors", tmp_path / "2.safetensors"]
    save_file({"single": TENSORS["single"], "wide": TENSORS["wide"]}, parts[0])
    save_file({"empty": TENSORS["empty"], "long": TENSORS["long"]}, parts[1])

    assert fingerprint(parts) == fingerprint(reversed(parts)) == fingerprint([file])


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors["wide"].mul_(1.01),
        lambda tensors: tensors["single"].add_(1),
        lambda tensors: tensors.update(long=tensors["long"].int()),
        lambda tensors: tensors.update(wide=tensors["wide"].view(300, 2)),
        lambda tensors: tensors.pop("empty"),
        lambda tensors: tensors.update(other=tensors.pop("long")),
    ],
)
def test_a_fingerprint_tells_other_weights(file, change):
    before, tensors = fingerprint([file]), load_file(file)
    change(tensors)
    save_file(tensors, file)

    assert fingerprint([file]) != before
