"""The generator without its process: what it reports of each command, and that long work holds nobody up."""

import itertools
import json
import threading
from dataclasses import replace

import pytest

from tiny_models import Architecture, tiny_base_model
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument, NotFound
from tuningfork.domain.generation import ChoiceAnswer, FinishReason, JsonAnswer, Prompt, Sampling, Speaker, Turn
from tuningfork.execution.base import AdapterRoom, GenerationAssignment
from tuningfork.execution.environment import of_room
from tuningfork.execution.generator_process import Generator, GeneratorWorker, room_in
from tuningfork.execution.messages import Abandon, Count, Counted, Ended, Generate, Generated, Keep, Refused, Reports
from tuningfork.modeling import adapter_format
from tuningfork.modeling.loading import load_base

LONG = "one two " * 5_000


@pytest.fixture
def generator():
    return Generator()


def prompt(text="one two"):
    return Prompt(turns=(Turn(Speaker.USER, text),))


def generate(name, base, *, text="one two", tokens=20, form=None):
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=None, max_output_tokens=tokens, seed=1, answer_format=form)
    return Generate(
        name, GenerationAssignment(base=base, adapter_directory=None, prompt=prompt(text), sampling=sampling)
    )


def run(generator, *commands):
    """Every report until nothing is in flight."""
    reports = [report for command in commands for report in generator.obey(command)]
    while not generator.idle:
        reports += itertools.chain.from_iterable(generator.advance())
    return reports


def text_of(reports, name):
    return "".join(each.chunk.text for each in reports if isinstance(each, Generated) and each.request_id == name)


def test_a_short_prompt_is_counted_at_once(generator, tiny_llama):
    [counted] = generator.obey(Count("a", tiny_llama, prompt()))
    assert counted == Counted("a", counted.tokens)
    assert generator.idle


def test_a_long_prompt_is_counted_beside_the_engine(generator, tiny_llama):
    assert list(generator.obey(Count("a", tiny_llama, prompt(LONG)))) == []
    assert not generator.idle
    [counted] = run(generator)
    assert counted.tokens > 10_000


def test_answers_are_written_while_long_work_is_done(generator, tiny_llama):
    gate = threading.Event()
    generator._preparing.begin("something long", gate.wait)
    list(generator.obey(Count("a", tiny_llama, prompt(LONG))))
    reports = list(generator.obey(generate("b", tiny_llama)))
    while Ended("b") not in reports:
        reports += itertools.chain.from_iterable(generator.advance())
    assert {report.request_id for report in reports} == {"b"}
    gate.set()
    generator._preparing.forget("something long")
    assert [type(report) for report in run(generator)] == [Counted]


def test_a_form_is_compiled_beside_the_engine_and_known_from_then_on(generator, tiny_llama):
    form = ChoiceAnswer(("yes", "no"))
    list(generator.obey(generate("a", tiny_llama, form=form)))
    assert "a" not in generator._requests
    assert text_of(run(generator), "a") in form.choices
    list(generator.obey(generate("b", tiny_llama, form=form)))
    assert "b" in generator._requests
    assert text_of(run(generator), "b") in form.choices


def test_a_form_that_cannot_be_kept_to_is_refused_and_nobody_else(generator, tiny_llama):
    bad = JsonAnswer(json.dumps({"type": "array", "uniqueItems": True}))
    reports = run(generator, generate("good", tiny_llama), generate("bad", tiny_llama, form=bad))
    [refused] = [report for report in reports if isinstance(report, Refused)]
    assert (refused.request_id, type(refused.error)) == ("bad", InvalidArgument)
    assert [each.field for each in refused.error.violations] == ["sampling.answer_format"]
    assert Ended("good") in reports


def test_a_prompt_that_is_too_long_is_refused_after_it_was_cut_into_tokens(generator, tiny_llama):
    [refused] = run(generator, generate("a", tiny_llama, text=LONG))
    assert "tokens long" in refused.error.message


def test_a_request_that_is_abandoned_while_it_is_prepared_is_not_heard_of_again(generator, tiny_llama):
    reports = run(generator, Count("a", tiny_llama, prompt(LONG)), Count("b", tiny_llama, prompt(LONG)), Abandon("a"))
    assert [report.request_id for report in reports] == ["b"]


def test_an_answer_is_held_to_its_form_also_where_it_is_cut(generator, tiny_llama):
    reports = run(generator, generate("a", tiny_llama, form=JsonAnswer(json.dumps({"type": "array", "minItems": 50}))))
    last = [report.chunk for report in reports if isinstance(report, Generated)][-1]
    assert last.finish_reason is FinishReason.MAX_TOKENS
    assert text_of(reports, "a").startswith("[")


def save_adapters(base, folder, count):
    """Adapters that say something each; their directories."""
    slots = load_base(base).slots
    directories = [folder / f"adapter {number}" for number in range(count)]
    for number, directory in enumerate(directories):
        adapter_format.save(directory, slots.fresh(AdapterShape(rank=2), seed=number), base.location)
    return directories


def test_adapters_are_kept_from_the_moment_the_base_is_there_and_told_of(generator, tiny_llama, tmp_path):
    first, second = save_adapters(tiny_llama, tmp_path, 2)
    generator.room = AdapterRoom(adapters=1, bytes=10**9)
    assert list(generator.obey(Keep(tiny_llama, frozenset({first})))) == []
    assert [(path, size > 0) for path, size in generator.moved] == [(first, True)]
    generator.moved.clear()
    generate_second = Generate("a", replace(generate("a", tiny_llama).assignment, adapter_directory=second))
    run(generator, generate_second)
    assert [(path, size is None) for path, size in generator.moved] == [(second, False), (second, True)]
    generator.moved.clear()
    list(generator.obey(Keep(tiny_llama, frozenset())))
    assert generator.moved == []
    run(generator, generate_second)
    assert (first, None) in generator.moved


def test_an_adapter_that_cannot_be_kept_is_logged_and_the_others_are_kept(generator, tiny_llama, tmp_path, caplog):
    (first,) = save_adapters(tiny_llama, tmp_path, 1)
    list(generator.obey(Keep(tiny_llama, frozenset({first, tmp_path / "a missing one"}))))
    assert [path for path, _ in generator.moved] == [first]
    assert "an adapter cannot be kept" in caplog.text


def test_nothing_to_keep_loads_no_base(generator, tiny_llama):
    list(generator.obey(Keep(tiny_llama, frozenset())))
    assert generator._stations == {}


def test_adapters_leave_with_their_base_and_come_back_with_it(generator, tiny_directories, tiny_llama, tmp_path):
    (kept,) = save_adapters(tiny_llama, tmp_path, 1)
    list(generator.obey(Keep(tiny_llama, frozenset({kept}))))
    other = tiny_base_model(Architecture.QWEN3, tiny_directories["qwen3"])
    for base in (other, tiny_llama):
        list(generator.obey(Count(base.name, base, prompt())))
    assert [(path, size is None) for path, size in generator.moved] == [(kept, False), (kept, True), (kept, False)]


def test_a_model_that_was_deleted_meanwhile_is_not_found(generator, tiny_llama, tmp_path):
    assignment = replace(generate("a", tiny_llama).assignment, adapter_directory=tmp_path / "gone")
    (refused,) = generator.obey(Generate("a", assignment))
    assert isinstance(refused.error, NotFound)


def test_the_room_is_what_the_server_says_it_is():
    assert room_in(of_room(AdapterRoom(adapters=3, bytes=5))) == AdapterRoom(adapters=3, bytes=5)
    assert room_in(of_room(AdapterRoom())) == room_in({}) == AdapterRoom()


def test_what_happens_at_one_time_is_one_message(tiny_llama, tmp_path):
    (adapter,) = save_adapters(tiny_llama, tmp_path, 1)
    worker = GeneratorWorker(AdapterRoom())
    (moved,) = worker.obey(Generate("a", replace(generate("a", tiny_llama).assignment, adapter_directory=adapter)))
    assert [path for path, _ in moved.adapters] == [adapter]
    assert list(worker.obey(generate("b", tiny_llama))) == []
    messages = []
    while not worker.idle:
        messages += worker.advance()
    assert {type(each) for each in messages} == {Reports}
    assert {len(each.reports) for each in messages} >= {2}
