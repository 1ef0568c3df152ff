// <loss-chart data-model="id">: the losses of a tuning job as a curve that grows while the job runs, and as a table.

import { api, ApiError } from "./api.js";
import { notice } from "./frame.js";
import { shortcut } from "./keys.js";
import { asImage, drawing, element, moveCursor, Scale } from "./loss-drawing.js";
import { canSmooth, Series } from "./loss-series.js";
import { lossText, number, t } from "./texts.js";

const KEEP = "tuningfork-chart";
const MOST_ROWS = 400;

class LossChart extends HTMLElement {
  static observedAttributes = ["data-live", "data-checkpoints"];

  #series = new Series();
  #choice = { along: "step", logarithmic: false, smooth: false, table: false };
  #timer = 0;
  #asked = 0;
  #cursor = null;
  #scale = null;
  #failed = false;
  #loaded = false;
  #built = false;
  #loading = false;

  connectedCallback() {
    if (this.#built) return;
    this.#built = true;
    try {
      Object.assign(this.#choice, JSON.parse(localStorage.getItem(KEEP) ?? "{}"));
    } catch {
      // What is kept is not ours.
    }
    this.#build();
    new ResizeObserver(() => this.#draw()).observe(this.area);
    document.addEventListener("visibilitychange", () => document.hidden || this.#plan(0));
    this.#plan(0);
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  attributeChangedCallback(name) {
    if (!this.#built) return;
    // The job has ended: its last points are asked for once more.
    if (name === "data-live") this.#plan(0);
    else this.#draw();
  }

  // Data

  #plan(milliseconds) {
    clearTimeout(this.#timer);
    if (this.isConnected) this.#timer = setTimeout(() => this.#load(), milliseconds);
  }

  async #load() {
    if (document.hidden || this.#loading) return;
    this.#loading = true;
    const live = this.dataset.live === "yes";
    try {
      const answer = await api.get(`/tuningfork/v1/tunedModels/${encodeURIComponent(this.dataset.model)}/series?${this.#series.query()}`);
      const whole = this.#series.take(answer);
      this.#failed = false;
      this.#loaded = true;
      this.#asked += 1;
      this.#draw();
      if (!whole || answer.more) this.#plan(0);
      else if (live) this.#plan(this.#asked < 30 ? 400 : this.#asked < 150 ? 1000 : 2000);
      else if (this.dataset.live === "yes") this.#plan(0);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.status === 401 || error.status === 404) return;
      this.#failed = true;
      this.#draw();
      this.#plan(3000);
    } finally {
      this.#loading = false;
    }
  }

  // Controls

  #build() {
    this.replaceChildren();
    const tools = this.#make("div", "chart-tools");
    tools.append(
      this.#select(t("chart.axis"), "along", [["step", t("chart.step")], ["epoch", t("chart.epoch")], ["time", t("chart.time")]]),
      this.#select(t("chart.scale"), "logarithmic", [[false, t("chart.linear")], [true, t("chart.log")]]),
    );
    this.smoothing = this.#make("label");
    const box = this.#make("input");
    box.type = "checkbox";
    box.checked = this.#choice.smooth;
    box.addEventListener("change", () => this.#choose("smooth", box.checked));
    this.smoothing.append(box, t("chart.smooth"));
    this.smoothBox = box;
    this.tableButton = this.#button("", () => this.#choose("table", !this.#choice.table));
    const csv = this.#make("a", "button quiet small");
    csv.href = this.dataset.csv;
    csv.download = "";
    csv.textContent = t("chart.csv");
    tools.append(this.smoothing, this.#make("span", "spacer"), this.tableButton, csv, this.#button(t("chart.image"), () => this.#save()));
    this.area = this.#make("div", "chart-area");
    this.#listen(this.area);
    this.legend = this.#make("div", "chart-legend");
    this.reading = this.#make("p", "chart-reading");
    this.table = this.#make("div", "chart-table");
    this.append(tools, this.area, this.reading, this.legend, this.table);
    shortcut("l", "keys.log", () => this.#choose("logarithmic", !this.#choice.logarithmic));
    shortcut("s", "keys.smooth", () => canSmooth(this.#series.points("training")) && this.#choose("smooth", !this.#choice.smooth));
    shortcut("← →", "keys.cursor", () => false);
  }

  #make(name, kind = "") {
    const made = document.createElement(name);
    if (kind) made.className = kind;
    return made;
  }

  #button(text, action) {
    const button = this.#make("button", "button quiet small");
    button.type = "button";
    button.textContent = text;
    button.addEventListener("click", action);
    return button;
  }

  #select(label, name, options) {
    const whole = this.#make("label");
    const select = this.#make("select");
    for (const [value, text] of options) select.append(new Option(text, String(value), false, value === this.#choice[name]));
    select.addEventListener("change", () => this.#choose(name, options[select.selectedIndex][0]));
    select.dataset.choice = name;
    whole.append(label, select);
    return whole;
  }

  #choose(name, value) {
    this.#choice[name] = value;
    localStorage.setItem(KEEP, JSON.stringify(this.#choice));
    const select = this.querySelector(`select[data-choice="${name}"]`);
    if (select) select.value = String(value);
    if (name === "smooth") this.smoothBox.checked = value;
    this.#draw();
  }

  // Looks

  #draw() {
    const training = this.#series.points("training");
    const validation = this.#series.points("validation");
    const nothing = !training.length && !validation.length;
    const smooths = canSmooth(training);
    this.smoothing.hidden = !smooths;
    this.tableButton.textContent = t(this.#choice.table ? "chart.curve" : "chart.table");
    this.table.hidden = !this.#choice.table || nothing;
    this.area.hidden = (this.#choice.table && !nothing) || nothing;
    this.legend.hidden = this.area.hidden;
    if (nothing) {
      this.reading.textContent = this.#failed ? t("chart.failed") : !this.#loaded ? "" : t(this.dataset.live === "yes" ? "chart.waiting" : "chart.none");
      return;
    }
    if (this.#choice.table) this.#tabulate(training, validation);
    else this.#picture(training, validation, smooths && this.#choice.smooth);
    this.#read();
  }

  #picture(training, validation, smooth) {
    const width = Math.max(260, this.area.clientWidth);
    const height = width < 500 ? 230 : 300;
    const best = this.#series.best;
    const total = this.#series.total || Number(this.dataset.steps);
    this.#scale = new Scale({ width, height, along: this.#choice.along, logarithmic: this.#choice.logarithmic, total, epochs: Number(this.dataset.epochs), training, validation });
    const broken = training.find((point) => !Number.isFinite(point.loss));
    const svg = drawing({
      scale: this.#scale, training, validation, smooth, best,
      checkpoints: this.#checkpoints(),
      words: {
        best: best ? t("chart.best", { loss: lossText(best.loss), step: best.step }) : "",
        broken: broken ? t("chart.not_finite", { step: broken.step }) : "",
      },
    });
    this.cursorLine = element("line", { class: "cursor", y1: 10, y2: this.#scale.floor, visibility: "hidden" });
    svg.append(this.cursorLine);
    this.area.replaceChildren(svg);
    this.#explain(training, validation, smooth, best);
  }

  #checkpoints() {
    const written = (this.dataset.checkpoints ?? "").split(",").filter(Boolean).map((each) => each.split(":").map(Number));
    return written.map(([count, step]) => ({ step, title: t("chart.checkpoint", { number: count, step }) }));
  }

  #explain(training, validation, smooth, best) {
    this.legend.replaceChildren();
    const entry = (kind, text) => {
      const whole = this.#make("span");
      const svg = element("svg", { viewBox: "0 0 26 10", "aria-hidden": "true" });
      const shapes = { best: ["path", { class: "best", d: "M13 0l5 5l-5 5l-5 -5z" }], kept: ["path", { class: "kept", d: "M8 9h10l-5 -8z" }] };
      svg.append(element(...(shapes[kind] ?? ["path", { class: kind, d: "M1 5H25" }])));
      whole.append(svg, text);
      this.legend.append(whole);
    };
    if (training.length) entry(smooth ? "raw faint" : "raw", t("chart.training"));
    if (smooth) entry("smoothed", t("chart.smoothed"));
    if (validation.length) entry("held", t("chart.validation"));
    if (best) entry("best", t("chart.best", { loss: lossText(best.loss), step: best.step }));
    if (this.#checkpoints().length) entry("kept", t("chart.checkpoints"));
  }

  #tabulate(training, validation) {
    const steps = [...new Set([...training, ...validation].map((point) => point.step))].sort((one, other) => one - other);
    const every = Math.ceil(steps.length / MOST_ROWS);
    const shown = steps.filter((_, index) => index % every === 0 || index === steps.length - 1);
    const table = this.#make("table", "table");
    const head = table.createTHead().insertRow();
    for (const text of [t("chart.step"), t("chart.epoch"), t("chart.training"), t("chart.validation")]) {
      const cell = this.#make("th", "right");
      cell.scope = "col";
      cell.textContent = text;
      head.append(cell);
    }
    const body = table.createTBody();
    for (const step of shown) {
      const [one, other] = [this.#series.training.get(step), this.#series.validation.get(step)];
      const row = body.insertRow();
      const cells = [number(step), number((one ?? other).epoch), one ? String(one.loss) : "", other ? String(other.loss) : ""];
      cells.forEach((text, index) => {
        const cell = row.insertCell();
        cell.className = "right figure";
        cell.dataset.label = head.cells[index].textContent;
        cell.textContent = text;
      });
    }
    const left = this.table.scrollTop;
    this.table.tabIndex = 0;
    this.table.setAttribute("role", "region");
    this.table.setAttribute("aria-label", t("chart.loss"));
    this.table.replaceChildren(table);
    if (every > 1) {
      const hint = this.#make("p", "hint");
      hint.textContent = t("chart.rows_left_out", { every });
      this.table.append(hint);
    }
    this.table.scrollTop = left;
  }

  // The cursor

  #listen(area) {
    area.setAttribute("aria-label", t("chart.help"));
    moveCursor(area, {
      places: () => this.#steps(),
      current: () => this.#cursor,
      move: (place) => this.#move(place),
      point: (left) => this.#point(left),
    });
  }

  #steps() {
    const source = this.#series.training.size ? "training" : "validation";
    return this.#series.points(source).map((point) => point.step);
  }

  #point(left) {
    if (!this.#scale) return;
    const distance = (step) => Math.abs(this.#scale.left(this.#scale.value(this.#at(step))) - left);
    const steps = this.#steps();
    this.#move(steps.reduce((best, step) => (best === null || distance(step) < distance(best) ? step : best), null));
  }

  #at(step) {
    return this.#series.training.get(step) ?? this.#series.validation.get(step);
  }

  #move(step) {
    this.#cursor = step;
    this.#read();
  }

  /** Say in words what is under the cursor; without one, the last step. */
  #read() {
    const steps = this.#steps();
    const step = this.#cursor ?? steps.at(-1);
    const point = step === undefined ? undefined : this.#at(step);
    if (!point) return;
    const held = this.#series.validation.get(step);
    const values = { step, epoch: point.epoch, training: lossText(this.#series.training.get(step)?.loss ?? NaN), validation: held ? lossText(held.loss) : "" };
    const text = t(held ? "chart.at_both" : "chart.at", values);
    if (this.reading.textContent !== text) this.reading.textContent = text;
    this.area.setAttribute("aria-valuemin", String(steps[0]));
    this.area.setAttribute("aria-valuemax", String(steps.at(-1)));
    this.area.setAttribute("aria-valuenow", String(step));
    this.area.setAttribute("aria-valuetext", text);
    if (!this.cursorLine || !this.#scale) return;
    const x = this.#scale.left(this.#scale.value(point));
    this.cursorLine.setAttribute("x1", x);
    this.cursorLine.setAttribute("x2", x);
    this.cursorLine.setAttribute("visibility", this.#cursor === null ? "hidden" : "visible");
  }

  async #save() {
    if (this.#choice.table) this.#choose("table", false);
    const svg = this.area.querySelector("svg");
    if (!svg) return;
    try {
      const image = await asImage(svg, getComputedStyle(this.closest(".card")).backgroundColor);
      const link = document.createElement("a");
      link.href = URL.createObjectURL(image);
      link.download = `${this.dataset.model}-losses.png`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    } catch (error) {
      notice(String(error.message ?? error), "error");
    }
  }
}

customElements.define("loss-chart", LossChart);
