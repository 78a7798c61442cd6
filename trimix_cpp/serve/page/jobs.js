// Files that are translated: sent, followed, looked through, fetched.

import { ask, json } from "./api.js";
import { $, alertOf, dress, make, save } from "./dom.js";

const KEPT = "trimix.jobs";
const EVERY_MS = 700;
const ROWS = 200;
let languages;

/** Listen for files, and go on with those that this window sent before it was loaded anew. */
export function start(asked) {
  languages = asked;
  $("file").addEventListener("change", () => {
    for (const file of $("file").files) send(file);
    $("file").value = "";
  });
  const zone = $("translate");
  zone.addEventListener("dragover", (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    $("drop").classList.add("over");
  });
  zone.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    $("drop").classList.remove("over");
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    for (const file of event.dataTransfer.files) send(file);
  });
  // A file that misses the zone would otherwise replace the page.
  for (const name of ["dragover", "drop"]) addEventListener(name, (event) => event.preventDefault());
  for (const id of kept()) json(`jobs/${id}`).then(follow, () => forget(id));
}

/** Why somebody should look at a segment. */
export function badges(reasons) {
  return reasons.map((reason) => make("span", { className: "flag" }, `⚑ ${reason}`));
}

function kept() {
  return (sessionStorage.getItem(KEPT) ?? "").split(" ").filter(Boolean);
}

function forget(id) {
  sessionStorage.setItem(KEPT, kept().filter((each) => each !== id).join(" "));
}

async function send(file) {
  alertOf("");
  try {
    const where = `jobs?${new URLSearchParams({ name: file.name, ...languages() })}`;
    const job = await json(where, { method: "POST", body: file });
    sessionStorage.setItem(KEPT, [...kept(), job.id].join(" "));
    follow(job);
  } catch (error) {
    alertOf(`${file.name}: ${error.message}`);
  }
}

/** Show a job until it is put away. */
async function follow(job) {
  const view = new View(job);
  $("jobs").prepend(view.element);
  while (!view.gone) {
    try {
      const told = await json(`jobs/${job.id}/segments?from=${view.shown}`);
      view.update(told);
      if (told.state !== "running") return;
    } catch (error) {
      if (!view.gone) view.fail(error.message);
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

class View {
  constructor(job) {
    this.job = job;
    this.shown = 0;
    this.gone = false;
    this.bar = make("progress", { max: Math.max(job.total, 1), value: job.done, "aria-label": `Progress of ${job.name}` });
    this.state = make("span", { role: "status" });
    this.rows = make("tbody");
    this.more = this.button("Show more segments", () => this.page());
    this.fetch = this.button("Download", () => this.download());
    this.cancel = this.button("Cancel", () => this.remove());
    const only = make("input", { type: "checkbox" });
    this.only = make("label", { className: "check" }, only, "Only flagged segments");
    this.more.hidden = this.fetch.hidden = true;
    const head = ["Text", "Translation", "Flags"].map((each) => make("th", { scope: "col" }, each));
    this.table = make("table", { className: "segments" },
      make("thead", {}, make("tr", {}, ...head)), this.rows);
    only.addEventListener("change", () => this.table.classList.toggle("flagged-only", only.checked));
    this.element = make("article", { className: "job", "aria-label": job.name },
      make("h2", { dir: "auto" }, job.name), this.bar,
      make("div", { className: "buttons" }, this.state, this.fetch, this.cancel, this.only),
      make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": `Segments of ${job.name}` }, this.table),
      this.more);
  }

  button(name, action) {
    const made = make("button", { type: "button" }, name);
    made.setAttribute("aria-label", `${name}: ${this.job.name}`);
    made.addEventListener("click", action);
    return made;
  }

  /** Where it stands now. */
  update(told) {
    this.job = told;
    this.bar.max = Math.max(told.total, 1);
    this.bar.value = told.state === "done" ? this.bar.max : told.done;
    const said = told.state === "running" ? `${told.done} of ${told.total}` : told.state;
    const flags = told.flagged ? `, ${told.flagged} flagged` : "";
    if (this.state.textContent !== said + flags) this.state.textContent = said + flags;
    if (told.error) this.fail(told.error.message);
    this.add(told.shown);
    if (told.state === "running") return;
    this.fetch.hidden = told.state !== "done";
    this.cancel.textContent = "Put away";
    this.cancel.setAttribute("aria-label", `Put away: ${told.name}`);
    this.more.hidden = this.shown >= told.segments;
  }

  /** The segments that are ready, in the order of the file. */
  add(segments) {
    for (const segment of segments) {
      const running = this.job.state === "running";
      const ready = segment.translation !== null || segment.reasons.length || !running;
      if (!ready || (running && this.shown >= ROWS)) return;
      this.shown += 1;
      this.rows.append(this.row(segment));
    }
  }

  row({ where, source, translation, reasons }) {
    const cell = (text) => {
      const shown = make("div", { className: "text" }, text ?? "");
      dress(shown, text ?? "");
      return make("td", {}, shown);
    };
    const flags = make("td", {}, ...badges(reasons));
    return make("tr", { title: where, className: reasons.length ? "flagged" : "" },
      cell(source), cell(translation), flags);
  }

  async page() {
    try {
      this.update(await json(`jobs/${this.job.id}/segments?from=${this.shown}`));
    } catch (error) {
      this.fail(error.message);
    }
  }

  async download() {
    try {
      save(this.job.name, await (await ask(`jobs/${this.job.id}/file`)).blob());
    } catch (error) {
      this.fail(error.message);
    }
  }

  async remove() {
    this.gone = true;
    this.element.remove();
    forget(this.job.id);
    $("file").focus();
    await ask(`jobs/${this.job.id}`, { method: "DELETE" }).catch(() => {});
  }

  fail(text) {
    this.state.textContent = `failed: ${text}`;
  }
}
