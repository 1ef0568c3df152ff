// The playground. Each model is asked on its own: one that fails leaves the others as they are.

import { api } from "./api.js";
import { announce, notice } from "./frame.js";
import { shortcut } from "./keys.js";
import { answersOf, choose, hide, inOrder, isHidden, offer, shownName, tidy } from "./playground-blind.js";
import { keepRun } from "./playground-history.js";
import { settingsOf, systemOf } from "./playground-settings.js";
import "./token-stream.js";
import { language, t } from "./texts.js";

const MOST_ADDRESS = 4_000;
const form = document.getElementById("playground");
const questions = document.getElementById("questions");
const seconds = new Intl.NumberFormat(language, { style: "unit", unit: "second", unitDisplay: "narrow", maximumFractionDigits: 2 });
let running = null;

function bodyOf(prompt, config) {
  const system = systemOf(form);
  const body = { contents: [{ role: "user", parts: [{ text: prompt }] }] };
  if (Object.keys(config).length) body.generationConfig = config;
  if (system) body.systemInstruction = { parts: [{ text: system }] };
  return body;
}

async function run() {
  const config = settingsOf(form);
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
  const columns = answersOf(asked[0]).length;
  const blind = form.querySelector("[data-blind]")?.checked;
  for (const each of asked) {
    if (blind) hide(each);
    else tidy(each);
    for (const answer of answersOf(each)) clear(answer);
  }
  keepRun(asked.map((each) => promptOf(each).value), inOrder(asked[0]).map((each) => each.dataset.title));
  // A browser opens six connections to a server: each model answers its prompts one after the other.
  await Promise.all(
    Array.from({ length: columns }, async (_, column) => {
      for (const each of asked) {
        if (controller.signal.aborted) return;
        await ask(inOrder(each)[column], bodyOf(promptOf(each).value, config), controller.signal);
      }
    }),
  );
  if (running !== controller) return;
  running = null;
  form.querySelector("[data-stop]").disabled = true;
  form.querySelector("[data-copy]").disabled = false;
  asked.forEach(offer);
  await showDifferences();
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
  answer.querySelector("[data-better]").hidden = true;
  answer.querySelector("[data-correction]").hidden = true;
  answer.querySelector("[data-timing]").textContent = t("playground.script.waiting");
}

async function ask(answer, body, signal) {
  const stream = answer.querySelector("token-stream");
  const path = answer.dataset.path.split("/").map(encodeURIComponent).join("/");
  const began = performance.now();
  let first = null;
  let tokens = 0;
  let ended = "";
  stream.begin();
  try {
    await api.stream(`${path}:streamGenerateContent?alt=sse`, body, (event) => {
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
  // How fast an answer came could tell whose it is.
  if (first !== null && !isHidden(answer.closest(".question"))) {
    const lasted = (now - first) / 1000;
    const rate = tokens > 1 && lasted > 0 ? t("playground.script.rate", { count: Math.round((tokens - 1) / lasted) }) : "";
    words.push([t("playground.script.tokens", { count: tokens }), seconds.format((first - began) / 1000), rate].filter(Boolean).join(" · "));
  }
  if (ended === "MAX_TOKENS") words.push(t("playground.script.cut"));
  else if (ended && ended !== "STOP") words.push(t("playground.script.blocked", { reason: ended }));
  answer.querySelector("[data-timing]").textContent = words.join(" ");
  announce(`${shownName(answer)}: ${stream.text.slice(0, 500)}`);
}

function fail(answer, words) {
  const problem = answer.querySelector("[data-problem]");
  problem.textContent = words;
  problem.hidden = false;
  answer.querySelector("[data-timing]").textContent = "";
}

/** Shows how the answers of the other models differ from the first one's, or the answers as they are. */
async function showDifferences() {
  const wanted = form.querySelector("[data-differs]")?.checked;
  await Promise.all([...questions.querySelectorAll(".question")].map((each) => (wanted ? compare(each) : plain(each))));
}

function plain(question) {
  for (const answer of answersOf(question)) {
    answer.querySelector("[data-diff]").hidden = true;
    answer.querySelector("token-stream").hidden = false;
  }
}

async function compare(question) {
  // Without names the first is the one that stands first.
  const [first, ...others] = isHidden(question) ? answersOf(question) : inOrder(question);
  const before = first.querySelector("token-stream").text;
  if (!before) return;
  await Promise.all(others.map(async (answer) => {
    const stream = answer.querySelector("token-stream");
    if (!stream.text) return;
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

/** The prompts and answers as text with headings, for a note or a report. */
async function copy() {
  const parts = [];
  for (const question of questions.querySelectorAll(".question")) {
    const answers = answersOf(question).filter((each) => each.querySelector("token-stream").text);
    if (!answers.length) continue;
    parts.push(`## ${promptOf(question).value}`);
    for (const answer of answers) parts.push(`### ${shownName(answer)}`, answer.querySelector("token-stream").text);
  }
  try {
    await navigator.clipboard.writeText(`${parts.join("\n\n")}\n`);
    notice(t("frame.script.copied"));
  } catch {
    notice(t("frame.script.copy_failed"), "error");
  }
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
  const settings = { source: answer.dataset.source, displayName: name.slice(0, 40) };
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
  else if (target.matches("[data-better]")) choose(answer);
  else if (target.matches("[data-copy]")) copy();
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run();
  });
  form.addEventListener("click", pressed);
  const differs = form.querySelector("[data-differs]");
  differs?.addEventListener("change", showDifferences);
  if (differs) shortcut("d", "keys.differences", () => differs.click());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      run();
    } else if (event.key === "Escape" && running) stop();
  });
  renumber();
}
