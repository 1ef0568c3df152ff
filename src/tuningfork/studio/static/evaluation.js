// The rows of an evaluation: they follow the filters while one types, and differences can be switched off.

import { shortcut } from "./keys.js";

const form = document.getElementById("filters");
const parts = [...document.querySelectorAll("live-part")];
const differences = document.getElementById("differences");
let waiting = 0;

function follow() {
  const shown = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (value) shown.set(name, value);
  }
  history.replaceState(null, "", shown.size ? `?${shown}` : location.pathname);
  for (const part of parts) part.refresh();
}

form.addEventListener("input", (event) => {
  if (event.target === differences) {
    document.getElementById("answers").classList.toggle("without-differences", !differences.checked);
    return;
  }
  clearTimeout(waiting);
  waiting = setTimeout(follow, event.target.type === "search" ? 250 : 0);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(waiting);
  follow();
});
shortcut("d", "keys.differences", () => differences.click());
