"""Jinja as chat templates expect it, in a sandbox: templates are programs that come with a model."""

import json
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Some templates, such as Llama 3.2's, write today's date into the prompt. A model tuned today and called tomorrow would
# get a prompt that it was not tuned on, so templates always get the same date, which is Llama 3.2's default.
_TEMPLATE_DATE = datetime(2024, 7, 26)  # noqa: DTZ001  a calendar date; no zone is shown


class _GenerationBlock(Extension):
    """The tag `{% generation %}`, with which some templates mark the model's turns; it does not change the text."""

    tags = {"generation"}  # noqa: RUF012  Jinja's type

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def template_environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it (transformers' documentation, "Writing a chat template"), sandboxed."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _TEMPLATE_DATE.strftime
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
