/** A list of documents or notes, newest first, that is updated as they change. */

import { requestJson } from "./api.js";
import { announce, removeRow } from "./dom.js";

const PAGE = 20;
const LARGEST_PAGE = 100;

/**
 * @typedef {{id: string, status: string, updated_at: string}} Item a document or a note, as returned by the API
 * @typedef {object} Appearance
 * @property {"document" | "note"} source
 * @property {HTMLElement} list
 * @property {HTMLElement} heading
 * @property {HTMLElement} empty shown while the list is empty
 * @property {HTMLButtonElement} more
 * @property {(item: any) => HTMLElement} makeRow
 * @property {(row: HTMLElement, item: any, before: any) => void} updateRow
 * @property {() => void} onChange
 */

/** @param {Item} item */
export function isTerminal(item) {
  return item.status === "ready" || item.status === "failed";
}

export class Listing {
  /** @type {Map<string, Item>} */
  #items = new Map();
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** @type {Set<string>} */
  #removed = new Set();
  /** @type {string | null} */
  #cursor = null;
  #oldest = "";
  /** Id of the collection that is shown, or an empty text. */
  #collection = "";

  /**
   * @param {string} path path of the list in the API
   * @param {Appearance} appearance
   */
  constructor(path, appearance) {
    this.path = path;
    this.appearance = appearance;
    appearance.more.addEventListener("click", () => this.loadMore().catch((problem) => announce(problem.message)));
  }

  get size() {
    return this.#items.size;
  }

  get isWaiting() {
    return [...this.#items.values()].some((item) => !isTerminal(item));
  }

  /** @param {string} id */
  get(id) {
    return this.#items.get(id);
  }

  /**
   * Show only the members of a collection.
   * @param {string} collection its id, or an empty text for all
   */
  async choose(collection) {
    this.#collection = collection;
    this.#rows.forEach((row) => row.remove());
    this.#rows.clear();
    this.#items.clear();
    this.#cursor = null;
    this.#oldest = "";
    await this.loadMore();
  }

  /** Load the next page; the first call loads the first page. */
  async loadMore() {
    const page = await this.#load(PAGE, this.#cursor);
    if (!page) return;
    this.#cursor = page.next_cursor;
    this.#oldest = page.next_cursor ? page.items.at(-1).id : "";
    page.items.forEach((item) => this.update(item));
    this.#show();
  }

  /** Load the current state of the items shown. */
  async refresh() {
    const before = [...this.#items.keys()];
    const limit = Math.min(Math.max(this.size, PAGE), LARGEST_PAGE);
    const page = await this.#load(limit, null);
    if (!page) return;
    page.items.forEach((item) => this.update(item));
    const present = new Set(page.items.map((item) => item.id));
    const end = page.next_cursor ? page.items.at(-1).id : "";
    const missing = before.filter((id) => !present.has(id));
    missing.filter((id) => id > end).forEach((id) => this.remove(id)); // deleted elsewhere
    for (const id of missing) {
      const item = this.get(id);
      if (item && !isTerminal(item)) await this.#refreshOne(id);
    }
  }

  /**
   * Show a state of an item, unless a later state is known or the item belongs to a page that is not loaded yet.
   * @param {Item} item
   */
  update(item) {
    const before = this.#items.get(item.id);
    if (this.#removed.has(item.id) || (!before && item.id < this.#oldest)) return;
    if (this.#collection && !(item.collection_ids?.includes(this.#collection) ?? before)) return this.#hide(item.id);
    if (before && Date.parse(item.updated_at) < Date.parse(before.updated_at)) return;
    this.#items.set(item.id, item);
    const row = this.#rows.get(item.id) ?? this.#insert(item);
    this.appearance.updateRow(row, item, before);
    this.#show();
  }

  /** @param {string} id */
  remove(id) {
    this.#removed.add(id);
    this.#hide(id);
  }

  #hide(id) {
    this.#items.delete(id);
    const row = this.#rows.get(id);
    this.#rows.delete(id);
    if (row) removeRow(row, this.appearance.heading);
    this.#show();
  }

  /**
   * @param {string} id
   * @returns {HTMLElement | undefined}
   */
  getRow(id) {
    return this.#rows.get(id);
  }

  /** Load a page of the list. Return null if another collection was chosen meanwhile. */
  async #load(limit, cursor) {
    const collection = this.#collection;
    const { source } = this.appearance;
    const path = collection ? `/v1/collections/${collection}/${source}s` : this.path;
    const page = await requestJson(`${path}?limit=${limit}${cursor ? `&cursor=${cursor}` : ""}`);
    if (collection !== this.#collection) return null;
    return collection ? { ...page, items: page.items.map((member) => member[source]) } : page;
  }

  #insert(item) {
    const row = this.appearance.makeRow(item);
    row.dataset.id = item.id;
    this.#rows.set(item.id, row);
    // Ids sort by creation time.
    const next = [...this.appearance.list.children].find((other) => other.dataset.id < item.id);
    this.appearance.list.insertBefore(row, next ?? null);
    return row;
  }

  async #refreshOne(id) {
    try {
      this.update(await requestJson(`${this.path}/${id}`));
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      this.remove(id);
    }
  }

  #show() {
    const { empty, more, onChange } = this.appearance;
    empty.hidden = this.size > 0;
    more.hidden = !this.#cursor;
    onChange();
  }
}
