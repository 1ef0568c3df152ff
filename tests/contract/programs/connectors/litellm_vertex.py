"""Ask an endpoint of Vertex AI through LiteLLM, with the key file of a service account."""

import json
import os

import litellm

# It has no prices of such a model, and says so on standard output, at times after the answer.
litellm.suppress_debug_info = True
options = {
    "model": f"vertex_ai/gemini/{os.environ['ENDPOINT']}",
    "api_base": os.environ["URL"],
    "vertex_project": os.environ["GOOGLE_CLOUD_PROJECT"],
    "vertex_location": os.environ["GOOGLE_CLOUD_LOCATION"],
    "vertex_credentials": os.environ["GOOGLE_APPLICATION_CREDENTIALS"],
    "messages": [{"role": "user", "content": os.environ["PROMPT"]}],
    "temperature": 0.0,
}
try:
    answer = litellm.completion(**options)
    chunks = list(litellm.completion(**options, stream=True))
    told = {
        "text": answer.choices[0].message.content,
        "finish_reason": answer.choices[0].finish_reason,
        "usage": [answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens],
        "streamed": "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
    }
except Exception as error:
    told = {"refused": str(error)}
print(json.dumps(told))
