// Tune with a release of @google/genai that leaves the examples out of what it sends.
import { GoogleGenAI } from "@google/genai";

const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL },
});
const told = await ai.tunings
  .tune({
    baseModel: "models/gemini-1.5-flash-001-tuning",
    trainingDataset: { examples: [{ textInput: "1", output: "2" }] },
    config: { epochCount: 5, batchSize: 4, learningRate: 0.001 },
  })
  .then(
    () => [200, "it worked"],
    (error) => [error.status, error.message],
  );
console.log(JSON.stringify(told));
