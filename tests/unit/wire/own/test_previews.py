"""Previews in JSON."""

import json

import pytest

from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment, TuningPreview
from tuningfork.wire.gemini.tuning import CREATE, parse_create
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.own.creations import Creation
from tuningfork.wire.own.previews import parse_preview, render_preview

BODY = json.dumps(
    {"base_model": "models/a", "tuning_task": {"training_data": {"examples": {"examples": [{"text_input": "1"}]}}}}
).encode()


def test_the_request_is_that_of_creating():
    query = {"tunedModelId": "mine"}

    assert parse_preview(BODY, query) == (Creation(wanted=parse_create(BODY, query), words=CREATE), 3)


@pytest.mark.parametrize("shown", [0, 1, 20])
def test_so_many_examples_are_shown_as_are_asked_for(shown):
    assert parse_preview(BODY, {"examples": str(shown)})[1] == shown


@pytest.mark.parametrize("shown", ["-1", "21", "99999999"])
def test_more_than_twenty_examples_are_not_shown(shown):
    with pytest.raises(InvalidArgument, match=r"PreviewTunedModelRequest\.examples: examples must be .* 0 to 20"):
        parse_preview(BODY, {"examples": shown})


@pytest.mark.parametrize("query", [{"examples": "three"}, {"pageSize": "3"}])
def test_another_query_is_refused(query):
    with pytest.raises(InvalidArgument, match=next(iter(query))):
        parse_preview(BODY, query)


def test_the_answer_has_every_number_and_every_segment():
    example = PreviewedExample(
        segments=(
            PreviewSegment(text="User: 1", tokens=4, trained=False),
            PreviewSegment(text="", tokens=2, trained=True),
        ),
        as_served=True,
    )
    preview = TuningPreview(
        base_model=BaseModelName("models/a"),
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        total_steps=2,
        example_count=1,
        dataset=DatasetPreview(
            total_tokens=6, trained_tokens=2, longest_tokens=6, longest_example=0, context_tokens=512, shown=(example,)
        ),
        tokens_per_second=48.0,
        temperature=0.0,
        answers=AnswerKind.LABELS,
        price=100_000.0,
    )

    rendered = render_preview(preview)

    assert encode(rendered.message, rendered.fields) == {
        "baseModel": "models/a",
        "totalSteps": 2,
        "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
        "exampleCount": 1,
        "totalTokenCount": 6,
        "trainedTokenCount": 2,
        "longestExampleTokenCount": 6,
        "longestExample": 0,
        "contextTokenCount": 512,
        "examples": [
            {
                "segments": [
                    {"text": "User: 1", "trained": False, "tokenCount": 4},
                    {"text": "", "trained": True, "tokenCount": 2},
                ],
                "tokenCount": 6,
                "trainedTokenCount": 2,
                "identicalToServing": True,
            }
        ],
        "measuredTokensPerSecond": 48.0,
        "expectedStepSeconds": 0.5,
        "pricePerMillionTokens": 100_000,
        "expectedCost": 3,
        "temperature": 0,
        "answers": "LABELS",
    }


def test_a_speed_that_was_not_measured_is_absent():
    preview = TuningPreview(
        base_model=BaseModelName("models/a"),
        hyperparameters=Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        total_steps=2,
        example_count=1,
        dataset=DatasetPreview(
            total_tokens=6, trained_tokens=2, longest_tokens=6, longest_example=0, context_tokens=512
        ),
    )

    rendered = render_preview(preview)

    assert not {"measuredTokensPerSecond", "expectedStepSeconds"} & set(encode(rendered.message, rendered.fields))
