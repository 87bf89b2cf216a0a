// Trades the one-time code in the address' fragment for a cookie. A fragment is never sent, logged or referred.
const said = document.getElementById("said");
const code = location.hash.slice(1);
history.replaceState(null, "", "/login");

async function signIn() {
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

signIn().catch(() => { said.textContent = "The node did not answer. Is `claire web` still running?"; });
