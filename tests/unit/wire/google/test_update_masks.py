import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.gemini.tuning_messages import TUNED_MODEL
from tuningfork.wire.google.update_masks import masked_fields

CHANGEABLE = ("display_name", "top_p")


def masked(*paths):
    return masked_fields(paths, TUNED_MODEL, CHANGEABLE, "UpdateTunedModelRequest")


@pytest.mark.parametrize(
    ("paths", "fields"),
    [
        (["displayName"], {"display_name"}),
        (["display_name", "topP"], {"display_name", "top_p"}),
        (["top_p", "topP", "top_p"], {"top_p"}),
        (["*"], {"display_name", "top_p"}),
        (["*", "top_p"], {"display_name", "top_p"}),
        ([], set()),
    ],
)
def test_a_mask_names_fields_in_either_spelling(paths, fields):
    assert masked(*paths) == fields


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("color", 'names "color", which is no field of TunedModel'),
        ("color.red", 'names "color.red", which is no field of TunedModel'),
        ("state", 'names "state", which cannot be changed'),
        ("baseModel", 'names "baseModel", which cannot be changed'),
        ("tuningTask.hyperparameters", 'names "tuningTask.hyperparameters", which cannot be changed'),
        ("display_name.first", 'names "display_name.first", which cannot be changed'),
        ("Display_Name", 'names "Display_Name", which is no field of TunedModel'),
    ],
)
def test_any_other_path_is_refused_with_what_may_be_changed(path, fault):
    with pytest.raises(InvalidArgument) as caught:
        masked("top_p", path)

    assert caught.value.message == (
        f"* UpdateTunedModelRequest.update_mask: update_mask {fault}; "
        "it may name display_name, top_p, or be * for all of them\n"
    )
    assert [violation.field for violation in caught.value.violations] == ["update_mask"]


def test_every_wrong_path_is_told_once():
    with pytest.raises(InvalidArgument) as caught:
        masked("color", "state", "color")

    assert len(caught.value.violations) == 2
