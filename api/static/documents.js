/** The list of documents, with their status, progress and errors, and buttons to retry and delete them. */

import { request, requestJson } from "./api.js";
import { announce, byId, confirmDeletion, copyTemplate, makeButton, showText } from "./dom.js";
import { formatBytes, formatCount, formatOrdinal } from "./format.js";
import { isTerminal, Listing } from "./listing.js";
import { makeAddress } from "./viewer.js";

const NONE = byId("no-documents").textContent;
const MAX_PAGES_SHOWN = 10;
/** Pause in typing after which the list shows what was typed. */
const TYPING_MS = 250;
/** Ids of the documents to ask. They stay chosen while a search of the list hides them. */
const selected = new Set();

/**
 * @param {{onChange: () => void, onSelection: () => void, onMove: (id: string) => Promise<void>}} callbacks
 * @returns {Listing}
 */
export function makeDocuments({ onChange, onSelection, onMove }) {
  const listing = new Listing("/v1/documents", {
    source: "document",
    list: byId("document-list"),
    heading: byId("documents-title"),
    empty: byId("no-documents"),
    more: byId("more-documents"),
    makeRow: (item) => makeRow(listing, item, onMove),
    updateRow,
    makePath,
    onChange: () => {
      showTotal(listing);
      onChange();
    },
    onDelete: (id) => {
      if (selected.delete(id)) onSelection();
    },
  });
  byId("document-list").addEventListener("change", ({ target: box }) => {
    const { id } = box.closest("li").dataset;
    if (box.checked) selected.add(id);
    else selected.delete(id);
    onSelection();
  });
  connectChoice(listing);
  return listing;
}

/** Let the fields above the list choose what it shows, and in which order. */
function connectChoice(listing) {
  let typing = 0;
  const choose = (change) => listing.choose(change).catch((problem) => announce(problem.message));
  byId("document-name").addEventListener("input", ({ target: field }) => {
    clearTimeout(typing);
    typing = setTimeout(() => choose({ name: field.value.trim() }), TYPING_MS);
  });
  for (const name of ["status", "sort"]) {
    byId(`document-${name}`).addEventListener("change", ({ target: field }) => choose({ [name]: field.value }));
  }
}

/** @param {import("./listing.js").View} view */
function makePath({ collection, name, status, sort }) {
  const query = new URLSearchParams({ include: "total", sort });
  if (collection) query.set("collection_id", collection);
  if (name) query.set("name", name);
  if (status) query.set("status", status);
  return `/v1/documents?${query}`;
}

function showTotal({ total, size, isFiltered }) {
  byId("document-choice").hidden = !size && !isFiltered;
  byId("document-total").textContent = size ? formatCount(total, "document") : "";
  byId("no-documents").textContent = isFiltered ? "No document matches." : NONE;
}

/** @returns {string[]} ids of the selected documents; an empty list selects all */
export function listSelected() {
  return [...selected];
}

/** Clear the selection, so that all documents are asked. */
export function clearSelection() {
  selected.clear();
  for (const box of byId("document-list").querySelectorAll("input:checked")) box.checked = false;
}

function makeRow(listing, item, onMove) {
  const row = copyTemplate("row-template");
  const { id, filename } = item;
  const box = row.querySelector("input");
  box.setAttribute("aria-label", `Ask only ${filename}`);
  box.checked = selected.has(id);
  const retry = makeButton("Try again", `Try ${filename} again`, () => act(row, () => retryDocument(listing, id)));
  retry.classList.add("retry");
  const remove = makeButton("Delete", `Delete ${filename}`, () => act(row, () => deleteDocument(listing, id)));
  const move = makeButton("Collections", `Collections of ${filename}`, () => act(row, () => onMove(id)));
  row.querySelector(".buttons").append(retry, move, remove);
  return row;
}

async function retryDocument(listing, id) {
  const item = await requestJson(`/v1/documents/${id}/retry`, { method: "POST" });
  listing.getRow(id)?.querySelector(".buttons button:last-child").focus(); // the retry button is about to disappear
  listing.update(item);
}

async function deleteDocument(listing, id) {
  const { filename } = listing.get(id);
  if (!(await confirmDeletion(filename))) return;
  await request(`/v1/documents/${id}`, { method: "DELETE" });
  listing.remove(id);
  announce(`${filename} was deleted.`);
}

async function act(row, action) {
  try {
    await action();
  } catch (problem) {
    showText(row.querySelector(".error"), problem.message);
  }
}

function updateRow(row, item, before) {
  row.dataset.status = item.status;
  row.querySelector(".name").textContent = item.filename;
  if (item.chunks) row.querySelector(".name").href = makeAddress({ source: "document", id: item.id });
  row.querySelector(".badge").textContent = describeStage(item);
  row.querySelector(".facts").textContent = describeFacts(item);
  showText(row.querySelector(".error"), describeError(item));
  showText(row.querySelector(".warning"), describeWarnings(item));
  row.querySelector(".retry").hidden = item.status !== "failed";
  row.querySelector(".check").hidden = item.status !== "ready";
  showProgress(row.querySelector("progress"), item);
  if (before && !isTerminal(before) && isTerminal(item)) {
    announce(item.status === "ready" ? `${item.filename} is ready.` : `${item.filename} failed. ${describeError(item)}`);
  }
}

function describeStage(item) {
  if (item.status === "pending") return item.queue_position ? `${formatOrdinal(item.queue_position)} in the queue` : "waiting";
  if (item.status === "processing") return `reading, ${Math.round(100 * item.progress)}%`;
  return item.status;
}

function describeFacts(item) {
  const facts = [formatBytes(item.size_bytes)];
  if (item.chunks) facts.unshift(formatCount(item.pages ?? 1, "page"), formatCount(item.chunks, "passage"));
  return facts.join(" · ");
}

function describeError({ status, error }) {
  if (status !== "failed" || !error) return "";
  return `${error.message} (${error.code})`;
}

function describeWarnings({ status, warnings }) {
  if (status !== "ready") return "";
  return warnings.map(({ message, pages }) => (pages ? `${message} (${formatPages(pages)})` : message)).join("\n");
}

function formatPages(pages) {
  const shown = pages.slice(0, MAX_PAGES_SHOWN).join(", ");
  return `${pages.length === 1 ? "page" : "pages"} ${shown}${pages.length > MAX_PAGES_SHOWN ? ", …" : ""}`;
}

function showProgress(bar, item) {
  bar.hidden = isTerminal(item);
  bar.setAttribute("aria-label", `Progress of ${item.filename}`);
  if (item.status === "processing") bar.value = item.progress;
  else bar.removeAttribute("value");
}
