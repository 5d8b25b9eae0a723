/** Signing in, registering, going on after a reload, and signing in again when the session has ended. */

import { authorization, request, requestJson } from "./api.js";
import { announce, byId, showText } from "./dom.js";

/** Says that this browser has a session, so that the page asks for a token only then. It holds no secret. */
const FLAG = "sluice.session";

let email = "";
/** @type {Promise<void> | null} */
let renewal = null;
authorization.renew = renew;
addEventListener("storage", (event) => {
  if (event.key === FLAG && !event.newValue) leave(); // signed out in another tab
});
/** Secret of an invitation link. It leaves the address at once, so that nobody copies it by accident. */
let invitation = takeInvitation();

/**
 * Go on with the session of this browser, if there is one.
 * @returns {Promise<string>} the e-mail address, or an empty text
 */
export async function resume() {
  if (invitation || !localStorage.getItem(FLAG)) return "";
  byId("welcome").hidden = true;
  try {
    await refresh();
    email = (await requestJson("/v1/users/me")).email;
  } catch (problem) {
    if (problem.status !== 401) showText(byId("sign-in").querySelector(".error"), problem.message);
    byId("welcome").hidden = false;
  }
  return email;
}

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

/** Get a new token, once for all requests that need it. If the session has ended, ask for the password in a dialog. */
function renew(refused) {
  if (refused !== authorization.token) return Promise.resolve();
  renewal ??= refresh()
    .catch((problem) => (problem.status === 401 ? askForPassword() : Promise.reject(problem)))
    .finally(() => (renewal = null));
  return renewal;
}

async function refresh() {
  try {
    authorization.token = (await requestJson("/v1/auth/refresh", { method: "POST" })).access_token;
  } catch (problem) {
    if (problem.status === 401) localStorage.removeItem(FLAG);
    throw problem;
  }
}

/** End the session in all tabs. */
export async function signOut() {
  try {
    await request("/v1/auth/logout", { method: "POST" });
    localStorage.removeItem(FLAG);
    leave();
  } catch (problem) {
    announce(`You are still signed in. ${problem.message}`);
  }
}

/** Reload the page, which forgets the token and all data. */
function leave() {
  history.replaceState(null, "", location.pathname + location.search);
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
  const { access_token: token } = await requestJson("/v1/auth/login", {
    method: "POST",
    body: { ...credentials, remember: true },
  });
  authorization.token = token;
  localStorage.setItem(FLAG, "1");
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
