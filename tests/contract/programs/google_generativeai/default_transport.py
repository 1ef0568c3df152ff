"""What the SDK has only over its default transport: token counts, asynchronous calls, operations in a list."""

import asyncio
import json
import os

import google.generativeai as genai
from google.generativeai import operations

# Nothing is said of a transport here: gRPC is the SDK's own choice.
genai.configure(api_key=os.environ["GOOGLE_API_KEY"], client_options={"api_endpoint": os.environ["API_ENDPOINT"]})

prompt = os.environ["PROMPT"]
model = genai.GenerativeModel(os.environ["MODEL"])


async def without_blocking() -> list[str]:
    answer = await model.generate_content_async(prompt)
    streamed = await model.generate_content_async(prompt, stream=True)
    return [answer.text, "".join([chunk.text async for chunk in streamed])]


operation = genai.create_tuned_model("models/gemini-1.5-flash-001-tuning", [("1", "2")], epoch_count=1)
operation.result()
listed = {listed.name: listed.done() for listed in genai.list_operations()}
operations.delete_operation(operation.name)
print(
    json.dumps(
        {
            "counted": model.count_tokens(prompt).total_tokens,
            "prompt_tokens": model.generate_content(prompt).usage_metadata.prompt_token_count,
            "without_blocking": asyncio.run(without_blocking()),
            "listed": listed.get(operation.name),
            "done_after_its_deletion": genai.get_operation(operation.name).done(),
        }
    )
)
