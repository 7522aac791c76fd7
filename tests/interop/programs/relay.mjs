// A client on Node's net: `node relay.mjs copy|talk PATH`.
import { connect } from "node:net";
import { createInterface } from "node:readline";
import { pipeline } from "node:stream/promises";

const [mode, path] = process.argv.slice(2);
const socket = connect(path);

// Standard input to the daemon, and meanwhile the answer to standard output.
async function copy() {
  await Promise.all([pipeline(process.stdin, socket), pipeline(socket, process.stdout)]);
}

// A line, its answer, the next line.
async function talk() {
  const answers = createInterface({ input: socket })[Symbol.asyncIterator]();
  for await (const line of createInterface({ input: process.stdin })) {
    socket.write(`${line}\n`);
    process.stdout.write(`${(await answers.next()).value}\n`);
  }
  socket.end();
}

await (mode === "copy" ? copy() : talk());
