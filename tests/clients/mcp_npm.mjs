// The SDK of the Model Context Protocol for JavaScript.
import assert from "node:assert/strict";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { SLUICE_URL: url, SLUICE_KEY: key } = process.env;

async function connect(secret) {
  const requestInit = { headers: { Authorization: `Bearer ${secret}` } };
  const client = new Client({ name: "test", version: "1" });
  await client.connect(new StreamableHTTPClientTransport(new URL(`${url}/mcp`), { requestInit }));
  return client;
}

const client = await connect(key);
const { tools } = await client.listTools();
assert.deepEqual(new Set(tools.map((tool) => tool.name)), new Set(["search", "fetch", "ask", "list_documents", "upload_text"]));
const found = await client.callTool({ name: "search", arguments: { query: "When is the lock closed?" } });
const [best] = found.structuredContent.results;
assert.equal(best.title, "lock.txt");
assert.deepEqual(JSON.parse(found.content[0].text), found.structuredContent);
const fetched = await client.callTool({ name: "fetch", arguments: { id: best.id } });
assert.match(fetched.structuredContent.text, /3\.2 metres/);
const answered = await client.callTool({ name: "ask", arguments: { question: "When is the lock closed?" } });
assert.match(answered.structuredContent.answer, /3\.2 metres/);
assert((await client.callTool({ name: "fetch", arguments: { id: "nothing" } })).isError);
await client.close();
await assert.rejects(connect("sk-wrong"), /401|nauthorized/);
