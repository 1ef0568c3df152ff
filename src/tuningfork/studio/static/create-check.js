// The check page: findings and the example are shown anew after rows have changed; `[` and `]` go from example to example,
// `z` takes the last change back.

import { shortcut } from "./keys.js";

const PAUSE_MS = 500;

let timer = null;
document.addEventListener("rows-changed", () => {
  clearTimeout(timer);
  timer = setTimeout(() => document.querySelectorAll("main live-part").forEach((part) => part.refresh()), PAUSE_MS);
});

const press = (selector) => () => document.querySelector(selector)?.click();
shortcut("[", "create.keys.before", press("[data-key-before]"));
shortcut("]", "create.keys.after", press("[data-key-after]"));
shortcut("z", "create.keys.undo", press("[data-key-undo]"));
