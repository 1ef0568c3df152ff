"""How large a training file may be depends on what is to be tuned, unless somebody says otherwise."""

import pytest

from tuningfork.client.training_files.bounds import GEMINI_MAX_BYTES, MAX_BYTES, Bound


@pytest.mark.parametrize(
    ("base_model", "max_bytes"),
    [
        ("models/gemini-1.0-pro-001", GEMINI_MAX_BYTES),
        ("gemini-1.5-flash-001-tuning", GEMINI_MAX_BYTES),
        ("models/tuningfork-mini-001", MAX_BYTES),
        ("models/my-gemini", MAX_BYTES),
        ("", MAX_BYTES),
    ],
)
def test_bases_under_geminis_names_keep_geminis_four_megabytes(base_model, max_bytes):
    assert Bound.of(base_model, None).max_bytes == max_bytes
    assert Bound.of(base_model, 7).max_bytes == 7


def test_a_refusal_says_how_large_how_large_at_most_why_and_what_to_do():
    refusal = Bound.of("models/gemini-1.0-pro-001", None).refusal("p.csv", 5_000_000)

    assert refusal.message == (
        "p.csv has at least 5,000,000 bytes; a training file may have at most 4,194,304 (4 MB), because "
        "models/gemini-1.0-pro-001 bears the name of a Gemini model and keeps its limits."
    )
    assert "--max-file-mb" in refusal.advice
