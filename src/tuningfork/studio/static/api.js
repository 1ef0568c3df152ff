// Calls of the server's public API, through the Studio, which adds the session's credential.

import { signedOut } from "./frame.js";

const BASE = "/studio/api";

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The error in an answer that is not a success. */
async function errorOf(answer) {
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // No JSON: a proxy's page, or a connection that ended.
  }
  if (answer.status === 401) signedOut();
  return new ApiError(answer.status, error.status ?? "", error.message ?? answer.statusText);
}

async function call(method, path, body, signal) {
  const init = { method, signal, headers: { accept: "application/json" } };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers["content-type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(BASE + path, init);
  } catch (cause) {
    if (signal?.aborted) throw cause;
    throw new ApiError(0, "UNAVAILABLE", String(cause.message ?? cause));
  }
  if (!answer.ok) throw await errorOf(answer);
  return answer.json();
}

/** The events of a stream, one by one, to `onEvent`; ends when the stream does or the signal aborts. */
async function stream(path, body, onEvent, signal) {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const answer = await fetch(BASE + path, { method: "POST", headers, body: JSON.stringify(body), signal });
  if (!answer.ok) throw await errorOf(answer);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += value ?? "";
    const events = rest.split(/\r?\n\r?\n/);
    rest = done ? "" : events.pop();
    for (const event of events) {
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data) onEvent(JSON.parse(data));
    }
    if (done) return;
  }
}

export const api = {
  url: (path) => BASE + path,
  get: (path, signal) => call("GET", path, undefined, signal),
  post: (path, body, signal) => call("POST", path, body ?? {}, signal),
  patch: (path, body, signal) => call("PATCH", path, body, signal),
  delete: (path, signal) => call("DELETE", path, undefined, signal),
  stream,
};
