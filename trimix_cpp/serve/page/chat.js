// The chat: what is said, and how.

import { ask, events, posted } from "./api.js";
import { $, alertOf, dress, dressed, fill, make } from "./dom.js";
import { hide, inspectable, render, table } from "./inspector.js";
import { keep, load, whenKeptElsewhere } from "./saved.js";
import { open as openSettings, shown as showSettings, weightsAsked, weightsKnown } from "./settings.js";
import { compact } from "./tokens.js";

let chat = load();
let running = null;

/** Begin with what this browser kept. */
export function start(props) {
  openSettings(props, {
    current: () => chat,
    changed: keepIt,
    replace(other) {
      chat = other;
      keepIt();
      draw();
      toEnd();
    },
  });
  dressed($("message"));
  $("compose").addEventListener("submit", (event) => {
    event.preventDefault();
    send($("message").value);
  });
  $("message").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send($("message").value);
  });
  $("stop").addEventListener("click", stop);
  addEventListener("keydown", (event) => event.key === "Escape" && !event.isComposing && stop());
  addEventListener("pagehide", () => running && keep(chat));
  whenKeptElsewhere(() => {
    if (running) return;
    chat = load();
    showSettings();
    draw();
  });
  draw();
  toEnd();
}

function keepIt() {
  if (!keep(chat)) $("status").textContent = "This browser has no room to keep the conversation.";
}

function stop() {
  running?.abort();
}

function send(text) {
  if (running || !text.trim()) return;
  const last = chat.messages.at(-1);
  if (last?.role === "user") last.content += `\n\n${text}`; // it got no reply: they are one message
  else chat.messages.push({ role: "user", content: text });
  fill($("message"), "");
  reply();
}

/** Ask for a reply to the last message; where none comes, what was there before comes back. */
async function reply(before = null) {
  const message = { role: "assistant", content: "", thought: "", weights: weightsKnown(chat) };
  const request = asked();
  chat.messages.push(message);
  running = new AbortController();
  draw();
  toEnd();
  const shown = $("log").lastElementChild;
  shown.setAttribute("aria-busy", "true");
  tell("Writing…");
  try {
    const response = await ask("v1/chat/completions", posted(request, running.signal));
    const paint = painter(shown, message);
    for await (const chunk of events(response)) {
      take(message, chunk);
      paint();
    }
    tell("");
  } catch (error) {
    tell(running.signal.aborted ? "Stopped." : "");
    if (!running.signal.aborted) alertOf(error.message);
  }
  running = null;
  if (!message.content && !message.thought) putBack(before);
  keepIt();
  const stay = low();
  draw();
  if (stay) toEnd();
}

/** Without a reply: the old one, or the text in its field, to be mended there. */
function putBack(before) {
  chat.messages.pop();
  if (before) chat.messages.push(before);
  else if (!$("message").value) fill($("message"), chat.messages.pop().content);
}

/** What the server is asked, in OpenAI's words and ours. */
function asked() {
  const { system, messages, temperature, limit, roles } = chat;
  const said = messages.map(({ role, content }) => ({ role, content }));
  if (system.trim()) said.unshift({ role: "system", content: system });
  const trimix = { ...weightsAsked(chat), ...(roles && { roles: true }) };
  return {
    model: "trimix", messages: said, stream: true, trimix,
    ...(roles && { logprobs: true, top_logprobs: 4 }),
    ...(temperature !== "" && { temperature: Number(temperature) }),
    ...(limit !== "" && { max_tokens: Number(limit) }),
  };
}

/** Add a piece of a stream to a message. */
function take(message, { choices, trimix }) {
  const [choice] = choices;
  message.content += choice?.delta?.content ?? "";
  message.thought += choice?.delta?.reasoning_content ?? "";
  const told = choice?.logprobs?.content;
  if (told) (message.tokens ??= []).push(...told.map(compact));
  if (trimix) message.weights = trimix.weights;
  if (choice?.finish_reason === "length") message.cut = true;
}

/** Paints a message as it grows; the longer a painting takes, the seldomer. */
function painter(shown, message) {
  let rest = 0, timer = 0;
  return () => {
    if (timer) return;
    timer = setTimeout(() => {
      timer = 0;
      if (!shown.isConnected) return;
      const began = performance.now();
      const stay = low();
      render(shown.querySelector(".body"), message);
      if (stay) toEnd();
      rest = 4 * (performance.now() - began);
    }, Math.max(16, rest));
  };
}

const low = () => scrollY + innerHeight > document.documentElement.scrollHeight - 80;

function toEnd() {
  scrollTo(0, document.documentElement.scrollHeight);
}

function tell(text) {
  $("status").textContent = text;
}

/** Show the conversation; messages that stand already are left as they are. */
function draw() {
  hide();
  const log = $("log");
  while (log.children.length > chat.messages.length) log.lastChild.remove();
  chat.messages.forEach((message, at) => {
    const old = log.children[at];
    const state = `${Boolean(running)} ${at === chat.messages.length - 1}`;
    if (old?.message === message && old.state === state && old.text === message.content) return;
    const shown = article(message, at);
    Object.assign(shown, { message, state, text: message.content });
    if (old) old.replaceWith(shown);
    else log.append(shown);
  });
  $("send").hidden = Boolean(running);
  $("stop").hidden = !running;
  $("legend").hidden = !chat.messages.some(({ tokens }) => tokens?.length);
  for (const id of ["new", "import"]) $(id).disabled = Boolean(running);
  if (running) alertOf("");
}

function article(message, at) {
  const mine = message.role === "user";
  const body = make("div", { className: "body text" });
  const shown = make("article", { className: message.role, "aria-label": mine ? "You" : "Reply" });
  if (message.thought) {
    const thought = make("p", { className: "text" }, message.thought);
    dress(thought, message.thought);
    shown.append(make("details", {}, make("summary", {}, "Thoughts"), thought));
  }
  render(body, message);
  shown.append(body);
  if (message.tokens?.length && !running) {
    inspectable(body, message);
    shown.append(table(message));
  }
  if (!running) shown.append(tools(message, at, shown));
  return shown;
}

function tools(message, at, shown) {
  const bar = make("div", { className: "buttons" });
  const button = (name, label, action) => {
    const made = make("button", { type: "button", "aria-label": label }, name);
    made.addEventListener("click", action);
    bar.append(made);
  };
  const what = `${message.role === "user" ? "message" : "reply"} ${Math.floor(at / 2) + 1}`;
  button("Edit", `Edit ${what}`, () => edit(message, at, shown));
  if (at === chat.messages.length - 1) {
    const mine = message.role === "user";
    button(mine ? "Ask again" : "Regenerate", mine ? `Ask again for a reply to ${what}` : `Regenerate ${what}`, () => {
      reply(mine ? null : chat.messages.pop());
    });
  }
  const notes = [];
  if (message.role === "assistant" && message.weights) {
    notes.push(Object.values(message.weights).map((each, i) => `${"αβγ"[i]} ${Number(each.toFixed(3))}`).join(", "));
  }
  if (message.cut) notes.push("cut at the longest reply");
  if (notes.length) bar.append(make("span", { className: "quiet" }, notes.join("; ")));
  return bar;
}

/** Change what was said: a message of the user's is sent again and what followed it goes. */
function edit(message, at, shown) {
  const mine = message.role === "user";
  const field = make("textarea", { className: "text", rows: 3, "aria-label": mine ? "Your message" : "The reply" });
  fill(field, message.content);
  dressed(field);
  const cancel = make("button", { type: "button" }, "Cancel");
  const form = make("form", { className: "edit" }, field,
    make("div", { className: "buttons" }, make("button", {}, mine ? "Send" : "Keep"), cancel));
  const close = () => {
    shown.state = "";
    draw();
    $("message").focus();
  };
  cancel.addEventListener("click", close);
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (running || !field.value.trim()) return;
    const changed = { role: message.role, content: field.value };
    chat.messages.splice(at, mine ? Infinity : 1, changed);
    keepIt();
    $("message").focus();
    if (mine) reply();
    else draw();
  });
  shown.replaceChildren(form);
  field.focus();
}
