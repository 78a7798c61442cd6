// The page's beginning: which view is shown, and what the server is.

import { json } from "./api.js";
import * as chat from "./chat.js";
import { $, alertOf, speak } from "./dom.js";
import * as inspector from "./inspector.js";
import * as translate from "./translate.js";

const VIEWS = ["chat", "translate"];

function view() {
  const asked = location.hash.slice(1);
  const now = VIEWS.includes(asked) ? asked : VIEWS[0];
  inspector.hide();
  for (const each of VIEWS) {
    $(each).hidden = each !== now;
    if (each === now) $(`to-${each}`).setAttribute("aria-current", "page");
    else $(`to-${each}`).removeAttribute("aria-current");
  }
}

addEventListener("hashchange", view);
view();
inspector.start();
try {
  const props = await json("props");
  $("trio").textContent = props.model_alias;
  speak(props.trimix.languages);
  chat.start(props);
  await translate.start();
  document.body.dataset.ready = "yes";
} catch (error) {
  alertOf(error.message);
}
