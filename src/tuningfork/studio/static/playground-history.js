// What was asked in this browser, as links that bring the models and the prompts back.

import { language, t } from "./texts.js";
import { KeptList } from "./playground-kept.js";

const section = document.getElementById("history");
const kept = section && new KeptList("asked", section.dataset.person);
const moments = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

/** Keep a run: its address, its first prompt, and what its models are called. */
export function keepRun(prompts, titles) {
  const address = location.pathname + location.search;
  kept.add({ time: Date.now(), address, prompts, titles }, (each) => each.address === address);
  show();
}

function show() {
  const runs = kept.entries.filter((each) => String(each.address).startsWith("/studio/playground?") && Array.isArray(each.prompts) && Array.isArray(each.titles));
  section.hidden = !runs.length;
  section.querySelector("[data-runs]").replaceChildren(
    ...runs.map((each) => {
      const item = document.createElement("li");
      const link = document.createElement("a");
      link.href = each.address;
      link.textContent = String(each.prompts[0]).slice(0, 120);
      const about = document.createElement("span");
      about.className = "hint";
      const more = each.prompts.length > 1 ? ` ${t("playground.script.more_prompts", { count: each.prompts.length - 1 })}` : "";
      about.textContent = `${more} · ${each.titles.join(", ")} · ${moments.format(new Date(Number(each.time) || 0))}`;
      item.append(link, about);
      return item;
    }),
  );
}

if (section) {
  section.querySelector("[data-clear-history]").addEventListener("click", () => {
    kept.clear();
    show();
  });
  show();
}
