"""Ask a tuned model in all the ways that google-genai has."""

import asyncio
import json
import os

from google import genai
from google.genai import types

client = genai.Client()
model = os.environ["MODEL"]
prompt = os.environ["PROMPT"]

whole = client.models.generate_content(model=model, contents=prompt)
chunks = list(client.models.generate_content_stream(model=model, contents=prompt))
counted = client.models.count_tokens(model=model, contents=prompt)
configured = client.models.generate_content(
    model=model,
    contents=[types.Content(role="user", parts=[types.Part(text=prompt)])],
    config=types.GenerateContentConfig(
        temperature=0.0,
        top_p=0.95,
        top_k=40,
        seed=7,
        candidate_count=1,
        max_output_tokens=100,
        stop_sequences=["\n"],
        safety_settings=[
            types.SafetySetting(category="HARM_CATEGORY_HARASSMENT", threshold="BLOCK_NONE"),
            types.SafetySetting(category="HARM_CATEGORY_DANGEROUS_CONTENT", threshold="BLOCK_ONLY_HIGH"),
        ],
    ),
)
cut = client.models.generate_content(model=model, contents=prompt, config={"max_output_tokens": 1})
chat = client.chats.create(model=model)
first = chat.send_message(prompt)
second = chat.send_message(first.text)


async def without_blocking() -> list[str]:
    answer = await client.aio.models.generate_content(model=model, contents=prompt)
    stream = await client.aio.models.generate_content_stream(model=model, contents=prompt)
    return [answer.text, "".join([chunk.text async for chunk in stream])]


print(
    json.dumps(
        {
            "text": whole.text,
            "role": whole.candidates[0].content.role,
            "finish_reason": whole.candidates[0].finish_reason.name,
            "model_version": whole.model_version,
            "usage": [
                whole.usage_metadata.prompt_token_count,
                whole.usage_metadata.candidates_token_count,
                whole.usage_metadata.total_token_count,
            ],
            "pieces": [chunk.text for chunk in chunks],
            "streamed_finish_reason": chunks[-1].candidates[0].finish_reason.name,
            "counted": counted.total_tokens,
            "configured": configured.text,
            "cut": [cut.text, cut.candidates[0].finish_reason.name],
            "chat": [content.role for content in chat.get_history()],
            "second": bool(second.text),
            "without_blocking": asyncio.run(without_blocking()),
        }
    )
)
