"""Other people's connectors to Gemini, unmodified, ask a tuned model."""

from contract.environments import PythonEnvironment

LANGCHAIN = PythonEnvironment("langchain-google-genai-4.4.2")
LITELLM = PythonEnvironment("litellm-1.106.2")


def test_langchain_asks_streams_chains_and_batches(told, counting, answer_of):
    answered = told(LANGCHAIN, "connectors/langchain_chat.py", MODEL=counting, PROMPT="ninety nine")

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["streamed"] == answered["chained"] == expected
    assert answered["batched"] == [expected, expected]
    assert answered["finish_reason"] == "STOP"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens


def test_litellm_asks_and_streams(told, counting, answer_of):
    # Without the setting it first looks for prices on the network.
    offline = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    answered = told(LITELLM, "connectors/litellm_completion.py", MODEL=counting, PROMPT="ninety nine", **offline)

    expected = answer_of(counting, "ninety nine")
    assert answered["text"] == answered["streamed"] == expected
    assert answered["finish_reason"] == "stop"
    prompt_tokens, answer_tokens, total_tokens = answered["usage"]
    assert total_tokens == prompt_tokens + answer_tokens
