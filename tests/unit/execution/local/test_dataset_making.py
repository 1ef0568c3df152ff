"""Files of rows become files of examples, with statistics that follow from the file by hand."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from calling_template import TEMPLATE
from row_files import RowFile, row_of, written
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.data_statistics import Bucket, DataStatistics, Distribution, DroppedExample
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.training_rows import NoExamples, RowFault, TooManyDropped, TooManyExamples
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.execution.local.dataset_making import DatasetMaking
from tuningfork.execution.preparation import PreparationRequest
from tuningfork.modeling.describing import describe
from tuningfork.modeling.token_counting import TokenCounter
from tuningfork.wire.vertex.rows import read_row

ROWS = RowFile(Path(__file__).parents[3] / "data" / "preparing" / "rows.jsonl")
BASE = EMBEDDED_MODEL
COUNTER = TokenCounter(describe(BASE))


@pytest.fixture
def make(tmp_path):
    def run(training, *, report=lambda rows: None, counter=COUNTER, **wanted):
        wanted = {"max_example_tokens": 1_000, "validation": None, "read_row": read_row} | wanted
        request = PreparationRequest(
            job_id=JobId("abc"), training=training, work=ArtifactRef("work/abc"), **{"base": BASE, **wanted}
        )
        making = DatasetMaking(request, counter, LocalArtifactStore(tmp_path)).run()
        while True:
            try:
                report(next(making))
            except StopIteration as ended:
                return ended.value

    return run


def examples_of(tmp_path, prepared):
    with LocalArtifactStore(tmp_path).reading(prepared.file, verified=True) as path:
        file = DatasetFile(path)
        assert (file.digest, len(file)) == (prepared.digest, prepared.count)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == prepared.digest
        return list(file)


# The embedded base's tokens are bytes. A row has one more for its beginning and one before each text, and each answer
# that is learned ends with one, so that `{"user": "abc", "model": "de"}` has 1 + 1 + 3 + 1 = 6 and 2 + 1 = 3.
BY_HAND = DataStatistics(
    examples=11,
    # 5, 15, 17, 4, 4, 2, 3, 451, 3 and 3 of the ten examples that are kept.
    characters=507,
    billable_characters=501,
    billable_tokens=558,
    # 6, 17, 15, 7, 9, 6, 6, 453, 5 and 4.
    input_tokens=Distribution(
        sum=528,
        billable_sum=528,
        min=4,
        max=453,
        mean=52.8,
        median=6.5,
        p5=4,
        p95=453,
        buckets=(Bucket(count=9, left=4, right=78), Bucket(count=1, left=379, right=453)),
    ),
    # 3, 2, 7, 4, 2, 3, 2, 2, 2 and 3.
    output_tokens=Distribution(
        sum=30,
        billable_sum=30,
        min=2,
        max=7,
        mean=3.0,
        median=2.5,
        p5=2,
        p95=7,
        buckets=(
            Bucket(count=5, left=2, right=2),
            Bucket(count=3, left=3, right=3),
            Bucket(count=1, left=4, right=4),
            Bucket(count=1, left=7, right=7),
        ),
    ),
    # 2, 2, 2, 4, 4, 2, 2, 2, 2 and 2.
    messages=Distribution(
        sum=24,
        billable_sum=24,
        min=2,
        max=4,
        mean=2.4,
        median=2.0,
        p5=2,
        p95=4,
        buckets=(Bucket(count=8, left=2, right=2), Bucket(count=2, left=4, right=4)),
    ),
    first_turns=(
        Turn.said(Speaker.USER, "abc"),
        Turn.said(Speaker.MODEL, "de"),
        Turn.said(Speaker.USER, "What is 2 + 2?"),
        Turn.said(Speaker.MODEL, "4"),
        Turn.said(Speaker.USER, "Hi"),
        Turn.said(Speaker.MODEL, "Hello!"),
    ),
    dropped=1,
    dropped_sample=(
        DroppedExample(number=9, reason="The example has 1205 tokens, and 1000 are the most for this base model."),
    ),
)


def test_the_statistics_of_a_fixed_file_are_those_computed_by_hand(make):
    assert make(ROWS).statistics == BY_HAND


def test_the_file_of_examples_is_one_that_training_reads(make, tmp_path):
    prepared = make(ROWS)
    found = examples_of(tmp_path, prepared.training)

    assert prepared.validation is None
    assert found[0] == Conversation.pair("abc", "de")
    assert found[2].system_instruction == "Be brief."
    assert found[4].turns[1] == Turn.said(Speaker.MODEL, "b", 0)
    assert found[8] == Conversation.pair("pq", "r")
    assert prepared.training.statistics.characters == 507
    assert prepared.training.statistics.longest_characters == 451


def test_batches_do_not_change_what_comes_out(make, monkeypatch):
    whole = make(ROWS)
    # Why: a file of a batch's usual size would take long to count by hand.
    monkeypatch.setattr("tuningfork.execution.local.dataset_making._BATCH_ROWS", 2)
    seen = []

    assert make(ROWS, report=seen.append) == whole
    assert seen == [4, 6, 8, 10, 11, 11]


def test_blank_lines_are_no_rows(make, tmp_path):
    file = written(tmp_path / "rows", [b"", row_of("1", "2"), b"  \r", row_of("3", "4"), b""])

    assert make(file).training.count == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"input_text": "1"}', "Row: 2. Missing required 'contents' field. Rows of input_text"),
        (b"{", "Row: 2. The row is not valid JSON: Expecting property name"),
        (row_of("1", ""), "Row: 2. contents[1]: a turn of the model that is learned must not be empty."),
        (row_of("1", "\ud800"), "Row: 2. contents[1].parts[0].text: must be valid Unicode text; its character 0 is"),
    ],
)
def test_a_malformed_row_fails_with_its_number_from_zero(make, tmp_path, line, said):
    file = written(tmp_path / "rows", [row_of("1", "2"), row_of("1", "2"), line, row_of("1", "2")])

    with pytest.raises(RowFault) as refused:
        make(file)
    assert refused.value.message.startswith(said)
    assert refused.value.row == 2
    assert not LocalArtifactStore(tmp_path).has(ArtifactRef("work/abc/training.jsonl"))


def test_an_order_of_turns_that_the_template_refuses_is_told_with_the_row(make, tmp_path):
    def refuse(line):
        raise InvalidArgument("the model's chat template does not take these turns: they must alternate")

    file = written(tmp_path / "rows", [row_of("1", "2")])

    with pytest.raises(RowFault, match=r"^Row: 0\. the model's chat template does not take these turns"):
        make(file, read_row=refuse)


CALLING = {
    "contents": [
        {"role": "user", "parts": [{"text": "1"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "next", "args": {"of": 1}}}]},
        {"role": "function", "parts": [{"functionResponse": {"name": "next", "response": {"is": 2}}}]},
        {"role": "model", "parts": [{"text": "2"}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "next", "description": "Counts."}]}],
}


def test_a_row_with_function_calls_is_refused_where_the_template_has_none(make, tmp_path):
    file = written(tmp_path / "rows", [row_of("1", "2"), json.dumps(CALLING).encode()])

    with pytest.raises(RowFault, match=r"^Row: 1\. The row has function calls or declarations of functions, and"):
        make(file)


def test_function_calls_are_learned_as_the_template_writes_them(make, tmp_path):
    base = replace(BASE, chat_template=TEMPLATE)
    file = written(tmp_path / "rows", [json.dumps(CALLING).encode()])

    prepared = make(file, base=base, counter=TokenCounter(describe(base)))

    [example] = examples_of(tmp_path, prepared.training)
    assert [turn.text for turn in example.turns] == [
        "1",
        '<call>{"name": "next", "arguments": {"of": 1}}</call>',
        '<answer>{"is": 2}</answer>',
        "2",
    ]
    assert "Counts." in example.system_instruction
    assert prepared.statistics.messages.sum == 4
    rows = describe(base).render_example(example)
    assert prepared.statistics.output_tokens.sum == sum(end - begin for row in rows for begin, end in row.outputs)


LONG = row_of("x" * 1_200, "y")


def test_up_to_a_tenth_of_the_examples_may_be_dropped(make, tmp_path):
    file = written(tmp_path / "rows", [*[row_of("1", "2")] * 18, LONG, LONG])
    prepared = make(file)

    assert prepared.training.count == 18
    assert [each.number for each in prepared.statistics.dropped_sample] == [19, 20]


def test_more_than_a_tenth_of_dropped_examples_fails(make, tmp_path):
    file = written(tmp_path / "rows", [*[row_of("1", "2")] * 17, LONG, LONG])

    with pytest.raises(TooManyDropped, match=r"^2 of 19 examples would be dropped, and at most 10% of them may be"):
        make(file)


def test_an_example_of_just_so_many_tokens_is_kept(make, tmp_path):
    # 1 + 1 + 995 + 1 + 1 + 1
    fits, too_long = row_of("x" * 995, "y"), row_of("x" * 996, "y")
    prepared = make(written(tmp_path / "rows", [*[fits] * 10, too_long]))

    assert prepared.training.count == 10
    assert prepared.statistics.input_tokens.max == 998


def test_an_example_that_is_hundreds_of_times_too_long_is_not_encoded_whole(make, tmp_path):
    file = written(tmp_path / "rows", [*[row_of("1", "2")] * 10, row_of("x" * 1_000_000, "y")])

    [dropped] = make(file).statistics.dropped_sample
    assert dropped.reason == "The example has more than 1000 tokens, and 1000 are the most for this base model."


def test_examples_are_never_longer_than_the_base_reads(make, tmp_path):
    file = written(tmp_path / "rows", [row_of("1", "2")])

    assert make(file, max_example_tokens=BASE.context_tokens + 1).training.count == 1


@pytest.mark.parametrize("lines", [[], [b"", b" "]])
def test_a_file_without_rows_is_refused(make, tmp_path, lines):
    with pytest.raises(NoExamples, match="The training dataset has no examples: give at least one"):
        make(written(tmp_path / "rows", lines))


def test_a_validation_file_is_made_in_the_same_way_and_not_counted(make, tmp_path):
    prepared = make(ROWS, validation=written(tmp_path / "rows", [row_of("1", "2"), row_of("3", "4")]))

    assert prepared.statistics == BY_HAND
    assert examples_of(tmp_path, prepared.validation) == [Conversation.pair("1", "2"), Conversation.pair("3", "4")]


def test_a_validation_file_with_too_many_examples_is_refused(make, tmp_path):
    file = written(tmp_path / "rows", [row_of("1", "2")] * 3)

    assert make(ROWS, validation=file, max_validation_examples=3).validation.count == 3
    with pytest.raises(TooManyExamples, match="more than 2 examples, which is the most for this base model"):
        make(ROWS, validation=file, max_validation_examples=2)


def test_a_fault_of_the_validation_file_says_so(make, tmp_path):
    with pytest.raises(RowFault, match=r"^Row: 1 of the validation dataset\. Missing required 'contents' field\.$"):
        make(ROWS, validation=written(tmp_path / "rows", [row_of("1", "2"), b"{}"]))


def test_a_share_can_be_held_out_and_is_the_same_whatever_the_order(make, tmp_path):
    lines = [row_of(str(number), "2") for number in range(400)]
    prepared = make(written(tmp_path / "rows", lines), validation_share=0.1)
    held_out = examples_of(tmp_path, prepared.validation)
    again = make(written(tmp_path / "rows", [*lines, *lines][::-1]), validation_share=0.1)

    assert 20 <= len(held_out) <= 60
    assert prepared.training.count + len(held_out) == 400
    assert prepared.statistics.examples == prepared.training.count
    assert set(map(repr, examples_of(tmp_path, again.validation))) == set(map(repr, held_out))


def test_what_answers_teach_is_told(make, tmp_path):
    labels = [row_of(str(number), "yes" if number % 2 else "no") for number in range(40)]
    labelled = make(written(tmp_path / "rows", labels))
    dialogue = make(written(tmp_path / "rows", [row_of("1", "2\n\nUser:\n3")]))

    assert labelled.answers == "LABELS"
    assert (labelled.teaches_next_turn, dialogue.teaches_next_turn) == (False, True)


def test_the_fixed_file_has_what_the_numbers_are_of():
    rows = [json.loads(line) for line in ROWS.lines()]

    assert len(rows) == 11
    assert len(rows[8]["contents"][0]["parts"][0]["text"]) == 1_200
