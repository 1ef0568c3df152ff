import pytest

import processors

MODERN = ["avx2", "avx512f", "avx512_bf16"]


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        ({"flags": MODERN}, "bfloat16"),
        ({"flags": ["bf16"]}, "bfloat16"),
        ({"flags": ["avx2", "avx512f"]}, "avx512"),
        ({"flags": ["avx2"]}, "avx2"),
        ({"flags": []}, "other"),
        ({"flags": MODERN, "accelerator": "a GPU"}, "gpu"),
        ({"flags": MODERN, "limits": dict(processors.EMULATING)}, "avx2-emulated"),
        ({"flags": ["avx2"], "limits": dict(processors.EMULATING)}, "avx2"),
    ],
)
def test_a_machine_is_of_a_kind(machine, kind):
    assert processors.kind_of(machine) == kind


@pytest.mark.parametrize(
    "limits", [{"ONEDNN_MAX_CPU_ISA": "AVX2"}, {**processors.EMULATING, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}]
)
def test_a_machine_some_of_whose_libraries_are_held_to_other_instructions_is_of_no_kind(limits):
    with pytest.raises(
        ValueError, match="MKL_ENABLE_INSTRUCTIONS=AVX2 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2"
    ):
        processors.kind_of({"flags": MODERN, "limits": limits})


def test_limits_are_those_of_the_environment():
    assert processors.limits({"ONEDNN_MAX_CPU_ISA": "AVX2", "HOME": "/"}) == {"ONEDNN_MAX_CPU_ISA": "AVX2"}


def test_an_emulated_kind_is_shown_where_there_is_no_real_one():
    assert processors.shown({"avx2-emulated": 1, "bfloat16": 1}) == ["bfloat16", "avx2-emulated"]
    assert processors.shown({"avx2-emulated": 1, "avx2": 1, "bfloat16": 1}) == ["bfloat16", "avx2"]
