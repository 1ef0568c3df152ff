// The texts of a page for its scripts, in the language of the page.

const all = new Map(Object.entries(JSON.parse(document.getElementById("texts")?.textContent || "{}")));
export const language = document.documentElement.lang || "en";
const plural = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(language);

/** One text, with values in place of its placeholders; `count` picks the plural form. */
export function t(id, values = {}) {
  let text = all.get(id);
  if (text === undefined) throw new Error(`no text ${id}: name its beginning in script_texts`);
  if (typeof text === "object") text = text[plural.select(values.count)] ?? text.other;
  return text.replace(/\{([a-z_]+)\}/g, (_, name) => {
    const value = values[name];
    return Number.isInteger(value) ? whole.format(value) : String(value);
  });
}

/** A loss with three significant digits, as the server writes it. */
export function lossText(value) {
  if (!Number.isFinite(value)) return String(value);
  const digits = value === 0 ? 3 : Math.min(12, Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value)))));
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits, useGrouping: false }).format(value);
}

export const number = (value) => whole.format(value);
