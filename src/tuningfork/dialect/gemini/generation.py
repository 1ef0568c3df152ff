"""GenerativeService's methods: text, streamed text, token counts."""

from dataclasses import dataclass

from tuningfork.dialect.answering import AnswerMessages, all_of, parsed
from tuningfork.dialect.call import Awaited, Binding, MessageStream, MethodCall, Streamed, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.domain.references import CheckpointRef, ModelRef, TunedRef
from tuningfork.service.answering.generation import Answer, Generation
from tuningfork.wire.gemini import generation as wire
from tuningfork.wire.gemini.names import base_ref, name_of
from tuningfork.wire.gemini.text import GENERATE_TEXT, parse_generate_text, render_blocked_text, render_text_answer
from tuningfork.wire.google.answers import AnswerHead
from tuningfork.wire.google.generation import COUNT, GENERATE
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query


@dataclass(frozen=True, slots=True)
class GenerationMethods:
    """Asking base and tuned models for text."""

    generation: Generation

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Rows 3 to 5 and 12 to 15 of the route table, and the paths that LiteLLM uses for tuned models."""
        return tuple(
            binding
            for one in ("/models/{model:id}", "/tunedModels/{tuned_model:id}", "/models/tunedModels/{tuned_model:id}")
            for binding in (
                Binding("POST", f"{one}:generateContent", GeminiMethod.GENERATE_CONTENT, Awaited(self.generate)),
                Binding(
                    "POST", f"{one}:streamGenerateContent", GeminiMethod.STREAM_GENERATE_CONTENT, Streamed(self.stream)
                ),
                Binding("POST", f"{one}:countTokens", GeminiMethod.COUNT_TOKENS, Awaited(self.count)),
                Binding("POST", f"{one}:generateText", GeminiMethod.GENERATE_TEXT, Awaited(self.generate_text)),
            )
        )

    async def generate(self, call: MethodCall) -> Typed:
        """models.generateContent and tunedModels.generateContent."""
        answer = await self._begin(call)
        if answer.blocked:
            return _refusal(answer)
        with translated_errors(GENERATE):
            chunks = await all_of(answer)
        return wire.render_answer(chunks, _head(answer))

    async def generate_text(self, call: MethodCall) -> Typed:
        """models.generateText and tunedModels.generateText, of the PaLM generation."""
        refuse_query(call.query)
        wanted = await parsed(parse_generate_text, call.body)
        with translated_errors(GENERATE_TEXT):
            answer = await self.generation.generate(call.principal, _asked(call), wanted, completion=True)
            if answer.blocked:
                return render_blocked_text(answer.blocked)
            return render_text_answer(await all_of(answer))

    async def stream(self, call: MethodCall) -> MessageStream[Typed]:
        """models.streamGenerateContent and tunedModels.streamGenerateContent."""
        return messages_of(await self._begin(call))

    async def count(self, call: MethodCall) -> Typed:
        """models.countTokens, and tunedModels.countTokens, which three SDKs send."""
        refuse_query(call.query)
        prompt = await parsed(lambda body: wire.parse_count_tokens(body, name_of(_asked(call))), call.body)
        with translated_errors(COUNT):
            return wire.render_token_count(await self.generation.count_tokens(call.principal, _asked(call), prompt))

    async def _begin(self, call: MethodCall) -> Answer:
        refuse_query(call.query)
        wanted = await parsed(wire.parse_generate, call.body)
        with translated_errors(GENERATE):
            return await self.generation.generate(call.principal, _asked(call), wanted)


def messages_of(answer: Answer) -> AnswerMessages:
    """The chunks of an answer as the Gemini API's messages."""
    refused = [_refusal(answer)] if answer.blocked else []
    return AnswerMessages(answer, wire.chunk_renderer(_head(answer)).render, refused)


def _asked(call: MethodCall) -> ModelRef:
    """The model in the path, or one of its checkpoints."""
    if "checkpoint" in call.path:
        number = call.path["checkpoint"]
        # No checkpoint has the number 0, so that a text that is no number is not found.
        return CheckpointRef(call.tuned_model, int(number) if number.isascii() and number.isdecimal() else 0)
    return base_ref(call.path["model"]) if "model" in call.path else TunedRef(call.tuned_model)


def _refusal(answer: Answer) -> Typed:
    return wire.render_blocked_prompt(answer.blocked, answer.prompt_tokens, _head(answer))


def _head(answer: Answer) -> AnswerHead:
    return AnswerHead(model_version=wire.model_version(answer.base), response_id=answer.id)
