/** Signing in, registering, and signing in again when the token has expired. */

import { authorization, requestJson } from "./api.js";
import { byId, showText } from "./dom.js";

let email = "";
/** @type {Promise<void> | null} */
let renewal = null;
authorization.renew = renew;
/** Secret of an invitation link. It leaves the address at once, so that nobody copies it by accident. */
let invitation = takeInvitation();

/**
 * Wait until the user signs in.
 * @returns {Promise<string>} the e-mail address
 */
export function waitForSignIn() {
  const form = byId("sign-in");
  byId("invited").hidden = !invitation;
  // The user may be typing already. A password must not end up in the field for the address.
  if (!form.contains(document.activeElement)) form.email.focus();
  return new Promise((resolve) => {
    form.querySelectorAll("button").forEach((button) => (button.disabled = false));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      submit(form, async () => {
        const credentials = { email: form.email.value, password: form.password.value };
        if (event.submitter?.value === "register") await register(credentials);
        await signIn(credentials);
        resolve(email);
      });
    });
  });
}

/** Ask for the password in a dialog, once for all requests that need a new token. */
function renew(refused) {
  if (refused !== authorization.token) return Promise.resolve();
  renewal ??= askForPassword().finally(() => (renewal = null));
  return renewal;
}

/** Sign out by reloading the page, which forgets the token and all data. */
export function signOut() {
  location.reload();
}

function takeInvitation() {
  const [, secret] = /^#invite=(.+)$/.exec(location.hash) ?? [];
  if (secret) history.replaceState(null, "", location.pathname + location.search);
  return secret;
}

async function register(credentials) {
  await requestJson("/v1/auth/register", { method: "POST", body: { ...credentials, invitation } });
  invitation = undefined;
  byId("invited").hidden = true;
}

async function signIn(credentials) {
  const { access_token: token } = await requestJson("/v1/auth/login", { method: "POST", body: credentials });
  authorization.token = token;
  email = credentials.email;
}

function askForPassword() {
  const dialog = byId("renew-dialog");
  const form = dialog.querySelector("form");
  form.email.value = email;
  form.querySelector(".sign-out").onclick = signOut;
  dialog.oncancel = (event) => event.preventDefault();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      submit(form, async () => {
        await signIn({ email, password: form.password.value });
        dialog.onclose = null;
        dialog.close();
        resolve();
      });
    };
    // Browsers close a dialog on the second Escape even if `cancel` is prevented.
    dialog.onclose = () => dialog.showModal();
    dialog.showModal();
    form.password.focus();
  });
}

/**
 * Run the action of a form with its buttons disabled, and show an error in the form.
 * @param {HTMLFormElement} form
 * @param {() => Promise<void>} act
 */
export async function submit(form, act) {
  const error = form.querySelector(".error");
  const buttons = form.querySelectorAll("button");
  const passwords = form.querySelectorAll("input[type=password]");
  buttons.forEach((button) => (button.disabled = true));
  showText(error, "");
  try {
    await act();
    passwords.forEach((input) => (input.value = ""));
  } catch (problem) {
    showText(error, problem.message);
  } finally {
    buttons.forEach((button) => (button.disabled = false));
    if (!error.hidden) passwords[0].focus();
  }
}
