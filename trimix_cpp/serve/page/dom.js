// What every view needs of the document. What models and clients say is set as text alone.

export const $ = (id) => document.getElementById(id);

/** An element with these properties and children; strings become text. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

/** Tell what went wrong; an empty text takes it back. */
export function alertOf(text) {
  $("alert").textContent = text;
  $("alert").hidden = !text;
}

const SCRIPTS = [
  ["mn-Mong", /\p{Script=Mongolian}/gu],
  ["bo", /\p{Script=Tibetan}/gu],
  ["arab", /\p{Script=Arabic}/gu],
];
const SAMPLE = 2000;
let arabic = "ug";

/** Which language the Arabic script stands for, among those of the trio. */
export function speak(languages) {
  arabic = languages.includes("kaz") && !languages.includes("uig") ? "kk-Arab" : "ug";
}

/** The tag of the language that the letters of a text point to, or "". */
export function languageOf(text) {
  const sample = text.slice(0, SAMPLE);
  const letters = (sample.match(/\p{L}/gu) ?? []).length;
  for (const [tag, letter] of SCRIPTS) {
    if ((sample.match(letter) ?? []).length * 2 > letters) return tag === "arab" ? arabic : tag;
  }
  return "";
}

/** "auto", unless most letters run the other way than the first one: "%s" before Uyghur. */
function directionOf(text, tag) {
  const first = text.match(/\p{L}/u)?.[0] ?? "";
  const most = tag === arabic ? "rtl" : "ltr";
  return !first || most === (/\p{Script=Arabic}/u.test(first) ? "rtl" : "ltr") ? "auto" : most;
}

/** Write a text's language and direction on what shows it; traditional Mongolian runs down. */
export function dress(element, text) {
  const tag = languageOf(text);
  if (element.lang !== tag) element.lang = tag;
  element.dir = directionOf(text, tag);
  element.classList.toggle("down", tag === "mn-Mong");
}

/** Dress a field as somebody types. */
export function dressed(field) {
  field.addEventListener("input", () => dress(field, field.value));
  dress(field, field.value);
}

/** Set a field's value, and its dress. */
export function fill(field, text) {
  field.value = text;
  dress(field, text);
}

/** Hand a file to the user. */
export function save(name, blob) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
