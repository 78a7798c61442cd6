// How replies are asked for: the system message, weights, sampling; and the conversation's file.

import { $, alertOf, dressed, fill, make, save } from "./dom.js";
import { empty, fromFile, toFile } from "./saved.js";

const MOST_BYTES = 8 << 20;
let trio, chats;

/** Fill the settings and listen to them. */
export function open(props, views) {
  trio = props.trimix;
  trio.name = props.model_alias;
  chats = views;
  const option = (value, text) => make("option", { value, dir: "auto" }, text);
  $("weighting").append(
    option("trio", `the trio’s (${told(trio.weights)})`),
    ...Object.entries(trio.presets).map(([name, weights]) => option(`preset:${name}`, `${name} (${told(weights)})`)),
    option("ppl", "ppl: what suits the message best"),
    option("own", "as set below"),
  );
  dressed($("system"));
  listen();
  shown();
}

const told = (weights) => Object.values(weights).map((each) => Number(each.toFixed(3))).join(", ");

/** The weights of a conversation as numbers, or null where the server finds them. */
function numbers({ weighting, weights }) {
  if (weighting === "own") return weights ?? trio.weights;
  if (weighting === "ppl") return null;
  return trio.presets[weighting.replace("preset:", "")] ?? trio.weights;
}

/** What a request says of weights; nothing means those that the server was started with. */
export function weightsAsked(chat) {
  if (chat.weighting === "trio") return {};
  return { weights: chat.weighting === "ppl" ? "ppl" : numbers(chat) };
}

/** The weights that tokens are looked at with until the server tells those that it used. */
export function weightsKnown(chat) {
  return numbers(chat) ?? trio.weights;
}

/** Show the settings of the conversation. */
export function shown() {
  const chat = chats.current();
  fill($("system"), chat.system);
  const known = [...$("weighting").options].some(({ value }) => value === chat.weighting);
  if (!known) chat.weighting = "trio"; // another trio is served now
  $("weighting").value = chat.weighting;
  $("temperature").value = chat.temperature;
  $("limit").value = chat.limit;
  $("roles").checked = chat.roles;
  sliders();
}

function sliders() {
  const chat = chats.current();
  const weights = weightsKnown(chat);
  for (const name of ["alpha", "beta"]) {
    $(name).value = weights[name];
    $(`${name}-slider`).value = weights[name];
  }
  $("settings-told").textContent =
    chat.weighting === "ppl" ? "ppl" : `α ${$("alpha").value}, β ${$("beta").value}`;
}

function listen() {
  const on = (id, event, change) => $(id).addEventListener(event, () => {
    change(chats.current(), $(id));
    chats.changed();
  });
  on("system", "input", (chat, field) => (chat.system = field.value));
  on("roles", "change", (chat, field) => (chat.roles = field.checked));
  for (const name of ["temperature", "limit"]) {
    on(name, "change", (chat, field) => (chat[name] = field.validity.valid ? field.value : ""));
  }
  on("weighting", "change", (chat, field) => {
    if (field.value === "own") chat.weights = weightsKnown(chat);
    chat.weighting = field.value;
    sliders();
  });
  for (const name of ["alpha", "beta"]) {
    for (const id of [name, `${name}-slider`]) {
      on(id, "input", (chat, field) => {
        if (!Number.isFinite(field.valueAsNumber)) return;
        chat.weights = { ...weightsKnown(chat), [name]: field.valueAsNumber };
        chat.weighting = $("weighting").value = "own";
        const other = $(id === name ? `${name}-slider` : name);
        other.value = field.value;
        $("settings-told").textContent = `α ${$("alpha").value}, β ${$("beta").value}`;
      });
    }
  }
  $("new").addEventListener("click", () => {
    if (mayReplace()) replace({ ...chats.current(), messages: [] });
  });
  $("export").addEventListener("click", exported);
  $("import").addEventListener("click", () => $("import-file").click());
  $("import-file").addEventListener("change", imported);
}

function mayReplace() {
  return !chats.current().messages.length ||
    confirm("The conversation that is shown goes. Export it first if you want to keep it. Go on?");
}

function replace(chat) {
  chats.replace(chat);
  shown();
}

function exported() {
  const chat = chats.current();
  const used = chat.messages.findLast(({ role }) => role === "assistant")?.weights;
  const weights = numbers(chat) ?? used ?? trio.weights;
  save("chat.json", new Blob([toFile(chat, trio.name, weights)], { type: "application/json" }));
}

async function imported() {
  const [file] = $("import-file").files;
  $("import-file").value = "";
  if (!file) return;
  alertOf("");
  try {
    if (file.size > MOST_BYTES) throw new Error("it is larger than 8 MiB");
    const { trio: saved, ...chat } = fromFile(await file.text());
    if (!mayReplace()) return;
    replace({ ...empty(), ...chat, roles: chats.current().roles });
    if (saved !== trio.name) $("status").textContent = `It was saved with the trio ${saved}.`;
  } catch (error) {
    alertOf(`${file.name}: is not a saved conversation: ${error.message}`);
  }
}
