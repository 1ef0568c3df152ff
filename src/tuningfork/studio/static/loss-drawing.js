// Draws losses as SVG. Colours come from the style sheet, so that a theme changes them without drawing again.

import { logTicks, range, smoothed, ticks } from "./loss-series.js";
import { lossText, number } from "./texts.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 52, right: 16, top: 14, bottom: 32 };

export function element(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

/**
 * Where points lie. `along` is step, epoch or time; the axis spans the whole job from its first point on, so that the
 * curve grows from left to right.
 */
export class Scale {
  constructor({ width, height, along, logarithmic, total, epochs, training, validation }) {
    Object.assign(this, { width, height, along, logarithmic, total, epochs });
    const all = [...training, ...validation];
    const last = all.reduce((most, point) => Math.max(most, this.value(point)), 0);
    const whole = { step: total, epoch: epochs, time: 0 }[along];
    this.x = [0, Math.max(whole, last) || 1];
    this.y = range(all.map((point) => point.loss), logarithmic);
  }

  /** A point's place along the axis, in the axis's unit. */
  value(point) {
    if (this.along === "time") return point.seconds;
    if (this.along === "epoch" && this.total) return (point.step / this.total) * this.epochs;
    return point.step;
  }

  left(value) {
    return EDGE.left + ((value - this.x[0]) / (this.x[1] - this.x[0])) * (this.width - EDGE.left - EDGE.right);
  }

  top(loss) {
    const of = this.logarithmic ? Math.log : (value) => value;
    const share = (of(loss) - of(this.y[0])) / (of(this.y[1]) - of(this.y[0]));
    return this.height - EDGE.bottom - share * (this.height - EDGE.top - EDGE.bottom);
  }

  shows(loss) {
    return Number.isFinite(loss) && (!this.logarithmic || loss > 0);
  }

  get floor() {
    return this.height - EDGE.bottom;
  }
}

export function axes(scale) {
  const group = element("g");
  const rows = scale.logarithmic ? logTicks(...scale.y) : ticks(...scale.y, 8);
  for (const value of rows) {
    const y = scale.top(value);
    group.append(element("line", { class: "grid", x1: EDGE.left, x2: scale.width - EDGE.right, y1: y, y2: y }));
    group.append(element("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, axisText(value, scale)));
  }
  const about = Math.max(2, Math.floor(scale.width / 110));
  let columns = ticks(...scale.x, about);
  if (scale.along !== "time") columns = columns.filter(Number.isInteger);
  for (const value of columns) {
    const x = scale.left(value);
    group.append(element("line", { class: "grid", x1: x, x2: x, y1: scale.floor, y2: scale.floor + 5 }));
    const anchor = x > scale.width - EDGE.right - 20 ? "end" : "middle";
    group.append(element("text", { x: Math.min(x, scale.width - 4), y: scale.floor + 20, "text-anchor": anchor }, scale.along === "time" ? timeText(value) : number(value)));
  }
  return group;
}

const axisText = (value, scale) => (scale.logarithmic && value < 0.01 ? value.toExponential(0) : String(lossText(value)).replace(/([.,]\d*?)0+$/, "$1").replace(/[.,]$/, ""));

function timeText(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${String(Math.round(seconds % 60)).padStart(2, "0")}`;
}

/** A line through points; where a loss is no number, it is interrupted. */
export function line(points, scale, kind) {
  let path = "";
  let pen = "M";
  for (const point of points) {
    if (!scale.shows(point.loss)) {
      pen = "M";
      continue;
    }
    path += `${pen}${scale.left(scale.value(point)).toFixed(1)} ${scale.top(point.loss).toFixed(1)}`;
    pen = "L";
  }
  return element("path", { class: kind, d: path });
}

function dots(points, scale, kind) {
  const group = element("g");
  for (const point of points.filter((each) => scale.shows(each.loss))) {
    group.append(element("circle", { class: `dot ${kind}`, cx: scale.left(scale.value(point)), cy: scale.top(point.loss), r: 3.2 }));
  }
  return group;
}

/** The whole picture, in an order in which what matters more lies above. */
export function drawing({ scale, training, validation, smooth, best, checkpoints, words }) {
  const svg = element("svg", { viewBox: `0 0 ${scale.width} ${scale.height}`, "aria-hidden": "true", focusable: "false" });
  svg.append(axes(scale), line(training, scale, smooth ? "raw faint" : "raw"));
  if (training.length <= 40 && !smooth) svg.append(dots(training, scale, ""));
  if (smooth) svg.append(line(smoothed(training), scale, "smoothed"));
  svg.append(line(validation, scale, "held"));
  if (validation.length <= 40) svg.append(dots(validation, scale, "held"));
  for (const { step, title } of checkpoints) {
    const x = scale.left(scale.value(nearest(training, step) ?? { step, seconds: 0 }));
    const mark = element("path", { class: "kept", d: `M${x - 5} ${scale.floor}h10l-5 -8z` });
    mark.append(element("title", {}, title));
    svg.append(mark);
  }
  if (best && scale.shows(best.loss)) {
    const [x, y] = [scale.left(scale.value(best)), scale.top(best.loss)];
    const mark = element("path", { class: "best", d: `M${x} ${y - 7}l7 7l-7 7l-7 -7z` });
    mark.append(element("title", {}, words.best));
    svg.append(mark);
  }
  const broken = training.find((point) => !Number.isFinite(point.loss));
  if (broken) {
    const x = scale.left(scale.value(broken));
    svg.append(element("line", { class: "gap", x1: x, x2: x, y1: EDGE.top, y2: scale.floor }));
    const end = x > scale.width / 2;
    svg.append(element("text", { class: "bad-text", x: end ? x - 6 : x + 6, y: EDGE.top + 12, "text-anchor": end ? "end" : "start" }, words.broken));
  }
  return svg;
}

/** The point of a step, or the last one before it. */
export function nearest(points, step) {
  return points.reduce((found, point) => (point.step <= step ? point : found), null);
}

const LOOKS = ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "font-size", "font-family"];

/** The picture as a PNG file of twice its size, with the colours that it has on the page. */
export async function asImage(svg, background) {
  const { width, height } = svg.viewBox.baseVal;
  const copy = svg.cloneNode(true);
  const originals = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((each, index) => {
    const style = getComputedStyle(originals[index]);
    for (const name of LOOKS) each.setAttribute(name, style.getPropertyValue(name));
  });
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  copy.prepend(element("rect", { width, height, fill: background }));
  const address = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  try {
    const image = new Image();
    image.src = address;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width * 2, height * 2];
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(address);
  }
}

/** Let the pointer and the keys move a cursor over an area. `places()` are all places that the cursor can have, in their
 * order, `current()` is the one that it has, or null, `move(place)` moves it, and `point(left)` moves it to the place
 * that is nearest to so many pixels from the area's left edge. */
export function moveCursor(area, { places, current, move, point }) {
  area.tabIndex = 0;
  area.setAttribute("role", "slider");
  area.addEventListener("pointermove", (event) => point(event.clientX - area.getBoundingClientRect().left));
  area.addEventListener("pointerleave", () => document.activeElement === area || move(null));
  area.addEventListener("blur", () => move(null));
  area.addEventListener("focus", () => current() ?? move(places().at(-1) ?? null));
  area.addEventListener("keydown", (event) => {
    const all = places();
    const now = Math.max(0, all.indexOf(current()));
    const wanted = { ArrowLeft: now - 1, ArrowDown: now - 1, ArrowRight: now + 1, ArrowUp: now + 1, Home: 0, End: all.length - 1, PageUp: now + 10, PageDown: now - 10 }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    move(all[Math.min(all.length - 1, Math.max(0, wanted))]);
  });
}
