"""Where a tuned model lies, in JSON."""

import pytest

from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.own.residence import render_residence


@pytest.mark.parametrize(
    ("size_bytes", "pinned", "printed"),
    [
        (None, False, {"tunedModel": "tunedModels/x", "resident": False, "pinned": False}),
        (1_000, True, {"tunedModel": "tunedModels/x", "resident": True, "sizeBytes": "1000", "pinned": True}),
        (0, True, {"tunedModel": "tunedModels/x", "resident": True, "sizeBytes": "0", "pinned": True}),
    ],
)
def test_a_model_that_is_not_in_memory_has_no_size(size_bytes, pinned, printed):
    residence = render_residence("tunedModels/x", size_bytes, pinned=pinned)

    assert encode(residence.message, residence.fields) == printed
    assert list(encode(residence.message, residence.fields)) == list(printed)
