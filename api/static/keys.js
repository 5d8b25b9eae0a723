/** API keys: create them, show a secret once, list and revoke them. */

import { request, requestJson } from "./api.js";
import { announce, byId, confirmDeletion, makeButton, showText } from "./dom.js";

const ENDS = "Programs that use this key are refused within a second. This cannot be undone.";

/** Connect the dialog to its button in the account panel. */
export function connectKeys() {
  const dialog = byId("keys-dialog");
  const form = dialog.querySelector("form");
  byId("open-keys").addEventListener("click", () => {
    byId("account-dialog").close();
    dialog.showModal();
    list();
  });
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => showSecret(""));
  byId("copy-secret").addEventListener("click", copySecret);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    showText(form.querySelector(".error"), "");
    try {
      const { secret } = await requestJson("/v1/api-keys", { method: "POST", body: readDraft(form) });
      form.reset();
      showSecret(secret);
      byId("copy-secret").focus();
      await list();
    } catch (problem) {
      showText(form.querySelector(".error"), problem.message);
    }
  });
}

/** @param {HTMLFormElement} form */
function readDraft(form) {
  const { name, expires } = form.elements;
  const scopes = [...form.querySelectorAll("input[type=checkbox]:checked")].map((box) => box.value);
  // The key works through the chosen day.
  const end = expires.value && new Date(`${expires.value}T23:59:59`).toISOString();
  return { name: name.value, scopes, ...(end && { expires_at: end }) };
}

/** @param {string} secret an empty text hides it */
function showSecret(secret) {
  byId("secret").value = secret;
  byId("new-secret").hidden = !secret;
}

async function copySecret() {
  try {
    await navigator.clipboard.writeText(byId("secret").value);
    announce("The secret is copied.");
  } catch {
    byId("secret").select(); // the clipboard needs HTTPS and permission
  }
}

async function list() {
  const keys = [];
  try {
    let cursor = "";
    do {
      const page = await requestJson(`/v1/api-keys?limit=100${cursor}`);
      keys.push(...page.items);
      cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : "";
    } while (cursor);
    showText(byId("keys-error"), "");
  } catch (problem) {
    showText(byId("keys-error"), problem.message);
  }
  byId("key-list").replaceChildren(...keys.map(makeRow));
  byId("no-keys").hidden = keys.length > 0;
}

function makeRow({ id, name, scopes, expires_at: end, last_used_at: used }) {
  const row = document.createElement("li");
  row.className = "row";
  const title = document.createElement("span");
  title.className = "name";
  title.textContent = name;
  const facts = document.createElement("p");
  facts.className = "hint";
  const lastUse = used ? `used ${formatTime(used)}` : "not used yet";
  facts.textContent = [scopes.join(" and "), lastUse, end ? `ends ${formatTime(end)}` : "does not expire"].join(" · ");
  const buttons = document.createElement("div");
  buttons.className = "buttons";
  buttons.append(makeButton("Revoke", `Revoke ${name}`, () => revoke(id, name)));
  row.append(title, facts, buttons);
  return row;
}

async function revoke(id, name) {
  if (!(await confirmDeletion(name, ENDS))) return;
  try {
    await request(`/v1/api-keys/${id}`, { method: "DELETE" });
    announce(`${name} was revoked.`);
  } catch (problem) {
    showText(byId("keys-error"), problem.message);
    return;
  }
  await list();
  byId("keys-title").focus();
}

/** @param {string} time */
function formatTime(time) {
  return new Date(time).toLocaleString("en", { dateStyle: "medium", timeStyle: "short" });
}
