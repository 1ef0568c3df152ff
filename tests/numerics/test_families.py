"""For every family of models: our logits are those of transformers, and with adapters those of PEFT.

In fp32 both compute the same sums in another order: on logits of a spread of 1 to 2 that comes to 1e-5. In bf16 the
order decides the last of eight bits at every product, so there the measure is the exact answer for the rounded weights
(computed in fp32): ours may be no further from it than transformers' own, give or take a quarter, and for a text of a
few tokens, where chance does not even out, twice as far.
"""

import copy
import json
import shutil
from collections.abc import Sequence

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor

from families import FAMILIES, WINDOW
from family_models import without
from tiny_models import CONTEXT_TOKENS, Architecture, packed_logits, tiny_base_model
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

TOLERANCE = 5e-5
TEXTS = [
    torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    for length in (1, 7, WINDOW + 1, 45, 29)
]
ALONE = [None] * len(TEXTS)
MIXED = (["a", "b", None, "c", "a"], ["b", None, "c", "b", "b"], [None, "c", "c", None, "a"])
"""The adapter of each text; None: the base alone."""


@torch.no_grad()
def logits_of(model) -> list[Tensor]:
    """`TV` of each text, each alone."""
    return [model(torch.tensor([text])).logits[0].float() for text in TEXTS]


@torch.no_grad()
def peft_logits(model, names: Sequence[str | None]) -> list[Tensor]:
    """`TV` of each text with its adapter."""
    found = []
    for text, name in zip(TEXTS, names, strict=True):
        if name is None:
            with model.disable_adapter():
                logits_1TV = model(torch.tensor([text])).logits
        else:
            model.set_adapter(name)
            logits_1TV = model(torch.tensor([text])).logits
        found.append(logits_1TV[0].float())
    return found


@torch.no_grad()
def ours(family, names: Sequence[str | None], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """`TV` of each text, all in one packed row."""
    found = packed_logits(family.base(dtype), TEXTS, family.slots(names, dtype))
    return [logits_TV.float() for logits_TV in found]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    torch.testing.assert_close(torch.cat(found), torch.cat(wanted), rtol=0, atol=TOLERANCE)


def error_of(found: Tensor, exact: Tensor) -> float:
    """The root of the mean squared distance."""
    return (found - exact).square().mean().sqrt().item()


def assert_as_exact(found: list[Tensor], theirs: list[Tensor], exact: list[Tensor]) -> None:
    whole, whole_of_theirs, whole_exact = map(torch.cat, (found, theirs, exact))
    assert error_of(whole, whole_exact) <= 1.25 * error_of(whole_of_theirs, whole_exact)
    for ours_TV, theirs_TV, exact_TV in zip(found, theirs, exact, strict=True):
        assert error_of(ours_TV, exact_TV) <= 2 * error_of(theirs_TV, exact_TV)


def test_the_logits_of_the_base_are_those_of_transformers(family):
    assert_same(ours(family, ALONE), logits_of(family.plain()))


@pytest.mark.parametrize("name", ["a", "b"])
def test_an_adapters_logits_are_those_of_peft(family, name):
    names = [name] * len(TEXTS)
    found = ours(family, names)
    assert_same(found, peft_logits(family.with_peft(), names))
    assert error_of(torch.cat(found), torch.cat(ours(family, ALONE))) > 1000 * TOLERANCE


@pytest.mark.parametrize("names", MIXED)
def test_texts_on_different_adapters_in_one_row_each_get_the_logits_of_peft(family, names):
    assert_same(ours(family, names), peft_logits(family.with_peft(), names))


def test_whatever_else_a_configuration_says_is_done_too(variant):
    assert_same(ours(variant, MIXED[0]), peft_logits(variant.with_peft(), MIXED[0]))


@torch.no_grad()
def test_a_text_that_fills_the_context_leaves_those_beside_it_as_they_are(family):
    base = family.base()
    longest = [index % 250 for index in range(base.context_tokens)]
    found = packed_logits(base, [TEXTS[1], longest, TEXTS[-1]], None)
    # Over so many tokens, transformers' own rounding in fp32 comes near the tolerance.
    exact = copy.deepcopy(family.plain()).double()
    wanted = [exact(torch.tensor([text])).logits[0].float() for text in (TEXTS[1], longest, TEXTS[-1])]
    assert_same(found, wanted)


@pytest.mark.parametrize("family", ["phi4-mini"], indirect=True)
def test_a_context_ends_where_rotations_would_change(family):
    assert family.base().context_tokens == family.config.original_max_position_embeddings < CONTEXT_TOKENS


def test_an_adapter_that_peft_made_fits_and_gives_its_logits_here(family, tmp_path):
    shape = LoraConfig(
        r=5,
        lora_alpha=15,
        target_modules="all-linear",
        exclude_modules=r".*(vision_tower|multi_modal_projector).*" if "vision" in family.name else None,
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)
        theirs = get_peft_model(family.plain(), shape).eval()
    theirs.save_pretrained(tmp_path)
    weights = adapter_format.load(tmp_path)
    slots = family.base().slots
    assert weights.tensors.keys() == slots.fresh(weights.shape, seed=0).tensors.keys()
    slot = slots.load(weights)
    found = packed_logits(family.base(), TEXTS, slot)
    slots.unload(slot)
    # PEFT's random adapters are as loud as the base itself.
    torch.testing.assert_close(torch.cat(found), torch.cat(logits_of(theirs)), rtol=0, atol=4 * TOLERANCE)


@pytest.mark.bf16
@pytest.mark.parametrize("names", [ALONE, ["a"] * 5, ["b"] * 5, *MIXED])
def test_in_bfloat16_the_logits_are_as_exact_as_those_of_peft(family, names):
    theirs = peft_logits(family.with_peft(torch.bfloat16), names)
    assert_as_exact(ours(family, names, torch.bfloat16), theirs, peft_logits(family.exact(), names))


def test_a_family_runs_by_the_decoder_that_is_written_out_or_by_transformers_code(family):
    # Else these would be proofs of something else than what serves.
    by_transformers = family.name in {"phi", "gemma3-with-vision"}
    assert (family.base().decoder is None) == by_transformers


def test_what_sets_a_family_apart_shows_in_its_small_model(family):
    # Else a forward pass without it would pass the tests above.
    plain = family.plain()
    wanted = torch.cat(logits_of(plain))
    rounded = error_of(torch.cat(logits_of(family.plain(torch.bfloat16))), wanted)
    for what, peculiarity in FAMILIES[family.name].peculiarities.items():
        changed = error_of(torch.cat(logits_of(without(plain, peculiarity))), wanted)
        assert changed > 1000 * TOLERANCE, what
        assert changed > 2 * rounded, what


def test_a_family_has_the_head_that_its_configuration_says(family):
    head, embedding = family.plain().get_output_embeddings(), family.plain().get_input_embeddings()
    assert family.config.tie_word_embeddings == torch.equal(head.weight, embedding.weight)


SCALED = {
    "default": {"rope_type": "default", "rope_theta": 10_000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0},
    "yarn": {
        "rope_type": "yarn",
        "rope_theta": 10_000.0,
        "factor": 4.0,
        "original_max_position_embeddings": CONTEXT_TOKENS // 4,
    },
    "llama3": {
        "rope_type": "llama3",
        "rope_theta": 10_000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 48,
    },
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0, 1.3, 1.6, 1.9],
        "long_factor": [2.0, 4.0, 6.0, 8.0],
        "original_max_position_embeddings": CONTEXT_TOKENS // 4,
    },
}
"""How rotations are scaled, by transformers' names. Two of these change the frequencies of all positions where one
position is beyond a length."""


@pytest.mark.parametrize("rope", SCALED)
def test_a_rotation_depends_on_its_position_alone_beside_and_after_the_longest_text(rope, tiny_directories, tmp_path):
    directory = shutil.copytree(tiny_directories["llama"], tmp_path / rope)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"rope_parameters": SCALED[rope]}))
    base = load_base(tiny_base_model(Architecture.LLAMA, directory), dtype=torch.float32)
    short, longest = torch.arange(9), torch.arange(base.context_tokens)
    tables = list(base.decoder.rotations.values())

    alone = [table(short) for table in tables]
    beside = [[each[-9:] for each in table(torch.cat([longest, short]))] for table in tables]
    after = [table(short) for table in tables]

    assert config["rope_parameters"]["rope_type"] == "default"
    assert base.model.config.rope_parameters["rope_type"] == rope
    for wanted, *others in zip(alone, beside, after, strict=True):
        assert all(torch.equal(one, other) for found in others for one, other in zip(wanted, found, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("rope", ["dynamic", "longrope"])
def test_beyond_the_context_rotations_would_change_so_the_test_above_can_fail(rope, tiny_directories, tmp_path):
    directory = shutil.copytree(tiny_directories["llama"], tmp_path / rope)
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"rope_parameters": SCALED[rope]}))
    base = load_base(tiny_base_model(Architecture.LLAMA, directory), dtype=torch.float32)
    (table,) = base.decoder.rotations.values()
    short, beyond = torch.arange(9), torch.arange(base.context_tokens + 1)

    assert not torch.equal(table(short)[0], table(torch.cat([beyond, short]))[0][-9:])
