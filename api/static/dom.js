/** Finding, making and announcing; text reaches the page as text alone. */

/**
 * The element with this id, which the page has.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * A copy of a template's one element.
 * @param {string} id
 * @returns {any}
 */
export function copyTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/**
 * A button that does something when it is pressed.
 * @param {string} text
 * @param {string} label what it is called where it is read out alone
 * @param {() => void} act
 */
export function makeButton(text, label, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = text;
  button.setAttribute("aria-label", label);
  button.addEventListener("click", act);
  return button;
}

/**
 * Show a text in an element that is hidden without one.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function showText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/**
 * Say something to all: it is read out, and shown for a while.
 * @param {string} text
 */
export function announce(text) {
  const announcer = byId("announcer");
  announcer.textContent = text;
  announcer.classList.add("shown");
  clearTimeout(announcement);
  announcement = setTimeout(() => announcer.classList.remove("shown"), 4000);
}
let announcement = 0;

/**
 * Ask before something is deleted. Focus returns to where it was.
 * @param {string} name
 * @returns {Promise<boolean>}
 */
export function confirmDeletion(name) {
  const dialog = byId("delete-dialog");
  byId("delete-title").textContent = `Delete “${name}”?`;
  dialog.returnValue = "";
  dialog.querySelector(".danger").onclick = () => dialog.close("delete");
  dialog.querySelector(".cancel").onclick = () => dialog.close();
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "delete"), { once: true });
  });
}

/**
 * Take a row away; focus that was in it goes to the next row, or else to the heading.
 * @param {HTMLElement} row
 * @param {HTMLElement} heading
 */
export function removeRow(row, heading) {
  const hadFocus = row.contains(document.activeElement);
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (hadFocus) (neighbour?.querySelector("button") ?? heading).focus();
}
