// Forms whose fields are kept on the server while somebody types, so that a reload or a restart loses nothing.
// data-keeps-settings="datasets/x": in the draft of the data set; data-keeps-columns="datasets/x": as its columns.
// data-refreshes names the <live-part> to show anew afterwards; an element with data-kept says that it was kept.

import { api } from "./api.js";
import { t } from "./texts.js";

const PAUSE_MS = 400;

class KeptForm {
  constructor(form) {
    this.form = form;
    this.kept = form.querySelector("[data-kept]");
    form.addEventListener("input", () => this.soon());
    form.addEventListener("change", () => this.soon());
    // A page that is left before the pause is over still sends what was typed last.
    window.addEventListener("pagehide", () => this.timer && this.now());
    form.addEventListener("submit", () => clearTimeout(this.timer));
    form.addEventListener("refreshed", () => this.showDefaults());
  }

  soon() {
    clearTimeout(this.timer);
    this.say("create.script.keeping");
    this.timer = setTimeout(() => this.now(), PAUSE_MS);
  }

  async now() {
    clearTimeout(this.timer);
    this.timer = null;
    const attempt = (this.attempt = (this.attempt ?? 0) + 1);
    // One after the other: an older one that arrives later would undo a newer one.
    this.last = (this.last ?? Promise.resolve()).then(() => this.send()).then(
      () => {
        if (attempt !== this.attempt) return;
        this.say("create.script.kept");
        document.querySelector(`live-part[block="${this.form.dataset.refreshes}"]`)?.refresh();
      },
      (error) => attempt === this.attempt && this.say("create.script.not_kept", { reason: error.message }),
    );
  }

  async send() {
    const { keepsSettings, keepsColumns } = this.form.dataset;
    if (keepsSettings) {
      const settings = [...new FormData(this.form)].filter(([, value]) => typeof value === "string");
      // The names are those of our own fields; what was typed is only ever a value.
      await api.patch(`/tuningfork/v1/${keepsSettings}`, { draft: { settings: Object.fromEntries(settings) } });
    } else {
      const fields = new FormData(this.form);
      const columns = [];
      while (fields.has(`role${columns.length}`)) {
        const place = columns.length;
        columns.push({ role: fields.get(`role${place}`), prefix: fields.get(`prefix${place}`) });
      }
      await api.patch(`/tuningfork/v1/${keepsColumns}`, { columns });
    }
  }

  /** What empty fields stand for depends on the other fields: the refreshed part of the form says it. */
  showDefaults() {
    for (const each of this.form.querySelectorAll("data[data-default-of]")) {
      const field = this.form.elements.namedItem(each.dataset.defaultOf);
      if (field) field.placeholder = each.value;
    }
  }

  say(id, values) {
    if (this.kept) this.kept.textContent = t(id, values);
  }
}

for (const form of document.querySelectorAll("[data-keeps-settings], [data-keeps-columns]")) new KeptForm(form);
