// <file-drop data-path="/tuningfork/v1/datasets" data-then="/studio/create/">: sends a chosen, dropped or pasted file to the
// API as it is, shows how much has arrived, and goes to the page of the data set that was made.
// It holds an <input type="file"> and elements with data-progress, data-progress-text, data-cancel and data-problem.

import { api } from "./api.js";
import { t } from "./texts.js";

const LONG_PASTE = 20_000;

class FileDrop extends HTMLElement {
  connectedCallback() {
    this.input = this.querySelector("input[type=file]");
    this.input.addEventListener("change", () => this.input.files[0] && this.send(this.input.files[0], this.input.files[0].name));
    this.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.classList.add("over");
    });
    this.addEventListener("dragleave", () => this.classList.remove("over"));
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      this.classList.remove("over");
      const file = event.dataTransfer.files[0];
      if (file) this.send(file, file.name);
    });
    this.querySelector("[data-cancel]").addEventListener("click", () => this.request?.abort());
  }

  disconnectedCallback() {
    this.request?.abort();
  }

  /** Uploads the bytes under a name. Ends with another page, or with words that say what is wrong. */
  send(content, name, displayName) {
    this.request?.abort();
    const query = new URLSearchParams({ name, displayName: (displayName ?? name.replace(/\.[^.]*$/, "")).slice(0, 128) });
    const header = this.querySelector("[data-header]")?.value;
    if (header) query.set("header", header);
    const request = new XMLHttpRequest();
    this.request = request;
    request.open("POST", api.url(`${this.dataset.path}?${query}`));
    request.setRequestHeader("content-type", "application/octet-stream");
    request.upload.addEventListener("progress", (event) => this.show(event.loaded, event.total));
    request.addEventListener("load", () => this.done(request));
    request.addEventListener("error", () => this.fail(t("create.script.failed", { reason: t("create.script.unreachable") })));
    request.addEventListener("abort", () => this.rest());
    this.querySelector("[data-problem]").hidden = true;
    this.show(0, content.size ?? content.length);
    request.send(content);
  }

  show(done, total) {
    this.querySelector("[data-progress]").hidden = false;
    this.querySelector("progress").value = total ? done / total : 0;
    const said = done < total ? t("create.script.uploading", { done: megabytes(done), total: megabytes(total) }) : t("create.script.reading");
    this.querySelector("[data-progress-text]").textContent = said;
  }

  done(request) {
    let answer = null;
    try {
      answer = JSON.parse(request.responseText);
    } catch {
      // A proxy in between may answer with a page of its own.
    }
    if (request.status === 200 && answer?.name) {
      const id = answer.name.replace(/^datasets\//, "");
      location.assign(`${this.dataset.then}${encodeURIComponent(id)}`);
      return;
    }
    this.fail(answer?.error?.message ?? t("create.script.failed", { reason: String(request.status) }));
  }

  fail(words) {
    this.rest();
    const problem = this.querySelector("[data-problem]");
    problem.textContent = words;
    problem.hidden = false;
  }

  rest() {
    this.querySelector("[data-progress]").hidden = true;
    // The same file can be chosen again after it was mended.
    this.input.value = "";
  }
}

function megabytes(bytes) {
  return new Intl.NumberFormat(document.documentElement.lang, {
    style: "unit", unit: "megabyte", maximumFractionDigits: 1,
  }).format(bytes / 1e6);
}

customElements.define("file-drop", FileDrop);

// What is pasted on the page but not into a field, or is too long for a form, goes the same way as a file.
document.addEventListener("paste", (event) => {
  const drop = document.querySelector("file-drop");
  if (!drop) return;
  const file = event.clipboardData.files[0];
  const text = event.clipboardData.getData("text/plain");
  const typing = event.target.closest?.("input, textarea");
  if (file && !text) {
    event.preventDefault();
    drop.send(file, file.name);
  } else if (text && (!typing || text.length > LONG_PASTE)) {
    event.preventDefault();
    drop.send(new Blob([text]), "pasted.tsv", document.querySelector("[data-paste]")?.dataset.name);
  }
});
