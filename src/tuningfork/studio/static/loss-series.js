// The losses of a job: kept by step, smoothed, measured. Nothing here touches the page.

/** The points of both kinds, merged from the API's answers. A point has step, epoch, loss and seconds. */
export class Series {
  constructor() {
    this.forget();
  }

  forget() {
    this.training = new Map();
    this.validation = new Map();
    this.afterStep = null;
    this.afterValidation = null;
    this.restarts = null;
    this.total = 0;
  }

  /** The query of the next question. */
  query() {
    const query = new URLSearchParams({ prettyPrint: "false" });
    if (this.afterStep !== null) query.set("afterStep", this.afterStep);
    if (this.afterValidation !== null) query.set("afterValidationStep", this.afterValidation);
    return query.toString();
  }

  /** Take an answer. False: the job has begun again, and everything is to be asked for anew. */
  take(answer) {
    const restarts = answer.restarts ?? 0;
    if (this.restarts !== null && restarts !== this.restarts) {
      this.forget();
      this.restarts = restarts;
      return false;
    }
    this.restarts = restarts;
    this.total = answer.totalSteps ?? this.total;
    merge(this.training, answer.training ?? [], this.afterStep);
    merge(this.validation, answer.validation ?? [], this.afterValidation);
    this.afterStep = answer.nextAfterStep ?? this.afterStep;
    this.afterValidation = answer.nextAfterValidationStep ?? this.afterValidation;
    return true;
  }

  /** The points of one kind, by step. */
  points(kind) {
    return [...this[kind].values()].sort((one, other) => one.step - other.step);
  }

  /** The best point of validation; null: there is none. */
  get best() {
    const finite = this.points("validation").filter((point) => Number.isFinite(point.loss));
    return finite.reduce((best, point) => (best === null || point.loss < best.loss ? point : best), null);
  }
}

/** The last point of a long job may be replaced later: what is past the question's step is dropped first. */
function merge(points, fresh, after) {
  if (after !== null) {
    for (const step of [...points.keys()]) if (step > after) points.delete(step);
  }
  for (const each of fresh) {
    const step = each.step ?? 0;
    points.set(step, { step, epoch: each.epoch ?? 0, loss: Number(each.meanLoss ?? NaN), seconds: each.seconds ?? 0 });
  }
}

export const LEAST_TO_SMOOTH = 50;

/** Whether smoothing would show anything: not of a few points, nor of a constant. */
export function canSmooth(points) {
  const finite = points.filter((point) => Number.isFinite(point.loss));
  return finite.length >= LEAST_TO_SMOOTH && finite.some((point) => point.loss !== finite[0].loss);
}

/** An exponential moving average over all points, without the pull of its start towards zero. */
export function smoothed(points, weight = 0.9) {
  let mean = 0;
  let sum = 0;
  return points.map((point) => {
    if (!Number.isFinite(point.loss)) return { ...point };
    mean = weight * mean + (1 - weight) * point.loss;
    sum = weight * sum + (1 - weight);
    return { ...point, loss: mean / sum };
  });
}

/** About so many round values between two. */
export function ticks(low, high, about) {
  if (!(high > low)) return [low];
  const rough = (high - low) / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(rough));
  const width = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / width) * width; value <= high + width * 1e-9; value += width) found.push(Number(value.toPrecision(12)));
  return found;
}

/** Round values on a logarithmic scale: powers of ten, with 2 and 5 between them where there is room. */
export function logTicks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const each of [1, 2, 5]) {
      const value = Number((each * 10 ** power).toPrecision(3));
      if (value >= low && value <= high) found.push(value);
    }
  }
  return found.length > 9 ? found.filter((value) => Number.isInteger(Math.round(Math.log10(value) * 1e9) / 1e9)) : found;
}

/** The lowest and the highest of some values, with a little room; a constant gets room too. */
export function range(values, logarithmic) {
  const finite = values.filter((value) => Number.isFinite(value) && (!logarithmic || value > 0));
  if (!finite.length) return logarithmic ? [0.1, 10] : [0, 1];
  const low = finite.reduce((one, other) => Math.min(one, other));
  const high = finite.reduce((one, other) => Math.max(one, other));
  if (logarithmic) return low === high ? [low / 2, high * 2] : [low / 1.1, high * 1.1];
  const room = (high - low) * 0.06 || Math.abs(high) * 0.5 || 1;
  return [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
}
