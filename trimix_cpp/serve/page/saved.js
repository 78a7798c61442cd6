// A conversation: what is kept in the browser, and the file of `trimix-cpp chat`.

const KEPT = "trimix.chat";
const FORMAT = "trimix-conversation";

/** A conversation in which nothing was said. */
export function empty() {
  return { system: "", weighting: "trio", weights: null, temperature: "", limit: "", roles: true,
    messages: [] };
}

/** The conversation of this browser. */
export function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT));
    turnsOf(kept.messages);
    return { ...empty(), ...kept };
  } catch {
    return empty();
  }
}

/** Keep it; where there is no room for its tokens, without them. False if it cannot be kept. */
export function keep(chat) {
  const plain = () => ({ ...chat, messages: chat.messages.map(({ tokens, ...rest }) => rest) });
  for (const form of [() => chat, plain]) {
    try {
      localStorage.setItem(KEPT, JSON.stringify(form()));
      return true;
    } catch {
      continue;
    }
  }
  return false;
}

/** Call back when another window has kept a conversation. */
export function whenKeptElsewhere(callback) {
  addEventListener("storage", (event) => event.key === KEPT && callback());
}

/** The file that `trimix-cpp chat --load` reads. */
export function toFile(chat, trio, weights) {
  const messages = chat.messages.map(({ role, content }) => ({ role, content }));
  if (messages.at(-1)?.role === "user") messages.push({ role: "assistant", content: "" });
  if (chat.system) messages.unshift({ role: "system", content: chat.system });
  for (const message of messages) message.content = message.content.toWellFormed?.() ?? message.content;
  const document = { format: FORMAT, version: 1, program: "trimix-cpp page", trio, weights, messages };
  return JSON.stringify(document, null, 2) + "\n";
}

/** The conversation of a file; raises Error where it is none. */
export function fromFile(text) {
  let document;
  try {
    document = JSON.parse(text);
  } catch {
    throw new Error("it is no JSON");
  }
  if (document?.format !== FORMAT) throw new Error(`"format" is not "${FORMAT}"`);
  if (document.version !== 1) throw new Error(`version ${document.version} is not known, 1 is`);
  if (typeof document.trio !== "string") throw new Error('"trio" is not a name');
  const weights = weightsOf(document.weights);
  const { system, messages } = turnsOf(document.messages);
  const said = messages.map(({ role, content }) => ({ role, content }));
  return { ...empty(), system, weighting: "own", weights, messages: said, trio: document.trio };
}

function weightsOf(said) {
  const names = ["alpha", "beta", "gamma"];
  const list = Array.isArray(said) ? said : names.map((name) => said?.[name]);
  const [alpha, beta, gamma] = list;
  for (const number of gamma === undefined ? [alpha, beta] : [alpha, beta, gamma]) {
    if (!Number.isFinite(number)) throw new Error("weights hold alpha and beta");
  }
  return gamma === undefined ? { alpha, beta } : { alpha, beta, gamma };
}

function turnsOf(said) {
  if (!Array.isArray(said)) throw new Error('"messages" is not a list');
  const messages = said.map((message) => {
    if (typeof message?.role !== "string" || typeof message.content !== "string") {
      throw new Error("a message lacks its role or content");
    }
    return message;
  });
  const system = messages[0]?.role === "system" ? messages.shift().content : "";
  messages.forEach(({ role }, at) => {
    if (role !== (at % 2 ? "assistant" : "user")) {
      throw new Error("messages do not alternate between user and assistant");
    }
  });
  return { system, messages };
}
