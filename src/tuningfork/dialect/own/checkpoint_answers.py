"""Asking one checkpoint of a tuned model for text, as the Gemini API asks a model. That API has no checkpoints."""

from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, Streamed
from tuningfork.dialect.gemini.generation import GenerationMethods
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.answering.generation import Generation
from tuningfork.wire.google.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class CheckpointAnswers:
    """Methods that answer with the weights of a checkpoint, also of one that is not the model's default, and also
    while its job goes on.
    """

    generation: Generation

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Three, with the bodies and the answers of the Gemini API."""
        one, methods = "/tunedModels/{tuned_model:id}/checkpoints/{checkpoint:id}", GenerationMethods(self.generation)
        generate, stream = GeminiMethod.GENERATE_CONTENT, GeminiMethod.STREAM_GENERATE_CONTENT
        return (
            Binding("POST", f"{one}:generateContent", generate, Awaited(methods.generate), counted_as="ask_checkpoint"),
            Binding(
                "POST", f"{one}:streamGenerateContent", stream, Streamed(methods.stream), counted_as="stream_checkpoint"
            ),
            Binding(
                "POST",
                f"{one}:countTokens",
                GeminiMethod.COUNT_TOKENS,
                Awaited(methods.count),
                counted_as="count_for_checkpoint",
            ),
        )
