// Ask a tuned model with the first JavaScript SDK.
import { GoogleGenerativeAI } from "@google/generative-ai";

const genAI = new GoogleGenerativeAI(process.env.GOOGLE_API_KEY);
const baseUrl = process.env.GOOGLE_GEMINI_BASE_URL;
const prompt = process.env.PROMPT;
const model = genAI.getGenerativeModel({ model: process.env.MODEL }, { baseUrl });
const underV1 = genAI.getGenerativeModel({ model: process.env.MODEL }, { baseUrl, apiVersion: "v1" });

const whole = await model.generateContent(prompt);
const { stream, response } = await model.generateContentStream(prompt);
const pieces = [];
for await (const chunk of stream) pieces.push(chunk.text());
const counted = await model.countTokens(prompt);
const configured = await underV1.generateContent({
  contents: [{ role: "user", parts: [{ text: prompt }] }],
  generationConfig: { temperature: 0, topP: 0.95, topK: 40, candidateCount: 1, stopSequences: ["\n"] },
  safetySettings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "BLOCK_NONE" }],
});
const chat = model.startChat();
const first = await chat.sendMessage(prompt);
const second = await chat.sendMessage(first.response.text());
const nowhere = genAI.getGenerativeModel({ model: "tunedModels/nowhere" }, { baseUrl });
const refused = await nowhere.generateContent(prompt).then(
  () => [200, "it worked"],
  (error) => [error.status, error.message],
);

console.log(
  JSON.stringify({
    text: whole.response.text(),
    finish_reason: whole.response.candidates[0].finishReason,
    usage: [
      whole.response.usageMetadata.promptTokenCount,
      whole.response.usageMetadata.candidatesTokenCount,
      whole.response.usageMetadata.totalTokenCount,
    ],
    pieces,
    aggregated: (await response).text(),
    counted: counted.totalTokens,
    configured: configured.response.text(),
    chat: (await chat.getHistory()).map((content) => content.role),
    second: Boolean(second.response.text()),
    refused,
  }),
);
