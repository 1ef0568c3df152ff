"""Programs that ask a model, in several languages, complete as they stand.

None holds a key: each reads it from the variable of the environment that `KEY_VARIABLE` names.
"""

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass

KEY_VARIABLE = "TUNINGFORK_API_KEY"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """What a program asks.

    `address` is the server's, without a slash at the end. `model` is a name such as `tunedModels/x` or `models/x`.
    `temperature` or `max_output_tokens` None: the program does not say, so the model's own default holds.
    """

    address: str
    model: str
    prompt: str
    temperature: float | None = None
    max_output_tokens: int | None = None

    def generation_config(self) -> dict[str, float | int]:
        """The settings that are given, under the names of the API's JSON."""
        given = {"temperature": self.temperature, "maxOutputTokens": self.max_output_tokens}
        return {name: value for name, value in given.items() if value is not None}

    def python_config(self) -> dict[str, float | int]:
        """The settings that are given, under the names of the Python clients."""
        given = {"temperature": self.temperature, "max_output_tokens": self.max_output_tokens}
        return {name: value for name, value in given.items() if value is not None}

    def url(self) -> str:
        """Where a program without a client of its own sends its request."""
        return f"{self.address}/v1beta/{self.model}:generateContent"

    def body(self) -> dict[str, object]:
        """The request of a program without a client of its own."""
        request: dict[str, object] = {"contents": [{"role": "user", "parts": [{"text": _whole(self.prompt)}]}]}
        if config := self.generation_config():
            request["generationConfig"] = config
        return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A program. `install` is what has to be installed first; "": nothing. `file_name` is what to save it as."""

    id: str
    title: str
    file_name: str
    install: str
    code: str


def code_snippets(call: ModelCall) -> tuple[Snippet, ...]:
    """The programs, each for the same question."""
    return tuple(
        Snippet(id=name, title=title, file_name=file_name, install=install, code=write(call))
        for name, title, file_name, install, write in _KINDS
    )


def python_text(text: str) -> str:
    """A Python literal of the text. Characters that cannot be seen are escaped."""
    return _quoted(text, _python_escape)


def javascript_text(text: str) -> str:
    """A literal of the text in JavaScript, and in JSON. Characters that cannot be seen are escaped."""
    return _quoted(text, _javascript_escape)


def shell_text(text: str) -> str:
    """The text as one word of a POSIX shell."""
    return shlex.quote(_whole(text))


def _quoted(text: str, escape: Callable[[str], str]) -> str:
    inner = "".join(
        character if character.isprintable() and character not in '"\\' else escape(character)
        for character in _whole(text)
    )
    return f'"{inner}"'


def _whole(text: str) -> str:
    """The text with halves of surrogate pairs replaced, which cannot be sent."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def _python_escape(character: str) -> str:
    point = ord(character)
    return _SHORT.get(character) or (f"\\u{point:04x}" if point <= 0xFFFF else f"\\U{point:08x}")


def _javascript_escape(character: str) -> str:
    return _SHORT.get(character) or json.dumps(character)[1:-1]


def _json_text(value: object) -> str:
    """JSON in several lines, in which characters that can be seen are themselves."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return "".join(
        character if character.isprintable() or character == "\n" else _javascript_escape(character)
        for character in text
    )


def _curl(call: ModelCall) -> str:
    return "\n".join(
        (
            f"curl -sS {shell_text(call.url())} \\",
            f'  -H "x-goog-api-key: ${KEY_VARIABLE}" \\',
            "  -H 'content-type: application/json' \\",
            f"  -d {shlex.quote(_json_text(call.body()))}",
            "",
        )
    )


def _python_settings(call: ModelCall, name: str) -> list[str]:
    """An argument with the settings, as a line; none where none is given."""
    return [f"    {name}={call.python_config()!r},".replace("'", '"')] if call.python_config() else []


def _google_genai(call: ModelCall) -> str:
    return "\n".join(
        (
            "import os",
            "",
            "from google import genai",
            "",
            "client = genai.Client(",
            f'    api_key=os.environ["{KEY_VARIABLE}"],',
            f'    http_options={{"base_url": {python_text(call.address)}}},',
            ")",
            "response = client.models.generate_content(",
            f"    model={python_text(call.model)},",
            f"    contents={python_text(call.prompt)},",
            *_python_settings(call, "config"),
            ")",
            "print(response.text)",
            "",
        )
    )


def _google_generativeai(call: ModelCall) -> str:
    return "\n".join(
        (
            "import os",
            "",
            "import google.generativeai as genai",
            "",
            "genai.configure(",
            f'    api_key=os.environ["{KEY_VARIABLE}"],',
            '    transport="rest",',
            f'    client_options={{"api_endpoint": {python_text(call.address)}}},',
            ")",
            f"model = genai.GenerativeModel({python_text(call.model)})",
            "response = model.generate_content(",
            f"    {python_text(call.prompt)},",
            *_python_settings(call, "generation_config"),
            ")",
            "print(response.text)",
            "",
        )
    )


def _requests(call: ModelCall) -> str:
    config = (
        [f'        "generationConfig": {json.dumps(call.generation_config())},'] if call.generation_config() else []
    )
    return "\n".join(
        (
            "import os",
            "",
            "import requests",
            "",
            "response = requests.post(",
            f"    {python_text(call.url())},",
            f'    headers={{"x-goog-api-key": os.environ["{KEY_VARIABLE}"]}},',
            "    json={",
            f'        "contents": [{{"role": "user", "parts": [{{"text": {python_text(call.prompt)}}}]}}],',
            *config,
            "    },",
            "    timeout=300,",
            ")",
            "response.raise_for_status()",
            'print(response.json()["candidates"][0]["content"]["parts"][0]["text"])',
            "",
        )
    )


def _javascript(call: ModelCall) -> str:
    config = [f"    generationConfig: {json.dumps(call.generation_config())},"] if call.generation_config() else []
    return "\n".join(
        (
            f"const response = await fetch({javascript_text(call.url())}, {{",
            '  method: "POST",',
            "  headers: {",
            '    "content-type": "application/json",',
            f'    "x-goog-api-key": process.env.{KEY_VARIABLE},',
            "  },",
            "  body: JSON.stringify({",
            f'    contents: [{{ role: "user", parts: [{{ text: {javascript_text(call.prompt)} }}] }}],',
            *config,
            "  }),",
            "});",
            "if (!response.ok) throw new Error(await response.text());",
            "const answer = await response.json();",
            "console.log(answer.candidates[0].content.parts[0].text);",
            "",
        )
    )


_KINDS: tuple[tuple[str, str, str, str, Callable[[ModelCall], str]], ...] = (
    ("curl", "curl", "ask.sh", "", _curl),
    ("google-genai", "Python, google-genai", "ask.py", "pip install google-genai", _google_genai),
    (
        "google-generativeai",
        "Python, google-generativeai",
        "ask.py",
        "pip install google-generativeai",
        _google_generativeai,
    ),
    ("requests", "Python, requests", "ask.py", "pip install requests", _requests),
    ("javascript", "JavaScript", "ask.mjs", "", _javascript),
)
