/** Helpers for elements of the page. Text is only ever inserted as text, never as HTML. */

/**
 * Return the element with this id, which must exist.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  return document.getElementById(id);
}

/**
 * Return a copy of a template's only element.
 * @param {string} id
 * @returns {any}
 */
export function copyTemplate(id) {
  return byId(id).content.firstElementChild.cloneNode(true);
}

/**
 * Return a button that calls `act` when it is pressed.
 * @param {string} text
 * @param {string} label name for screen readers
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
 * Show a text in an element, or hide the element if the text is empty.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function showText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

/**
 * Show a message briefly, and have screen readers read it out.
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
 * Ask the user to confirm a deletion. The focus then returns to the previous element.
 * @param {string} name
 * @param {string} [consequence]
 * @returns {Promise<boolean>}
 */
export function confirmDeletion(name, consequence = "It disappears from all answers at once. This cannot be undone.") {
  const dialog = byId("delete-dialog");
  byId("delete-title").textContent = `Delete “${name}”?`;
  byId("delete-consequence").textContent = consequence;
  return new Promise((resolve) => {
    // Not by the `close` event: it arrives late, and could belong to the question before.
    const answer = (isConfirmed) => {
      dialog.close();
      resolve(isConfirmed);
    };
    dialog.querySelector(".danger").onclick = () => answer(true);
    dialog.querySelector(".cancel").onclick = () => answer(false);
    dialog.oncancel = () => resolve(false);
    dialog.showModal();
  });
}

/**
 * Remove a row. If it had the focus, move the focus to the next row, or to the heading if there is none.
 * @param {HTMLElement} row
 * @param {HTMLElement} heading
 */
export function removeRow(row, heading) {
  const hadFocus = row.contains(document.activeElement);
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  row.remove();
  if (hadFocus) (neighbour?.querySelector("button") ?? heading).focus();
}
