// Ask a tuned model in all the ways that @google/genai has.
import { GoogleGenAI } from "@google/genai";

const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL },
});
const model = process.env.MODEL;
const prompt = process.env.PROMPT;

const whole = await ai.models.generateContent({ model, contents: prompt });
const chunks = [];
for await (const chunk of await ai.models.generateContentStream({ model, contents: prompt })) chunks.push(chunk);
const counted = await ai.models.countTokens({ model, contents: prompt });
const configured = await ai.models.generateContent({
  model,
  contents: [{ role: "user", parts: [{ text: prompt }] }],
  config: {
    temperature: 0,
    topP: 0.95,
    topK: 40,
    seed: 7,
    candidateCount: 1,
    maxOutputTokens: 100,
    stopSequences: ["\n"],
    safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
  },
});
const cut = await ai.models.generateContent({ model, contents: prompt, config: { maxOutputTokens: 1 } });
const chat = ai.chats.create({ model });
const first = await chat.sendMessage({ message: prompt });
const second = await chat.sendMessage({ message: first.text });

console.log(
  JSON.stringify({
    text: whole.text,
    role: whole.candidates[0].content.role,
    finish_reason: whole.candidates[0].finishReason,
    usage: [
      whole.usageMetadata.promptTokenCount,
      whole.usageMetadata.candidatesTokenCount,
      whole.usageMetadata.totalTokenCount,
    ],
    pieces: chunks.map((chunk) => chunk.text),
    streamed_finish_reason: chunks.at(-1).candidates[0].finishReason,
    counted: counted.totalTokens,
    configured: configured.text,
    cut: [cut.text, cut.candidates[0].finishReason],
    chat: chat.getHistory().map((content) => content.role),
    second: Boolean(second.text),
  }),
);
