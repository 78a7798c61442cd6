// Requests to the server, with the key that it may want, and its streams.

import { $ } from "./dom.js";

const KEY = "trimix.key";

/** What the server refused, in its words. */
export class Refused extends Error {}

let asking = null;

/** Ask for the key, once for all requests that wait for it. */
function askKey() {
  asking ??= new Promise((resolve) => {
    const dialog = $("key");
    $("key-wrong").hidden = !sessionStorage.getItem(KEY);
    dialog.showModal();
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.querySelector("form").onsubmit = (event) => {
      event.preventDefault();
      sessionStorage.setItem(KEY, $("key-value").value.trim());
      $("key-value").value = "";
      dialog.close();
      asking = null;
      resolve();
    };
  });
  return asking;
}

/** The UTF-8 bytes of a key as a header can carry them. */
const latin = (key) => String.fromCharCode(...new TextEncoder().encode(key));

async function reason(response) {
  const said = await response.text();
  try {
    const { error } = JSON.parse(said);
    return error.message ?? String(error);
  } catch {
    return `the server answers ${response.status}`;
  }
}

/** Fetch; raises Refused with the server's words, or what aborts it. */
export async function ask(path, options = {}) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${latin(key)}` }) };
    let response;
    try {
      response = await fetch(path, { ...options, headers });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new Refused("the server cannot be reached");
    }
    if (response.ok) return response;
    const why = await reason(response);
    const keyIsWrong = response.status === 401 || /^invalid api key$/i.test(why);
    if (!keyIsWrong) throw new Refused(why);
    if (sessionStorage.getItem(KEY) === key) await askKey();
  }
}

/** The JSON that an address answers. */
export async function json(path, options) {
  return (await ask(path, options)).json();
}

/** A POST with a JSON body. */
export function posted(body, signal) {
  return {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  };
}

/** The documents of a stream of events, up to [DONE]; one that breaks off raises Refused. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let parts = [];
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Refused("the reply broke off");
    const lines = value.split("\n");
    parts.push(lines[0]);
    for (const next of lines.slice(1)) {
      const line = parts.join("");
      parts = [next];
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const document = JSON.parse(data);
      if (document.error) throw new Refused(document.error.message);
      yield document;
    }
  }
}
