"""Ask a tuned model: whole answers, streams, chats, settings."""

import json
import os

import google.generativeai as genai

genai.configure(
    api_key=os.environ["GOOGLE_API_KEY"],
    transport=os.environ["TRANSPORT"],
    client_options={"api_endpoint": os.environ["API_ENDPOINT"]},
)

prompt = os.environ["PROMPT"]
model = genai.GenerativeModel(os.environ["MODEL"])

whole = model.generate_content(prompt)
streamed = model.generate_content(prompt, stream=True)
pieces = [chunk.text for chunk in streamed]
cut = model.generate_content(prompt, generation_config={"max_output_tokens": 1})
stopped = model.generate_content(prompt, generation_config=genai.GenerationConfig(stop_sequences=[whole.text[-1]]))
configured = model.generate_content(
    prompt,
    generation_config=genai.GenerationConfig(candidate_count=1, temperature=0.0, top_p=0.95, top_k=40),
    safety_settings={"HARASSMENT": "BLOCK_NONE", "HATE_SPEECH": "BLOCK_ONLY_HIGH"},
)
chat = model.start_chat()
first = chat.send_message(prompt)
second = chat.send_message(first.text)
print(
    json.dumps(
        {
            "text": whole.text,
            "role": whole.candidates[0].content.role,
            "finish_reason": whole.candidates[0].finish_reason.name,
            "usage": [
                whole.usage_metadata.prompt_token_count,
                whole.usage_metadata.candidates_token_count,
                whole.usage_metadata.total_token_count,
            ],
            "pieces": pieces,
            "streamed_text": streamed.text,
            "streamed_finish_reason": streamed.candidates[0].finish_reason.name,
            "cut": [cut.text, cut.candidates[0].finish_reason.name],
            "stopped": [stopped.text, stopped.candidates[0].finish_reason.name],
            "configured": configured.text,
            "chat": [message.role for message in chat.history],
            "second": bool(second.text),
        }
    )
)
