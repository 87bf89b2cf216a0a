// Trades the one-time code in the address' fragment for a cookie. A fragment is never sent, logged or referred.
const said = document.getElementById("progress");

async function signIn() {
  const code = location.hash.slice(1);
  history.replaceState(null, "", "/login");
  if (!code) {
    said.textContent = "This page needs a sign-in link. Run `claire web` on this host to get one.";
    return;
  }
  const answer = await fetch("/login", {
    method: "POST",
    headers: { "HX-Request": "true" },
    body: new URLSearchParams({ code }),
  });
  if (answer.ok) location.replace("/");
  else said.textContent = await answer.text();
}

function start() {
  signIn().catch(() => { said.textContent = "The node did not answer. Is `claire web` still running?"; });
}
addEventListener("hashchange", () => { if (location.hash.length > 1) start(); }); // a newer link, in this same tab
start();
