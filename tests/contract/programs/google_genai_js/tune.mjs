// Tune with examples, which @google/genai sent until 1.27.
import { GoogleGenAI } from "@google/genai";

const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL },
});

const pairs = [["1", "2"], ["3", "4"], ["-3", "-2"], ["8", "9"], ["one", "two"], ["three", "four"], ["seven", "eight"]];
const trainingDataset = { examples: pairs.map(([textInput, output]) => ({ textInput, output })) };
const baseModel = "models/gemini-1.5-flash-001-tuning";

async function ended(name) {
  for (;;) {
    const job = await ai.tunings.get({ name });
    if (job.state === "JOB_STATE_SUCCEEDED" || job.state === "JOB_STATE_FAILED") return job;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

const begun = await ai.tunings.tune({
  baseModel,
  trainingDataset,
  config: {
    epochCount: 4,
    batchSize: 4,
    learningRate: 0.001,
    tunedModelDisplayName: process.env.DISPLAY_NAME,
  },
});
const job = await ended(begun.name);
const answer = await ai.models.generateContent({ model: job.tunedModel.model, contents: "3" });

const plain = await ai.tunings.tune({ baseModel, trainingDataset });
const listed = [];
for await (const one of await ai.tunings.list({ config: { pageSize: 5 } })) listed.push(one.name);

const long = await ai.tunings.tune({ baseModel, trainingDataset, config: { epochCount: 1000, batchSize: 1 } });
await ai.tunings.cancel({ name: long.name });
const stopped = await ended(long.name);

console.log(
  JSON.stringify({
    begun: [begun.name, begun.state],
    state: job.state,
    base_model: job.baseModel,
    model: job.tunedModel.model,
    in_order: job.createTime <= job.startTime && job.startTime <= job.endTime,
    answer: answer.text,
    listed: [begun.name, plain.name].map((name) => listed.includes(name)),
    stopped: stopped.state,
  }),
);
