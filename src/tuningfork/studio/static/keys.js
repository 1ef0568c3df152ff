// Keyboard shortcuts: a table of keys, the list under "?", and a switch for single letters (WCAG 2.1.4).

import { t } from "./texts.js";

const KEEP = "tuningfork-single-letters";
const shortcuts = [];
let before = "";

export const singleLetters = () => localStorage.getItem(KEEP) !== "off";

/** Do something at a key or at two keys one after the other, such as `n` or `g l`. `textId` says what. */
export function shortcut(keys, textId, action) {
  shortcuts.push({ keys, textId, action });
  list();
}

function list() {
  const shown = document.getElementById("keys-list");
  if (!shown) return;
  shown.replaceChildren();
  for (const { keys, textId } of shortcuts) {
    const term = document.createElement("dt");
    for (const key of keys.split(" ")) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      term.append(cap, " ");
    }
    const meaning = document.createElement("dd");
    meaning.textContent = t(textId);
    shown.append(term, meaning);
  }
}

function typing(target) {
  return target instanceof Element && target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(event.target) || document.querySelector("dialog[open]") || !singleLetters()) return;
  const both = `${before} ${event.key}`;
  const found = shortcuts.find((each) => each.keys === both) ?? shortcuts.find((each) => each.keys === event.key);
  before = event.key;
  if (!found) return;
  before = "";
  if (found.action(event) !== false) event.preventDefault();
});

function go(path) {
  const link = document.querySelector(`nav.main a[href="/studio${path}"]`);
  if (link) link.click();
}

function step(by) {
  const rows = [...document.querySelectorAll("[data-key-row]")];
  const now = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, now + by))]?.focus();
}

/** The shortcuts that every page has. */
export function announceKeys() {
  const single = document.getElementById("keys-single");
  single.checked = singleLetters();
  single.addEventListener("change", () => localStorage.setItem(KEEP, single.checked ? "on" : "off"));
  shortcut("?", "keys.help", () => document.querySelector("[data-opens=keys]").click());
  const there = (path) => document.querySelector(`nav.main a[href="/studio${path}"]`);
  for (const [key, name, path] of [["l", "library", "/library"], ["c", "create", "/create"], ["p", "playground", "/playground"], ["e", "evaluations", "/evaluations"], ["o", "operations", "/operations"]]) {
    if (there(path)) shortcut(`g ${key}`, `keys.${name}`, () => go(path));
  }
  const search = document.querySelector("[data-key-search]");
  if (search) shortcut("/", "keys.search", () => search.focus());
  const create = document.querySelector("[data-key-new]");
  if (create) shortcut("n", "keys.new", () => create.click());
  if (document.querySelector("[data-key-row], [data-key-rows]")) {
    shortcut("j", "keys.next", () => step(1));
    shortcut("k", "keys.previous", () => step(-1));
  }
}
