"""What a worker makes of a renderer's answers and of its ends, with renderers that do as they are told."""

import os
import pickle
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.execution.local.forking import Forked
from tuningfork.execution.local.renderer_process import Call, Open, Opened, Raised, Returned, answer, read_answer
from tuningfork.execution.local.renderers import Renderers, RenderingLimits
from tuningfork.modeling.chat_template import RenderedRow

LIMITS = RenderingLimits(open_seconds=60, call_seconds=60, failures=2)
KILLED, OVERTIME, LEFT = signal.SIGKILL, signal.SIGXCPU, 0


def saying(text):
    return Conversation(turns=(Turn.said(Speaker.USER, text),))


class Forks:
    """Starts renderers that are threads. One ends as `ends` says of the text that it is given.

    `openings`: how the next ones end at once, None: they do not; then all others do not. "hold" waits for `released`.
    """

    def __init__(self, ends=None, openings=()):
        self.ends = ends or {}
        self.openings = list(openings)
        self.started = 0
        self.ended = []
        self.released = threading.Event()
        self.holding = threading.Event()
        self._sides = {}
        self._numbers = {}

    def start(self):
        self.started += 1
        ours, theirs = socket.socketpair()
        pid = self.started
        self._sides[pid] = theirs.dup()
        threading.Thread(target=self._serve, args=(pid, Connection(theirs.detach())), daemon=True).start()
        return Forked(pid, Connection(ours.detach()))

    def kill(self, forked):
        self._end(forked.pid, KILLED)

    def end(self, forked):
        forked.pipe.close()
        self.ended.append(forked.pid)
        if side := self._sides.pop(forked.pid, None):
            side.close()
        return self._numbers.get(forked.pid, KILLED)

    def _end(self, pid, number):
        self._numbers.setdefault(pid, number)
        if side := self._sides.pop(pid, None):
            with side:
                side.shutdown(socket.SHUT_RDWR)

    def _serve(self, pid, pipe):
        with pipe, suppress(EOFError, OSError):
            while True:
                end, answer = self._do(pipe.recv())
                if end is not None:
                    self._end(pid, end)
                else:
                    pipe.send(answer)

    def _do(self, order):
        if isinstance(order, Open):
            return self.openings.pop(0) if self.openings else None, Opened(frozenset([1]), "", ())
        assert isinstance(order, Call)
        text = order.argument.turns[0].text
        end = self.ends.get(text)
        if isinstance(end, list):
            end = end.pop(0) if end else None
        if end == "hold":
            self.holding.set()
            self.released.wait(60)
            end = None
        if end == "foreign":
            return None, Foreign
        return end, Returned([len(text)])


@pytest.fixture
def renderers_of(tiny_llama):
    made = []

    def make(forks):
        made.append(Renderers(forks, LIMITS, lambda: 0.0))
        return made[-1]

    yield make
    for renderers in made:
        renderers.close(tiny_llama)


def test_the_tokenizer_can_be_had_while_a_text_is_rendered(renderers_of, tiny_llama):
    forks = Forks({"long": "hold"})
    renderer = renderers_of(forks).chat_of(tiny_llama)
    rendering = threading.Thread(target=renderer.render_prompt, args=[saying("long")], daemon=True)
    rendering.start()
    assert forks.holding.wait(60)
    found = []
    asking = threading.Thread(target=lambda: found.append(renderer.tokenizer), daemon=True)
    asking.start()
    asking.join(60)
    try:
        assert found
    finally:
        forks.released.set()
        rendering.join()


def test_a_renderer_that_is_killed_from_outside_is_replaced_and_says_nothing_about_its_base(renderers_of, tiny_llama):
    forks = Forks({"one": [KILLED]}, openings=[KILLED])
    renderers = renderers_of(forks)

    assert renderers.chat_of(tiny_llama).render_prompt(saying("one")) == [3]
    assert forks.started == 3
    assert renderers.refused == {}


def test_renderers_that_are_killed_again_and_again_fail_the_text_alone(renderers_of, tiny_llama):
    forks = Forks({"one": KILLED}, openings=[KILLED, KILLED])
    renderers = renderers_of(forks)

    with pytest.raises(BaseUnusable, match=r"reading its configuration.*SIGKILL.*twice.*try again later"):
        renderers.chat_of(tiny_llama)
    renderer = renderers.chat_of(tiny_llama)
    for _ in range(LIMITS.failures + 1):
        with pytest.raises(BaseUnusable, match=r"rendering a text.*SIGKILL.*twice.*try again later"):
            renderer.render_prompt(saying("one"))
    assert renderers.refused == {}
    assert renderer.render_prompt(saying("two")) == [3]


@pytest.mark.parametrize("end", [OVERTIME, LEFT, signal.SIGABRT])
def test_a_renderer_that_exceeds_a_limit_at_its_opening_is_refused_at_once(renderers_of, tiny_llama, end):
    forks = Forks(openings=[end])
    renderers = renderers_of(forks)

    with pytest.raises(BaseUnusable):
        renderers.chat_of(tiny_llama)
    assert list(renderers.refused) == [tiny_llama.name]
    assert forks.started == 1


def test_costly_texts_do_not_have_a_base_refused_that_renders_others(renderers_of, tiny_llama):
    forks = Forks({"costly": OVERTIME})
    renderers = renderers_of(forks)
    renderer = renderers.chat_of(tiny_llama)
    renderer.render_prompt(saying("good"))

    for _ in range(2 * LIMITS.failures):
        with pytest.raises(BaseUnusable):
            renderer.render_prompt(saying("costly"))
    assert renderers.refused == {}
    forks.ends["good"] = OVERTIME
    for _ in range(LIMITS.failures):
        with pytest.raises(BaseUnusable):
            renderer.render_prompt(saying("costly"))
    assert list(renderers.refused) == [tiny_llama.name]


def test_a_base_without_a_process_is_not_ready(renderers_of, tiny_llama):
    renderers = renderers_of(Forks())
    renderers.chat_of(tiny_llama)
    assert renderers.is_ready(tiny_llama)

    renderers.close(tiny_llama)

    assert not renderers.is_ready(tiny_llama)


def test_closing_waits_for_no_text_and_is_not_held_against_the_base(renderers_of, tiny_llama):
    forks = Forks({"long": "hold"})
    renderers = renderers_of(forks)
    renderer = renderers.chat_of(tiny_llama)
    errors = []

    def render():
        try:
            renderer.render_prompt(saying("long"))
        except BaseUnusable as error:
            errors.append(error.message)

    rendering = threading.Thread(target=render, daemon=True)
    rendering.start()
    assert forks.holding.wait(60)
    closing = threading.Thread(target=renderers.close, args=[tiny_llama], daemon=True)
    closing.start()
    closing.join(60)
    rendering.join(60)
    forks.released.set()

    assert not closing.is_alive()
    assert not rendering.is_alive()
    assert "given up, since the base is not used any more" in errors[0]
    assert (forks.started, forks.ended, renderers.refused) == (1, [1], {})
    assert renderer.render_prompt(saying("next")) == [4]


def test_a_process_that_cannot_be_started_does_not_have_its_base_refused(renderers_of, tiny_llama):
    forks = Forks()
    renderers = renderers_of(forks)
    forks.start, start = (lambda: (_ for _ in ()).throw(BlockingIOError(11, "no processes left"))), forks.start

    with pytest.raises(BaseUnusable, match=r"no process could be started.*no processes left"):
        renderers.chat_of(tiny_llama)
    forks.start = start
    assert renderers.chat_of(tiny_llama).render_prompt(saying("one")) == [3]


def test_an_answer_that_cannot_be_read_whole_ends_its_process(renderers_of, tiny_llama):
    forks = Forks({"one": "foreign"})
    renderer = renderers_of(forks).chat_of(tiny_llama)

    with pytest.raises(BaseUnusable, match=r"gave something that is no answer"):
        renderer.render_prompt(saying("one"))
    assert forks.ended == [1]


class Foreign:
    """Of a class that no answer has."""


@pytest.mark.parametrize(
    "sent",
    [
        Opened(frozenset([1, 2]), " ", ("User:",)),
        Returned([1, 2, 3]),
        Returned((RenderedRow(ids=(1, 2), outputs=((1, 2),)),)),
        Returned("text"),
    ],
)
def test_answers_come_as_they_were_sent(sent):
    assert read_answer(pickle.dumps(sent)) == sent


@pytest.mark.parametrize("error", [BaseUnusable("no"), InvalidArgument("wrong", violations=())])
def test_errors_come_as_they_were_sent(error):
    came = read_answer(pickle.dumps(Raised(error))).error
    assert (type(came), came.message) == (type(error), error.message)


@pytest.mark.parametrize("data", [b"", b"nonsense", pickle.dumps(os.system), pickle.dumps(replace), b"cos\nsystem\n."])
def test_nothing_else_is_made_of_what_a_renderer_sends(data):
    with pytest.raises(pickle.UnpicklingError):
        read_answer(data)


def test_a_text_that_takes_all_memory_has_no_answer(tiny_llama):
    class Greedy:
        def render_prompt(self, _):
            raise InvalidArgument("the template refuses it") from MemoryError()

    with pytest.raises(MemoryError):
        answer(tiny_llama, Greedy(), Call("render_prompt", saying("one"), 1))
