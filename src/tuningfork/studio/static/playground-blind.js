// Answers without the names of their models, in an order of chance, until somebody has chosen the better one.

import { announce } from "./frame.js";
import { number, t } from "./texts.js";
import { KeptList } from "./playground-kept.js";

const section = document.getElementById("votes");
const history = document.getElementById("history");
const kept = history && new KeptList("choices", history.dataset.person);
if (kept) kept.most = 1000;

export const answersOf = (question) => [...question.querySelectorAll(".answer")];

/** The answers in the order of the models. */
export const inOrder = (question) => answersOf(question).sort((one, other) => one.dataset.column - other.dataset.column);

/** What an answer is called on the page now. */
export const shownName = (answer) => answer.querySelector("[data-name]").textContent;

export const isHidden = (question) => question.hasAttribute("data-hides");

/** Hide the names, and put the answers in an order of chance. */
export function hide(question) {
  const answers = inOrder(question);
  for (let last = answers.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [answers[last], answers[other]] = [answers[other], answers[last]];
  }
  question.setAttribute("data-hides", "");
  answers.forEach((answer, place) => {
    answer.parentElement.append(answer);
    answer.classList.remove("chosen");
    answer.querySelector("[data-name]").textContent = t("playground.script.answer", { number: place + 1 });
  });
}

/** Show the names. The order stays while answers are there, so that nothing jumps; a new run begins with the usual one. */
export function reveal(question) {
  question.removeAttribute("data-hides");
  for (const answer of answersOf(question)) {
    answer.querySelector("[data-name]").textContent = answer.dataset.title;
    answer.querySelector("[data-better]").hidden = true;
  }
}

/** The usual order with names, for a run that hides nothing. */
export function tidy(question) {
  reveal(question);
  for (const answer of inOrder(question)) {
    answer.classList.remove("chosen");
    answer.parentElement.append(answer);
  }
}

/** Offer the choice, once all answers of a prompt are there. */
export function offer(question) {
  if (!isHidden(question)) return;
  for (const answer of answersOf(question)) {
    const better = answer.querySelector("[data-better]");
    better.hidden = !answer.querySelector("token-stream").text;
    better.setAttribute("aria-label", t("playground.script.better_named", { name: shownName(answer) }));
  }
}

/** Count the choice, and say whose answer it was. */
export function choose(answer) {
  const question = answer.closest(".question");
  const models = inOrder(question).map((each) => each.dataset.model);
  kept.add({ better: answer.dataset.model, models, time: Date.now() });
  reveal(question);
  answer.classList.add("chosen");
  const name = answer.querySelector("[data-name]");
  name.textContent = t("playground.script.chosen", { name: answer.dataset.title });
  announce(name.textContent);
  showVotes();
  answer.querySelector("[data-correct]").focus();
}

/** How often each of the models that are shown was chosen, among exactly these. */
export function showVotes() {
  const first = document.querySelector(".question");
  if (!section || !first) return;
  const answers = inOrder(first);
  const shown = answers.map((each) => each.dataset.model);
  const votes = kept.entries.filter((each) => Array.isArray(each.models) && each.models.length === shown.length && shown.every((name) => each.models.includes(name)));
  section.hidden = !votes.length;
  section.querySelector("[data-votes]").replaceChildren(
    ...answers.map((answer) => {
      const row = document.createElement("div");
      const name = document.createElement("dt");
      const count = document.createElement("dd");
      name.textContent = answer.dataset.title;
      count.textContent = number(votes.filter((each) => each.better === answer.dataset.model).length);
      row.append(name, count);
      return row;
    }),
  );
}

section?.querySelector("[data-clear-votes]").addEventListener("click", () => {
  kept.clear();
  showVotes();
});
showVotes();
