// What every page does: dialogs, menus, forms that are sent once, copying, notices, times in the browser's time zone.

import { announceKeys } from "./keys.js";
import { language, t } from "./texts.js";

document.documentElement.dataset.script = "";

const moments = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });

/** Write the times below an element in the browser's time zone. */
export function localise(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const then = new Date(time.dateTime);
    if (!Number.isNaN(then.getTime())) time.textContent = moments.format(then);
  }
}

/** A short message in the corner, which goes by itself. */
export function notice(text, kind = "ok") {
  const toast = document.createElement("p");
  toast.className = `toast ${kind}`;
  toast.textContent = text;
  document.getElementById("toasts").append(toast);
  setTimeout(() => toast.remove(), kind === "ok" ? 4000 : 10000);
}

/** A sentence for screen readers alone. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

const offline = document.getElementById("offline");
let state = "";

function showBar(next, text, link) {
  if (state === next) return;
  state = next;
  offline.replaceChildren(document.createTextNode(text));
  if (link) offline.append(link);
  offline.hidden = false;
}

/** Say that the server cannot be reached. */
export function disconnected() {
  if (state !== "signed-out") showBar("offline", t("frame.script.offline"));
}

/** Say that it can be reached again. */
export function connected() {
  if (state !== "offline") return;
  state = "";
  offline.hidden = true;
  notice(t("frame.script.back"));
}

/** Say that the session has ended; the page stays as it is. */
export function signedOut() {
  const link = document.createElement("a");
  link.href = `/studio/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`;
  link.textContent = t("frame.script.sign_in");
  showBar("signed-out", t("frame.script.signed_out"), link);
}

export const isSignedOut = () => state === "signed-out";

document.addEventListener("click", async (event) => {
  const target = event.target instanceof Element ? event.target : null;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(target) || target?.closest(".sheet > a, .sheet > button")) menu.open = false;
  }
  const opens = target?.closest("[data-opens]");
  const dialog = opens && document.getElementById(opens.dataset.opens);
  if (dialog && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    openDialog(dialog, opens);
  }
  if (target?.closest("[data-closes]")) target.closest("dialog").close();
  if (target instanceof HTMLDialogElement) target.close();
  const copies = target?.closest("[data-copies]");
  if (copies) await copyCode(copies);
});

function openDialog(dialog, opener) {
  const menu = opener.closest("details.menu");
  // The focus returns to what can be seen: an entry of a menu that is closed cannot.
  const back = menu ? menu.querySelector("summary") : opener;
  dialog.addEventListener("close", () => back.focus(), { once: true });
  dialog.showModal();
  (dialog.querySelector("input:not([type=hidden]), textarea, select") ?? dialog.querySelector("button"))?.focus();
}

async function copyCode(button) {
  const text = button.closest(".code").querySelector("code").textContent;
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = t("frame.script.copied");
    announce(t("frame.script.copied"));
    setTimeout(() => (label.textContent = t("frame.script.copy")), 2000);
  } catch {
    notice(t("frame.script.copy_failed"), "error");
  }
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details.menu[open]");
  if (menu && !document.querySelector("dialog[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.hasAttribute("data-once")) return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
  // Disabled after the browser has taken the fields, to which the pressed button belongs.
  setTimeout(() => form.querySelectorAll("button").forEach((button) => (button.disabled = true)));
});

// A page that comes back from the browser's memory is as it was left, with its forms sent.
addEventListener("pageshow", (event) => {
  if (!event.persisted) return;
  for (const form of document.querySelectorAll("form[data-sent]")) {
    delete form.dataset.sent;
    form.querySelectorAll("button").forEach((button) => (button.disabled = false));
  }
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-sends]")) event.target.form.requestSubmit();
});

// What the playground has kept of this person's prompts ends with the session.
document.addEventListener("submit", (event) => {
  if (!event.target.getAttribute("action")?.endsWith("/studio/sign-out")) return;
  for (const key of Object.keys(localStorage)) {
    if (/^tuningfork-(asked|choices):/.test(key)) localStorage.removeItem(key);
  }
});

addEventListener("offline", disconnected);

const retry = document.querySelector("[data-retries]");
if (retry) setTimeout(() => location.reload(), Number(retry.dataset.retries));

localise(document);
announceKeys();
