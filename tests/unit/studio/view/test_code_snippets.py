"""Each program is complete as it stands, asks exactly what it is to ask, and holds no key."""

import ast
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tuningfork.studio.view.code_snippets import (
    KEY_VARIABLE,
    ModelCall,
    code_snippets,
    javascript_text,
    python_text,
    shell_text,
)

HARD_TEXTS = [
    "LXIII",
    'it\'s "quoted" \\ and $HOME `id` $(id) !! %s {x}',
    "two\nlines\tand\r\nmore",
    "七 ऋ 😀 \U000e0041",
    "\u202eright to left\u2028\u0000\x1b[31m",
    "-d @/etc/passwd",
    "",
]


def call(**changes):
    return ModelCall(**{"address": "http://127.0.0.1:8000", "model": "tunedModels/counts-1", "prompt": "1", **changes})


def snippet(name, **changes):
    return next(each for each in code_snippets(call(**changes)) if each.id == name)


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_literals_of_every_language_give_the_text_back(text):
    assert ast.literal_eval(python_text(text)) == text
    assert json.loads(javascript_text(text)) == text
    assert shlex.split(shell_text(text)) == [text]


@pytest.mark.parametrize("text", HARD_TEXTS)
def test_what_cannot_be_seen_is_escaped(text):
    written = "".join(each.code for each in code_snippets(call(prompt=text)))

    assert [character for character in written if not character.isprintable() and character != "\n"] == []


def test_halves_of_surrogate_pairs_are_replaced():
    assert ast.literal_eval(python_text("a\ud800b")) == "a\ufffdb"
    assert json.loads(javascript_text("a\udc00b")) == "a\ufffdb"


@pytest.mark.parametrize("text", HARD_TEXTS)
@pytest.mark.parametrize("name", ["google-genai", "google-generativeai", "requests"])
def test_programs_in_python_are_valid_and_hold_the_prompt(name, text):
    tree = ast.parse(snippet(name, prompt=text, temperature=0.0, max_output_tokens=8).code)

    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert text in texts
    assert KEY_VARIABLE in texts


def test_settings_are_left_out_unless_they_are_given():
    assert all("emperature" not in each.code for each in code_snippets(call()))
    assert all("emperature" in each.code for each in code_snippets(call(temperature=0.5)))
    assert call(max_output_tokens=8).body()["generationConfig"] == {"maxOutputTokens": 8}


@pytest.fixture
def asked():
    """The address of a server that answers `LXIV`, and the requests that it got."""
    requests = []

    class Model(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append((self.path, self.headers["x-goog-api-key"], json.loads(body)))
            answer = json.dumps({"candidates": [{"content": {"parts": [{"text": "LXIV"}]}}]}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            """Says nothing."""

    server = HTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


def answer_of(command):
    environment = {**os.environ, KEY_VARIABLE: "the key"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


COMMANDS = {
    "curl": ("curl", lambda code: ["bash", "-c", code]),
    "javascript": ("node", lambda code: ["node", "--input-type=module", "-e", code]),
    "requests": (None, lambda code: [sys.executable, "-c", code]),
}


@pytest.mark.parametrize("text", [*HARD_TEXTS[:4], HARD_TEXTS[5]])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_program_that_is_run_sends_the_prompt_the_settings_and_the_key(name, text, asked):
    address, requests = asked
    needed, command = COMMANDS[name]
    if needed is not None and shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    if name == "requests":
        pytest.importorskip("requests")

    printed = answer_of(command(snippet(name, address=address, prompt=text, temperature=0.0).code))

    assert "LXIV" in printed
    assert requests == [
        (
            "/v1beta/tunedModels/counts-1:generateContent",
            "the key",
            {
                "contents": [{"role": "user", "parts": [{"text": text}]}],
                "generationConfig": {"temperature": 0.0},
            },
        )
    ]
