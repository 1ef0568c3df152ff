// <example-grid data-dataset="datasets/x" data-rows="480" data-columns='["a","b"]' [data-ids="16,202"]>: the rows of a data
// set. Only those rows are in the page, and were asked for, that can be seen. Cells are edited in place.
// Names of columns and cells are data: they are shown as text, and kept in arrays by their place, never by their name.
// It sends the event "rows-changed" after every change.

import { api } from "./api.js";
import { announce, notice } from "./frame.js";
import { t } from "./texts.js";

const ROW_PX = 40;
const BEYOND = 10;
const BLOCK = 100;
const SHOWN_CHARACTERS = 300;
const SCROLL_PAUSE_MS = 60;

class ExampleGrid extends HTMLElement {
  connectedCallback() {
    this.path = `/tuningfork/v1/${this.dataset.dataset}`;
    this.ids = this.dataset.ids ? this.dataset.ids.split(",") : null;
    this.columns = JSON.parse(this.dataset.columns || "[]");
    this.count = this.ids ? this.ids.length : Number(this.dataset.rows);
    this.blocks = new Map();
    this.at = { row: 0, column: 0 };
    this.build();
    this.draw();
  }

  get editable() {
    return this.columns.length > 0;
  }

  get width() {
    return Math.max(this.columns.length, 1);
  }

  build() {
    this.view = make("div", { className: "grid-view", tabIndex: -1 });
    this.table = make("table", { className: "grid" });
    this.table.setAttribute("role", "grid");
    this.table.setAttribute("aria-label", this.dataset.label);
    this.table.setAttribute("aria-describedby", "grid-keys");
    const head = this.table.createTHead().insertRow();
    head.append(header(t("create.grid.row")));
    for (const name of this.editable ? this.columns : [t("create.grid.conversation")]) head.append(header(name));
    this.body = this.table.createTBody();
    this.view.append(this.table);
    this.tools = make("div", { className: "row padded" });
    if (this.editable) {
      this.adder = make("button", { type: "button", className: "button", textContent: t("create.grid.add") });
      this.adder.addEventListener("click", () => this.add());
      this.remover = make("button", { type: "button", className: "button quiet" });
      this.remover.addEventListener("click", () => this.remove());
      this.tools.append(this.adder, this.remover);
    }
    this.tools.append(make("span", { className: "hint", id: "grid-keys", textContent: this.editable ? t("create.grid.keys") : "" }));
    this.append(this.tools, this.view);
    this.view.addEventListener("scroll", () => this.scrolled());
    this.table.addEventListener("keydown", (event) => this.key(event));
    // No "dblclick": it goes to the cell of the second click, which has been drawn anew by then.
    this.table.addEventListener("click", (event) => this.pointed(event, event.detail > 1));
    new ResizeObserver(() => this.draw()).observe(this.view);
  }

  scrolled() {
    if (this.drawing) return;
    this.drawing = setTimeout(() => {
      this.drawing = null;
      this.draw();
    }, SCROLL_PAUSE_MS);
  }

  /** The rows that can be seen, and some on both sides. */
  window() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW_PX) - BEYOND);
    const last = Math.min(this.count, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW_PX) + BEYOND);
    return [Math.min(first, this.count), Math.max(last, Math.min(this.count, first + 1))];
  }

  draw() {
    if (this.editor) return;
    const [first, last] = this.window();
    const focused = this.body.contains(document.activeElement);
    const rows = [];
    for (let place = first; place < last; place += 1) rows.push(this.row(place));
    this.body.replaceChildren(spacer(first, this.width), ...rows, spacer(this.count - last, this.width));
    this.table.setAttribute("aria-rowcount", String(this.count + 1));
    this.view.style.height = `${Math.min(Math.max(this.count, 2) + 1, 12) * ROW_PX + 2}px`;
    if (this.remover) {
      this.remover.disabled = !this.rowAt(this.at.row);
      this.remover.textContent = t("create.grid.remove", { number: this.rowAt(this.at.row)?.number ?? "" });
    }
    if (focused) this.cell()?.focus({ preventScroll: true });
  }

  row(place) {
    const line = make("tr");
    line.setAttribute("aria-rowindex", String(place + 2));
    const row = this.rowAt(place);
    const number = make("th", { scope: "row", textContent: row ? String(row.number) : "" });
    line.append(number);
    for (let column = 0; column < this.width; column += 1) {
      const cell = make("td", { className: "cell" });
      cell.dataset.row = place;
      cell.dataset.column = column;
      cell.tabIndex = place === this.at.row && column === this.at.column ? 0 : -1;
      cell.textContent = row ? this.textOf(row, column) : t("create.grid.loading");
      cell.classList.toggle("muted", !row);
      line.append(cell);
    }
    return line;
  }

  textOf(row, column) {
    if (this.editable) return row.cells?.[column] ?? "";
    const said = row.conversation ?? {};
    const turns = (said.turns ?? []).map((turn) => `${turn.role}: ${turn.text}`);
    return [said.systemInstruction, ...turns].filter(Boolean).join(" ⏎ ");
  }

  /** The row at this place; null while it is still asked for. */
  rowAt(place) {
    if (place < 0 || place >= this.count) return null;
    const number = Math.floor(place / BLOCK);
    const block = this.blocks.get(number);
    if (block === undefined) this.ask(number);
    return Array.isArray(block) ? (block[place - number * BLOCK] ?? null) : null;
  }

  async ask(number) {
    const blocks = this.blocks;
    blocks.set(number, "asked");
    const query = new URLSearchParams({ cellCharacters: SHOWN_CHARACTERS });
    const rows = [];
    try {
      while (rows.length < BLOCK) {
        const start = number * BLOCK + rows.length;
        const left = BLOCK - rows.length;
        if (this.ids) for (const id of this.ids.slice(start, start + left)) query.append("ids", id);
        else {
          query.set("start", start);
          query.set("count", left);
        }
        const answer = await api.get(`${this.path}/rows?${query}`);
        const more = answer.rows ?? [];
        rows.push(...more);
        if (this.ids || more.length === 0 || start + more.length >= this.count) break;
      }
      blocks.set(number, rows);
    } catch (error) {
      notice(error.message, "error");
      // Asked for again when it is next looked at.
      setTimeout(() => blocks.delete(number), 2_000);
      return;
    }
    if (blocks === this.blocks) this.draw();
  }

  /** Forgets all rows, since their places may have changed, and asks for those that can be seen. */
  again(count) {
    if (count !== undefined && !this.ids) this.count = count;
    this.blocks = new Map();
    this.at.row = Math.max(0, Math.min(this.at.row, this.count - 1));
    this.draw();
    this.dispatchEvent(new CustomEvent("rows-changed", { bubbles: true }));
  }

  cell() {
    return this.body.querySelector(`td[data-row="${this.at.row}"][data-column="${this.at.column}"]`);
  }

  go(row, column) {
    this.at = {
      row: Math.max(0, Math.min(this.count - 1, row)),
      column: Math.max(0, Math.min(this.width - 1, column)),
    };
    const top = this.at.row * ROW_PX;
    // The header covers the uppermost row.
    const room = this.view.clientHeight - 2 * ROW_PX;
    if (top < this.view.scrollTop) this.view.scrollTop = top;
    else if (top > this.view.scrollTop + room) this.view.scrollTop = top - room;
    this.draw();
    this.cell()?.focus({ preventScroll: true });
    this.cell()?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  pointed(event, edits) {
    const cell = event.target.closest("td[data-row]");
    if (!cell || this.editor) return;
    this.go(Number(cell.dataset.row), Number(cell.dataset.column));
    if (edits) this.edit();
  }

  key(event) {
    if (this.editor || !event.target.closest("td[data-row]") || event.altKey || event.metaKey) return;
    const { row, column } = this.at;
    const page = Math.max(1, Math.floor(this.view.clientHeight / ROW_PX) - 2);
    const moves = new Map([
      ["ArrowUp", [row - 1, column]], ["ArrowDown", [row + 1, column]],
      ["ArrowLeft", [row, column - 1]], ["ArrowRight", [row, column + 1]],
      ["PageUp", [row - page, column]], ["PageDown", [row + page, column]],
      ["Home", event.ctrlKey ? [0, 0] : [row, 0]],
      ["End", event.ctrlKey ? [this.count - 1, this.width - 1] : [row, this.width - 1]],
    ]);
    const to = moves.get(event.key);
    if (to) this.go(...to);
    else if (event.key === "Enter" || event.key === "F2") this.edit();
    else if (event.key === "Delete" && this.editable) this.remove();
    else return;
    event.preventDefault();
  }

  async edit() {
    const row = this.rowAt(this.at.row);
    const cell = this.cell();
    if (!this.editable || !row || !cell || this.editor) return;
    const { row: place, column } = this.at;
    let whole = row;
    try {
      // What is shown may be cut; what is sent back must not be.
      if (row.cut?.length) whole = await api.get(`${this.path}/rows/${row.id}`);
    } catch (error) {
      notice(error.message, "error");
      return;
    }
    const field = make("textarea", { className: "grid-editor", rows: 3, value: whole.cells[column] ?? "" });
    field.setAttribute("aria-label", t("create.grid.edit", { column: this.columns[column], number: row.number }));
    this.editor = field;
    cell.replaceChildren(field);
    field.focus();
    field.select();
    const leave = (keeps, then) => {
      if (this.editor !== field) return;
      this.editor = null;
      const value = field.value;
      const changed = keeps && value !== (whole.cells[column] ?? "");
      if (changed) this.keep(place, whole, column, value);
      this.draw();
      then?.();
    };
    field.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") leave(false, () => this.go(place, column));
      else if (event.key === "Enter" && !event.shiftKey) leave(true, () => this.go(place + 1, column));
      else if (event.key === "Tab") leave(true, () => this.step(place, column, event.shiftKey ? -1 : 1));
      else return;
      event.preventDefault();
    });
    field.addEventListener("blur", () => leave(true));
  }

  /** The next or the former cell, in the next row where this one ends. */
  step(place, column, by) {
    const next = column + by;
    if (next < 0) this.go(place - 1, this.width - 1);
    else if (next >= this.width) this.go(place + 1, 0);
    else this.go(place, next);
  }

  async keep(place, row, column, value) {
    const cells = row.cells.slice();
    cells[column] = value;
    const block = this.blocks.get(Math.floor(place / BLOCK));
    // Shown at once; what the server has made of it comes with its answer.
    if (Array.isArray(block)) block[place % BLOCK] = { ...row, cells, cut: [] };
    try {
      const answer = await api.patch(`${this.path}/rows/${row.id}`, { cells });
      if (Array.isArray(block)) block[place % BLOCK] = answer.row ?? { ...row, cells };
      announce(t("create.grid.kept"));
      this.dispatchEvent(new CustomEvent("rows-changed", { bubbles: true }));
    } catch (error) {
      notice(t("create.grid.failed", { reason: error.message }), "error");
      this.blocks.delete(Math.floor(place / BLOCK));
    }
    this.draw();
  }

  async add() {
    try {
      const answer = await api.post(`${this.path}:addRows`, { rows: [{ cells: this.columns.map(() => "") }] });
      if (this.ids) this.ids.push(...answer.ids.map(String));
      this.count = this.ids ? this.ids.length : answer.dataset.rowCount;
      this.again(this.count);
      await this.ask(Math.floor((this.count - 1) / BLOCK));
      this.go(this.count - 1, 0);
      announce(t("create.grid.added", { number: answer.dataset.rowCount }));
      this.edit();
    } catch (error) {
      notice(t("create.grid.failed", { reason: error.message }), "error");
    }
  }

  async remove() {
    const row = this.rowAt(this.at.row);
    if (!row) return;
    try {
      const answer = await api.post(`${this.path}:removeRows`, { ids: [row.id] });
      if (this.ids) {
        this.ids = this.ids.filter((id) => id !== String(row.id));
        this.count = this.ids.length;
      }
      announce(t("create.grid.removed", { number: row.number }));
      this.again(answer.dataset.rowCount);
      this.go(this.at.row, this.at.column);
    } catch (error) {
      notice(t("create.grid.failed", { reason: error.message }), "error");
    }
  }
}

function make(name, properties = {}) {
  return Object.assign(document.createElement(name), properties);
}

function header(text) {
  return make("th", { scope: "col", textContent: text });
}

/** An empty row as high as the rows that are not in the page. */
function spacer(rows, width) {
  const line = make("tr", { hidden: rows === 0 });
  line.setAttribute("aria-hidden", "true");
  const cell = make("td", { colSpan: width + 1, className: "spacer" });
  cell.style.height = `${rows * ROW_PX}px`;
  line.append(cell);
  return line;
}

customElements.define("example-grid", ExampleGrid);
