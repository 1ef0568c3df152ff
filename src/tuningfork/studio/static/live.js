// Parts of a page that follow the server: a block of the page is fetched anew, and what differs is changed in place.

import { announce, connected, disconnected, isSignedOut, localise, signedOut } from "./frame.js";

// Of the pauses before a server that does not answer is asked again.
const SLOWEST = 8_000;
// Markup is taken from this server's own pages only, in which every value is escaped. Nothing else here may make markup.
const policy = globalThis.trustedTypes?.createPolicy("studio-pages", { createHTML: (page) => page }) ?? { createHTML: (page) => page };

class LivePart extends HTMLElement {
  #timer = 0;
  #tag = "";
  #failures = 0;
  #running = null;

  connectedCallback() {
    this.#plan(Number(this.getAttribute("every")));
    document.addEventListener("visibilitychange", this);
    addEventListener("online", this);
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
    document.removeEventListener("visibilitychange", this);
    removeEventListener("online", this);
  }

  handleEvent() {
    if (!document.hidden && Number(this.getAttribute("every"))) this.refresh();
  }

  #plan(milliseconds) {
    clearTimeout(this.#timer);
    if (milliseconds > 0 && this.isConnected) this.#timer = setTimeout(() => this.#due(), milliseconds);
  }

  #due() {
    // A hidden tab asks again when it is looked at.
    if (!document.hidden) this.refresh();
  }

  /** Fetch the block now. */
  async refresh() {
    this.#running?.abort();
    const running = (this.#running = new AbortController());
    try {
      await this.#fetch(running.signal);
    } catch {
      if (running.signal.aborted) return;
      this.#failures += 1;
      if (this.#failures > 1) disconnected();
      this.#plan(Math.min(SLOWEST, 1000 * 2 ** this.#failures));
    }
  }

  async #fetch(signal) {
    const headers = { "Studio-Fragment": this.getAttribute("block") };
    if (this.#tag) headers["If-None-Match"] = this.#tag;
    // A part of the frame has an address of its own; every other one is a part of this page.
    const answer = await fetch(this.getAttribute("src") ?? location.href, { headers, signal, cache: "no-store", redirect: "error" });
    if (answer.status === 401) {
      signedOut();
      return;
    }
    if ((answer.status === 404 || answer.status === 403) && !this.hasAttribute("src")) {
      // It was deleted, or taken away from this visitor: the whole page says so.
      location.reload();
      return;
    }
    if (!answer.ok && answer.status !== 304) throw new Error(String(answer.status));
    const every = answer.headers.get("Studio-Every");
    if (every !== null) this.setAttribute("every", every);
    if (answer.status !== 304) this.#show(await answer.text());
    this.#tag = answer.headers.get("ETag") ?? "";
    this.#failures = 0;
    if (!isSignedOut()) connected();
    this.#plan(Number(this.getAttribute("every")));
  }

  #show(page) {
    const before = this.querySelector("[data-announces]")?.textContent;
    const fresh = new DOMParser().parseFromString(policy.createHTML(page), "text/html");
    localise(fresh);
    patch(this, fresh.body);
    const told = this.querySelector("[data-announces]")?.textContent;
    // Every step would be too much to hear: what is told are new sentences, not new numbers in them.
    if (told && shape(told) !== shape(before ?? "")) announce(told);
    this.dispatchEvent(new CustomEvent("refreshed", { bubbles: true }));
  }
}

const shape = (text) => text.replace(/[\d.,:]+/g, "#");

/** Make the children of `old` like those of `fresh`. What is alike stays: focus, scrolling, selections, open menus. */
export function patch(old, fresh) {
  const named = new Map([...old.children].filter((each) => each.dataset.key).map((each) => [each.dataset.key, each]));
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const twin = wanted.nodeType === Node.ELEMENT_NODE && wanted.dataset.key ? named.get(wanted.dataset.key) : place;
    if (twin && twin !== place && alike(twin, wanted)) old.insertBefore(twin, place);
    if (twin && alike(twin, wanted)) {
      place = twin.nextSibling;
      change(twin, wanted);
    } else {
      old.insertBefore(document.importNode(wanted, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function alike(one, other) {
  if (one.nodeType !== other.nodeType || one.nodeName !== other.nodeName) return false;
  return one.nodeType !== Node.ELEMENT_NODE || (one.dataset.key ?? "") === (other.dataset.key ?? "") && one.id === other.id;
}

function change(old, fresh) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // Whether something is open, and whether a form was sent, is the visitor's doing.
    if (!fresh.hasAttribute(name) && !["open", "data-sent", "disabled"].includes(name)) old.removeAttribute(name);
  }
  if (!old.hasAttribute("data-keep")) patch(old, fresh);
}

customElements.define("live-part", LivePart);
