"""Answers in a given form from a real generator, and schemas that mean it harm."""

import asyncio
import json
import statistics
import time
from functools import reduce

import pytest
from jsonschema import Draft202012Validator

from patience import PATIENCE_SECONDS
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, FinishReason, JsonAnswer, Sampling
from tuningfork.execution.base import GenerationAssignment
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads

pytestmark = [pytest.mark.slow]

NUMBER = {
    "type": "object",
    "properties": {"number": {"type": "integer", "minimum": 0, "maximum": 99}, "word": {"enum": ["one", "two"]}},
    "required": ["number", "word"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    engines = LocalEngines.build(
        threads=WorkerThreads(trainer=1, generator=1), artifacts=tmp_path_factory.mktemp("artifacts")
    )
    yield engines
    engines.close()


def asked(form, *, text="one", tokens=200) -> GenerationAssignment:
    return GenerationAssignment(
        base=EMBEDDED_MODEL,
        adapter=None,
        prompt=Conversation(turns=(Turn.said(Speaker.USER, text),)),
        sampling=Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=tokens, answer_format=form),
    )


async def answered(engines, assignment):
    chunks = [chunk async for chunk in engines.generators.generate(assignment)]
    return "".join(chunk.text for chunk in chunks), chunks[-1].finish_reason


def test_the_embedded_model_answers_in_the_form_that_is_asked(engines):
    text, reason = asyncio.run(answered(engines, asked(JsonAnswer(json.dumps(NUMBER)))))
    Draft202012Validator(NUMBER).validate(json.loads(text))
    assert reason is FinishReason.STOP
    assert asyncio.run(answered(engines, asked(ChoiceAnswer(("red", "green"))))) in {
        ("red", FinishReason.STOP),
        ("green", FinishReason.STOP),
    }


def nested(levels, wrap, inner):
    return reduce(lambda schema, _: wrap(schema), range(levels), inner)


def chain(links):
    names = {f"a{index}": {"$ref": f"#/$defs/a{index + 1}"} for index in range(links)}
    return {"$ref": "#/$defs/a0", "$defs": {**names, f"a{links}": {"type": "null"}}}


OBJECT = {"type": "object", "properties": {"x": {"type": "string"}}}
HOSTILE = {
    "a chain of references": chain(3_000),
    "the longest chain that is taken": chain(199),
    "itself": {"$ref": "#"},
    "itself twice": {"anyOf": [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}]},
    "deep": nested(60, lambda each: {"items": each}, {"type": "null"}),
    "too deep": nested(99, lambda each: {"items": each}, {"type": "null"}),
    "doubled at each level": nested(11, lambda each: {"anyOf": [each, each]}, {"pattern": "a+b"}),
    "doubled by merging": {
        "allOf": [
            {"anyOf": [{"required": [f"a{index}"], **OBJECT}, {"required": [f"b{index}"], **OBJECT}]}
            for index in range(40)
        ]
    },
    "a multiple of much": {"type": "integer", "multipleOf": 999_983},
    "multiples that are merged": {"allOf": [{"multipleOf": 9_973}, {"multipleOf": 9_967}, {"type": "integer"}]},
    "large repetitions": {"type": "string", "pattern": "^((a|b){1,1000}c){1,1000}$"},
    "unicode repetitions": {"type": "string", "pattern": r"^(\p{L}{1,100}){1,100}$"},
    "optional letters": {"type": "string", "pattern": "a?" * 20_000},
    "deep parentheses": {"type": "string", "pattern": "(" * 20_000 + "a" + ")" * 20_000},
    "patterns at once": {"allOf": [{"type": "string", "pattern": f"^.*a.{{{count}}}$"} for count in range(15, 25)]},
    "a long text": {"type": "string", "minLength": 10**9},
    "a long list": {"type": "array", "items": {"type": "null"}, "minItems": 10**9},
    "many keys": {"type": "object", "properties": {f"p{index}": {"type": "string"} for index in range(3_000)}},
    "many choices": {"enum": [f"value-{index}" for index in range(6_000)]},
    "many numbers": {"enum": list(range(15_000))},
    "many ranges": {"prefixItems": [{"type": "number", "minimum": -index * 1.23456} for index in range(1_500)]},
    "a range of the smallest": {"type": "number", "minimum": 1e-300, "maximum": 1.5},
    "many alternatives": {"anyOf": [{"const": {"k": f"v{index}", "a": "b"}} for index in range(2_000)]},
    "an address": {"$ref": "https://example.com/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_schema_is_refused_or_kept_to_and_harms_nobody(engines, name):
    """Beside it somebody else is answered; afterwards it is still the same process."""
    asyncio.run(answered(engines, asked(None)))
    process = engines.worker_pids["generator"]

    async def attack():
        return await asyncio.gather(
            answered(engines, asked(JsonAnswer(json.dumps(HOSTILE[name])))),
            answered(engines, asked(None)),
            return_exceptions=True,
        )

    began = time.monotonic()
    attacked, beside = asyncio.run(attack())

    if isinstance(attacked, tuple):
        text, reason = attacked
        if reason is FinishReason.STOP:
            json.loads(text)
    else:
        assert isinstance(attacked, InvalidArgument), attacked
        assert [each.field for each in attacked.violations] == ["sampling.answer_format"]
        assert len(attacked.message) < 500
    assert beside[1] is FinishReason.STOP
    assert time.monotonic() - began < PATIENCE_SECONDS
    assert engines.worker_pids["generator"] == process


def test_short_answers_are_not_held_up_by_a_count_of_megabytes(engines):
    asyncio.run(answered(engines, asked(None)))
    quiet = max(asyncio.run(seconds_of_an_answer(engines)) for _ in range(5))

    async def both():
        counting = asyncio.create_task(
            engines.generators.count_tokens(
                EMBEDDED_MODEL, Conversation(turns=(Turn.said(Speaker.USER, "word " * 800_000),))
            )
        )
        waited = []
        while not counting.done():
            waited.append(await seconds_of_an_answer(engines))
        return counting.result(), waited

    tokens, waited = asyncio.run(both())
    assert tokens > 4_000_000
    assert len(waited) > 3, "the count was over before anybody could be held up"
    assert statistics.median(waited) < max(1, 10 * quiet)


async def seconds_of_an_answer(engines):
    began = time.monotonic()
    await answered(engines, asked(None, tokens=4))
    return time.monotonic() - began
