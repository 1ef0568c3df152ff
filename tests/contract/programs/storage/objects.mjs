// What @google-cloud/storage does with an emulator's address: uploads, downloads, lists, metadata.
import { Storage } from "@google-cloud/storage";
import { OAuth2Client } from "google-auth-library";
import { createWriteStream, readFileSync, writeFileSync } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";

const options = { projectId: "p", apiEndpoint: process.env.STORAGE_EMULATOR_HOST, retryOptions: { maxRetries: 1 } };
if (process.env.ACCESS_TOKEN) {
  // Without this the client sends no credential to an address of one's own; with it, none in resumable uploads.
  options.useAuthWithCustomEndpoint = true;
  options.authClient = new OAuth2Client();
  options.authClient.setCredentials({ access_token: process.env.ACCESS_TOKEN });
}
const resumable = !process.env.ACCESS_TOKEN;
const storage = new Storage(options);
const told = {};
const [bucket] = await storage.createBucket(process.env.BUCKET);
told.listed = (await storage.getBuckets())[0].map((each) => each.name).includes(process.env.BUCKET);

await bucket.file("d/t.jsonl").save('{"a": 1}\n', { contentType: "application/jsonl", resumable });
await bucket.file("d/simple é.txt").save("simple", { resumable: false, metadata: { metadata: { made: "by hand" } } });
const content = Buffer.alloc(700_001, "0123456789");
writeFileSync("large.bin", content);
await bucket.upload("large.bin", { destination: "large.bin", resumable });
await bucket.upload("large.bin", { destination: "chunked.bin", resumable, chunkSize: 262144 });
await pipeline(Readable.from([content]), bucket.file("streamed.bin").createWriteStream({ resumable }));

told.text = (await bucket.file("d/t.jsonl").download())[0].toString();
told.large = (await bucket.file("large.bin").download())[0].equals(content);
told.chunked = (await bucket.file("chunked.bin").download())[0].equals(content);
told.streamed = (await bucket.file("streamed.bin").download())[0].equals(content);
told.range = (await bucket.file("large.bin").download({ start: 5, end: 9 }))[0].toString();
const [metadata] = await bucket.file("d/simple é.txt").getMetadata();
told.metadata = [metadata.size, metadata.metadata, typeof metadata.crc32c];
await bucket.file("d/t.jsonl").setMetadata({ metadata: { changed: "yes" } });
told.changed = (await bucket.file("d/t.jsonl").getMetadata())[0].metadata;
told.exists = [(await bucket.file("d/t.jsonl").exists())[0], (await bucket.file("none").exists())[0]];
told.names = (await bucket.getFiles())[0].map((file) => file.name);
told.below = (await bucket.getFiles({ prefix: "d/" }))[0].map((file) => file.name);
const [, , answer] = await bucket.getFiles({ delimiter: "/", autoPaginate: false });
told.prefixes = answer.prefixes;
await pipeline(bucket.file("large.bin").createReadStream(), createWriteStream("again.bin"));
told.again = readFileSync("again.bin").equals(content);
await bucket.file("large.bin").copy("copied.bin");
told.copied = (await bucket.file("copied.bin").exists())[0];
try {
  await bucket.file("none").download();
} catch (error) {
  told.missing = error.code;
}
await bucket.deleteFiles();
await bucket.delete();
told.gone = !(await bucket.exists())[0];
console.log(JSON.stringify(told));
