/** The account panel: what the account stores, changing the password and deleting the account. */

import { authorization, request, requestJson } from "./api.js";
import { announce, byId } from "./dom.js";
import { formatBytes } from "./format.js";
import { signOut, submit } from "./session.js";

/**
 * Connect the panel.
 * @param {string} email
 */
export function connectAccount(email) {
  const dialog = byId("account-dialog");
  const changing = byId("password-form");
  const deleting = byId("delete-account-form");
  byId("who").textContent = email;
  changing.email.value = email;
  byId("who").addEventListener("click", () => {
    dialog.showModal();
    showUsage(byId("usage"));
  });
  dialog.querySelector(".cancel").addEventListener("click", () => dialog.close());
  // Closing by Escape, too, leaves no password behind.
  dialog.addEventListener("close", () => [changing, deleting].forEach(forget));
  changing.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(changing, async () => {
      await changePassword(changing.current.value, changing.replacement.value);
      dialog.close();
      announce("The password is changed. Other devices must sign in again.");
    });
  });
  deleting.addEventListener("submit", (event) => {
    event.preventDefault();
    submit(deleting, async () => {
      await request("/v1/users/me", { method: "DELETE", body: { password: deleting.password.value } });
      signOut();
    });
  });
}

/** @param {HTMLElement} line */
async function showUsage(line) {
  line.textContent = "";
  try {
    const { stored_bytes: bytes, documents } = (await requestJson("/v1/users/me")).usage;
    const count = (number) => number.toLocaleString("en");
    line.textContent = `Stored: ${describe(bytes, formatBytes)}. Documents and notes: ${describe(documents, count)}.`;
  } catch (problem) {
    line.textContent = problem.message;
  }
}

/**
 * @param {{used: number, limit: number | null}} quota
 * @param {(number: number) => string} format
 */
function describe({ used, limit }, format) {
  return limit === null ? format(used) : `${format(used)} of ${format(limit)}`;
}

async function changePassword(current, replacement) {
  const body = { current_password: current, new_password: replacement, remember: true };
  const { access_token: token } = await requestJson("/v1/users/me/password", { method: "PUT", body });
  authorization.token = token;
}

/** @param {HTMLFormElement} form */
function forget(form) {
  for (const input of form.querySelectorAll("input[type=password]")) input.value = "";
  form.querySelector(".error").hidden = true;
}
