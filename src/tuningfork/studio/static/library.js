// The library's filters: the list follows while one types, and the address says what is shown.

import { announce } from "./frame.js";

const form = document.getElementById("filters");
const part = document.querySelector("main live-part");
let waiting = 0;

function follow() {
  const shown = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value) shown.set(name, value);
  }
  history.replaceState(null, "", shown.size ? `?${shown}` : location.pathname);
  part.addEventListener("refreshed", told, { once: true });
  part.refresh();
}

function told() {
  const title = document.getElementById("models-title") ?? part.querySelector(".empty h2");
  if (title) announce(title.textContent);
}

/** Two to four models can be compared: the button says by being disabled that it wants others. */
function countChosen() {
  const chosen = document.querySelectorAll("#chosen input[name=models]:checked").length;
  const button = document.querySelector("[data-compare]");
  if (!button) return;
  button.disabled = chosen < 2 || chosen > 4;
  document.querySelector("[data-compare-hint]").hidden = !button.disabled;
}

part?.addEventListener("change", (event) => event.target.name === "models" && countChosen());
part?.addEventListener("refreshed", countChosen);
addEventListener("pageshow", countChosen);
countChosen();

form?.addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(follow, event.target.type === "search" ? 250 : 0);
});
form?.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  follow();
});
