"""The generator without its process: what it reports of each command, and that long work holds nobody up."""

import errno
import itertools
import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from patience import PATIENCE_SECONDS
from tiny_models import Architecture, tiny_base_model
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument, NotFound, Unavailable
from tuningfork.domain.generation import ChoiceAnswer, FinishReason, JsonAnswer, Sampling
from tuningfork.execution.base import AdapterLimits, GenerationAssignment
from tuningfork.execution.local import served_base
from tuningfork.execution.local.environment import adapter_limits_in, of_adapter_limits
from tuningfork.execution.local.generator_process import Generator, GeneratorWorker
from tuningfork.execution.local.messages import (
    Abandon,
    Count,
    Counted,
    Ended,
    Forget,
    Generate,
    Generated,
    Keep,
    Refused,
    Reports,
)
from tuningfork.execution.local.same_bases import SameBases
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base

LONG = "one two " * 5_000


@pytest.fixture
def artifacts(tmp_path):
    return LocalArtifactStore(tmp_path)


@pytest.fixture
def generator(artifacts):
    return Generator(artifacts)


def prompt(text="one two"):
    return Conversation(turns=(Turn.said(Speaker.USER, text),))


def generate(name, base, *, text="one two", tokens=20, form=None):
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=None, max_output_tokens=tokens, seed=1, answer_format=form)
    return Generate(name, GenerationAssignment(base=base, adapter=None, prompt=prompt(text), sampling=sampling))


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


def named(base, name, **changes):
    """The same base under another name, with other ranks."""
    return replace(base, name=BaseModelName(f"models/{name}"), adapter=AdapterShape(rank=32, alpha=1.0), **changes)


@pytest.fixture
def loads(monkeypatch):
    """The names of the bases that were loaded, in order."""
    loaded = []

    def load(base, **options):
        loaded.append(base.name)
        return load_base(base, **options)

    # Why: a generator loads its bases itself.
    monkeypatch.setattr(served_base, "load_base", load)
    return loaded


def test_a_base_that_is_named_twice_is_loaded_once(generator, tiny_llama, loads):
    other = named(tiny_llama, "other", output_tokens=3, display_name="Other")

    reports = run(generator, generate("a", tiny_llama), generate("b", other), Count("c", other, prompt()))

    assert loads == [tiny_llama.name]
    assert text_of(reports, "a") == text_of(reports, "b") != ""
    assert sum(isinstance(report, Counted) for report in reports) == 1


@pytest.mark.parametrize("changes", [{"context_tokens": 100}, {"chat_template": "{{ messages[-1].content }}"}])
def test_what_changes_an_answer_makes_another_base(generator, tiny_llama, loads, changes):
    run(generator, generate("a", tiny_llama), generate("b", named(tiny_llama, "other", **changes)))

    assert loads == [tiny_llama.name, "models/other"]


def test_adapters_that_are_pinned_under_either_name_stay(generator, artifacts, tiny_llama, loads):
    base = load_base(tiny_llama)
    refs = [ArtifactRef("adapters/one"), ArtifactRef("adapters/two")]
    for seed, ref in enumerate(refs):
        with artifacts.writing(ref) as place:
            adapter_format.save(place, base.slots.fresh(AdapterShape(rank=2, alpha=2.0), seed), "base")
    other = named(tiny_llama, "other")

    run(generator, Keep(tiny_llama, frozenset(refs[:1])), Keep(other, frozenset(refs[1:])))
    run(generator, generate("a", other))

    assert loads == [tiny_llama.name]
    assert generator._pinned(tiny_llama) == frozenset(refs)
    assert {ref for ref, size in generator.moved if size} == set(refs)
    run(generator, Keep(other, frozenset()))
    assert generator._pinned(tiny_llama) == frozenset(refs[:1])


def test_a_base_that_is_refused_is_refused_under_each_of_its_names(tiny_llama):
    same = SameBases()
    for base in (tiny_llama, named(tiny_llama, "other"), named(tiny_llama, "elsewhere", location="/elsewhere")):
        same.first(base)

    assert same.under_every_name({tiny_llama.name: "bad"}) == {tiny_llama.name: "bad", "models/other": "bad"}


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


def save_adapters(base, artifacts, count):
    """Adapters that say something each; their references."""
    slots = load_base(base).slots
    refs = [ArtifactRef(f"adapter {number}") for number in range(count)]
    for number, ref in enumerate(refs):
        with artifacts.writing(ref) as directory:
            adapter_format.save(directory, slots.fresh(AdapterShape(rank=2), seed=number), base.location)
    return refs


def test_adapters_are_kept_from_the_moment_the_base_is_there_and_told_of(generator, tiny_llama, artifacts):
    first, second = save_adapters(tiny_llama, artifacts, 2)
    generator.adapter_limits = AdapterLimits(adapters=1, bytes=10**9)
    assert list(generator.obey(Keep(tiny_llama, frozenset({first})))) == []
    assert [(path, size > 0) for path, size in generator.moved] == [(first, True)]
    generator.moved.clear()
    generate_second = Generate("a", replace(generate("a", tiny_llama).assignment, adapter=second))
    run(generator, generate_second)
    assert [(path, size is None) for path, size in generator.moved] == [(second, False), (second, True)]
    generator.moved.clear()
    list(generator.obey(Keep(tiny_llama, frozenset())))
    assert generator.moved == []
    run(generator, generate_second)
    assert (first, None) in generator.moved


def test_an_adapter_that_cannot_be_kept_is_logged_and_the_others_are_kept(generator, tiny_llama, artifacts, caplog):
    (first,) = save_adapters(tiny_llama, artifacts, 1)
    list(generator.obey(Keep(tiny_llama, frozenset({first, ArtifactRef("a missing one")}))))
    assert [path for path, _ in generator.moved] == [first]
    assert "an adapter cannot be kept" in caplog.text


class Slow(LocalArtifactStore):
    """A store that takes long to compare content: until `gate` is set."""

    def __init__(self, root):
        super().__init__(root)
        self.gate = threading.Event()

    @contextmanager
    def reading(self, ref, *, verified=False):
        if verified:
            assert self.gate.wait(PATIENCE_SECONDS)
        with super().reading(ref, verified=verified) as path:
            yield path


@pytest.fixture
def slow(tmp_path):
    """A generator to which every adapter is a large one."""
    generator = Generator(Slow(tmp_path))
    generator._files.quick_bytes = 0
    return generator


def run_until_ended(generator, name):
    reports = []
    while Ended(name) not in reports:
        reports += itertools.chain.from_iterable(generator.advance())
    return reports


def test_answers_are_written_while_large_adapters_that_are_kept_are_compared(slow, tiny_llama, artifacts):
    kept = frozenset(save_adapters(tiny_llama, artifacts, 2))
    list(slow.obey(Keep(tiny_llama, kept)))
    list(slow.obey(generate("other", tiny_llama)))
    run_until_ended(slow, "other")
    before = [*slow.moved]
    slow.artifacts.gate.set()
    run(slow)

    assert before == []
    assert {adapter for adapter, size in slow.moved if size} == kept


def test_an_adapter_that_is_not_to_be_kept_any_more_is_not_loaded(slow, tiny_llama, artifacts):
    list(slow.obey(Keep(tiny_llama, frozenset(save_adapters(tiny_llama, artifacts, 1)))))
    list(slow.obey(Keep(tiny_llama, frozenset())))
    slow.artifacts.gate.set()
    run(slow)

    assert slow.moved == []


def test_answers_are_written_while_the_large_adapter_of_another_request_is_compared(slow, tiny_llama, artifacts):
    (adapter,) = save_adapters(tiny_llama, artifacts, 1)
    large = Generate("large", replace(generate("large", tiny_llama).assignment, adapter=adapter))
    assert list(slow.obey(large)) == []
    list(slow.obey(generate("other", tiny_llama)))
    assert {report.request_id for report in run_until_ended(slow, "other")} == {"other"}
    slow.artifacts.gate.set()
    assert Ended("large") in run(slow)
    assert list(slow.obey(replace(large, request_id="again"))) == []
    assert "again" in slow._requests


def test_nothing_to_keep_loads_no_base(generator, tiny_llama):
    list(generator.obey(Keep(tiny_llama, frozenset())))
    assert generator._bases == {}


def test_adapters_leave_with_their_base_and_come_back_with_it(generator, tiny_directories, tiny_llama, artifacts):
    (kept,) = save_adapters(tiny_llama, artifacts, 1)
    list(generator.obey(Keep(tiny_llama, frozenset({kept}))))
    other = tiny_base_model(Architecture.QWEN3, tiny_directories["qwen3"])
    for base in (other, tiny_llama):
        list(generator.obey(Count(base.name, base, prompt())))
    assert [(path, size is None) for path, size in generator.moved] == [(kept, False), (kept, True), (kept, False)]


def test_models_that_were_asked_and_deleted_leave_nothing_behind(generator, tiny_llama, artifacts):
    adapters = save_adapters(tiny_llama, artifacts, 20)
    run(generator, generate("base", tiny_llama))
    served = generator._bases[tiny_llama]
    cache = served.engine._cache
    kept_for_base = len(cache._idle)
    for number, adapter in enumerate(adapters):
        assignment = generate(str(number), tiny_llama, text=f"{number} two three " * 20).assignment
        run(generator, Generate(str(number), replace(assignment, adapter=adapter)))
    kept_for_all = len(cache._idle)
    list(generator.obey(Forget(frozenset(adapters))))

    assert kept_for_all >= kept_for_base + len(adapters)
    assert len(cache._idle) == kept_for_base
    assert served.base.slots._residents == {}
    assert served.base.slots.tables._by_rank == {}
    assert sorted(adapter for adapter, size in generator.moved if size is None) == sorted(adapters)


def test_a_model_that_is_deleted_while_it_answers_ends_its_answer_and_leaves(generator, tiny_llama, artifacts):
    [adapter] = save_adapters(tiny_llama, artifacts, 1)
    assignment = replace(generate("a", tiny_llama).assignment, adapter=adapter)
    reports = list(generator.obey(Generate("a", assignment)))
    reports += list(generator.obey(Forget(frozenset({adapter}))))
    while_answering = [size is None for _, size in generator.moved]
    reports += run(generator)

    assert while_answering == [False]
    assert isinstance(reports[-1], Ended)
    assert [size is None for _, size in generator.moved] == [False, True]


def test_a_model_that_was_deleted_meanwhile_is_not_found(generator, tiny_llama, tmp_path):
    assignment = replace(generate("a", tiny_llama).assignment, adapter=ArtifactRef("gone"))
    (refused,) = generator.obey(Generate("a", assignment))
    assert isinstance(refused.error, NotFound)


class WatchedStore(LocalArtifactStore):
    """Notes the threads that compare the content of artifacts; with `error`, nothing can be read."""

    def __init__(self, root):
        super().__init__(root)
        self.comparing = []
        self.error = None

    @contextmanager
    def reading(self, ref, *, verified=False):
        if self.error is not None:
            raise self.error
        if verified:
            self.comparing.append(threading.current_thread())
        with super().reading(ref, verified=verified) as path:
            yield path


def test_an_adapter_is_compared_with_what_was_written_where_its_prompt_is_prepared(tiny_llama, artifacts, tmp_path):
    [adapter] = save_adapters(tiny_llama, artifacts, 1)
    store = WatchedStore(tmp_path)
    generator = Generator(store)
    assignment = replace(generate("a", tiny_llama, form=ChoiceAnswer(("yes", "no"))).assignment, adapter=adapter)

    reports = run(generator, Generate("a", assignment))

    assert isinstance(reports[-1], Ended)
    [thread] = store.comparing
    assert thread is not threading.main_thread()


def test_an_adapter_that_the_system_cannot_read_is_asked_for_again(tiny_llama, artifacts, tmp_path):
    [adapter] = save_adapters(tiny_llama, artifacts, 1)
    store = WatchedStore(tmp_path)
    generator = Generator(store)
    assignment = replace(generate("a", tiny_llama).assignment, adapter=adapter)
    store.error = OSError(errno.EMFILE, "Too many open files", "/secret/path")
    [refused] = generator.obey(Generate("a", assignment))
    store.error = None
    reports = run(generator, Generate("b", assignment))

    assert isinstance(refused.error, Unavailable)
    assert "secret" not in refused.error.message
    assert isinstance(reports[-1], Ended)


def test_the_room_is_what_the_server_says_it_is():
    assert adapter_limits_in(of_adapter_limits(AdapterLimits(adapters=3, bytes=5))) == AdapterLimits(
        adapters=3, bytes=5
    )
    assert adapter_limits_in(of_adapter_limits(AdapterLimits())) == adapter_limits_in({}) == AdapterLimits()


def test_what_happens_at_one_time_is_one_message(tiny_llama, artifacts):
    (adapter,) = save_adapters(tiny_llama, artifacts, 1)
    worker = GeneratorWorker(artifacts, AdapterLimits())
    assert list(worker.obey(Generate("a", replace(generate("a", tiny_llama).assignment, adapter=adapter)))) == []
    assert list(worker.obey(generate("b", tiny_llama))) == []
    moved, *messages = worker.advance()
    assert [path for path, _ in moved.adapters] == [adapter]
    while not worker.idle:
        messages += worker.advance()
    assert {type(each) for each in messages} == {Reports}
    assert {len(each.reports) for each in messages} >= {2}


def test_a_base_that_cannot_be_loaded_leaves_no_renderer_behind(artifacts, tiny_llama, tmp_path):
    class Closing:
        def __init__(self):
            self.closed = []

        def is_ready(self, _):
            return True

        def chat_of(self, _):
            return load_base(tiny_llama).chat

        def close(self, base):
            self.closed.append(base)

    directory = shutil.copytree(tiny_llama.location, tmp_path / "broken")
    (directory / "model.safetensors").write_bytes(b"nothing")
    base, renderers = replace(tiny_llama, location=str(directory)), Closing()

    [refused] = run(Generator(artifacts, renderers=renderers), generate("1", base))

    assert "could not be loaded" in refused.error.message
    assert renderers.closed == [base]
