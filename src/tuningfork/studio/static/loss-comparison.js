// <loss-comparison data-models='[{"letter","id","name","live","epochs","steps"}]'>: the losses of several tuning jobs in one
// chart, told apart by letters and dashes and not by colour alone, and the same as a table.

import { api, ApiError } from "./api.js";
import { shortcut } from "./keys.js";
import { axes, element, line, moveCursor, Scale } from "./loss-drawing.js";
import { Series } from "./loss-series.js";
import { lossText, number, t } from "./texts.js";

const KEEP = "tuningfork-comparison";
const KINDS = ["training", "validation"];
const MOST_ROWS = 400;
const PAUSE_MS = 1000;

/** Where points of several jobs lie: each point knows its own place, since a job's epochs are counted by its own steps. */
class SharedScale extends Scale {
  value(point) {
    return point.at;
  }
}

class LossComparison extends HTMLElement {
  static observedAttributes = ["data-models"];

  #models = [];
  #choice = { along: "step", logarithmic: false, kind: "", table: false };
  #timer = 0;
  #cursor = null;
  #built = false;
  #loading = false;
  #failed = false;
  #loaded = false;
  #curves = [];

  connectedCallback() {
    if (this.#built) return;
    this.#built = true;
    try {
      Object.assign(this.#choice, JSON.parse(localStorage.getItem(KEEP) ?? "{}"));
    } catch {
      // What is kept is not ours.
    }
    this.#take();
    this.#build();
    new ResizeObserver(() => this.#draw()).observe(this.area);
    document.addEventListener("visibilitychange", () => document.hidden || this.#plan(0));
    this.#plan(0);
  }

  disconnectedCallback() {
    clearTimeout(this.#timer);
  }

  attributeChangedCallback() {
    if (!this.#built) return;
    this.#take();
    this.#plan(0);
  }

  /** Take over what the page says of the models; what is known of their losses stays. */
  #take() {
    const known = new Map(this.#models.map((each) => [each.id, each.series]));
    this.#models = JSON.parse(this.dataset.models).map((each) => ({ ...each, series: known.get(each.id) ?? new Series() }));
  }

  // Data

  #plan(milliseconds) {
    clearTimeout(this.#timer);
    if (this.isConnected) this.#timer = setTimeout(() => this.#load(), milliseconds);
  }

  async #load() {
    if (document.hidden || this.#loading) return;
    this.#loading = true;
    try {
      const unfinished = await Promise.all(this.#models.map((each) => this.#ask(each)));
      this.#failed = false;
      this.#loaded = true;
      this.#draw();
      if (unfinished.some(Boolean)) this.#plan(0);
      else if (this.#models.some((each) => each.live)) this.#plan(PAUSE_MS);
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

  /** Whether there is more to ask for at once. */
  async #ask(model) {
    if (model.whole && !model.live) return false;
    const answer = await api.get(`/tuningfork/v1/tunedModels/${encodeURIComponent(model.id)}/series?${model.series.query()}`);
    const taken = model.series.take(answer);
    model.whole = taken && !answer.more;
    return !model.whole;
  }

  /** The points of a model with their places along the chosen axis. */
  #points(model) {
    const total = model.series.total || model.steps;
    const at = (point) => {
      if (this.#choice.along === "time") return point.seconds;
      if (this.#choice.along === "epoch" && total && model.epochs) return (point.step / total) * model.epochs;
      return point.step;
    };
    return model.series.points(this.#kind()).map((point) => ({ ...point, at: at(point) }));
  }

  /** The chosen kind of losses; before anybody has chosen: the validation's, if every model has some. */
  #kind() {
    if (KINDS.includes(this.#choice.kind)) return this.#choice.kind;
    return this.#models.every((each) => each.series.validation.size) ? "validation" : "training";
  }

  // Controls

  #build() {
    this.replaceChildren();
    const tools = make("div", "chart-tools");
    this.kinds = this.#select(t("compare.chart.kind"), "kind", KINDS.map((kind) => [kind, t(`chart.${kind}`)]));
    this.tableButton = make("button", "button quiet small");
    this.tableButton.type = "button";
    this.tableButton.addEventListener("click", () => this.#choose("table", !this.#choice.table));
    tools.append(
      this.kinds,
      this.#select(t("chart.axis"), "along", [["step", t("chart.step")], ["epoch", t("chart.epoch")], ["time", t("chart.time")]]),
      this.#select(t("chart.scale"), "logarithmic", [[false, t("chart.linear")], [true, t("chart.log")]]),
      make("span", "spacer"),
      this.tableButton,
    );
    this.area = make("div", "chart-area");
    this.reading = make("p", "chart-reading");
    this.legend = make("ul", "chart-legend");
    this.table = make("div", "chart-table");
    this.#listen(this.area);
    this.append(tools, this.area, this.reading, this.legend, this.table);
    shortcut("l", "keys.log", () => this.#choose("logarithmic", !this.#choice.logarithmic));
    shortcut("← →", "keys.cursor", () => false);
  }

  #select(label, name, options) {
    const whole = make("label");
    const select = make("select");
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
    this.#draw();
  }

  // Looks

  #draw() {
    const curves = (this.#curves = this.#models.map((model) => ({ model, points: this.#points(model) })));
    const nothing = curves.every(({ points }) => !points.length);
    this.kinds.querySelector("select").value = this.#kind();
    this.tableButton.textContent = t(this.#choice.table ? "chart.curve" : "chart.table");
    this.table.hidden = !this.#choice.table || nothing;
    this.area.hidden = this.#choice.table || nothing;
    this.legend.hidden = nothing;
    if (nothing) {
      this.reading.textContent = this.#failed ? t("chart.failed") : this.#loaded ? t("chart.none") : "";
      return;
    }
    if (this.#choice.table) this.#tabulate(curves);
    else this.#picture(curves);
    this.#explain(curves);
    this.#read();
  }

  #picture(curves) {
    const width = Math.max(260, this.area.clientWidth);
    const height = width < 500 ? 230 : 300;
    const most = (name) => Math.max(...this.#models.map((each) => (name === "steps" && each.series.total) || each[name]));
    const training = curves.flatMap(({ points }) => points);
    const { along, logarithmic } = this.#choice;
    const scale = (this.scale = new SharedScale({ width, height, along, logarithmic, total: most("steps"), epochs: most("epochs"), training, validation: [] }));
    const svg = element("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" });
    svg.append(axes(scale));
    for (const { model, points } of curves) {
      const whole = element("g", { class: "run", "data-letter": model.letter });
      const shown = points.filter((point) => scale.shows(point.loss));
      whole.append(line(points, scale, "curve"));
      const last = shown.at(-1);
      if (last) {
        const [x, y] = [scale.left(last.at), scale.top(last.loss)];
        whole.append(element("circle", { cx: x, cy: y, r: 7.5 }), element("text", { x, y: y + 3.8, "text-anchor": "middle" }, model.letter));
      }
      svg.append(whole);
    }
    this.cursorLine = element("line", { class: "cursor", y1: 10, y2: scale.floor, visibility: "hidden" });
    svg.append(this.cursorLine);
    this.area.replaceChildren(svg);
  }

  #explain(curves) {
    this.legend.replaceChildren(
      ...curves.map(({ model, points }) => {
        const entry = make("li");
        const svg = element("svg", { viewBox: "0 0 26 10", "aria-hidden": "true", class: "run", "data-letter": model.letter });
        svg.append(element("path", { class: "curve", d: "M1 5H25" }));
        const letter = make("span", "letter");
        letter.dataset.letter = model.letter;
        letter.textContent = model.letter;
        entry.append(letter, svg, points.length ? model.name : t("compare.chart.nothing_of", { name: model.name }));
        return entry;
      }),
    );
  }

  #tabulate(curves) {
    const steps = [...new Set(curves.flatMap(({ points }) => points.map((point) => point.step)))].sort((one, other) => one - other);
    const every = Math.ceil(steps.length / MOST_ROWS);
    const shown = steps.filter((_, index) => index % every === 0 || index === steps.length - 1);
    const table = make("table", "beside");
    const head = table.createTHead().insertRow();
    for (const text of [t("chart.step"), ...curves.map(({ model }) => `${model.letter} ${model.name}`)]) {
      const cell = make("th");
      cell.scope = "col";
      cell.textContent = text;
      head.append(cell);
    }
    const body = table.createTBody();
    const found = curves.map(({ points }) => new Map(points.map((point) => [point.step, point])));
    for (const step of shown) {
      const row = body.insertRow();
      const first = make("th");
      first.scope = "row";
      first.textContent = number(step);
      row.append(first);
      for (const points of found) {
        const cell = row.insertCell();
        cell.className = "figure";
        cell.textContent = points.has(step) ? String(points.get(step).loss) : "–";
      }
    }
    const top = this.table.scrollTop;
    this.table.tabIndex = 0;
    this.table.setAttribute("role", "region");
    this.table.setAttribute("aria-label", t("chart.loss"));
    this.table.replaceChildren(table);
    if (every > 1) {
      const hint = make("p", "hint");
      hint.textContent = t("compare.chart.rows_left_out", { every });
      this.table.append(hint);
    }
    this.table.scrollTop = top;
  }

  // The cursor

  #listen(area) {
    area.setAttribute("aria-label", t("chart.help"));
    moveCursor(area, {
      places: () => this.#places(),
      current: () => this.#cursor,
      move: (place) => this.#move(place),
      point: (left) => this.#point(left),
    });
  }

  /** All places along the axis at which some model has a point. */
  #places() {
    return [...new Set(this.#curves.flatMap(({ points }) => points.map((point) => point.at)))].sort((one, other) => one - other);
  }

  #point(left) {
    if (!this.scale) return;
    const distance = (at) => Math.abs(this.scale.left(at) - left);
    this.#move(this.#places().reduce((best, at) => (best === null || distance(at) < distance(best) ? at : best), null));
  }

  #move(place) {
    this.#cursor = place;
    this.#read();
  }

  /** Say in words what each model has at the cursor, or had last before it. */
  #read() {
    const places = this.#places();
    const place = this.#cursor ?? places.at(-1);
    if (place === undefined || this.area.hidden) {
      this.reading.textContent = "";
      return;
    }
    const said = this.#curves.map(({ model, points }) => {
      const point = points.findLast((each) => each.at <= place);
      return `${model.letter} ${point ? lossText(point.loss) : "–"}`;
    });
    const text = t("compare.chart.at", { axis: t(`chart.${this.#choice.along}`), place: placeText(place), losses: said.join(" · ") });
    if (this.reading.textContent !== text) this.reading.textContent = text;
    this.area.setAttribute("aria-valuemin", String(places[0]));
    this.area.setAttribute("aria-valuemax", String(places.at(-1)));
    this.area.setAttribute("aria-valuenow", String(place));
    this.area.setAttribute("aria-valuetext", text);
    if (!this.cursorLine || !this.scale) return;
    const x = this.scale.left(place);
    this.cursorLine.setAttribute("x1", x);
    this.cursorLine.setAttribute("x2", x);
    this.cursorLine.setAttribute("visibility", this.#cursor === null ? "hidden" : "visible");
  }
}

/** A step, an epoch or seconds, with two digits after the point at most. */
const placeText = (value) => number(Number(value.toFixed(2)));

function make(name, kind = "") {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  return made;
}

customElements.define("loss-comparison", LossComparison);
