"""Greedy answers of two real models are those of transformers in float32, token by token."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from engine_runs import answers_of, greedy, request
from tuningfork.domain.base_model import BaseModel, with_prefix
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.modeling.loading import LoadedBase, load_base

TOKENS = 16
EXAMPLES = Path(__file__).parents[2] / "examples" / "data"


@dataclass(frozen=True)
class Real:
    """A model as we load it and as transformers does, both in float32."""

    directory: Path
    base: LoadedBase
    theirs: PreTrainedModel

    def generated(self, ids: list[int], count: int) -> tuple[int, ...]:
        """What transformers generates after these tokens, up to the token that ends the turn."""
        with torch.inference_mode():
            found = self.theirs.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=count,
                do_sample=False,
                eos_token_id=sorted(self.base.chat.end_of_turn_ids),
                pad_token_id=0,
            )[0, len(ids) :].tolist()
        return tuple(found[:-1] if found[-1] in self.base.chat.end_of_turn_ids else found)


@pytest.fixture(scope="module", params=["smollm2", "gemma3-270m"])
def real(request, fetched) -> Real:
    return loaded(fetched(request.param), request.param)


def loaded(directory: Path, name: str) -> Real:
    config = json.loads((directory / "config.json").read_text())
    described = BaseModel(
        name=with_prefix(name),
        location=str(directory),
        display_name=name,
        context_tokens=config["max_position_embeddings"],
    )
    theirs = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    return Real(directory, load_base(described, dtype=torch.float32), theirs)


def said(*turns: str, system: str | None = None) -> Conversation:
    """A conversation whose turns are the user's and the model's by turns."""
    speakers = (Speaker.USER, Speaker.MODEL)
    spoken = tuple(Turn.said(speakers[index % 2], text) for index, text in enumerate(turns))
    return Conversation(turns=spoken, system_instruction=system)


ASKED = {
    "a question": said("What is the capital of France, and what is it known for?"),
    "figures, signs and other alphabets": said("Continue: 1, 12, 1234, 3.5 %, naïve, 東京, Москва, 🙂,"),
    "code": said("def fibonacci(n):\n    if n < 2:\n        return n\n"),
    "several turns": said("My name is Ada.", "Nice to meet you, Ada.", "I live in Turin.", "How nice.", "Who am I?"),
    "a system instruction": said("Tell me about the sea.", system="You are a pirate. You answer in one sentence."),
}


def test_answers_side_by_side_are_those_of_transformers(real):
    prompts = {name: real.base.chat.render_prompt(each) for name, each in ASKED.items()}
    # The answer of a model without a template would end before the label of a next turn, transformers' does not.
    asked = [
        replace(request(name, ids, sampling=greedy(TOKENS)), stops_at_labels=False) for name, ids in prompts.items()
    ]
    found = answers_of(real.base, *asked)

    for name, ids in prompts.items():
        assert found[name, 0].tokens == real.generated(list(ids), TOKENS), name


def test_prompts_are_rendered_as_the_models_own_template_renders_them(real):
    tokenizer = AutoTokenizer.from_pretrained(real.directory)
    if tokenizer.chat_template is None:
        pytest.skip("this model has no chat template")
    for name, asked in ASKED.items():
        system = asked.system_instruction
        messages = [] if system is None else [{"role": "system", "content": system}]
        messages += [
            {"role": "user" if turn.speaker is Speaker.USER else "assistant", "content": turn.text}
            for turn in asked.turns
        ]
        wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        assert [*real.base.chat.render_prompt(asked)] == tokenizer.encode(wanted, add_special_tokens=False), name


def test_a_prompt_of_eight_thousand_tokens_is_answered_as_by_transformers(fetched):
    """The prompt is read in chunks, and transformers reads it in one pass."""
    real = loaded(fetched("smollm2"), "smollm2")
    passages = (EXAMPLES / "passage_questions.training.jsonl").read_text(encoding="utf-8")
    [*words] = AutoTokenizer.from_pretrained(real.directory).encode(passages)[:7_900]
    text = AutoTokenizer.from_pretrained(real.directory).decode(words)
    ids = real.base.chat.render_prompt(said(text + "\n\nWhat are these texts about?"))
    assert 7_500 < len(ids) < real.base.context_tokens - 10

    [answer] = answers_of(real.base, request("long", ids, sampling=greedy(4))).values()
    assert answer.tokens == real.generated(list(ids), 4)
