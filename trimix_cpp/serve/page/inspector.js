// The view of a token: beside the pointer, by the keyboard, and as a table for all readers.

import { $, dress, make } from "./dom.js";
import { percent, pieces, shares, visible, writer } from "./tokens.js";

const LEAVE_MS = 250;
let leaving = 0;
let marked = null;

/** Show a reply's pieces as text; what already stands is left as it is. */
export function render(body, message) {
  const cut = pieces(message);
  dress(body, message.content);
  cut.forEach(({ text, tokens }, i) => {
    let span = body.children[i];
    if (!span) body.append((span = make("span")));
    if (span.textContent !== text) span.textContent = text;
    const role = tokens.length ? writer(tokens[0], message.weights) : "";
    span.className = role && `w-${role}`;
  });
  while (body.children.length > cut.length) body.lastChild.remove();
  body.cut = cut;
}

/** Let a reply be looked into by pointer and by arrow keys. */
export function inspectable(body, message) {
  const at = (event) => [...body.children].indexOf(event.target.closest("span"));
  body.addEventListener("pointerover", (event) => show(body, message, at(event)));
  body.addEventListener("click", (event) => show(body, message, at(event)));
  body.addEventListener("pointerleave", later);
  body.addEventListener("blur", hide);
  body.addEventListener("keydown", (event) => step(event, body, message));
  body.tabIndex = 0;
  body.setAttribute("role", "group");
  body.setAttribute("aria-label", "Reply; the arrow keys step through its tokens");
}

function step(event, body, message) {
  const now = [...body.children].findIndex((span) => span.classList.contains("chosen"));
  const last = body.children.length - 1;
  const ahead = getComputedStyle(body).direction === "rtl" ? "ArrowLeft" : "ArrowRight";
  const forward = [ahead, "ArrowDown"].includes(event.key);
  const back = [ahead === "ArrowLeft" ? "ArrowRight" : "ArrowLeft", "ArrowUp"].includes(event.key);
  const to = { Home: 0, End: last }[event.key] ??
    (forward ? Math.min(now + 1, last) : back ? Math.max(now - 1, 0) : null);
  if (to === null) return;
  event.preventDefault();
  show(body, message, to);
  $("spoken").textContent = (body.cut[to]?.tokens ?? []).map((token) => sentence(token, message.weights)).join(". ");
}

/** What the view of a token says, for those who hear it. */
function sentence(token, weights) {
  const role = writer(token, weights);
  const gave = Object.entries(token.roles).map(([name, [, logprob]]) => `${name} ${percent(logprob)}`);
  return [visible(token.token), ...(role ? [`written by ${role}`] : []), `fused ${percent(token.p)}`, ...gave].join(", ");
}

function show(body, message, index) {
  const piece = body.cut?.[index];
  clearTimeout(leaving);
  unmark();
  if (!piece?.tokens.length) return hide();
  const span = body.children[index];
  $("inspector").replaceChildren(...piece.tokens.map((token) => card(token, message.weights)));
  $("inspector").hidden = false;
  marked = span;
  span.classList.add("chosen");
  place();
}

/** Under the token, or above it; never outside the window. It goes where the token is out of sight. */
function place() {
  const rect = marked?.getClientRects()[0];
  if (!rect || rect.bottom < 0 || rect.top > innerHeight) return hide();
  const { style, offsetWidth: width, offsetHeight: height } = $("inspector");
  const left = Math.max(8, Math.min(rect.left, innerWidth - width - 8));
  const below = rect.bottom + 6;
  const top = below + height < innerHeight ? below : Math.max(8, rect.top - height - 6);
  style.left = `${left}px`;
  style.top = `${top}px`;
}

function card(token, weights) {
  const role = writer(token, weights);
  const roles = Object.keys(token.roles);
  const parts = shares(token, weights);
  const head = make("tr", {}, ...["", "fused", ...roles].map((each) => make("th", { scope: "col" }, each)));
  const rows = [token, ...token.top].map((each) => row(each, roles));
  const sum = parts && make("tr", { className: "shares" },
    make("th", { scope: "row" }, "share"), make("td", {}, signed(sumOf(parts))),
    ...roles.map((each) => make("td", {}, each in parts ? signed(parts[each]) : "")));
  return make("table", {},
    make("caption", {}, named(token.token, "bdi"), role ? ` written by ${role}` : ""),
    make("thead", {}, head), make("tbody", {}, ...rows, ...(sum ? [sum] : [])));
}

function row(token, roles) {
  return make("tr", {}, make("th", { scope: "row" }, named(token.token, "bdi")),
    make("td", {}, percent(token.p)),
    ...roles.map((role) => make("td", {}, token.roles[role] ? percent(token.roles[role][1]) : "")));
}

function named(text, tag) {
  const element = make(tag, { className: "text token" }, visible(text));
  dress(element, text);
  element.classList.remove("down");
  return element;
}

const sumOf = (parts) => Object.values(parts).reduce((sum, each) => sum + each, 0);
const signed = (number) => (number < 0 ? "−" : "+") + Math.abs(number).toFixed(2);

/** The same for those who cannot point: a table of all tokens, made when it is opened. */
export function table(message) {
  const details = make("details", { className: "tokens" }, make("summary", {}, "Tokens"));
  details.addEventListener("toggle", () => {
    if (!details.open || details.querySelector("table")) return;
    const roles = Object.keys(message.tokens[0].roles);
    const head = ["token", "written by", "fused", ...roles];
    const rows = message.tokens.map((token) => {
      const made = row(token, roles);
      made.firstChild.after(make("td", {}, writer(token, message.weights)));
      return made;
    });
    details.append(make("div", { className: "scroll", tabIndex: 0, role: "region", "aria-label": "Tokens" },
      make("table", {}, make("thead", {}, make("tr", {}, ...head.map((each) => make("th", { scope: "col" }, each)))),
        make("tbody", {}, ...rows))));
  });
  return details;
}

function unmark() {
  marked?.classList.remove("chosen");
  marked = null;
}

/** Put the view away. */
export function hide() {
  clearTimeout(leaving);
  unmark();
  $("inspector").hidden = true;
}

function later() {
  clearTimeout(leaving);
  leaving = setTimeout(hide, LEAVE_MS);
}

/** The view stays while the pointer is over it, and goes with Escape, and moves with its token. */
export function start() {
  $("inspector").addEventListener("pointerenter", () => clearTimeout(leaving));
  $("inspector").addEventListener("pointerleave", later);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("scroll", () => marked && place(), { passive: true, capture: true });
}
