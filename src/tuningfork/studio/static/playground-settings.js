// The settings of the playground's form, as the API's generationConfig.

import { notice } from "./frame.js";
import { t } from "./texts.js";

/** The settings that were typed; null when one does not fit, which is told and shown at its field. */
export function settingsOf(form) {
  const config = {};
  for (const field of form.querySelectorAll("[data-setting]")) {
    const typed = field.value.trim().replace(",", ".");
    const value = Number(typed);
    const most = field.dataset.most === undefined ? Infinity : Number(field.dataset.most);
    const name = field.closest("label").querySelector("span").textContent;
    if (typed !== "" && !Number.isFinite(value)) return refuse(field, t("playground.script.wrong_number", { name }));
    if (typed !== "" && value > most) return refuse(field, t("playground.script.too_large", { name, most: String(most) }));
    field.setAttribute("aria-invalid", "false");
    // The names are ours, not anybody's data.
    if (typed !== "") config[field.dataset.setting] = value;
  }
  const field = form.querySelector("[data-schema]");
  field.setAttribute("aria-invalid", "false");
  if (!field.disabled && field.value.trim()) {
    let schema;
    try {
      schema = JSON.parse(field.value);
    } catch (error) {
      return refuse(field, t("playground.script.no_json", { reason: error.message }));
    }
    if (schema === null || typeof schema !== "object" || Array.isArray(schema)) return refuse(field, t("playground.script.no_schema"));
    config.responseMimeType = "application/json";
    // {} asks for any JSON.
    if (Object.keys(schema).length) config.responseJsonSchema = schema;
  }
  return config;
}

function refuse(field, words) {
  field.setAttribute("aria-invalid", "true");
  field.closest("details").open = true;
  field.focus();
  notice(words, "error");
  return null;
}

/** What the models are told before the prompt; "": nothing. */
export function systemOf(form) {
  const field = form.querySelector("[data-system]");
  return field.disabled ? "" : field.value.trim();
}
