"""Ask a tuned model through LiteLLM."""

import json
import os

import litellm

options = {
    "model": f"gemini/{os.environ['MODEL']}",
    "api_base": f"{os.environ['GOOGLE_GEMINI_BASE_URL']}/v1beta",
    "api_key": os.environ["GOOGLE_API_KEY"],
    "messages": [{"role": "user", "content": os.environ["PROMPT"]}],
    "temperature": 0.0,
}
answer = litellm.completion(**options)
chunks = list(litellm.completion(**options, stream=True))
print(
    json.dumps(
        {
            "text": answer.choices[0].message.content,
            "finish_reason": answer.choices[0].finish_reason,
            "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens],
            "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        }
    )
)
