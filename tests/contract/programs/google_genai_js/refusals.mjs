// Do what cannot be done, and look at the errors.
import { GoogleGenAI } from "@google/genai";

const httpOptions = { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL };
const ai = new GoogleGenAI({ apiKey: process.env.GOOGLE_API_KEY, httpOptions });
const stranger = new GoogleGenAI({ apiKey: "not-a-key", httpOptions });
const nowhere = "tunedModels/nowhere";

async function firstChunk(parameters) {
  for await (const chunk of await ai.models.generateContentStream(parameters)) return chunk;
}

const attempts = {
  "read a model that is not there": () => ai.tunings.get({ name: nowhere }),
  "ask a model that is not there": () => ai.models.generateContent({ model: nowhere, contents: "1" }),
  "stream from a model that is not there": () => firstChunk({ model: nowhere, contents: "1" }),
  "use a bad key": () => stranger.models.generateContent({ model: process.env.MODEL, contents: "1" }),
};
const told = {};
for (const [attempt, call] of Object.entries(attempts)) {
  told[attempt] = await call().then(
    () => [200, "it worked"],
    (error) => [error.status, error.message],
  );
}
console.log(JSON.stringify(told));
