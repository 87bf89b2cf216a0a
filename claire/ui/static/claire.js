// What the pages need beyond htmx: conditional polling, ages that tick, keys, and saying what went wrong.

const page = () => document.getElementById("page");
const said = document.getElementById("said");
let clockAheadMs = 0;
let silence;

function say(words) {
  said.textContent = words;
  clearTimeout(silence);
  silence = setTimeout(() => { said.textContent = ""; }, 6000);
}

// --- polling: ask with the tag of what is shown, so that nothing new costs nothing ---

document.addEventListener("htmx:config:request", (event) => {
  const { ctx } = event.detail;
  if (ctx.sourceElement !== page()) return;
  if (document.hidden) event.preventDefault();
  ctx.request.headers["If-None-Match"] = page().dataset.tag;
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.body.dispatchEvent(new Event("claire-changed"));
});

function lost(isLost, words) {
  const bar = document.getElementById("lost");
  bar.hidden = !isLost;
  if (words) bar.textContent = words;
}

document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const { status } = ctx.response;
  if (ctx.sourceElement === page()) {
    if (status === 401) lost(true, "Signed out. Run `claire web` on the host for a new sign-in link.");
    else if (status >= 400) lost(true, `This page cannot be refreshed: ${ctx.text.trim()}`);
    else lost(false);
  } else if (status >= 400) {
    say(ctx.text.trim());
  } else if (ctx.sourceElement.matches("form")) {
    if (ctx.sourceElement.hasAttribute("data-once")) ctx.sourceElement.reset();
    const words = ctx.response.headers.get("X-Claire-Said");
    if (words) say(decodeURIComponent(words));
  }
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx?.sourceElement === page()) lost(true, "No answer from this node. What you see may be old.");
  else say("The node did not answer. Nothing was changed.");
});

// --- ages: the same words as text.age of the server ---

function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s >= 2 * 86400) return `${Math.floor(s / 86400)}d`;
  if (s >= 3600) return `${Math.floor(s / 3600)}h`;
  return s >= 60 ? `${Math.floor(s / 60)}m` : `${s}s`;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-ms]")) {
    const words = age(Date.now() + clockAheadMs - Number(time.dataset.ms));
    if (time.textContent !== words) time.textContent = words;
  }
}
function setClock() { clockAheadMs = Number(page().dataset.now) - Date.now(); }
document.addEventListener("htmx:after:swap", () => { setClock(); tick(); });
setClock();
setInterval(tick, 1000);

// --- keys ---

let pending = "";
const rows = () => [...document.querySelectorAll("[data-row]")];

function step(by) {
  const all = rows();
  if (!all.length) return;
  const at = all.indexOf(document.activeElement.closest("[data-row]"));
  const row = all[Math.min(all.length - 1, Math.max(0, at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by))];
  row.querySelector("a, button").focus();
  row.scrollIntoView({ block: "nearest" });
}

function press(key) {
  const row = document.activeElement.closest("[data-row]") ?? document;
  const target = row.querySelector(`[data-key="${key}"]`) ?? document.querySelector(`main [data-key="${key}"]`);
  if (!target) return false;
  if (target.matches("input, select, textarea")) target.focus();
  else if (target.matches("summary")) { target.parentElement.open = true; target.parentElement.querySelector("input, select, textarea")?.focus(); }
  else target.click();
  return true;
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && document.activeElement.matches("input, select, textarea")) document.activeElement.blur();
  if (event.target.closest("input, select, textarea, [contenteditable]")) return;
  if (pending === "g") {
    pending = "";
    document.querySelector(`[data-go="${CSS.escape(event.key)}"]`)?.click();
    return;
  }
  if (event.key === "g") pending = "g";
  else if (event.key === "j") step(1);
  else if (event.key === "k") step(-1);
  else if (event.key === "?") document.getElementById("keys").togglePopover();
  else if (/^[a-z/]$/.test(event.key) && press(event.key)) event.preventDefault();
});

// A form that filters submits itself when a choice is made; without JavaScript its button does.
document.addEventListener("change", (event) => {
  if (event.target.matches("form.filter select")) event.target.form.requestSubmit();
});
