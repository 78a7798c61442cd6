// Who wrote which word: tokens on the characters of a reply, and what each role gave them.

const encoder = new TextEncoder();
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

/** Coefficients by role, as fusion.Weights has them. */
export function coefficients({ alpha, beta, gamma = alpha }) {
  return { large: alpha, cpt: beta, base: 1 - beta - gamma, large_base: gamma - alpha };
}

/** A token as the server tells it, in little: this is kept in the browser. */
export function compact(told) {
  const little = ({ token, bytes, logprob, roles }) => ({
    token, p: round(logprob),
    roles: Object.fromEntries(
      Object.entries(roles ?? {}).map(([role, { logit, logprob }]) => [role, [round(logit), round(logprob)]]),
    ),
    ...(sameBytes(token, bytes) ? {} : { bytes }),
  });
  const top = (told.top_logprobs ?? []).filter((each) => !same(each, told));
  return { ...little(told), top: top.slice(0, 3).map(little) };
}

const round = (number) => Math.round(number * 1e4) / 1e4;
const same = (a, b) => String(a.bytes) === String(b.bytes);

function sameBytes(token, bytes) {
  return !token.includes("\uFFFD") && (!bytes || encoder.encode(token).length === bytes.length);
}

/**
 * What each role did for a token: its coefficient times the logit that it gave the token over the
 * rival's, the likeliest other one. The sum over the roles is by how much the fusion preferred it,
 * so who did most wrote the token. Null where the roles are not known.
 */
export function shares(token, weights) {
  const rival = token.top[0];
  if (!rival || !weights) return null;
  const by = coefficients(weights);
  const known = Object.keys(token.roles).filter((role) => role in by && rival.roles[role]);
  if (!known.length) return null;
  return Object.fromEntries(
    known.map((role) => [role, by[role] * (token.roles[role][0] - rival.roles[role][0])]),
  );
}

/** The role that did most for a token, or "". */
export function writer(token, weights) {
  const parts = Object.entries(shares(token, weights) ?? {});
  return parts.length ? parts.reduce((best, each) => (each[1] > best[1] ? each : best))[0] : "";
}

/**
 * A reply cut where its tokens meet: [{text, tokens}], whose texts are the reply. A character as
 * readers see it is never cut: tokens that share one stand together.
 */
export function pieces(message) {
  const { content, thought = "", tokens } = message;
  const whole = [{ text: content, tokens: [] }];
  if (!tokens?.length || !content) return whole;
  const { text, starts, ends } = laid(tokens);
  const after = thought ? Math.max(text.indexOf(thought), 0) + thought.length : 0;
  const at = text.indexOf(content, after);
  if (at < 0) return whole;
  const cuts = new Set(Array.from(graphemes.segment(content), ({ index }) => index));
  const found = [];
  tokens.forEach((token, i) => {
    const start = Math.max(starts[i] - at, 0);
    if (start >= content.length || (ends[i] <= at && starts[i] < at)) return;
    const last = found.at(-1);
    if (last && (start === last.start || !cuts.has(start))) last.tokens.push(token);
    else found.push({ start, tokens: [token] });
  });
  if (!found.length) return whole;
  found[0].start = 0;
  return found.map(({ start, tokens }, i) => ({
    text: content.slice(start, found[i + 1]?.start), tokens,
  }));
}

/** The text of tokens, and where in it each starts and ends; a part of a character counts as all. */
function laid(tokens) {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const starts = [], ends = [];
  let text = "";
  for (const { token, bytes } of tokens) {
    const data = bytes ? Uint8Array.from(bytes) : encoder.encode(token);
    const goesOn = (data[0] & 0xc0) === 0x80; // the character that the token before began
    if (starts.length) ends.push(text.length + (goesOn ? 1 : 0));
    starts.push(text.length);
    text += decoder.decode(data, { stream: true });
  }
  text += decoder.decode();
  return { text, starts, ends: [...ends, text.length] };
}

/** A probability for readers. */
export function percent(logprob) {
  const share = 100 * Math.exp(logprob);
  if (share < 0.01) return "< 0.01 %";
  return `${share.toFixed(share < 1 ? 2 : share < 99.95 ? 1 : 0)} %`;
}

/** A token's text, with what cannot be seen made visible. */
export function visible(text) {
  const seen = { " ": "␣", "\n": "⏎", "\t": "⇥", "": "∅" };
  return seen[text] ?? text.replace(/^ | $/g, "␣").replaceAll("\n", "⏎");
}
