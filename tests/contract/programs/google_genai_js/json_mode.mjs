// Ask for JSON that follows a schema, for one of several words, and with a system instruction.
import { GoogleGenAI, Type } from "@google/genai";

const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL },
});
const model = process.env.MODEL;

const shaped = await ai.models.generateContent({
  model,
  contents: "41",
  config: {
    responseMimeType: "application/json",
    responseSchema: {
      type: Type.OBJECT,
      properties: {
        number: { type: Type.INTEGER, minimum: 0, maximum: 99 },
        about: { type: Type.ARRAY, items: { type: Type.STRING, enum: ["even", "odd", "prime"] }, maxItems: "2" },
      },
      required: ["number", "about"],
      propertyOrdering: ["about", "number"],
    },
  },
});
const chosen = await ai.models.generateContent({
  model,
  contents: "41",
  config: { responseMimeType: "text/x.enum", responseSchema: { type: Type.STRING, enum: ["even", "odd"] } },
});
const instructed = await ai.models.generateContent({
  model,
  contents: "41",
  config: { systemInstruction: "Answer with the next number." },
});

console.log(
  JSON.stringify({
    shaped: JSON.parse(shaped.text),
    order: Object.keys(JSON.parse(shaped.text)),
    chosen: chosen.text,
    instructed: instructed.text,
  }),
);
