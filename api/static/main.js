/** Starts the page: signs the user in, then connects the lists, uploads and questions to the API. */

import { connectAccount } from "./account.js";
import { AskPanel } from "./ask.js";
import { Collections } from "./collections.js";
import { copyAsk, copyUpload } from "./curl.js";
import { clearSelection, listSelected, makeDocuments } from "./documents.js";
import { announce, byId } from "./dom.js";
import { POLL_MS, watch } from "./events.js";
import { formatCount } from "./format.js";
import { listDropped, withoutHidden } from "./folders.js";
import { connectKeys } from "./keys.js";
import { makeNotes } from "./notes.js";
import { resume, signOut, waitForSignIn } from "./session.js";
import { Uploads } from "./uploads.js";
import { Viewer } from "./viewer.js";

const PDF = "application/pdf";

byId("sign-out").addEventListener("click", signOut);
const email = (await resume()) || (await waitForSignIn());
connectAccount(email);
connectKeys();
byId("welcome").hidden = true;
for (const id of ["account", "sections"]) byId(id).hidden = false;

const collections = new Collections(showCollection);
const getCollection = () => collections.chosen;
const documents = makeDocuments({
  onChange: showEmptyHint,
  onSelection: showScope,
  onMove: (id) => collections.move("document", id, (document) => documents.update(document)),
});
const notes = makeNotes({
  onChange: showEmptyHint,
  onMove: (id) => collections.move("note", id, (note) => notes.update(note)),
  getCollection,
});
const uploads = new Uploads(accept, getCollection);
const askPanel = new AskPanel(listSelected, hasPageImage, getCollection);
const listings = { document: documents, note: notes };

byId("ask-curl").addEventListener("click", () => copyAsk(askPanel.body));
byId("upload-curl").addEventListener("click", copyUpload);
byId("clear-scope").addEventListener("click", () => {
  clearSelection();
  showScope();
  byId("question").focus();
});
byId("files").addEventListener("change", (event) => {
  uploads.add([...event.target.files]);
  event.target.value = "";
});
byId("folder").addEventListener("change", (event) => {
  uploads.add(withoutHidden([...event.target.files]));
  event.target.value = "";
});
acceptDrops();
showScope();
if (!new Viewer().start()) byId("question").focus();
await loadLists();
watch({
  onEvent: follow,
  refresh: async () => void (await Promise.all([documents.refresh(), notes.refresh()])),
  isWaiting: () => documents.isWaiting || notes.isWaiting,
  onConnection: showConnection,
});

async function loadLists() {
  await collections.load().catch((problem) => announce(problem.message));
  for (const listing of [documents, notes]) {
    await listing.loadMore().catch((problem) => announce(problem.message));
  }
}

/** @param {import("./sse.js").ServerEvent} event */
function follow({ name, data }) {
  if (name === "deleted") listings[data.source]?.remove(data.id);
  else listings[name]?.update(data);
}

async function showCollection(collection) {
  clearSelection();
  showScope();
  await Promise.all([documents.choose({ collection }), notes.choose({ collection })]).catch((problem) => announce(problem.message));
}

async function accept(document, isDuplicate, collection) {
  documents.update(document);
  if (collection) documents.update(await collections.addDocument(collection, document.id));
  announce(isDuplicate ? `You already have ${document.filename}.` : `${document.filename} was uploaded.`);
  const row = documents.getRow(document.id);
  if (isDuplicate) row?.scrollIntoView({ block: "nearest" });
  return row;
}

function hasPageImage(passage) {
  const known = documents.get(passage.document_id);
  return passage.source === "document" && (known ? known.media_type === PDF : /\.pdf$/i.test(passage.title));
}

function showEmptyHint() {
  byId("nothing-to-ask").hidden = documents.size + notes.size > 0 || documents.isFiltered || !byId("answer").hidden;
}

function showScope() {
  const count = listSelected().length;
  const all = collections.name ? `Asking the collection ${collections.name}` : "Asking all documents and notes";
  byId("scope").textContent = count ? `Asking only ${formatCount(count, "document")}` : all;
  byId("clear-scope").hidden = !count;
}

function showConnection(isLive) {
  byId("connection").textContent = isLive ? "live" : `checking every ${POLL_MS / 1000} s`;
  byId("connection").title = isLive
    ? "Changes appear as they happen."
    : "The live connection is lost. The page checks for changes and keeps reconnecting.";
  byId("connection").classList.toggle("live", isLive);
}

/** Accept files dropped anywhere on the page: otherwise the browser would open them. */
function acceptDrops() {
  const drop = byId("drop");
  addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    listDropped(event.dataTransfer).then(
      (files) => uploads.add(files),
      () => announce("The folder could not be read. Choose it with the button instead."),
    );
  });
}
