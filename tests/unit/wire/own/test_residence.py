"""Where a tuned model lies, in JSON."""

import pytest

from tuningfork.domain.base_model import AdapterShape
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.own.residence import render_residence

SHAPE = {"adapterRank": 4, "adapterAlpha": 16}


@pytest.mark.parametrize(
    ("size_bytes", "pinned", "printed"),
    [
        (None, False, {"tunedModel": "tunedModels/x", "resident": False, "pinned": False, **SHAPE}),
        (1_000, True, {"tunedModel": "tunedModels/x", "resident": True, "sizeBytes": "1000", "pinned": True, **SHAPE}),
        (0, True, {"tunedModel": "tunedModels/x", "resident": True, "sizeBytes": "0", "pinned": True, **SHAPE}),
    ],
)
def test_a_model_that_is_not_in_memory_has_no_size(size_bytes, pinned, printed):
    residence = render_residence("tunedModels/x", size_bytes, AdapterShape(rank=4, alpha=16.0), pinned=pinned)

    assert encode(residence.message, residence.fields) == printed
    assert list(encode(residence.message, residence.fields)) == list(printed)
