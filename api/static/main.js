/** The page: who is signed in, what they have, and what they ask. */

import { Asking } from "./ask.js";
import { copyAsk, copyUpload } from "./curl.js";
import { clearSelection, listSelected, makeDocuments } from "./documents.js";
import { announce, byId } from "./dom.js";
import { watch } from "./events.js";
import { formatCount } from "./format.js";
import { makeNotes } from "./notes.js";
import { signOut, waitForSignIn } from "./session.js";
import { Uploads } from "./uploads.js";

const PDF = "application/pdf";

byId("sign-out").addEventListener("click", signOut);
const email = await waitForSignIn();
byId("who").textContent = email;
byId("welcome").hidden = true;
for (const id of ["account", "sections", "workspace"]) byId(id).hidden = false;

const documents = makeDocuments({ onChange: showEmptiness, onSelection: showScope });
const notes = makeNotes({ onChange: showEmptiness });
const uploads = new Uploads(accept);
const asking = new Asking(listSelected, hasPicture);
const listings = { document: documents, note: notes };

byId("ask-curl").addEventListener("click", () => copyAsk(asking.body));
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
takeDrops();
showScope();
byId("question").focus();
await loadLists();
watch({
  onEvent: follow,
  refresh: async () => void (await Promise.all([documents.refresh(), notes.refresh()])),
  isWaiting: () => documents.isWaiting || notes.isWaiting,
  onConnection: showConnection,
});

async function loadLists() {
  for (const listing of [documents, notes]) {
    await listing.loadMore().catch((problem) => announce(problem.message));
  }
}

/** @param {import("./sse.js").ServerEvent} event */
function follow({ name, data }) {
  if (name === "deleted") listings[data.source]?.remove(data.id);
  else listings[name]?.update(data);
}

function accept(document, isDuplicate) {
  documents.update(document);
  announce(isDuplicate ? `You have ${document.filename} already.` : `${document.filename} is uploaded.`);
  const row = documents.getRow(document.id);
  if (isDuplicate) row?.scrollIntoView({ block: "nearest" });
  return row;
}

function hasPicture(passage) {
  const known = documents.get(passage.document_id);
  return passage.source === "document" && (known ? known.media_type === PDF : /\.pdf$/i.test(passage.title));
}

function showEmptiness() {
  byId("nothing-to-ask").hidden = documents.size + notes.size > 0 || !byId("answer").hidden;
}

function showScope() {
  const count = listSelected().length;
  byId("scope").textContent = count ? `Asks ${formatCount(count, "document")} alone` : "Asks all documents and notes";
  byId("clear-scope").hidden = !count;
}

function showConnection(isLive) {
  byId("connection").textContent = isLive ? "live" : "checking every 2 s";
  byId("connection").title = isLive ? "Changes arrive as they happen." : "The live connection is away; it is tried again.";
  byId("connection").classList.toggle("live", isLive);
}

/** Files may be dropped anywhere: a browser would else open them. */
function takeDrops() {
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
    const folders = [...event.dataTransfer.items].filter((item) => item.webkitGetAsEntry()?.isDirectory);
    if (folders.length) announce("A folder cannot be uploaded. Open it, and drop its files.");
    else uploads.add([...event.dataTransfer.files]);
  });
}
