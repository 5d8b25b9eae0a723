/** Collections: choose one to see, fill and ask only its members; create, rename and delete them; move members. */

import { request, requestJson } from "./api.js";
import { announce, byId, confirmDeletion, showText } from "./dom.js";

const KEEPS = "Its documents and notes stay. Only the collection is deleted.";

/** @typedef {{id: string, name: string, documents: number, notes: number}} Collection as returned by the API */

export class Collections {
  /** @type {Collection[]} */
  #all = [];

  /** @param {(collection: string) => void} onChoice receives the id of the chosen collection, or an empty text for all */
  constructor(onChoice) {
    this.onChoice = onChoice;
    byId("collection").addEventListener("change", () => this.#choose());
    byId("new-collection").addEventListener("click", () => this.#edit(null));
    byId("rename-collection").addEventListener("click", () => this.#edit(this.#current));
    byId("delete-collection").addEventListener("click", () => this.#delete().catch((problem) => announce(problem.message)));
  }

  /** Id of the chosen collection, or an empty text. */
  get chosen() {
    return byId("collection").value;
  }

  /** Name of the chosen collection, or an empty text. */
  get name() {
    return this.#current?.name ?? "";
  }

  get #current() {
    return this.#all.find(({ id }) => id === this.chosen);
  }

  async load() {
    this.#all = [];
    let cursor = "";
    do {
      const page = await requestJson(`/v1/collections?limit=100${cursor}`);
      this.#all.push(...page.items);
      cursor = page.next_cursor ? `&cursor=${page.next_cursor}` : "";
    } while (cursor);
    this.#show(this.chosen);
  }

  /**
   * Put an uploaded document into a collection.
   * @returns {Promise<any>} the document
   */
  async addDocument(collection, id) {
    return (await requestJson(memberPath(collection, "document", id), { method: "PUT", body: {} })).document;
  }

  /**
   * Open the dialog that puts a document or note into collections, and takes it out.
   * @param {"document" | "note"} source
   * @param {string} id
   * @param {(item: any) => void} onChange receives the document or note after a change
   */
  async move(source, id, onChange) {
    const path = `/v1/${source}s/${id}`;
    const [item] = await Promise.all([requestJson(path), this.load()]);
    const dialog = byId("members-dialog");
    byId("members-title").textContent = `Collections of ${item.filename ?? item.title}`;
    showText(dialog.querySelector(".error"), "");
    byId("no-collections").hidden = this.#all.length > 0;
    const boxes = this.#all.map((collection) => makeBox(collection, item.collection_ids.includes(collection.id)));
    byId("members").replaceChildren(...boxes);
    byId("members").onchange = async ({ target: box }) => {
      box.disabled = true;
      try {
        const put = { method: "PUT", body: {} };
        await request(memberPath(box.value, source, id), box.checked ? put : { method: "DELETE" });
        onChange(await requestJson(path));
      } catch (problem) {
        box.checked = !box.checked;
        showText(dialog.querySelector(".error"), problem.message);
      }
      box.disabled = false;
      box.focus();
    };
    dialog.querySelector(".cancel").onclick = () => dialog.close();
    dialog.showModal();
  }

  /** @param {string} chosen */
  #show(chosen) {
    const sorted = this.#all.toSorted((one, other) => one.name.localeCompare(other.name));
    const options = sorted.map(({ id, name }) => new Option(name, id));
    byId("collection").replaceChildren(new Option("All documents and notes", ""), ...options);
    byId("collection").value = this.#all.some(({ id }) => id === chosen) ? chosen : "";
    for (const id of ["rename-collection", "delete-collection"]) byId(id).hidden = !this.chosen;
  }

  #choose() {
    this.#show(this.chosen);
    this.onChoice(this.chosen);
  }

  /** @param {Collection | null | undefined} collection null for a new one */
  #edit(collection) {
    const dialog = byId("collection-dialog");
    const form = dialog.querySelector("form");
    byId("collection-title").textContent = collection ? "Rename the collection" : "New collection";
    form.elements.name.value = collection?.name ?? "";
    showText(form.querySelector(".error"), "");
    form.querySelector(".cancel").onclick = () => dialog.close();
    form.onsubmit = async (event) => {
      event.preventDefault();
      const body = { name: form.elements.name.value };
      const path = collection ? `/v1/collections/${collection.id}` : "/v1/collections";
      try {
        const { id, name } = await requestJson(path, { method: collection ? "PATCH" : "POST", body });
        dialog.close();
        await this.load();
        byId("collection").value = id;
        this.#choose();
        announce(`${name} was saved.`);
      } catch (problem) {
        showText(form.querySelector(".error"), problem.message);
      }
    };
    dialog.showModal();
  }

  async #delete() {
    const { id, name } = this.#current;
    if (!(await confirmDeletion(name, KEEPS))) return;
    await request(`/v1/collections/${id}`, { method: "DELETE" });
    await this.load();
    this.onChoice("");
    announce(`${name} was deleted.`);
    byId("collection").focus();
  }
}

function memberPath(collection, source, id) {
  return `/v1/collections/${collection}/${source}s/${id}`;
}

/** @param {Collection} collection */
function makeBox({ id, name }, isMember) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = document.createElement("input");
  box.type = "checkbox";
  box.value = id;
  box.checked = isMember;
  label.append(box, ` ${name}`);
  item.append(label);
  return item;
}
