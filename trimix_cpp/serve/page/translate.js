// Texts in two panes, through LibreTranslate's protocol; each line is a segment with its flags.

import { ask, json, posted } from "./api.js";
import { $, alertOf, dress, dressed, make } from "./dom.js";
import * as jobs from "./jobs.js";

const MOST_LINES = 1000;
const KEPT = "trimix.languages";
let running = null;
let result = "";

/** Fill the languages and listen. */
export async function start() {
  const [languages, settings] = await Promise.all([json("languages"), json("frontend/settings")]);
  const option = ({ code, name }) => make("option", { value: code, dir: "auto" }, name);
  $("source").append(make("option", { value: "auto" }, "Detect"), ...languages.map(option));
  $("target").append(...languages.map(option));
  choose(settings.language);
  $("formats").textContent = `or drop one here: ${[...new Set(settings.supportedFilesFormat)].join(" ")}`;
  $("file").accept = settings.supportedFilesFormat.join(",");
  dressed($("from-text"));
  listen(settings.charLimit);
  jobs.start(() => ({ source: $("source").value, target: $("target").value }));
}

/** The languages of last time, where they are served; otherwise the server's proposal. */
function choose({ source, target }) {
  $("source").value = source.code;
  $("target").value = target.code;
  const kept = (localStorage.getItem(KEPT) ?? "").split(" ");
  ["source", "target"].forEach((id, i) => {
    if ([...$(id).options].some(({ value }) => value === kept[i])) $(id).value = kept[i];
  });
}

function listen(limit) {
  for (const id of ["source", "target"]) {
    $(id).addEventListener("change", () => localStorage.setItem(KEPT, `${$("source").value} ${$("target").value}`));
  }
  $("swap").addEventListener("click", swap);
  $("from-text").maxLength = limit;
  $("from-text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("texts").requestSubmit();
  });
  $("texts").addEventListener("submit", (event) => {
    event.preventDefault();
    translate($("from-text").value);
  });
  $("translate-stop").addEventListener("click", () => running?.abort());
  addEventListener("keydown", (event) => event.key === "Escape" && running?.abort());
  $("copy").addEventListener("click", copy);
}

function swap() {
  const [source, target] = [$("source").value, $("target").value];
  if (source === "auto") return void ($("translate-status").textContent = "Say first which language it is from.");
  $("source").value = target;
  $("target").value = source;
  $("source").dispatchEvent(new Event("change"));
  if (!result || running) return;
  $("from-text").value = result;
  dress($("from-text"), result);
  show([], [], []);
}

async function translate(text) {
  if (running || !text.trim()) return;
  const lines = text.split(/\r?\n/);
  const said = lines.filter((line) => line.trim());
  const whole = said.length > MOST_LINES; // more than the protocol takes as a list
  running = new AbortController();
  state("Translating…", true);
  alertOf("");
  try {
    const asked = { q: whole ? [text] : said, source: $("source").value, target: $("target").value };
    const response = await ask("translate", posted(asked, running.signal));
    const { translatedText, flags = [] } = await response.json();
    show(whole ? [text] : lines, translatedText, flags);
    state("");
  } catch (error) {
    state(running.signal.aborted ? "Stopped." : "");
    if (!running.signal.aborted) alertOf(error.message);
  }
  running = null;
}

function state(text, busy = false) {
  $("translate-status").textContent = text;
  $("to-text").setAttribute("aria-busy", busy);
  $("go").hidden = busy;
  $("translate-stop").hidden = !busy;
}

/** The lines of a text with the translations of those that have words. */
function show(lines, translated, flags) {
  let next = 0;
  const texts = [];
  const segments = lines.map((line) => {
    if (!line.trim()) return texts.push(line), make("br");
    const text = translated[next];
    const reasons = flags[next++] ?? [];
    texts.push(text);
    const shown = make("p", { className: "text" }, text);
    dress(shown, text);
    return make("div", { className: "segment" }, shown, ...jobs.badges(reasons));
  });
  result = texts.join("\n");
  $("to-text").replaceChildren(...segments);
  $("copy").disabled = !result;
}

async function copy() {
  try {
    await navigator.clipboard.writeText(result);
    $("translate-status").textContent = "Copied.";
  } catch {
    getSelection().selectAllChildren($("to-text")); // plain HTTP on another machine has no clipboard
    $("translate-status").textContent = "Selected: copy it with Ctrl+C.";
  }
}
