// The playground. Each model is asked on its own: one that fails leaves the others as they are.

import { api } from "./api.js";
import { announce, notice } from "./frame.js";
import "./token-stream.js";
import { language, t } from "./texts.js";

const MOST_ADDRESS = 4_000;
const form = document.getElementById("playground");
const questions = document.getElementById("questions");
const seconds = new Intl.NumberFormat(language, { style: "unit", unit: "second", unitDisplay: "narrow", maximumFractionDigits: 2 });
let running = null;

/** The settings that were typed; null when one is no number. */
function settings() {
  const config = {};
  for (const field of form.querySelectorAll("[data-setting]")) {
    const typed = field.value.trim().replace(",", ".");
    const value = Number(typed);
    const wrong = typed !== "" && !Number.isFinite(value);
    field.setAttribute("aria-invalid", String(wrong));
    if (wrong) {
      field.closest("details").open = true;
      field.focus();
      notice(t("playground.script.wrong_number", { name: field.closest("label").querySelector("span").textContent }), "error");
      return null;
    }
    // The names are ours, not anybody's data.
    if (typed !== "") config[field.dataset.setting] = value;
  }
  return config;
}

function bodyOf(prompt, config) {
  const system = form.querySelector("[data-system]").value;
  const body = { contents: [{ role: "user", parts: [{ text: prompt }] }] };
  if (Object.keys(config).length) body.generationConfig = config;
  if (system.trim()) body.systemInstruction = { parts: [{ text: system }] };
  return body;
}

async function run() {
  const config = settings();
  const asked = [...questions.querySelectorAll(".question")].filter((each) => promptOf(each).value.trim());
  if (!config) return;
  if (!asked.length) {
    notice(t("playground.script.nothing"), "error");
    promptOf(questions.querySelector(".question")).focus();
    return;
  }
  stop();
  remember();
  const controller = (running = new AbortController());
  form.querySelector("[data-stop]").disabled = false;
  const columns = asked[0].querySelectorAll(".answer").length;
  for (const each of asked) for (const answer of each.querySelectorAll(".answer")) clear(answer);
  // A browser opens six connections to a server: each model answers its prompts one after the other.
  await Promise.all(
    Array.from({ length: columns }, async (_, column) => {
      for (const each of asked) {
        if (controller.signal.aborted) return;
        await ask(each.querySelectorAll(".answer")[column], bodyOf(promptOf(each).value, config), controller.signal);
      }
    }),
  );
  if (running !== controller) return;
  running = null;
  form.querySelector("[data-stop]").disabled = true;
  if (form.querySelector("[data-differs]")?.checked) await Promise.all(asked.map(compare));
}

function stop() {
  running?.abort();
  running = null;
  form.querySelector("[data-stop]").disabled = true;
}

function clear(answer) {
  const stream = answer.querySelector("token-stream");
  stream.begin();
  stream.hidden = false;
  stream.end();
  answer.querySelector("[data-diff]").hidden = true;
  answer.querySelector("[data-problem]").hidden = true;
  answer.querySelector("[data-tools]").hidden = true;
  answer.querySelector("[data-correction]").hidden = true;
  answer.querySelector("[data-timing]").textContent = t("playground.script.waiting");
}

async function ask(answer, body, signal) {
  const stream = answer.querySelector("token-stream");
  const model = answer.dataset.model.split("/").map(encodeURIComponent).join("/");
  const began = performance.now();
  let first = null;
  let tokens = 0;
  let ended = "";
  stream.begin();
  try {
    await api.stream(`/v1beta/${model}:streamGenerateContent?alt=sse`, body, (event) => {
      if (event.error) throw new Error(event.error.message);
      const candidate = event.candidates?.[0];
      const delta = (candidate?.content?.parts ?? []).map((part) => part.text ?? "").join("");
      if (delta) first ??= performance.now();
      stream.add(delta);
      tokens = event.usageMetadata?.candidatesTokenCount ?? tokens;
      ended = candidate?.finishReason ?? event.promptFeedback?.blockReason ?? ended;
    }, signal);
    finish(answer, stream, { began, first, tokens, ended });
  } catch (error) {
    if (signal.aborted) answer.querySelector("[data-timing]").textContent = t("playground.script.stopped");
    else fail(answer, error.message);
  } finally {
    stream.end();
    if (stream.text) answer.querySelector("[data-tools]").hidden = false;
  }
}

function finish(answer, stream, { began, first, tokens, ended }) {
  const now = performance.now();
  const words = [];
  if (!stream.text) words.push(t("playground.script.empty"));
  if (first !== null) {
    const lasted = (now - first) / 1000;
    const rate = tokens > 1 && lasted > 0 ? t("playground.script.rate", { count: Math.round((tokens - 1) / lasted) }) : "";
    words.push([t("playground.script.tokens", { count: tokens }), seconds.format((first - began) / 1000), rate].filter(Boolean).join(" · "));
  }
  if (ended === "MAX_TOKENS") words.push(t("playground.script.cut"));
  else if (ended && ended !== "STOP") words.push(t("playground.script.blocked", { reason: ended }));
  answer.querySelector("[data-timing]").textContent = words.join(" ");
  announce(`${answer.dataset.title}: ${stream.text.slice(0, 500)}`);
}

function fail(answer, words) {
  const problem = answer.querySelector("[data-problem]");
  problem.textContent = words;
  problem.hidden = false;
  answer.querySelector("[data-timing]").textContent = "";
}

/** Shows how the answers of the other models differ from the first one's. */
async function compare(question) {
  const [first, ...others] = question.querySelectorAll(".answer");
  const before = first.querySelector("token-stream").text;
  await Promise.all(others.map(async (answer) => {
    const stream = answer.querySelector("token-stream");
    const fields = new URLSearchParams({ before, after: stream.text });
    const told = await fetch("/studio/playground/difference", { method: "POST", body: fields });
    if (!told.ok) return;
    const shown = answer.querySelector("[data-diff]");
    shown.replaceChildren();
    for (const piece of (await told.json()).pieces) {
      const names = new Map([["added", "ins"], ["removed", "del"]]);
      const element = document.createElement(names.get(piece.change) ?? "span");
      element.textContent = piece.text;
      shown.append(element);
    }
    shown.hidden = false;
    stream.hidden = true;
  }));
}

/** Keeps the prompts in the address, so that a reload and a link show the same. */
function remember() {
  const address = new URL(location.href);
  address.searchParams.delete("p");
  for (const each of questions.querySelectorAll("[data-prompt]")) if (each.value) address.searchParams.append("p", each.value);
  if (form.dataset.data) address.searchParams.set("data", form.dataset.data.replace(/^datasets\//, ""));
  if (address.href.length <= MOST_ADDRESS) history.replaceState(null, "", address);
}

async function correct(answer, prompt, right) {
  try {
    if (!form.dataset.data) form.dataset.data = await begin(answer);
    const told = await api.post(`/tuningfork/v1/${form.dataset.data}:addRows`, { rows: [{ cells: [prompt, right] }] });
    const section = document.getElementById("corrections");
    section.querySelector("[data-count]").textContent = t("playground.corrections_count", { count: told.dataset.rowCount });
    section.querySelector("[data-tune]").href = `${form.dataset.create}${encodeURIComponent(form.dataset.data.replace(/^datasets\//, ""))}/check`;
    section.hidden = false;
    answer.querySelector("[data-correction]").hidden = true;
    answer.querySelector("[data-correct]").focus();
    notice(t("playground.script.added"));
    remember();
  } catch (error) {
    notice(t("playground.script.failed", { reason: error.message }), "error");
  }
}

/** Makes the data set that corrections of this model go to, and the settings to tune it further. */
async function begin(answer) {
  const name = t("playground.script.data_name", { model: answer.dataset.title }).slice(0, 128);
  const query = new URLSearchParams({ name: "typed.csv", displayName: name });
  const told = await fetch(api.url(`/tuningfork/v1/datasets?${query}`), { method: "POST", body: "text_input,output\n" });
  const made = await told.json();
  if (!told.ok) throw new Error(made.error?.message ?? String(told.status));
  const settings = { source: answer.dataset.model, displayName: name.slice(0, 40) };
  await api.patch(`/tuningfork/v1/${made.name}`, { draft: { settings } });
  return made.name;
}

function promptOf(question) {
  return question.querySelector("[data-prompt]");
}

function renumber() {
  [...questions.children].forEach((question, index) => {
    const number = index + 1;
    question.setAttribute("aria-label", t("playground.prompt", { number }));
    question.querySelector("[data-number]").textContent = t("playground.prompt", { number });
    question.querySelector("[data-remove]").setAttribute("aria-label", t("playground.remove", { number }));
    question.querySelector("[data-remove]").hidden = questions.children.length === 1;
    for (const field of question.querySelectorAll("[data-correction] textarea")) {
      field.setAttribute("aria-label", t("playground.script.correct_label", { number }));
    }
  });
}

function add() {
  questions.append(document.importNode(document.getElementById("question").content, true));
  renumber();
  promptOf(questions.lastElementChild).focus();
}

function pressed(event) {
  const target = event.target.closest("button");
  const answer = target?.closest(".answer");
  if (!target) return;
  if (target.matches("[data-remove]")) {
    target.closest(".question").remove();
    renumber();
    promptOf(questions.firstElementChild).focus();
  } else if (target.matches("[data-correct]")) {
    const correction = answer.querySelector("[data-correction]");
    const field = correction.querySelector("textarea");
    field.value = answer.querySelector("token-stream").text;
    correction.hidden = false;
    field.focus();
    field.select();
  } else if (target.matches("[data-cancel]")) {
    answer.querySelector("[data-correction]").hidden = true;
    answer.querySelector("[data-correct]").focus();
  } else if (target.matches("[data-add-correction]")) {
    const field = answer.querySelector("[data-correction] textarea");
    if (field.value.trim()) correct(answer, promptOf(answer.closest(".question")).value, field.value);
  } else if (target.matches("[data-add]")) add();
  else if (target.matches("[data-stop]")) stop();
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  form.addEventListener("click", pressed);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
    } else if (event.key === "Escape" && running) stop();
  });
  renumber();
}
