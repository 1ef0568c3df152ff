"""Ask a tuned model through LangChain."""

import json
import os

from langchain_core.prompts import ChatPromptTemplate
from langchain_google_genai import ChatGoogleGenerativeAI

model = ChatGoogleGenerativeAI(
    model=os.environ["MODEL"], base_url=os.environ["GOOGLE_GEMINI_BASE_URL"], temperature=0.0, max_retries=1
)
prompt = os.environ["PROMPT"]

answer = model.invoke(prompt)
pieces = [chunk.content for chunk in model.stream(prompt)]
chain = ChatPromptTemplate.from_messages([("human", "{number}")]) | model
print(
    json.dumps(
        {
            "text": answer.content,
            "finish_reason": answer.response_metadata["finish_reason"],
            "usage": [
                answer.usage_metadata["input_tokens"],
                answer.usage_metadata["output_tokens"],
                answer.usage_metadata["total_tokens"],
            ],
            "streamed": "".join(pieces),
            "chained": chain.invoke({"number": prompt}).content,
            "batched": [one.content for one in model.batch([prompt, prompt])],
        }
    )
)
