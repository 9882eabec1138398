// A .gz beside every file of static/assets that gains from one. The files are immutable, so they are
// compressed once here and not by the server in every answer: Monaco alone would take it
// 65 ms a time, on the event loop that everybody waits for.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const folder = new URL("./static/assets/", import.meta.url);
let raw = 0;
let sent = 0;
for (const name of readdirSync(folder)) {
  const file = new URL(name, folder);
  const content = readFileSync(file);
  const small = gzipSync(content, { level: 9 });
  const worthIt = small.length < 0.9 * content.length;
  if (worthIt) writeFileSync(new URL(`${name}.gz`, folder), small);
  raw += content.length;
  sent += worthIt ? small.length : content.length;
}
const megabytes = (bytes) => (bytes / 1e6).toFixed(2);
console.log(`assets: ${megabytes(raw)} MB, ${megabytes(sent)} MB compressed`);
