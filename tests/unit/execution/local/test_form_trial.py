"""A compile that may end its process ends only its own."""

import json
import subprocess
import sys

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, JsonAnswer
from tuningfork.execution.local.form_trial import survives, try_out


def grammar_of(schema):
    return json.dumps({"grammars": [{"json_schema": schema}]})


@pytest.mark.parametrize("form", [JsonAnswer(), JsonAnswer('{"type": "object"}'), ChoiceAnswer(("a", "b"))])
def test_what_can_be_compiled_passes(form):
    try_out(form)


def test_what_the_compiler_refuses_passes_since_it_tells_more_itself():
    try_out(JsonAnswer('{"type": "array", "uniqueItems": true}'))


def test_what_is_out_of_bounds_is_not_even_tried():
    with pytest.raises(InvalidArgument, match="multipleOf"):
        try_out(JsonAnswer('{"multipleOf": 999999}'))


def test_a_trial_that_dies_is_told_apart_from_one_that_does_not():
    # Past our own bounds, straight to the compiler: a chain that overflows its stack.
    names = {f"a{index}": {"$ref": f"#/$defs/a{index + 1}"} for index in range(5_000)}
    schema = {"$ref": "#/$defs/a0", "$defs": {**names, "a5000": {"type": "null"}}}
    assert not survives(grammar_of(schema))
    assert survives(grammar_of({"type": "null"}))


@pytest.mark.slow
def test_a_trial_has_bounded_memory_and_time():
    # The automaton has a state for each remainder.
    assert not survives(grammar_of({"type": "integer", "multipleOf": 99_999_999}))


def test_a_trial_loads_no_torch():
    program = (
        "import sys, tuningfork.execution.local.form_trial; print(*{name.partition('.')[0] for name in sys.modules})"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "numpy"} & set(ended.stdout.split())
