"""A process with renderers and nothing else, which does what it is told: a line of JSON in, a line of JSON out."""

import json
import os
import sys
from dataclasses import replace

from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import TuningforkError
from tuningfork.execution.local.forking import ForkServer
from tuningfork.execution.local.renderer_process import serve
from tuningfork.execution.local.renderers import Renderers, RenderingLimits


class _Clock:
    seconds = 0.0


def _do(renderers: Renderers, order: dict[str, str]) -> object:
    base = BaseModel(
        name=BaseModelName(f"models/{order['name']}"),
        location=order["location"],
        display_name="",
        context_tokens=512,
        chat_template=order.get("template"),
    )
    turns = (Turn.said(Speaker.USER, order["text"]), Turn.said(Speaker.MODEL, "an answer"))
    match order["do"]:
        case "open":
            renderer = renderers.chat_of(base)
            return [
                renderer.lead,
                renderer.next_turn_labels,
                sorted(renderer.end_of_turn_ids),
                renderer.tokenizer.vocab_size,
            ]
        case "prompt":
            return renderers.chat_of(base).render_prompt(Conversation(turns=turns[:1]))
        case "example":
            [row] = renderers.chat_of(base).render_example(Conversation(turns=turns))
            return [row.ids, row.outputs]
        case "refused":
            return dict(renderers.refused)


if __name__ == "__main__":
    limits = replace(RenderingLimits(), **json.loads(sys.argv[1]))
    clock = _Clock()
    renderers = Renderers(ForkServer(serve), limits, lambda: clock.seconds)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "wait":
            clock.seconds += order["seconds"]
            said: object = None
        else:
            try:
                said = _do(renderers, order)
            except TuningforkError as error:
                said = {"error": type(error).__name__, "message": error.message}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
    os._exit(0)
