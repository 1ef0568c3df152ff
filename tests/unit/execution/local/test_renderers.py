"""Renderers: what a base's files do to time and memory they do to a process of their own, and one is told so."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from live_server import wait_until
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.modeling.loading import load_base

HOST = Path(__file__).parents[3] / "toy_workers" / "renderers_host.py"

LOOP = "{% for i in range(99999) %}{% for j in range(99999) %}{% set x = j %}{% endfor %}{% endfor %}"
ON_REQUEST = "{% for m in messages %}{% if 'evil' in m.content %}" + LOOP + "{% endif %}{{ m.content }}{% endfor %}"
LIMITS = {"open_seconds": 5, "call_seconds": 1, "memory_bytes": 2**30, "refused_seconds": 100.0, "failures": 2}

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="renderers are processes of Linux"),
    # Each test waits for an interpreter that imports torch, and for limits of seconds.
    pytest.mark.slow,
]


class Host:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HOST, json.dumps(LIMITS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false"},
        )

    def do(self, what, location=None, *, name="base", text="one two", **more):
        order = {"do": what, "name": name, "location": str(location), "text": text, **more}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def processes(self):
        return psutil.Process(self._process.pid).children(recursive=True)

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def host():
    host = Host()
    yield host
    host.close()


@pytest.fixture
def directory(tiny_llama, tmp_path):
    """A copy of a good base, to be spoilt."""
    return Path(shutil.copytree(tiny_llama.location, tmp_path / "base"))


def test_a_good_base_is_rendered_as_in_this_process(host, tiny_llama):
    chat = load_base(tiny_llama).chat

    facts = [chat.lead, [*chat.next_turn_labels], sorted(chat.end_of_turn_ids), chat.tokenizer.vocab_size]
    assert host.do("open", tiny_llama.location) == facts
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "one two"),))
    assert host.do("prompt", tiny_llama.location) == chat.render_prompt(prompt)
    [row] = chat.render_example(Conversation.pair("one two", "an answer"))
    assert host.do("example", tiny_llama.location) == [list(row.ids), [list(span) for span in row.outputs]]


def spoil_config(directory, **changes):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | changes))


def spoil_tokenizer(directory):
    """Each character becomes two, forty times over."""
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    double = {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [double] * 40}
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("spoil", "template", "said"),
    [
        (lambda _: None, LOOP, "reading its configuration, tokenizer and template took more than 5 seconds"),
        (lambda _: None, "{{ 'x' * 10**10 }}", "MemoryError"),
        (lambda each: spoil_config(each, num_hidden_layers=10_000_000), None, "took more than 5 seconds|memory"),
        (spoil_tokenizer, None, "memory|took more than 5 seconds"),
        (lambda each: (each / "tokenizer.json").write_text("[" * 10**6), None, "could not be loaded|SIG"),
        (lambda each: (each / "config.json").write_text('{"a":' * 10**5), None, "Recursion|could not be loaded"),
    ],
    ids=["loops", "gigabytes", "layers", "tokenizer", "deep-tokenizer", "deep-config"],
)
def test_a_base_that_takes_too_much_is_refused_and_another_goes_on(host, directory, tiny_llama, spoil, template, said):
    spoil(directory)
    more = {} if template is None else {"template": template}

    answer = host.do("open", directory, name="bad", **more)

    assert answer["error"] == "BaseUnusable"
    assert "models/bad" in answer["message"]
    assert any(word in answer["message"] for word in said.split("|")), answer
    assert isinstance(host.do("prompt", tiny_llama.location), list)


def test_a_refused_base_is_tried_again_after_a_while_or_when_its_files_change(host, directory):
    spoil_config(directory, num_hidden_layers=10_000_000)
    first = host.do("open", directory, name="again")

    before = len(host.processes())
    assert host.do("open", directory, name="again") == first
    assert len(host.processes()) == before
    assert host.do("refused")["models/again"] in first["message"]

    spoil_config(directory, num_hidden_layers=2)
    assert isinstance(host.do("open", directory, name="again"), list)
    assert "models/again" not in host.do("refused")


def test_texts_that_take_too_long_are_refused_alone_if_others_can_be_rendered(host, tiny_llama):
    def render(text):
        return host.do("prompt", tiny_llama.location, name="sometimes", template=ON_REQUEST, text=text)

    assert isinstance(render("good"), list)
    evil = render("evil")
    assert (
        "models/sometimes cannot be used: rendering a text with its chat template took more than 1" in evil["message"]
    )
    assert render("evil")["error"] == "BaseUnusable"
    assert isinstance(render("good"), list)
    assert host.do("refused").keys().isdisjoint({"models/sometimes"})


def test_a_base_is_refused_for_a_while_if_texts_in_a_row_fail_and_none_was_rendered_before(host, tiny_llama):
    def render(text):
        return host.do("prompt", tiny_llama.location, name="never", template=ON_REQUEST, text=text)

    assert render("evil")["error"] == render("evil")["error"] == "BaseUnusable"
    assert render("good")["error"] == "BaseUnusable"
    assert "models/never" in host.do("refused")

    host.do("wait", seconds=LIMITS["refused_seconds"] + 1)
    assert isinstance(render("good"), list)
    assert host.do("refused").keys().isdisjoint({"models/never"})


def test_a_text_that_takes_all_memory_ends_its_process_and_the_next_has_another(host, tiny_llama):
    greedy = (
        "{% for m in messages %}{% if 'evil' in m.content %}{{ 'x' * 10**10 }}{% endif %}{{ m.content }}{% endfor %}"
    )

    def render(text):
        return host.do("prompt", tiny_llama.location, name="greedy", template=greedy, text=text)

    assert isinstance(render("good"), list)
    assert "ended the process that did it (without a signal), which may use 1 GiB" in render("evil")["message"]
    assert isinstance(render("good"), list)


def test_a_renderer_that_is_killed_is_replaced(tiny_llama):
    host = Host()
    try:
        first = host.do("prompt", tiny_llama.location)
        [renderer] = [each for each in host.processes() if each.ppid() != host._process.pid]
        renderer.kill()

        assert host.do("prompt", tiny_llama.location) == first
        assert host.do("refused") == {}
    finally:
        host.close()


def runs(process):
    """Whether it runs. One that has ended stays for as long as the system's first process does not take note of it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_renderer_ends_with_its_worker(tiny_llama):
    host = Host()
    host.do("prompt", tiny_llama.location)
    children = host.processes()
    assert len(children) == 2

    psutil.Process(host._process.pid).kill()
    wait_until(lambda: not any(map(runs, children)), what="the renderers have ended")
    host.close()
