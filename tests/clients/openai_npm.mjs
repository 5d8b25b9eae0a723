// OpenAI's SDK for JavaScript: models, chats, responses, embeddings and errors.
import assert from "node:assert/strict";
import OpenAI from "openai";

const { SLUICE_URL: url, SLUICE_KEY: apiKey } = process.env;
const sdk = new OpenAI({ baseURL: `${url}/v1`, apiKey });
const question = "At what gauge reading is the lock closed?";
const messages = [{ role: "user", content: question }];

const names = [];
for await (const model of sdk.models.list()) names.push(model.id);
const [model, embedding] = names;
assert.equal(model, "sluice");

// A chat, whole and streamed.
const completion = await sdk.chat.completions.create({ model, messages });
const { message } = completion.choices[0];
assert.match(message.content, /3\.2 metres/);
const { url_citation: citation } = message.annotations[0];
assert.equal(message.content.slice(citation.start_index, citation.end_index), "[1]");
assert.equal(citation.title, "lock.txt");
assert(citation.url.startsWith(`${url}/#document=`));
const chunks = [];
for await (const chunk of await sdk.chat.completions.create({ model, messages, stream: true })) chunks.push(chunk);
assert.equal(chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join(""), message.content);
assert.deepEqual(chunks.at(-2).choices[0].delta.annotations, message.annotations);
assert.equal(chunks.at(-1).choices[0].finish_reason, "stop");
assert.equal(await sdk.chat.completions.stream({ model, messages }).finalContent(), message.content);

// A response, whole and streamed.
const tools = [{ type: "file_search", vector_store_ids: [] }];
const response = await sdk.responses.create({ model, input: question, tools, include: ["file_search_call.results"] });
assert.match(response.output_text, /3\.2 metres/);
assert.equal(response.output[0].results[0].filename, "lock.txt");
assert.equal(response.output[1].content[0].annotations[0].type, "file_citation");
const stream = sdk.responses.stream({ model, input: question });
const numbers = [];
for await (const event of stream) numbers.push(event.sequence_number);
assert.deepEqual(numbers, [...numbers.keys()]);
assert.equal((await stream.finalResponse()).output_text, response.output_text);

// Embeddings: base64 without being asked for, or numbers.
const texts = { model: embedding, input: ["oak gates", "a red flag"] };
const packed = await sdk.embeddings.create(texts);
const plain = await sdk.embeddings.create({ ...texts, encoding_format: "float" });
packed.data.forEach((one, place) => {
  assert.equal(one.index, place);
  assert(Math.abs(Math.hypot(...one.embedding) - 1) < 1e-4);
  assert(Math.hypot(...one.embedding.map((value, at) => value - plain.data[place].embedding[at])) < 0.05);
});

// Errors.
await assert.rejects(sdk.chat.completions.create({ model, messages, n: 2 }), (error) => {
  assert(error instanceof OpenAI.BadRequestError);
  assert.equal(error.param, "n");
  return true;
});
await assert.rejects(sdk.models.retrieve("gpt-5"), OpenAI.NotFoundError);
const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
await assert.rejects(async () => await stranger.models.list(), OpenAI.AuthenticationError);
