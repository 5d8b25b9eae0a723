/** The list of notes, and the form that creates and changes them. */

import { request, requestJson } from "./api.js";
import { announce, byId, confirmDeletion, copyTemplate, makeButton, showText } from "./dom.js";
import { Listing } from "./listing.js";
import { makeAddress } from "./viewer.js";

/** Status texts. Notes show no progress, because indexing one is quick. */
const STAGES = { pending: "waiting", processing: "reading", ready: "ready", failed: "failed" };

/**
 * @param {{onChange: () => void, onMove: (id: string) => Promise<void>, getCollection: () => string}} callbacks
 * @returns {Listing}
 */
export function makeNotes({ onChange, onMove, getCollection }) {
  const edit = (note) => editNote(listing, note, getCollection());
  const listing = new Listing("/v1/notes", {
    source: "note",
    list: byId("note-list"),
    heading: byId("notes-title"),
    empty: byId("no-notes"),
    more: byId("more-notes"),
    makeRow: (item) => makeRow(listing, item, edit, onMove),
    updateRow,
    makePath: ({ collection }) => (collection ? `/v1/collections/${collection}/notes` : "/v1/notes"),
    onChange,
    onDelete: () => {},
  });
  byId("new-note").addEventListener("click", () => edit(null));
  return listing;
}

function makeRow(listing, { id, title }, edit, onMove) {
  const row = copyTemplate("row-template");
  row.querySelector(".check").remove();
  row.querySelector(".facts").remove();
  const act = async (action) => {
    try {
      await action();
    } catch (problem) {
      showText(row.querySelector(".error"), problem.message);
    }
  };
  row.querySelector(".buttons").append(
    makeButton("Edit", `Edit ${title}`, () => act(async () => edit(await requestJson(`/v1/notes/${id}`)))),
    makeButton("Collections", `Collections of ${title}`, () => act(() => onMove(id))),
    makeButton("Delete", `Delete ${title}`, () => act(() => deleteNote(listing, id))),
  );
  return row;
}

function updateRow(row, { id, title, status, error }) {
  row.dataset.status = status;
  row.querySelector(".name").textContent = title;
  row.querySelector(".name").href = makeAddress({ source: "note", id });
  row.querySelector(".badge").textContent = STAGES[status];
  const failure = status === "failed" && error ? `${error.message} Edit it to try again. (${error.code})` : "";
  showText(row.querySelector(".error"), failure);
}

async function deleteNote(listing, id) {
  const { title } = listing.get(id);
  if (!(await confirmDeletion(title))) return;
  await request(`/v1/notes/${id}`, { method: "DELETE" });
  listing.remove(id);
  announce(`${title} was deleted.`);
}

/** Open the form for a note, or for a new note of a collection if `note` is null. */
function editNote(listing, note, collection) {
  const dialog = byId("note-dialog");
  const form = dialog.querySelector("form");
  const error = form.querySelector(".error");
  byId("note-title").textContent = note ? "Edit the note" : "New note";
  form.elements.title.value = note?.title ?? "";
  form.elements.body.value = note?.body ?? "";
  showText(error, "");
  form.querySelector(".cancel").onclick = () => dialog.close();
  form.onsubmit = async (event) => {
    event.preventDefault();
    const body = { title: form.elements.title.value, body: form.elements.body.value };
    if (!note && collection) body.collection_ids = [collection];
    const save = form.querySelector(".primary");
    save.disabled = true;
    try {
      const path = note ? `/v1/notes/${note.id}` : "/v1/notes";
      listing.update(await requestJson(path, { method: note ? "PATCH" : "POST", body }));
      dialog.close();
      announce(`${body.title} was saved.`);
    } catch (problem) {
      showText(error, problem.message);
    } finally {
      save.disabled = false;
    }
  };
  dialog.showModal();
}
