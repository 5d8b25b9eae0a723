// OpenAI's SDK for Node: files, vector stores, batches of files and searches.
import assert from "node:assert/strict";
import OpenAI, { toFile } from "openai";

const sdk = new OpenAI({ baseURL: `${process.env.SLUICE_URL}/v1`, apiKey: process.env.SLUICE_KEY });
const GATES = "The hinges of the oak gates are greased with mutton tallow every spring.";

const store = await sdk.vectorStores.create({ name: "Locks" });
const gates = await sdk.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(GATES), "gates.txt"));
assert.equal(gates.status, "completed");
assert.equal(await (await sdk.files.content(gates.id)).text(), GATES);
const changed = await sdk.vectorStores.files.update(gates.id, {
  vector_store_id: store.id,
  attributes: { year: 1911, open: true },
});
assert.deepEqual(changed.attributes, { year: 1911, open: true });

const texts = await Promise.all(
  Array.from({ length: 12 }, (_, number) => toFile(Buffer.from(`Weir number ${number} stands.`), `${number}.txt`)),
);
const batch = await sdk.vectorStores.fileBatches.uploadAndPoll(store.id, { files: texts, fileIds: [gates.id] });
assert.deepEqual([batch.status, batch.file_counts.completed, batch.file_counts.total], ["completed", 13, 13]);

const listed = [];
for await (const file of sdk.vectorStores.files.list(store.id, { limit: 5 })) listed.push(file.id);
assert.equal(new Set(listed).size, 13);
const filters = { type: "eq", key: "year", value: 1911 };
const found = await sdk.vectorStores.search(store.id, { query: "What greases the hinges?", filters });
assert.deepEqual(found.data.map((one) => [one.filename, one.attributes.open]), [["gates.txt", true]]);

assert.ok((await sdk.vectorStores.files.delete(gates.id, { vector_store_id: store.id })).deleted);
assert.ok((await sdk.files.delete(gates.id)).deleted);
assert.ok((await sdk.vectorStores.delete(store.id)).deleted);
await assert.rejects(sdk.vectorStores.retrieve(store.id), OpenAI.NotFoundError);
await assert.rejects(sdk.files.list({ after: gates.id }), OpenAI.BadRequestError);
