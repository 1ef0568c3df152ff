"""How long a text may be is read from what configurations say, in the forms that they have had."""

import subprocess
import sys

import pytest

from tuningfork.modeling.files.context_length import context_length_of

FACTORS = {"short_factor": [1.0, 1.1], "long_factor": [1.0, 9.0]}


@pytest.mark.parametrize(
    ("config", "length"),
    [
        ({"max_position_embeddings": 4096}, 4096),
        ({"text_config": {"max_position_embeddings": 99}, "max_position_embeddings": 7}, 99),
        ({}, None),
        ({"rope_scaling": None, "max_position_embeddings": 64}, 64),
        # Stretched alike for every text: nothing changes on the way.
        ({"max_position_embeddings": 64, "rope_scaling": {"type": "yarn", "original_max_position_embeddings": 16}}, 64),
        (
            {
                "max_position_embeddings": 64,
                "rope_parameters": {"rope_type": "llama3", "original_max_position_embeddings": 16},
            },
            64,
        ),
        # Phi-3 and Phi-4 mini as they were published, and as transformers writes them now.
        (
            {
                "max_position_embeddings": 131_072,
                "original_max_position_embeddings": 4096,
                "rope_scaling": {"type": "longrope", **FACTORS},
            },
            4096,
        ),
        (
            {
                "max_position_embeddings": 131_072,
                "original_max_position_embeddings": 4096,
                "rope_scaling": {"type": "su", **FACTORS},
            },
            4096,
        ),
        (
            {
                "max_position_embeddings": 131_072,
                "rope_parameters": {"rope_type": "longrope", "original_max_position_embeddings": 4096, **FACTORS},
            },
            4096,
        ),
        (
            {
                "max_position_embeddings": 512,
                "rope_parameters": {
                    "full_attention": {"rope_type": "longrope", "original_max_position_embeddings": 128},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
                },
            },
            128,
        ),
    ],
)
def test_the_context_is_as_long_as_the_rotations_stay_the_same(config, length):
    assert context_length_of(config) == length


def test_asking_does_not_load_torch():
    program = "import sys, tuningfork.modeling.files.context_length; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
