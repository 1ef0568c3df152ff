// What @google/genai does for tuned models beside tuning: list, read, cancel, change and delete them.
import { GoogleGenAI } from "@google/genai";

const ai = new GoogleGenAI({
  apiKey: process.env.GOOGLE_API_KEY,
  httpOptions: { baseUrl: process.env.GOOGLE_GEMINI_BASE_URL },
});
const name = process.env.MODEL;
const running = process.env.RUNNING;

const job = await ai.tunings.get({ name });
const atWork = await ai.tunings.get({ name: running });
await ai.tunings.cancel({ name: running });
let stopped = await ai.tunings.get({ name: running });
while (stopped.state === "JOB_STATE_RUNNING") {
  await new Promise((resolve) => setTimeout(resolve, 100));
  stopped = await ai.tunings.get({ name: running });
}

const bases = [];
for await (const model of await ai.models.list()) bases.push(model.name);
const tuned = [];
for await (const model of await ai.models.list({ config: { queryBase: false, pageSize: 2 } })) tuned.push(model.name);

const got = await ai.models.get({ model: name });
const updated = await ai.models.update({ model: name, config: { displayName: "Renamed", description: "Counts." } });
await ai.models.delete({ model: name });
const after = await ai.models.get({ model: name }).then(
  () => ["still there"],
  (error) => [error.name, error.status, error.message],
);

console.log(
  JSON.stringify({
    job: [job.name, job.state, job.tunedModel.model, job.baseModel],
    running: atWork.state,
    stopped: stopped.state,
    bases,
    tuned,
    got: [got.name, got.displayName, got.tunedModelInfo.baseModel],
    updated: [updated.name, updated.displayName, updated.description],
    after,
  }),
);
