// Tune with @google/genai in Vertex AI mode, and use what came of it. Its credentials are those that it finds itself.
import { GoogleGenAI } from "@google/genai";

const { URL: baseUrl, TRAIN, VALIDATION, DISPLAY_NAME } = process.env;
const [project, location] = [process.env.GOOGLE_CLOUD_PROJECT, process.env.GOOGLE_CLOUD_LOCATION];
const ai = new GoogleGenAI({ vertexai: true, project, location, httpOptions: { baseUrl } });

const pause = () => new Promise((resolve) => setTimeout(resolve, 300));
const running = ["JOB_STATE_PENDING", "JOB_STATE_RUNNING"];

async function ended(job, states) {
  while (running.includes(job.state)) {
    await pause();
    job = await ai.tunings.get({ name: job.name });
    states.push(job.state);
  }
  return job;
}

const begun = await ai.tunings.tune({
  baseModel: "gemini-1.5-flash-002",
  trainingDataset: { gcsUri: TRAIN },
  config: { epochCount: 2, tunedModelDisplayName: DISPLAY_NAME, validationDataset: { gcsUri: VALIDATION } },
});
const states = [begun.state];
const job = await ended(begun, states);
const model = job.tunedModel.endpoint;
const whole = await ai.models.generateContent({ model, contents: "ninety nine" });
const pieces = [];
for await (const chunk of await ai.models.generateContentStream({ model, contents: "ninety nine" }))
  pieces.push(chunk.text);
const counted = await ai.models.countTokens({ model, contents: "ninety nine" });
const thoughtless = await ai.models.generateContent({
  model,
  contents: "ninety nine",
  config: { temperature: 0, thinkingConfig: { thinkingBudget: 0 } },
});

const long = await ai.tunings.tune({
  baseModel: "gemini-1.5-flash-002",
  trainingDataset: { gcsUri: TRAIN },
  config: { epochCount: 500, adapterSize: "ADAPTER_SIZE_ONE" },
});
const listed = [];
for await (const one of await ai.tunings.list({ config: { pageSize: 1 } })) listed.push(one.name);
await ai.tunings.cancel({ name: long.name });
const stopped = await ended(long, []);
let refused;
try {
  await ai.tunings.get({ name: "tuningJobs/123" });
} catch (error) {
  refused = error.status;
}

console.log(
  JSON.stringify({
    name: job.name,
    states: [...new Set(states)],
    error: job.error?.message,
    tuned_model: job.tunedModel.model,
    endpoint: model,
    text: whole.text,
    pieces,
    counted: counted.totalTokens,
    thoughtless: thoughtless.text,
    listed: [job.name, long.name].map((name) => listed.includes(name)),
    stopped: [stopped.state, stopped.error?.code],
    refused,
  }),
);
